//! The headline results: a card for each, or, of many, cards for those that have a bar and tables for the others.

use std::fmt::Write as _;

use super::{
    format::{self, escape},
    model::Figure,
};

/// More figures than this aren't all shown as cards.
const CARDS_MAX: usize = 12;

/// Shows all figures.
pub fn all(figures: &[Figure]) -> String {
    if figures.is_empty() {
        return String::new();
    }
    if figures.len() <= CARDS_MAX {
        return cards(figures.iter());
    }
    let grid = Grid::of(figures);
    let barred = |figure: &&Figure| figure.bar.is_some();
    let listed: Vec<_> = figures.iter().filter(|figure| !barred(figure) && !grid.has(figure)).collect();
    cards(figures.iter().filter(barred)) + &grid.draw() + &list(&listed)
}

fn cards<'a>(figures: impl Iterator<Item = &'a Figure>) -> String {
    let cards: String = figures.map(card).collect();
    if cards.is_empty() { cards } else { format!("<div class=cards>\n{cards}</div>\n") }
}

fn card(figure: &Figure) -> String {
    let Figure { name, unit, value, range, reference, .. } = figure;
    let (class, badge) = match figure.passes() {
        Some(true) => ("good", "<em class=good>passed</em>"),
        Some(false) => ("bad", "<em class=bad>missed</em>"),
        None => ("", ""),
    };
    let mut card = format!(
        "<article class=\"card {class}\"><h3>{}{badge}</h3>\n<p class=value>{} <small>{}</small></p>",
        escape(name),
        format::number(*value),
        escape(&format::unit(unit))
    );
    if let Some(bar) = figure.bar {
        card.push_str(&gauge(figure.held(), bar, figure.at_least));
    }
    card.push_str("<ul>");
    if let Some(reference) = reference {
        let (own, ratio) = (format::number(reference.value), format::number(figure.held()));
        let _ = write!(card, "<li><b>{ratio} ×</b> {} ({own})</li>", escape(&reference.name));
    }
    if let Some(bar) = figure.bar {
        let times = if reference.is_some() { " ×" } else { "" };
        let side = if figure.at_least { "at least" } else { "at most" };
        let _ = write!(card, "<li>bar: {side} {}{times}</li>", format::number(bar));
    }
    if let Some((least, most)) = range {
        let _ = write!(card, "<li>rounds: {} to {}</li>", format::number(*least), format::number(*most));
    }
    card.push_str("</ul></article>\n");
    card
}

/// A strip that is filled up to the value, with a mark where the bar is, at two thirds.
fn gauge(held: f64, bar: f64, at_least: bool) -> String {
    let part = held / bar * 100.0 / 1.5;
    let part = if part.is_finite() { part.clamp(0.0, 100.0) } else { 0.0 };
    let class = if at_least { "gauge from" } else { "gauge" };
    format!("<div class=\"{class}\" aria-hidden=true><i style=\"width:{part:.1}%\"></i></div>")
}

/// Figures whose names end alike ('A1 CPU per delivery, ws' and 'A3 CPU per delivery, ws'): one column for each end.
struct Grid<'a> {
    figures: &'a [Figure],
    columns: Vec<&'a str>,
    rows: Vec<&'a str>,
}

impl<'a> Grid<'a> {
    /// Finds the ends that several figures have; without two of them the grid is empty.
    fn of(figures: &'a [Figure]) -> Self {
        let (mut columns, mut rows) = (Vec::new(), Vec::new());
        let ends = || figures.iter().filter_map(|figure| figure.name.rsplit_once(", "));
        let add = |to: &mut Vec<&'a str>, name: &'a str| {
            if !to.contains(&name) {
                to.push(name);
            }
        };
        for (_, end) in ends().filter(|(_, end)| ends().filter(|(_, other)| other == end).count() > 1) {
            add(&mut columns, end);
        }
        if columns.len() < 2 {
            columns.clear();
        }
        for (row, _) in ends().filter(|(_, end)| columns.contains(end)) {
            add(&mut rows, row);
        }
        Self { figures, columns, rows }
    }

    fn has(&self, figure: &Figure) -> bool {
        figure.name.rsplit_once(", ").is_some_and(|(_, end)| self.columns.contains(&end))
    }

