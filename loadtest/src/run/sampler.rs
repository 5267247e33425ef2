//! Gathers, once a second, what the tasks of a run noted: for the series, the phase that plays, and the totals.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::{
    Run,
    meter::{Counter, Measured},
    process::Process,
};
use crate::report::model::{Delays, Phase, Second};

/// Entries of a series kept: beyond, neighbours are joined, so that a run of a day has as many as one of an hour.
const SERIES_MAX: usize = 3600;

/// What a run measured.
#[derive(Debug, Default)]
pub struct Recorded {
    pub totals: Measured,
    pub phases: Vec<Phase>,
    pub series: Vec<Second>,
    /// When the first phase began, seconds since the run's origin; `None` without phases.
    pub begun_s: Option<f64>,
}

/// Takes the notes of a run.
pub struct Recorder {
    run: Arc<Run>,
    processes: Arc<[Process]>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    recorded: Recorded,
    second: Measured,
    phase: Option<OpenPhase>,
    cpu_s: Option<f64>,
    /// Seconds that one entry of the series stands for; doubles when the series is full.
    ticks_per_entry: usize,
    ticks: usize,
}

struct OpenPhase {
    name: String,
    from_s: f64,
    measured: Measured,
}

impl Recorder {
    /// Makes a recorder of a run and the servers' processes.
    pub fn new(run: Arc<Run>, processes: Arc<[Process]>) -> Arc<Self> {
        let recorder = Self { run, processes, state: Mutex::default() };
        recorder.state().cpu_s = recorder.cpu().ok().map(|cpu| cpu.as_secs_f64());
        Arc::new(recorder)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_s(&self) -> f64 {
        Instant::now().saturating_duration_since(self.run.origin).as_secs_f64()
    }

    /// Returns CPU time of all measured processes so far.
    ///
    /// # Errors
    /// When there is none to measure, or one is gone.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        ensure!(!self.processes.is_empty(), "no process id of a server is known: add pid=N to --node");
        self.processes.iter().map(Process::cpu).sum()
    }

    /// Returns resident memory of all measured processes, bytes.
    ///
    /// # Errors
    /// When there is none to measure, or one is gone.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        ensure!(!self.processes.is_empty(), "no process id of a server is known: add pid=N to --node");
        self.processes.iter().map(Process::resident_bytes).sum()
    }

    /// Ends a second and returns it.
    pub fn tick(&self) -> Second {
        let mut state = self.state();
        self.drain(&mut state);
        self.end_second(&mut state)
    }

    /// Ends the phase before, if there is one, and returns it; begins one.
    pub fn phase(&self, name: &str) -> Option<Phase> {
        let mut state = self.state();
        self.drain(&mut state);
        let from_s = self.now_s();
        let ended = state.end_phase(from_s).cloned();
        state.recorded.begun_s.get_or_insert(from_s);
        state.phase = Some(OpenPhase { name: name.to_owned(), from_s, measured: Measured::default() });
        ended
    }

    /// Ends the recording: what came since the last second is its last entry. The last phase ended at `played_s`, seconds since the
    /// origin; what was still under way then counts as its own.
    pub fn finish(&self, played_s: f64) -> Recorded {
        let mut state = self.state();
        self.drain(&mut state);
        self.end_second(&mut state);
        state.end_phase(played_s);
        std::mem::take(&mut state.recorded)
    }

    fn drain(&self, state: &mut State) {
        let mut fresh = Measured::default();
        self.run.meter.drain(&mut fresh);
        state.second.add(&fresh);
        state.recorded.totals.add(&fresh);
        if let Some(phase) = &mut state.phase {
            phase.measured.add(&fresh);
        }
    }

    fn end_second(&self, state: &mut State) -> Second {
        let measured = std::mem::take(&mut state.second);
        let cpu_s = self.cpu().ok().map(|cpu| cpu.as_secs_f64());
        let totals = &state.recorded.totals;
        let second = Second {
            at_s: self.now_s(),
            counts: measured.counters().map(|(name, count)| (name.to_owned(), count)).collect(),
            delays: measured.timers().map(|(name, times)| (name.to_owned(), Delays::of(times))).collect(),
            errors: measured.error_count(),
            cpu_s: cpu_s.zip(state.cpu_s).map(|(now, before)| now - before),
            resident_bytes: self.resident_bytes().ok(),
            open: totals.counter(Counter::Connected).saturating_sub(totals.counter(Counter::Closed)),
        };
        state.cpu_s = cpu_s.or(state.cpu_s);
        state.keep(second.clone());
        second
    }
}

impl State {
    fn end_phase(&mut self, to_s: f64) -> Option<&Phase> {
        let OpenPhase { name, from_s, measured } = self.phase.take()?;
        self.recorded.phases.push(Phase {
            name,
            from_s,
            to_s,
            counts: measured.counters().map(|(name, count)| (name.to_owned(), count)).collect(),
            delays: measured.timers().map(|(name, times)| (name.to_owned(), Delays::of(times))).collect(),
            errors: measured.errors,
        });
        self.recorded.phases.last()
    }

    fn keep(&mut self, second: Second) {
        let series = &mut self.recorded.series;
        let begins = self.ticks.is_multiple_of(self.ticks_per_entry.max(1));
        self.ticks += 1;
        match series.last_mut().filter(|_| !begins) {
            Some(last) => join(last, &second),
            None => series.push(second),
        }
        if series.len() > SERIES_MAX {
            for pair in 0..series.len() / 2 {
                let mut first = series[2 * pair].clone();
                join(&mut first, &series[2 * pair + 1]);
                series[pair] = first;
            }
            // The one without a neighbour has just begun.
            let last = series.pop();
            series.truncate(SERIES_MAX / 2);
            series.extend(last);
            self.ticks_per_entry = 2 * self.ticks_per_entry.max(1);
            self.ticks = 1;
        }
    }
}

