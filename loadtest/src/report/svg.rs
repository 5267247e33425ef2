//! One plot: lines over time or over percentiles, as inline SVG with labels in HTML around it.
//!
//! The SVG is stretched to whatever width there is (lines keep theirs: `non-scaling-stroke`), and all words stand beside it as HTML, so that
//! they stay legible on a phone. Heights are pixels. The numbers are there once more as JSON, for the read-out by pointer.

use std::fmt::Write as _;

use serde_json::json;

use super::{
    axis::{Scale, Tick},
    format::escape,
};

/// Height of the drawn area, pixels.
const HEIGHT: f64 = 190.0;
/// Width of the drawn area in its own units.
const WIDTH: f64 = 1000.0;
/// Distance of two labels at line ends, pixels.
const LABEL: f64 = 15.0;

/// What the values of a plot are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Milliseconds.
    Delay,
    MiB,
    /// A plain number; the title names it.
    Number,
    /// Microseconds.
    Us,
}

impl Quantity {
    pub fn show(self, value: f64) -> String {
        use super::format;
        match self {
            _ if value == 0.0 => "0".into(),
            Self::Delay => format::ms(value),
            Self::MiB => format!("{} MiB", format::number(value)),
            Self::Number => format::number(value),
            Self::Us => format!("{} µs", format::number(value)),
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::MiB => "mib",
            Self::Number => "number",
            Self::Us => "us",
        }
    }
}

/// A line; `None` and NaN are gaps.
pub struct Line {
    pub name: String,
    pub values: Vec<Option<f64>>,
}

/// A part of the x axis that is set off, with its name.
pub struct Band {
    pub name: String,
    pub from: f64,
    pub to: f64,
}

/// A plot. It is drawn for any content, without lines as well.
pub struct Plot<'a> {
    pub title: String,
    pub note: String,
    pub quantity: Quantity,
    /// Where the values stand, from 0 to `to_x`.
    pub x: &'a [f64],
    pub to_x: f64,
    pub x_ticks: &'a [Tick],
    /// Name of x in the read-out: 'time' is shown in seconds.
    pub x_name: &'static str,
    pub lines: Vec<Line>,
    pub bands: &'a [Band],
}

