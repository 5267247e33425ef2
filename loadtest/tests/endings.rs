//! How a run ends, well or not: what it says, its exit status, and the report that it leaves.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Whatever is awaited comes within this time, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const FAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake_server.py");

/// The smallest run that logs users in.
const SMALL: [&str; 8] =
    ["direct", "--pairs=1", "--seconds=1", "--rounds=1", "--alone", "--seed=7", "--quiet", "--json"];

/// A run with its report and its words.
struct Run {
    directory: TempDir,
    output: Option<Output>,
}

impl Run {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), output: None }
    }

    fn json(&self) -> PathBuf {
        self.directory.path().join("result.json")
    }

    /// Begins the smallest run; its temporary files are under `tmp` of the run's directory.
    fn begin(&self, arguments: &[&str]) -> Child {
        let tmp = self.directory.path().join("tmp");
        std::fs::create_dir_all(&tmp).unwrap();
        let mut command = loadtest();
        command.args(SMALL).arg(self.json()).args(arguments).env("TMPDIR", &tmp);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn end(mut self, child: Child) -> Self {
        self.output = Some(child.wait_with_output().unwrap());
        self
    }

    fn of(arguments: &[&str]) -> Self {
        let run = Self::new();
        let child = run.begin(arguments);
        run.end(child)
    }

    fn said(&self) -> String {
        String::from_utf8(self.output.as_ref().unwrap().stderr.clone()).unwrap()
    }

    fn report(&self) -> Value {
        let text = std::fs::read_to_string(self.json()).unwrap_or_else(|_| panic!("no report: {}", self.said()));
        serde_json::from_str(&text).unwrap()
    }

    /// Holds the run to what every early end leaves: exit status 1, the reason said last, and a report that has it.
    fn ended_early_because(&self, reason: &str) {
        let said = self.said();
        assert_eq!(self.output.as_ref().unwrap().status.code(), Some(1), "{said}");
        assert!(said.starts_with("FAILED: ") && said.contains(reason), "{said}");
        let report = self.report();
        assert!(report["partial"].as_str().is_some_and(|partial| partial.contains(reason)), "{report:#}");
        assert_eq!((&report["scenario"], &report["seed"]), (&"direct".into(), &7.into()));
        self.left_nothing();
    }

    fn left_nothing(&self) {
        let left: Vec<_> = std::fs::read_dir(self.directory.path().join("tmp")).unwrap().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

fn loadtest() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chinwag-loadtest"));
    command.env_remove("CHINWAG_BIN").stdin(Stdio::null());
    command
}

/// The server's program, which `cargo test --workspace` builds beside this one's.
fn chinwag() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_chinwag-loadtest")).with_file_name("chinwag");
    assert!(program.is_file(), "{} is missing: cargo build -p chinwag", program.display());
    program
}

fn eventually<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A fake server that runs already.
struct Running {
    process: Child,
    directory: TempDir,
}

