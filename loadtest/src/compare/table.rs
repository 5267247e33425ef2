//! What all rounds cost each server: medians with their ranges, as figures of the report and as one table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{Kind, Sample, Workload};
use crate::report::{
    format::number,
    model::{Figure, Reference},
};

/// Workloads whose delays are told, too.
const TIMED: [Workload; 3] = [Workload::A1, Workload::A3, Workload::B2];

/// Samples of all rounds.
#[derive(Debug, Default)]
pub struct Table {
    samples: BTreeMap<(Workload, Kind), Vec<Sample>>,
}

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    Cost(Workload),
    P99(Workload),
    PerSecond(Workload),
}

impl Line {
    fn name(self) -> String {
        match self {
            Self::Cost(workload) => format!("{} {}", workload.name(), workload.cost().0),
            Self::P99(workload) => format!("{} delivery p99", workload.name()),
            Self::PerSecond(workload) => format!("{} deliveries per second", workload.name()),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Cost(workload) => workload.cost().1,
            Self::P99(_) => "ms",
            Self::PerSecond(_) => "1/s",
        }
    }

    fn of(self, sample: &Sample) -> Option<f64> {
        match self {
            Self::Cost(_) => Some(sample.cost),
            Self::P99(_) => Some(sample.delays?.p99),
            Self::PerSecond(_) => Some(sample.delays?.count as f64 / sample.took.as_secs_f64()),
        }
    }

    fn workload(self) -> Workload {
        match self {
            Self::Cost(workload) | Self::P99(workload) | Self::PerSecond(workload) => workload,
        }
    }
}

impl Table {
    /// Adds what a workload cost a server in a round.
    pub fn add(&mut self, kind: Kind, sample: Sample) {
        self.samples.entry((sample.workload, kind)).or_default().push(sample);
    }

    /// Says whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    fn lines(&self) -> Vec<Line> {
        let workloads: BTreeSet<Workload> = self.samples.keys().map(|(workload, _)| *workload).collect();
        let has = |workload: &Workload| workloads.contains(workload);
        let costs = workloads.iter().copied().map(Line::Cost);
        let p99s = TIMED.into_iter().filter(has).map(Line::P99);
        let rates = Some(Workload::B1).into_iter().filter(has).map(Line::PerSecond);
        costs.chain(p99s).chain(rates).collect()
    }

    fn kinds(&self) -> BTreeSet<Kind> {
        self.samples.keys().map(|(_, kind)| *kind).collect()
    }

    fn figure(&self, line: Line, kind: Kind) -> Option<Figure> {
        let samples = self.samples.get(&(line.workload(), kind))?;
        let rounds: Vec<f64> = samples.iter().filter_map(|sample| line.of(sample)).collect();
        Some(Figure::of_rounds(&format!("{}, {}", line.name(), kind.name()), line.unit(), &rounds))
    }

    /// Returns all figures; costs beside the raw limit, where there is one, and ours held to their bars.
    pub fn figures(&self) -> Vec<Figure> {
        let mut figures = Vec::new();
        for line in self.lines() {
            let limit = self.figure(line, Kind::Limit);
            for kind in self.kinds() {
                let Some(mut figure) = self.figure(line, kind) else { continue };
                if let (Line::Cost(_), Some(limit)) = (line, limit.as_ref().filter(|_| kind != Kind::Limit)) {
                    figure.reference = Some(Reference { name: Kind::Limit.name().into(), value: limit.value });
                }
                if let (Line::Cost(workload), Kind::Ours) = (line, kind) {
                    let (bar, is_ratio) = workload.bar();
                    figure.bar = Some(bar).filter(|_| figure.reference.is_some() == is_ratio);
                }
                figures.push(figure);
            }
        }
        figures
    }

    /// Writes the table: a line for each workload, a column for each server.
    pub fn text(&self) -> String {
        let kinds = self.kinds();
        let cells = |line: Line| {
            let cell = |&kind: &Kind| self.figure(line, kind).map_or("–".to_owned(), |figure| cell(&figure));
            kinds.iter().map(cell).collect::<Vec<_>>()
        };
        let names = kinds.iter().map(|kind| kind.name().to_owned()).collect();
        let mut rows = vec![(String::new(), names)];
        rows.extend(self.lines().into_iter().map(|line| (format!("{}, {}", line.name(), line.unit()), cells(line))));
        let width_of = |column: usize| rows.iter().map(|(_, cells)| cells[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..kinds.len()).map(width_of).collect();
        let first = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, cells) in &rows {
            let _ = write!(text, "{name:first$}");
            for (cell, width) in cells.iter().zip(&widths) {
                let _ = write!(text, "  {cell:>width$}");
            }
            text.push('\n');
        }
        text
    }
}

fn cell(figure: &Figure) -> String {
    match figure.range {
        Some((least, most)) => format!("{} ({}–{})", number(figure.value), number(least), number(most)),
        None => number(figure.value),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::model::Delays;

    fn table() -> Table {
        let mut table = Table::default();
        for (kind, costs) in [(Kind::Limit, [6.0, 8.0, 7.0]), (Kind::Ours, [9.0, 7.0, 8.0])] {
            for cost in costs {
                let delays = Delays { count: 1000, p99: cost * 2.0, ..Delays::default() };
                let took = Duration::from_secs(2);
                table.add(kind, Sample { workload: Workload::A3, cost, took, delays: Some(delays) });
            }
        }
        table.add(Kind::Ours, Sample { workload: Workload::C, cost: 5.5, took: Duration::ZERO, delays: None });
        table
    }

    #[test]
    fn figures_are_medians_beside_the_limit() {
        let figures = table().figures();
        let names: Vec<_> = figures.iter().map(|figure| figure.name.as_str()).collect();
        let wanted = [
            "A3 CPU per delivery, raw limit",
            "A3 CPU per delivery, chinwag",
            "C memory per connection, chinwag",
            "A3 delivery p99, raw limit",
            "A3 delivery p99, chinwag",
        ];
        assert_eq!(names, wanted);
        assert_eq!((figures[1].value, figures[1].range), (8.0, Some((7.0, 9.0))));
        assert_eq!(figures[1].held(), 8.0 / 7.0);
        let bars: Vec<_> = figures.iter().map(|figure| figure.bar).collect();
        assert_eq!(bars, [None, Some(1.25), Some(6.0), None, None]);
        assert!(figures[0].reference.is_none() && figures[2].reference.is_none() && figures[4].reference.is_none());
    }

    #[test]
    fn the_table_has_a_column_for_each_server_and_a_dash_where_nothing_was_measured() {
        let text = table().text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].ends_with("chinwag") && lines[1].starts_with("A3 CPU per delivery, us"), "{text}");
        assert!(lines[1].ends_with("8 (7–9)") && lines[2].contains(" –  "), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "{text}");
    }
}