impl Plot<'_> {
    /// Writes the plot as a `figure`.
    pub fn draw(&self, into: &mut String) {
        let values = self.lines.iter().flat_map(|line| line.values.iter().copied().flatten());
        let scale = Scale::of(values, self.quantity == Quantity::Delay);
        let kind = if matches!(scale, Scale::Log { .. }) { " <small>log scale</small>" } else { "" };
        let (title, note) = (escape(&self.title), escape(&self.note));
        let _ = write!(into, "<figure class=plot><figcaption><h3>{title}{kind}</h3><p>{note}</p></figcaption>");
        let class = if self.bands.is_empty() { "frame" } else { "frame banded" };
        let _ = write!(into, "<div class=\"{class}\"><div class=y aria-hidden=true>");
        for tick in scale.ticks() {
            let top = HEIGHT * (1.0 - scale.place(tick).unwrap_or(0.0));
            let _ = write!(into, "<span style=\"top:{top:.1}px\">{}</span>", self.quantity.show(tick));
        }
        into.push_str("</div><div class=area>");
        self.svg(scale, into);
        self.band_names(into);
        into.push_str("<i class=cursor hidden></i></div>");
        // One line needs no name beside the title's.
        if self.lines.len() > 1 {
            let widest = self.lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
            let _ = write!(into, "<div class=ends style=\"width:{}ch\" aria-hidden=true>", widest + 2);
            self.ends(scale, into);
            into.push_str("</div>");
        }
        into.push_str("<div class=x aria-hidden=true>");
        for Tick { at, name, minor } in self.x_ticks {
            let class = if *minor { " class=minor" } else { "" };
            let _ = write!(into, "<span{class} style=\"left:{:.2}%\">{}</span>", self.left(*at) / 10.0, escape(name));
        }
        into.push_str("</div></div><p class=readout aria-hidden=true></p>");
        self.data(into);
        into.push_str("</figure>\n");
    }

    /// Where an x stands, in the area's own units.
    fn left(&self, x: f64) -> f64 {
        let part = x / self.to_x;
        if part.is_finite() { part.clamp(0.0, 1.0) * WIDTH } else { 0.0 }
    }

    fn svg(&self, scale: Scale, into: &mut String) {
        let _ = write!(
            into,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=none role=img aria-label=\"{}\">",
            escape(&self.spoken())
        );
        for (index, band) in self.bands.iter().enumerate() {
            let (from, to) = (self.left(band.from), self.left(band.to));
            let class = if index % 2 == 0 { "band" } else { "band even" };
            let width = (to - from).max(0.0);
            let _ = write!(
                into,
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"0\" width=\"{width:.1}\" height=\"{HEIGHT}\"/>"
            );
        }
        for tick in scale.ticks() {
            let y = HEIGHT * (1.0 - scale.place(tick).unwrap_or(0.0));
            let _ = write!(into, "<path class=grid d=\"M0 {y:.1}H{WIDTH}\"/>");
        }
        for (index, line) in self.lines.iter().enumerate() {
            let d = self.path(scale, line);
            if !d.is_empty() {
                let _ = write!(into, "<path class=\"line s{}\" d=\"{d}\"/>", index % STYLES);
            }
        }
        into.push_str("</svg>");
    }

    /// A path with a piece for each run of values; a value alone is a dot.
    fn path(&self, scale: Scale, line: &Line) -> String {
        let mut d = String::new();
        let mut length = 0;
        for (&x, value) in self.x.iter().zip(&line.values) {
            let Some(place) = value.and_then(|value| scale.place(value)) else {
                if length == 1 {
                    d.push_str("h0");
                }
                length = 0;
                continue;
            };
            let command = if length == 0 { 'M' } else { 'L' };
            let _ = write!(d, "{command}{:.1} {:.1}", self.left(x), HEIGHT * (1.0 - place));
            length += 1;
        }
        if length == 1 {
            d.push_str("h0");
        }
        d
    }

    fn band_names(&self, into: &mut String) {
        for (index, band) in self.bands.iter().enumerate() {
            let (left, right) = (self.left(band.from) / 10.0, self.left(band.to) / 10.0);
            let (number, name) = (index + 1, escape(&band.name));
            let width = right - left;
            let _ = write!(
                into,
                "<span class=band-name style=\"left:{left:.2}%;width:{width:.2}%\" title=\"{name}\"><b>{number}</b><span> {name}</span></span>"
            );
        }
    }

    /// Names the lines where they end, one below the other if they end near each other.
    fn ends(&self, scale: Scale, into: &mut String) {
        let mut ends: Vec<(usize, f64)> = self
            .lines
            .iter()
            .enumerate()
            .filter_map(|(index, line)| {
                let last = line.values.iter().rev().copied().flatten().find_map(|value| scale.place(value))?;
                Some((index, HEIGHT * (1.0 - last)))
            })
            .collect();
        // Of equal ones the later line, which is drawn above, comes first.
        ends.sort_by(|one, other| one.1.total_cmp(&other.1).then(other.0.cmp(&one.0)));
        for at in 1..ends.len() {
            ends[at].1 = ends[at].1.max(ends[at - 1].1 + LABEL);
        }
        let mut limit = HEIGHT;
        for (index, top) in ends.iter_mut().rev() {
            *top = top.min(limit);
            limit = *top - LABEL;
            let (style, name) = (*index % STYLES, escape(&self.lines[*index].name));
            let _ = write!(into, "<span class=s{style} style=\"top:{top:.1}px\">{name}</span>");
        }
    }

    /// What is read out instead of the picture.
    fn spoken(&self) -> String {
        let mut text = self.title.clone();
        for line in &self.lines {
            let values = line.values.iter().copied().flatten().filter(|value| value.is_finite());
            let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), v| (l.min(v), m.max(v)));
            if least <= most {
                let (least, most) = (self.quantity.show(least), self.quantity.show(most));
                let _ = write!(text, "; {} from {least} to {most}", line.name);
            }
        }
        text
    }

    fn data(&self, into: &mut String) {
        let round = |value: f64| format!("{value:.3e}").parse::<f64>().ok().filter(|value| value.is_finite());
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| json!([line.name, line.values.iter().map(|value| value.and_then(round)).collect::<Vec<_>>()]))
            .collect();
        let x: Vec<_> = self.x.iter().map(|x| (x * 1000.0).round() / 1000.0).collect();
        let ticks: Vec<_> = self.x_ticks.iter().map(|tick| &tick.name).collect();
        let data = json!({"q": self.quantity.key(), "x": x, "to": self.to_x, "xname": self.x_name, "ticks": ticks, "lines": lines});
        // Within a script element only '<' could end it.
        let _ = write!(into, "<script type=\"application/json\">{}</script>", data.to_string().replace('<', "\\u003c"));
    }
}

