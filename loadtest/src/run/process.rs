//! What the kernel tells of a process: CPU time, memory, and whether it still lives. Linux only (`/proc`).

use std::{
    collections::HashMap,
    fs,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};

/// Fields of `/proc/PID/stat` after the name, which may have blanks and brackets (proc_pid_stat(5) counts from 1, the state is 3).
const STATE: usize = 0;
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const STARTED: usize = 19;

/// A process that is watched from outside.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    /// Clock ticks after the boot: a later process with the same number has another.
    started: u64,
    threads: Mutex<Threads>,
}

impl Process {
    /// Begins to watch a process.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn watch(pid: u32) -> anyhow::Result<Self> {
        let stat = Stat::read(pid).with_context(|| format!("there is no process {pid}"))?;
        Ok(Self { pid, started: stat.started, threads: Mutex::default() })
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Says whether it still runs; one that ended and that its parent hasn't asked for yet doesn't.
    pub fn is_alive(&self) -> bool {
        Stat::read(self.pid).is_ok_and(|stat| stat.started == self.started && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Returns CPU time used so far, user and system. Never less than before: the time of threads that ended stays.
    ///
    /// At the scheduler's precision; where the kernel doesn't tell that, in ticks of 10 ms.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        ensure!(self.is_alive(), "process {} is gone", self.pid);
        // Held while reading: of two readings at once the earlier, noted last, would be taken for that of new threads.
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let now = thread_times(self.pid)?;
        if now.is_empty() {
            return Ok(Stat::read(self.pid)?.cpu);
        }
        Ok(threads.update(now))
    }

    /// Returns resident memory, bytes.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))
            .with_context(|| format!("process {} is gone", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let line = line.with_context(|| format!("process {} has no memory any more", self.pid))?;
        let kib: u64 = line.split_whitespace().next().context("VmRSS without a number")?.parse()?;
        Ok(kib * 1024)
    }
}

/// CPU time by thread.
#[derive(Debug, Default)]
struct Threads {
    live: HashMap<u32, Duration>,
    ended: Duration,
}

impl Threads {
    fn update(&mut self, now: HashMap<u32, Duration>) -> Duration {
        for (thread, before) in &self.live {
            // A smaller time is that of a new thread with an old number.
            if now.get(thread).is_none_or(|time| time < before) {
                self.ended += *before;
            }
        }
        self.live = now;
        self.ended + self.live.values().sum::<Duration>()
    }
}

/// Returns the run time of each thread; empty where the kernel doesn't tell.
fn thread_times(pid: u32) -> anyhow::Result<HashMap<u32, Duration>> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))?;
    let time = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let text = fs::read_to_string(entry.path().join("schedstat")).ok()?;
        let nanos: u64 = text.split(' ').next()?.parse().ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, Duration::from_nanos(nanos)))
    };
    // A thread may end while it is read.
    Ok(threads.filter_map(time).collect())
}

struct Stat {
    state: char,
    started: u64,
    cpu: Duration,
}

impl Stat {
    fn read(pid: u32) -> anyhow::Result<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat"))?).context("a strange /proc/PID/stat")
    }

    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
        let ticks = number(USER_TICKS)? + number(SYSTEM_TICKS)?;
        Some(Self {
            state: fields.get(STATE)?.chars().next()?,
            started: number(STARTED)?,
            cpu: Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_end_take_no_cpu_time_with_them() {
        let times = |times: &[(u32, u64)]| times.iter().map(|&(id, ms)| (id, Duration::from_millis(ms))).collect();
        let mut threads = Threads::default();
        assert_eq!(threads.update(times(&[(1, 10), (2, 100)])), Duration::from_millis(110));
        assert_eq!(threads.update(times(&[(1, 20)])), Duration::from_millis(120));
        // The number of the thread that ended is used again.
        assert_eq!(threads.update(times(&[(1, 20), (2, 5)])), Duration::from_millis(125));
        assert_eq!(threads.update(times(&[(1, 20), (2, 3)])), Duration::from_millis(128));
    }

    #[test]
    fn cpu_of_a_process_whose_threads_come_and_go_only_grows() {
        let process = Process::watch(std::process::id()).unwrap();
        let begun = process.cpu().unwrap();
        let mut last = begun;
        for round in 0..5_u64 {
            let (tell, told) = std::sync::mpsc::channel();
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let until = std::time::Instant::now() + Duration::from_millis(20);
                    let mut n = round;
                    while std::time::Instant::now() < until {
                        n = std::hint::black_box(n.wrapping_mul(7));
                    }
                    tell.send(()).unwrap();
                    // Lives on until it was seen.
                    std::thread::sleep(Duration::from_millis(20));
                });
                told.recv().unwrap();
                let now = process.cpu().unwrap();
                assert!(now >= last, "{now:?} after {last:?}");
                last = now;
            });
            let now = process.cpu().unwrap();
            assert!(now >= last, "{now:?} after {last:?}");
            last = now;
        }
        assert!(last > begun, "five busy threads used nothing");
    }

    #[test]
    fn readings_at_the_same_time_count_nothing_twice() {
        let process = Process::watch(std::process::id()).unwrap();
        let begun = (process.cpu().unwrap(), std::time::Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    (0..200).for_each(|_| {
                        process.cpu().unwrap();
                    })
                });
            }
        });
        let (used, took) = (process.cpu().unwrap() - begun.0, begun.1.elapsed());
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
        // A thread that had lived for long would be counted anew each time.
        assert!(used <= took * cores + Duration::from_millis(100), "{used:?} of CPU in {took:?} on {cores} cores");
    }

    #[test]
    fn a_name_with_brackets_is_no_hindrance() {
        let text = "7 (a) b (c) Z 1 7 7 0 -1 4 5 0 0 0 150 50 0 0 20 0 3 0 987654 1000 10";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.started), ('Z', 987_654));
        assert_eq!(stat.cpu.as_secs_f64() * rustix::param::clock_ticks_per_second() as f64, 200.0);
    }

    #[test]
    fn a_process_that_ended_is_gone_also_before_it_was_waited_for() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let process = Process::watch(child.id()).unwrap();
        assert!(process.is_alive());
        assert!(process.resident_bytes().unwrap() > 0);
        child.kill().unwrap();
        let begun = std::time::Instant::now();
        while process.is_alive() && begun.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        assert!(!process.is_alive());
        child.wait().unwrap();
        assert!(!process.is_alive());
        assert!(process.cpu().unwrap_err().to_string().contains("is gone"));
        assert!(Process::watch(child.id()).unwrap_err().to_string().starts_with("there is no process"));
    }
}
