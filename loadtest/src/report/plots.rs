//! Which plots a report has, from the seconds of its run.

use super::{
    axis::{self, Tick},
    format,
    model::{Delays, Report, Second},
    svg::{Band, Line, Plot, Quantity},
};

/// More points than this are drawn together: no screen shows them apart.
const POINTS_MAX: usize = 480;

/// Delays that say most come first.
const ORDER: [&str; 5] = ["delivered", "acknowledged", "presence", "join", "handshake"];

/// A value of some seconds that are drawn as one point; the time they took, seconds, comes first.
type Of<'a> = &'a dyn Fn(f64, &[Second]) -> Option<f64>;

/// The seconds of a run, some of them drawn as one point each.
struct Course<'a> {
    points: Vec<(f64, &'a [Second])>,
    x: Vec<f64>,
    to_x: f64,
    ticks: Vec<Tick>,
    bands: Vec<Band>,
    /// Seconds per point.
    each: usize,
}

impl<'a> Course<'a> {
    fn of(report: &'a Report) -> Self {
        let each = report.series.len().div_ceil(POINTS_MAX).max(1);
        let mut before = 0.0;
        let points: Vec<_> = report
            .series
            .chunks(each)
            .map(|seconds| {
                let end = seconds.last().map_or(before, |last| last.at_s);
                // The first may begin late, after setting up.
                let took = if before > 0.0 { end - before } else { (end - before).min(seconds.len() as f64) };
                before = end;
                (took, seconds)
            })
            .collect();
        let x: Vec<_> = points.iter().filter_map(|(_, seconds)| Some(seconds.last()?.at_s)).collect();
        let to_x = x.iter().copied().chain(report.phases.iter().map(|phase| phase.to_s)).fold(0.0, f64::max);
        let band = |phase: &super::model::Phase| Band { name: phase.name.clone(), from: phase.from_s, to: phase.to_s };
        Self { points, x, to_x, ticks: axis::times(to_x), bands: report.phases.iter().map(band).collect(), each }
    }

    fn line(&self, name: &str, of: Of<'_>) -> Line {
        let values = self.points.iter().map(|(took, seconds)| of(*took, seconds)).collect();
        Line { name: name.into(), values }
    }

    /// Draws a plot unless there is nothing to show.
    fn draw(&self, title: String, note: String, quantity: Quantity, lines: Vec<Line>, into: &mut String) {
        let shown: Vec<_> = lines
            .into_iter()
            .filter(|line| line.values.iter().flatten().any(|value| value.is_finite() && *value > 0.0))
            .collect();
        if shown.is_empty() {
            return;
        }
        let (x, to_x, x_ticks, bands) = (&self.x, self.to_x, &self.ticks, &self.bands);
        Plot { title, note, quantity, x, to_x, x_ticks, x_name: "time", lines: shown, bands }.draw(into);
    }

    /// Says what a point stands for, if it is more than a second.
    fn points_are(&self, what: &str) -> String {
        if self.each > 1 { format!(" Each point is {what} of {} s.", self.each) } else { String::new() }
    }
}

/// Draws everything over time.
pub fn over_time(report: &Report, into: &mut String) {
    let course = Course::of(report);
    let order = |timer: &str| ORDER.iter().position(|known| *known == timer).unwrap_or(ORDER.len());
    let mut timers: Vec<_> = report.delays.iter().collect();
    timers.sort_by_key(|(timer, _)| order(timer));
    for (timer, whole) in timers {
        let at = |of: fn(&Delays) -> f64| {
            move |_: f64, seconds: &[Second]| {
                let there = seconds.iter().filter_map(|second| second.delays.get(timer)).filter(|d| d.count > 0);
                there.map(of).reduce(f64::max)
            }
        };
        let lines = vec![
            course.line("p50", &at(|delays| delays.p50)),
            course.line("p95", &at(|delays| delays.p95)),
            course.line("p99", &at(|delays| delays.p99)),
        ];
        let note =
            format!("{} Of all: p99 {}.{}", about(timer), format::ms(whole.p99), course.points_are("the worst second"));
        course.draw(title(timer), note, Quantity::Delay, lines, into);
    }
    let rate = |count: fn(&Second) -> u64| {
        move |took: f64, seconds: &[Second]| {
            Some(seconds.iter().map(count).sum::<u64>() as f64 / took).filter(|r| r.is_finite())
        }
    };
    let mean = course.points_are("the mean");
    course.draw(
        "Deliveries per second".into(),
        format!("Messages that reached somebody else than their sender.{mean}"),
        Quantity::Number,
        vec![course.line("delivered", &rate(delivered))],
        into,
    );
    course.draw(
        "Messages per second".into(),
        format!("Messages sent.{mean}"),
        Quantity::Number,
        vec![course.line("sent", &rate(|second| second.counts.get("sent").copied().unwrap_or(0)))],
        into,
    );
    servers(report, &course, into);
    course.draw(
        "Open connections".into(),
        format!("Sockets of the run.{}", course.points_are("the most")),
        Quantity::Number,
        vec![course.line("open", &|_, seconds| seconds.iter().map(|second| second.open as f64).reduce(f64::max))],
        into,
    );
    course.draw(
        "Errors per second".into(),
        format!("Of all kinds.{mean}"),
        Quantity::Number,
        vec![course.line("errors", &rate(|second| second.errors))],
        into,
    );
}