    fn at(&self, row: &str, column: &str) -> Option<&'a Figure> {
        self.figures.iter().find(|figure| figure.name.rsplit_once(", ") == Some((row, column)))
    }

    fn draw(&self) -> String {
        if self.columns.is_empty() {
            return String::new();
        }
        let mut table = String::from("<div class=wide><table>\n<thead><tr><th class=text>");
        for column in &self.columns {
            let _ = write!(table, "<th>{}", escape(column));
        }
        table.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            let unit =
                self.columns.iter().find_map(|column| self.at(row, column)).map_or("", |figure| figure.unit.as_str());
            let _ = write!(table, "<tr><th class=text scope=row>{}", named(row, unit));
            for column in &self.columns {
                table.push_str("<td>");
                if let Some(figure) = self.at(row, column) {
                    cell(figure, &mut table);
                } else {
                    table.push('–');
                }
            }
            table.push_str("</tr>\n");
        }
        table + "</tbody></table></div>\n"
    }
}

/// Writes a table of figures that have no bar and are like no others.
fn list(figures: &[&Figure]) -> String {
    if figures.is_empty() {
        return String::new();
    }
    let mut table = String::from("<div class=wide><table>\n<tbody>\n");
    for figure in figures {
        let _ = write!(table, "<tr><th class=text scope=row>{}<td>", named(&figure.name, &figure.unit));
        cell(figure, &mut table);
        table.push_str("</tr>\n");
    }
    table + "</tbody></table></div>\n"
}

fn named(name: &str, unit: &str) -> String {
    let unit = if unit.is_empty() { String::new() } else { format!(" <small>{}</small>", escape(&format::unit(unit))) };
    escape(name) + &unit
}

/// Writes a figure's value, and below it its range and its ratio to its reference.
fn cell(figure: &Figure, into: &mut String) {
    into.push_str(&format::number(figure.value));
    let range = figure.range.map(|(least, most)| format!("{}–{}", format::number(least), format::number(most)));
    let ratio = figure.reference.as_ref();
    let ratio = ratio.map(|of| format!("{} × {}", format::number(figure.held()), escape(&of.name)));
    let below: Vec<_> = [range, ratio].into_iter().flatten().collect();
    if !below.is_empty() {
        let _ = write!(into, "<small>{}</small>", below.join("<br>"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared() -> Vec<Figure> {
        let mut figures = Vec::new();
        for row in ["A1 CPU", "A3 CPU", "C memory", "A3 p99"] {
            for column in ["limit", "ours", "ws", "other"] {
                let figure = Figure::of_rounds(&format!("{row}, {column}"), "us", &[1.0, 2.0, 3.0]);
                match (row, column) {
                    ("C memory", "limit") => {}
                    ("A1 CPU", "ours") => figures.push(figure.beside("limit", 1.0).at_most(1.25)),
                    _ => figures.push(figure),
                }
            }
        }
        figures.push(Figure::new("alone", "s", 7.0));
        figures
    }

    fn count(text: &str, part: &str) -> usize {
        text.matches(part).count()
    }

    #[test]
    fn a_few_figures_are_cards() {
        let text = all(&compared()[..CARDS_MAX]);
        assert_eq!((count(&text, "<article"), count(&text, "<table")), (CARDS_MAX, 0));
        assert_eq!(all(&[]), "");
    }

    #[test]
    fn of_many_figures_only_those_with_a_bar_are_cards_and_none_is_left_out() {
        let text = all(&compared());
        assert_eq!((count(&text, "<article"), count(&text, "<table")), (1, 2));
        assert_eq!((count(&text, "<td>"), count(&text, "<td>–")), (16 + 1, 1));
        assert!(text.contains("<th class=text><th>limit<th>ours<th>ws<th>other</tr>"), "{text}");
        assert!(text.contains("2<small>1–3<br>2 × limit</small>"), "{text}");
        assert!(text.contains("<th class=text scope=row>alone <small>s</small><td>7</tr>"), "{text}");
    }

    #[test]
    fn without_ends_in_common_there_is_a_plain_list() {
        let figures: Vec<_> = (0..20).map(|n| Figure::new(&format!("figure {n}, of {n}"), "", 1.0)).collect();
        let text = all(&figures);
        assert_eq!((count(&text, "<article"), count(&text, "<table"), count(&text, "<tr>")), (0, 1, 20));
    }
}
