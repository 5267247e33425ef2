//! What a run found: a model that is stored as JSON, shown as HTML, compared and held to thresholds.

pub mod again;
mod axis;
pub mod diff;
pub mod format;
pub mod html;
pub mod model;
mod plots;
#[cfg(test)]
mod sample;
mod svg;
mod tables;
pub mod threshold;
