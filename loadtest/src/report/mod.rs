//! What a run found: a model that is stored as JSON, shown as HTML, compared and held to thresholds.

pub mod diff;
pub mod html;
pub mod model;
pub mod threshold;
