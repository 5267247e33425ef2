//! What a person sees while a run plays: a bar at a terminal, a line every five seconds elsewhere.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::model::Second;

/// Seconds between lines where there is no terminal.
const LINE_EVERY: u64 = 5;

/// What has a rate worth showing, most telling first: the timers and counters of a second, and the word for them.
const RATES: [(&str, &str); 7] = [
    ("delivered", "deliveries/s"),
    ("acknowledged", "acknowledged/s"),
    ("sent", "sent/s"),
    ("handshake", "connects/s"),
    ("join", "joins/s"),
    ("history", "pages/s"),
    ("login", "logins/s"),
];

/// Progress of a run.
pub struct Progress {
    shown: Shown,
    aim: Mutex<&'static str>,
    total: AtomicU64,
    done: AtomicU64,
    lines: AtomicU64,
}

enum Shown {
    Nothing,
    Lines,
    Bar(ProgressBar),
}

impl Progress {
    /// Makes the progress: nothing if `quiet`, a bar if standard error is a terminal, else lines there.
    pub fn new(quiet: bool) -> Self {
        let shown = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Shown::Nothing,
            (false, false) => Shown::Lines,
            (false, true) => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                // The template is checked by a test.
                bar.set_style(style().unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.enable_steady_tick(Duration::from_millis(250));
                Shown::Bar(bar)
            }
        };
        let (total, done, lines) = Default::default();
        Self { shown, aim: Mutex::new(""), total, done, lines }
    }

    fn unit(&self) -> MutexGuard<'_, &'static str> {
        self.aim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how much there is to do, and the word for it.
    pub fn aim(&self, total: u64, of: &'static str) {
        *self.unit() = of;
        self.total.store(total, Relaxed);
        self.done.store(0, Relaxed);
        if let Shown::Bar(bar) = &self.shown {
            bar.set_length(total);
            bar.set_position(0);
            bar.set_prefix(of);
        }
    }

    /// Says how much of it is done.
    pub fn done(&self, done: u64) {
        self.done.store(done, Relaxed);
        if let Shown::Bar(bar) = &self.shown {
            bar.set_position(done);
        }
    }

    /// Says a line on standard output.
    pub fn say(&self, line: &str) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Lines => print(line),
            Shown::Bar(bar) => bar.suspend(|| print(line)),
        }
    }

    /// Shows the last second, which took `took`.
    pub fn tick(&self, second: &Second, took: Duration) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.set_message(told(second, took)),
            Shown::Lines => {
                if self.lines.fetch_add(1, Relaxed) % LINE_EVERY == LINE_EVERY - 1 {
                    let (done, total) = (self.done.load(Relaxed), self.total.load(Relaxed));
                    let aim = if total > 0 { format!("{done} of {total} {}; ", self.unit()) } else { String::new() };
                    eprintln!("  {:5.0} s: {aim}{}", second.at_s, told(second, took));
                }
            }
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn print(line: &str) {
    // A reader that has gone is no reason to end a run.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn style() -> Result<ProgressStyle, indicatif::style::TemplateError> {
    ProgressStyle::with_template("{elapsed:>4} [{bar:24}] {pos}/{len} {prefix}  {wide_msg}")
        .map(|style| style.progress_chars("=> "))
}

/// Tells a second: its most telling rate, open connections, the p99 of that rate's delays, errors.
fn told(second: &Second, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(1e-3);
    let count = |name: &str| {
        let timed = second.delays.get(name).map(|delays| delays.count);
        timed.or_else(|| second.counts.get(name).copied()).filter(|&count| count > 0)
    };
    let mut parts = Vec::new();
    if let Some((name, word, count)) = RATES.iter().find_map(|(name, word)| Some((*name, word, count(name)?))) {
        parts.push(format!("{:.0} {word}", count as f64 / seconds));
        if let Some(delays) = second.delays.get(name) {
            parts.push(format!("p99 {:.1} ms", delays.p99));
        }
    }
    parts.push(format!("{} open", second.open));
    parts.push(format!("{} errors", second.errors));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Delays;

    #[test]
    fn the_bar_can_be_drawn() {
        assert!(style().is_ok());
    }

    #[test]
    fn a_second_is_told_by_its_most_telling_rate() {
        let delays = |count| Delays { count, p99: 3.25, ..Delays::default() };
        let mut second = Second { open: 200, errors: 1, ..Second::default() };
        assert_eq!(told(&second, Duration::from_secs(1)), "200 open, 1 errors");
        second.counts.insert("sent".into(), 30);
        assert_eq!(told(&second, Duration::from_secs(2)), "15 sent/s, 200 open, 1 errors");
        second.delays.insert("delivered".into(), delays(3000));
        assert_eq!(told(&second, Duration::from_secs(2)), "1500 deliveries/s, p99 3.2 ms, 200 open, 1 errors");
    }
}
