//! Two results side by side.

use super::model::Report;

/// Compares two results; a text table, one line per figure, delay and count, with the change in percent.
pub fn compare(before: &Report, after: &Report) -> String {
    todo!()
}
