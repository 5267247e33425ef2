//! What a run found: a model that is stored as JSON, shown as HTML, compared and held to thresholds.

pub mod again;
mod axis;
pub mod diff;
mod figures;
pub mod format;
pub mod html;
pub mod model;
mod plots;
#[cfg(test)]
pub(crate) mod sample;
mod svg;
mod tables;
pub mod threshold;