/// Draws what the servers used.
fn servers(report: &Report, course: &Course<'_>, into: &mut String) {
    let cpu = |seconds: &[Second]| seconds.iter().map(|second| second.cpu_s).sum::<Option<f64>>();
    let of = match report.servers.len() {
        0 | 1 => "the server".to_owned(),
        several => format!("all {several} servers together"),
    };
    let mean = course.points_are("the mean");
    course.draw(
        "CPU, cores used".into(),
        format!("By {of}, of {} cores.{mean}", report.machine.cores),
        Quantity::Number,
        vec![course.line("cores", &|took, seconds| Some(cpu(seconds)? / took).filter(|cores| cores.is_finite()))],
        into,
    );
    let each = |_: f64, seconds: &[Second]| {
        let deliveries: u64 = seconds.iter().map(delivered).sum();
        (deliveries > 0).then_some(())?;
        Some(cpu(seconds)? * 1e6 / deliveries as f64)
    };
    let whose = if report.servers.len() > 1 { of } else { format!("of {of}") };
    course.draw(
        "CPU per delivery".into(),
        format!("CPU time {whose}, divided by the deliveries of the same second.{mean}"),
        Quantity::Us,
        vec![course.line("CPU", &each)],
        into,
    );
    course.draw(
        "Resident memory".into(),
        format!("As the system counts it, {whose}.{}", course.points_are("the most")),
        Quantity::MiB,
        vec![course.line("memory", &|_, seconds| {
            seconds.iter().filter_map(|second| second.resident_bytes).max().map(|bytes| bytes as f64 / 1_048_576.0)
        })],
        into,
    );
}

/// Draws the delays of the whole run by percentile.
pub fn percentiles(report: &Report, into: &mut String) {
    // -log10(1 - p): each further nine is as wide as the one before; the largest stands where 99.98 % would.
    let ticks = [(0.3, "50 %"), (1.0, "90 %"), (1.3, "95 %"), (2.0, "99 %"), (3.0, "99.9 %"), (3.7, "max")].map(
        |(at, name)| Tick { at: at - 0.3, name: name.to_owned(), minor: ["90 %", "95 %", "99.9 %"].contains(&name) },
    );
    let x = ticks.clone().map(|tick| tick.at);
    let line = |(name, delays): (&String, &Delays)| {
        let values = [delays.p50, delays.p90, delays.p95, delays.p99, delays.p999, delays.max].map(Some).into();
        Line { name: name.clone(), values }
    };
    let lines: Vec<_> = report.delays.iter().filter(|(_, delays)| delays.count > 0).map(line).collect();
    if lines.is_empty() {
        return;
    }
    Plot {
        title: "Delays by percentile".into(),
        note: "Of the whole run: how long the slowest half, tenth, hundredth took at least.".into(),
        quantity: Quantity::Delay,
        x: &x,
        to_x: 3.4,
        x_ticks: &ticks,
        x_name: "percentile",
        lines,
        bands: &[],
    }
    .draw(into);
}

fn delivered(second: &Second) -> u64 {
    second.delays.get("delivered").map_or(0, |delays| delays.count)
}

fn title(timer: &str) -> String {
    match timer {
        "login" => "Delay of logins".into(),
        "handshake" => "Delay of handshakes".into(),
        "acknowledged" => "Delay of acknowledgements".into(),
        "delivered" => "Delay of deliveries".into(),
        "history" => "Delay of history pages".into(),
        "join" => "Delay of joins and leaves".into(),
        "presence" => "Delay of presence".into(),
        other => format!("Delay: {other}"),
    }
}

fn about(timer: &str) -> &'static str {
    match timer {
        "login" => "From the request to the token.",
        "handshake" => "From the TCP connection to a ready peer.",
        "acknowledged" => "From when a message was due until its sender knew that it is stored.",
        "delivered" => "From when a message was due until a receiver had it.",
        "history" => "From the request to the page.",
        "join" => "From the request to its answer.",
        "presence" => "From when a user's coming or going was due until a friend heard of it.",
        _ => "",
    }
}