/// Adds a later entry of the series to an earlier one. Percentiles can't be added: the worse one stays.
fn join(entry: &mut Second, later: &Second) {
    for (name, count) in &later.counts {
        *entry.counts.entry(name.clone()).or_default() += count;
    }
    for (name, later) in &later.delays {
        let own = entry.delays.entry(name.clone()).or_default();
        let count = own.count + later.count;
        *own = Delays {
            count,
            mean: (own.mean * own.count as f64 + later.mean * later.count as f64) / count.max(1) as f64,
            p50: own.p50.max(later.p50),
            p90: own.p90.max(later.p90),
            p95: own.p95.max(later.p95),
            p99: own.p99.max(later.p99),
            p999: own.p999.max(later.p999),
            max: own.max.max(later.max),
        };
    }
    entry.at_s = later.at_s;
    entry.errors += later.errors;
    entry.cpu_s = entry.cpu_s.zip(later.cpu_s).map(|(own, later)| own + later);
    entry.resident_bytes = later.resident_bytes;
    entry.open = later.open;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{peer::Protocol, run::meter::Timer};

    fn recorder(processes: Vec<Process>) -> (Arc<Run>, Arc<Recorder>) {
        let run = Run::new(1, Protocol::Native, false, Vec::new());
        (run.clone(), Recorder::new(run, processes.into()))
    }

    #[test]
    fn a_phase_has_what_was_noted_while_it_played_and_the_end_misses_nothing() {
        let (run, recorder) = recorder(Vec::new());
        run.meter.count(Counter::Sent, 1);
        recorder.phase("first");
        run.meter.count(Counter::Sent, 10);
        run.meter.time(Timer::Delivered, Duration::from_millis(3));
        let second = recorder.tick();
        assert_eq!((second.counts["sent"], second.delays["delivered"].count), (11, 1));
        run.meter.count(Counter::Sent, 100);
        recorder.phase("second");
        run.meter.count(Counter::Sent, 1000);
        run.meter.error("strange");
        let recorded = recorder.finish(7.0);
        assert_eq!(recorded.phases[1].to_s, 7.0);
        let sent: Vec<u64> = recorded.phases.iter().map(|phase| phase.counts["sent"]).collect();
        assert_eq!(sent, [110, 1000]);
        assert_eq!(recorded.phases[1].errors["strange"], 1);
        assert_eq!(recorded.phases[0].to_s, recorded.phases[1].from_s);
        assert_eq!(recorded.totals.counter(Counter::Sent), 1111);
        assert_eq!(recorded.series.iter().map(|second| second.counts["sent"]).sum::<u64>(), 1111);
        assert_eq!(recorded.series.last().unwrap().errors, 1);
    }

    #[test]
    fn connections_that_are_open_are_those_that_came_and_did_not_go() {
        let (run, recorder) = recorder(Vec::new());
        run.meter.count(Counter::Connected, 5);
        assert_eq!(recorder.tick().open, 5);
        run.meter.count(Counter::Closed, 2);
        assert_eq!(recorder.tick().open, 3);
    }

    #[test]
    fn without_a_process_cpu_is_unknown_and_with_one_it_is_measured() {
        let (_, unknown) = recorder(Vec::new());
        assert_eq!(unknown.tick().cpu_s, None);
        assert!(unknown.cpu().unwrap_err().to_string().contains("pid=N"));
        let (_, own) = recorder(vec![Process::watch(std::process::id()).unwrap()]);
        let second = own.tick();
        assert!(second.cpu_s.is_some_and(|cpu| cpu >= 0.0) && second.resident_bytes.is_some_and(|bytes| bytes > 0));
    }

    #[test]
    fn a_long_series_keeps_its_sums_and_its_bound() {
        let mut state = State::default();
        let ticks = 5 * SERIES_MAX + 3;
        for n in 1..=ticks {
            let slow = Delays { count: 1, p99: if n == 77 { 9.0 } else { 1.0 }, ..Delays::default() };
            let counts = [("sent".to_owned(), 2)].into();
            let delays = [("delivered".to_owned(), slow)].into();
            let cpu_s = Some(0.5);
            state.keep(Second { at_s: n as f64, counts, delays, cpu_s, ..Second::default() });
            assert!(state.recorded.series.len() <= SERIES_MAX);
        }
        let series = &state.recorded.series;
        assert!(series.len() > SERIES_MAX / 2);
        assert_eq!(series.iter().map(|second| second.counts["sent"]).sum::<u64>(), 2 * ticks as u64);
        assert_eq!(series.iter().filter_map(|second| second.cpu_s).sum::<f64>(), 0.5 * ticks as f64);
        assert_eq!(series.last().unwrap().at_s, ticks as f64);
        assert!(series.windows(2).all(|pair| pair[0].at_s < pair[1].at_s));
        assert!(series.iter().any(|second| second.delays["delivered"].p99 == 9.0));
        let spans: Vec<f64> = series.windows(2).map(|pair| pair[1].at_s - pair[0].at_s).collect();
        assert!(spans[..spans.len() - 1].iter().all(|span| *span == 8.0), "{:?}", &spans[..5]);
    }
}