impl Running {
    fn start(logins: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().to_str().unwrap();
        let process = Command::new(FAKE).args(["serve", "--data", data, logins]).spawn().unwrap();
        let running = Self { process, directory };
        eventually("ports.json", || running.file("ports.json").is_file().then_some(()));
        running
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn asked(&self) {
        eventually("a login", || self.file("asked").is_file().then_some(()));
    }

    fn node(&self) -> String {
        format!("--node={}", self.directory.path().display())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_run_against_the_real_server_passes_and_leaves_a_whole_report() {
    let run = Run::of(&["--server", chinwag().to_str().unwrap()]);
    assert!(run.output.as_ref().unwrap().status.success(), "{}", run.said());
    let report = run.report();
    assert_eq!(report["partial"], Value::Null);
    assert_eq!(report["violations"], Value::Array(Vec::new()));
    let delivered = report["delays"]["delivered"]["count"].as_u64().unwrap();
    assert!(delivered > 0 && report["checked"]["messages"].as_u64().unwrap() >= delivered, "{report:#}");
    assert!(report["series"].as_array().unwrap().iter().any(|second| second["cpu_s"].as_f64() > Some(0.0)));
    let metrics = report["metrics"].as_object().unwrap();
    assert!(!metrics.is_empty() && metrics.keys().all(|name| name.starts_with("chinwag_")), "{metrics:?}");
    assert_eq!(report["servers"][0]["unlimited"], true);
    assert_eq!(report["servers"][0]["version"], env!("CARGO_PKG_VERSION"));
    let address = report["servers"][0]["address"].as_str().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err(), "the server still runs");
    run.left_nothing();
}

#[test]
fn who_is_away_at_the_end_of_a_community_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("result.json");
    let mut command = loadtest();
    // Users of the rooms protocol hear nothing while they are away: only what they write then is to be waited for.
    command.args(["mix", "--protocol=rooms", "--users=20", "--writers=0.5", "--rooms=4", "--seconds=3", "--rate=100"]);
    command.args(["--reconnect-rate=8", "--seed=7", "--quiet", "--server"]).arg(chinwag()).arg("--json").arg(&json);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert!(report["checked"]["messages"].as_u64() > Some(100), "{report:#}");
}

#[test]
fn a_broken_threshold_fails_a_whole_run() {
    let run = Run::of(&["--server", chinwag().to_str().unwrap(), "--fail-if", "errors>=0"]);
    assert_eq!(run.output.as_ref().unwrap().status.code(), Some(1));
    assert!(run.said().contains("errors>=0"), "{}", run.said());
    assert_eq!(run.report()["partial"], Value::Null);
}

#[test]
fn a_refused_login_is_told_with_its_reason() {
    let run = Run::of(&["--server", FAKE, "--server-arg=--logins=refuse"]);
    run.ended_early_because("refused the login of direct-");
    assert!(run.said().contains("Invalid username or password"), "{}", run.said());
}

#[test]
fn a_server_that_dies_is_told_with_its_last_words() {
    let run = Run::of(&["--server", FAKE, "--server-arg=--logins=die"]);
    run.ended_early_because("the server died (exit status: 7)");
    assert!(run.said().contains("the disk is full"), "{}", run.said());
}

#[test]
fn a_server_that_was_there_before_and_dies_is_told_by_its_process_id() {
    let mut server = Running::start("--logins=hang");
    let run = Run::new();
    let child = run.begin(&[&server.node()]);
    server.asked();
    server.process.kill().unwrap();
    run.end(child).ended_early_because(&format!("process id {} died", server.process.id()));
}

#[test]
fn ctrl_c_leaves_a_partial_report_and_no_server() {
    let run = Run::new();
    let child = run.begin(&["--server", FAKE, "--server-arg=--logins=hang"]);
    let tmp = run.directory.path().join("tmp");
    let data = eventually("a login", || {
        let data = std::fs::read_dir(&tmp).unwrap().next()?.unwrap().path();
        data.join("asked").is_file().then_some(data)
    });
    let ports: Value = serde_json::from_str(&std::fs::read_to_string(data.join("ports.json")).unwrap()).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    run.end(child).ended_early_because("it was interrupted (Ctrl-C)");
    let server = Pid::from_raw(i32::try_from(ports["pid"].as_i64().unwrap()).unwrap()).unwrap();
    assert!(test_kill_process(server).is_err(), "the server still runs");
}

#[test]
fn a_run_ends_at_its_bound_whatever_happens() {
    let server = Running::start("--logins=hang");
    let begun = Instant::now();
    Run::of(&[&server.node(), "--max-seconds=2"]).ended_early_because("--max-seconds 2");
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn a_server_that_cannot_start_is_told_with_its_last_words_and_leaves_no_report() {
    let run = Run::of(&["--server", chinwag().to_str().unwrap(), "--server-arg=--worker-threads=1000"]);
    assert_eq!(run.output.as_ref().unwrap().status.code(), Some(1));
    assert!(run.said().contains("the server ended at once") && run.said().contains("worker-threads"), "{}", run.said());
    assert!(!run.json().exists());
    run.left_nothing();
    assert!(Run::of(&["--server", "/nowhere/chinwag"]).said().contains("can't start /nowhere/chinwag: build it"));
}

#[test]
fn servers_beyond_loopback_are_refused_before_anything_is_connected() {
    let begun = Instant::now();
    // Reserved for documentation (RFC 5737): a connection would hang.
    let run = Run::of(&["--node=http=192.0.2.1:3000"]);
    assert_eq!(run.output.as_ref().unwrap().status.code(), Some(1));
    assert!(run.said().contains("--i-own-this-server"), "{}", run.said());
    assert!(begun.elapsed() < PATIENCE && !run.json().exists());
}

#[test]
fn wrong_arguments_are_told_in_one_line() {
    for (argument, word) in [
        ("--max-seconds=soon", "--max-seconds"),
        ("--no-such-option", "--no-such-option"),
        ("--fail-if=p99", "--fail-if"),
        ("--protocol=smtp", "native"),
        ("--server=x", "--node"),
    ] {
        let output = loadtest().args(["direct", "--node=http=127.0.0.1:1", argument]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(word), "{said}");
    }
    let help = loadtest().args(["direct", "--help"]).output().unwrap();
    assert!(help.status.success() && help.stdout.len() > 1000);
}

#[test]
fn a_stored_result_becomes_a_page_again() {
    let run = Run::of(&["--server", FAKE, "--server-arg=--logins=refuse"]);
    let page = run.directory.path().join("again.html");
    let again = |json: &Path| loadtest().arg("report").arg(json).arg("--html").arg(&page).output().unwrap();
    assert!(again(&run.json()).status.success());
    assert!(std::fs::read_to_string(&page).unwrap().contains("refused the login of direct-"));
    let wrong = again(&page);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("isn't JSON"));
}
