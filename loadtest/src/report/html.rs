//! The report as one HTML file: no script needed to read it, nothing fetched, light and dark.

use super::model::Report;

/// Writes the report.
pub fn render(report: &Report) -> String {
    todo!()
}
