//! `--fail-if`: a condition on the result under which the run fails.

use std::str::FromStr;

use super::model::Report;

/// A condition such as `p99>50ms`.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        todo!()
    }
}

impl Threshold {
    /// Returns a sentence if the report fails it; an error if the report doesn't have what it is about.
    pub fn broken(&self, report: &Report) -> Result<Option<String>, String> {
        todo!()
    }
}