/// How many colours with dashes of their own style.css has.
const STYLES: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(x: &[f64], values: Vec<Option<f64>>) -> String {
        let lines = vec![Line { name: "p99".into(), values }];
        let mut text = String::new();
        Plot {
            title: "Delay".into(),
            note: String::new(),
            quantity: Quantity::Delay,
            x,
            to_x: x.last().copied().unwrap_or(0.0),
            x_ticks: &[],
            x_name: "time",
            lines,
            bands: &[],
        }
        .draw(&mut text);
        text
    }

    fn path(text: &str) -> Option<&str> {
        text.split("d=\"")
            .find(|part| part.starts_with('M') && !part.contains(&format!("H{WIDTH}\"")))?
            .split('"')
            .next()
    }

    #[test]
    fn gaps_are_gaps_and_lone_values_are_dots() {
        let text = plot(&[1.0, 2.0, 3.0, 4.0, 5.0], vec![Some(1.0), Some(2.0), None, Some(1.0), Some(f64::NAN)]);
        assert_eq!(path(&text), Some("M200.0 95.0L400.0 0.0M800.0 95.0h0"));
    }

    #[test]
    fn one_value_and_none_are_drawn() {
        assert_eq!(path(&plot(&[1.0], vec![Some(4.0)])), Some("M1000.0 0.0h0"));
        for text in [plot(&[], vec![]), plot(&[1.0], vec![None]), plot(&[0.0], vec![Some(f64::INFINITY)])] {
            assert!(path(&text).is_none() && text.ends_with("</figure>\n"), "{text}");
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
    }

    #[test]
    fn labels_at_line_ends_keep_their_distance() {
        let line = |name: &str, value| Line { name: name.into(), values: vec![Some(value)] };
        let lines = vec![line("a", 0.1), line("b", 0.2), line("c", 0.1), line("d", 100.0)];
        let mut text = String::new();
        let plot = Plot {
            title: String::new(),
            note: String::new(),
            quantity: Quantity::Number,
            x: &[1.0],
            to_x: 1.0,
            x_ticks: &[],
            x_name: "time",
            lines,
            bands: &[],
        };
        plot.ends(Scale::Linear { to: 100.0 }, &mut text);
        let mut tops: Vec<f64> =
            text.split("top:").skip(1).map(|part| part.split("px").next().unwrap().parse().unwrap()).collect();
        tops.sort_by(f64::total_cmp);
        assert_eq!(tops.len(), 4);
        assert!(tops.windows(2).all(|pair| pair[1] - pair[0] >= LABEL - 0.2), "{tops:?}");
        assert!(tops[0] >= 0.0 && tops[3] <= HEIGHT, "{tops:?}");
    }
}
