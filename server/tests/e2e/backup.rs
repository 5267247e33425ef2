//! `chinwag backup` and `restore`, with the real server: what was acknowledged is in the copy, and clients begin anew after it was put back.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Output,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crate::harness::{PASSWORD, Server, Value, eventually, json, run};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn contents(events: &[Value]) -> Vec<String> {
    let messages = events.iter().filter(|event| event["event"] == "message");
    messages.map(|event| event["content"].as_str().unwrap().to_owned()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_backup_of_a_busy_server_holds_all_that_was_acknowledged_before_it_began() {
    let server = Server::start_with(&["--unlimited"]);
    let mut ann = server.native(&server.user("ann"));
    let lobby = ann.ask("room.create", &json!({"name": "Lobby"}))["conversation"]["id"].clone();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("chinwag.backup");
    let (acknowledged, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let before = std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if stop.load(Relaxed) {
                    return;
                }
                let content = format!("line {n}");
                ann.post(&lobby, &content);
                acknowledged.lock().unwrap().push(content);
            }
        });
        eventually("some messages", || (acknowledged.lock().unwrap().len() >= 200).then_some(()));
        let before = acknowledged.lock().unwrap().clone();
        let done = server.command(&["backup", text(&file)]);
        let during = acknowledged.lock().unwrap().len();
        stop.store(true, Relaxed);
        assert!(done.status.success(), "{done:?}");
        assert!(during > before.len(), "it wrote on meanwhile");
        before
    });
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "no draft is left");

    let again = server.command(&["backup", text(&file)]);
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    assert!(said(&again).contains("--force"), "{again:?}");
    drop(server);

    let fresh = tempfile::tempdir().unwrap();
    let restored = run(&fresh, &["restore", text(&file)]);
    assert!(restored.status.success(), "{restored:?}");
    let server = Server::start_in(fresh, &["--unlimited"]);
    let mut ann = server.native(&server.login("ann", PASSWORD));
    let events = ann.history(&lobby);
    let seqs: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "no hole");
    let kept = contents(&events);
    assert_eq!(kept[..before.len()], before[..]);
    assert!(acknowledged.into_inner().unwrap().starts_with(&kept), "and nothing that was never said");
}

#[test]
fn clients_that_saw_later_messages_begin_anew_after_a_restoration() {
    let server = Server::start();
    let ann = server.user("ann");
    let mut native = server.native(&ann);
    let lobby = native.ask("room.create", &json!({"name": "Lobby"}))["conversation"]["id"].clone();
    native.post(&lobby, "kept");
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("backup");
    assert!(server.command(&["backup", text(&file)]).status.success());
    let lost = native.post(&lobby, "lost")["seq"].as_u64().unwrap();
    let epoch = native.welcome["epoch"].clone();
    let refused = server.command(&["restore", text(&file), "--force"]);
    assert_eq!(refused.status.code(), Some(3), "a server runs there: {refused:?}");

    let mut server = server;
    server.terminate();
    server.wait_for_end();
    let refused = server.command(&["restore", text(&file)]);
    assert_eq!(refused.status.code(), Some(5), "a store is there: {refused:?}");
    let server = server.restart_after(&[&["restore", text(&file), "--force"]]);
    let position = json!({"epoch": epoch, "seq": lost});
    let positions = json!({"token": ann.token, "positions": {lobby.as_str().unwrap(): position}});
    let mut native = server.native_with(&positions);
    assert_ne!(native.welcome["epoch"], epoch);
    assert_eq!(native.welcome["resumed"][0]["outcome"], "reset");
    assert_eq!(contents(&native.history(&lobby)), ["kept"]);
    // Below the old head as well: what was seq 3 then is another event now.
    native.post(&lobby, "new");
    native.post(&lobby, "newer");
    let native = server.native_with(&positions);
    assert_eq!(native.welcome["resumed"][0]["outcome"], "reset");
    let aside = server.directory().read_dir().unwrap().filter_map(Result::ok);
    let aside = aside.filter(|entry| entry.file_name().to_string_lossy().starts_with("replaced-"));
    assert_eq!(aside.count(), 1, "the old store is kept");
}

#[test]
fn what_is_no_sound_backup_is_refused_and_leaves_the_store_alone() {
    let directory = tempfile::tempdir().unwrap();
    assert!(run(&directory, &["seed"]).status.success());
    let file = directory.path().join("backup");
    assert!(run(&directory, &["backup", text(&file)]).status.success(), "of a stopped server");
    let store = directory.path().join("chinwag.db");
    let before = fs::read(&store).unwrap();

    let bytes = fs::read(&file).unwrap();
    let mut torn = bytes.clone();
    torn.truncate(bytes.len() / 2);
    let mut overwritten = bytes.clone();
    let middle = bytes.len() / 2;
    overwritten[middle..middle + 4096].fill(0xA5);
    for (what, wrong) in [("text", b"hello".to_vec()), ("empty", vec![]), ("torn", torn), ("overwritten", overwritten)]
    {
        let path = directory.path().join(what);
        fs::write(&path, wrong).unwrap();
        let refused = run(&directory, &["restore", text(&path), "--force"]);
        assert_eq!(refused.status.code(), Some(1), "{what}: {refused:?}");
        assert!(said(&refused).contains(what), "it names the file: {refused:?}");
    }
    assert_eq!(run(&directory, &["restore", text(&directory.path().join("missing"))]).status.code(), Some(1));
    assert_eq!(fs::read(&store).unwrap(), before);

    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(run(&nothing, &["backup", "backup"]).status.code(), Some(3), "there is no store");
    assert!(!nothing.path().join("backup").exists());
}

#[test]
fn a_backup_of_a_newer_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert!(run(&directory, &["migrate"]).status.success());
    let file = directory.path().join("backup");
    assert!(run(&directory, &["backup", text(&file)]).status.success());
    let done = std::process::Command::new("python3")
        .args(["-c", "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('UPDATE store_info SET oldest_reader = 999'); c.commit()"])
        .arg(&file)
        .status();
    assert!(done.expect("python3 runs").success());
    let refused = run(&directory, &["restore", text(&file), "--force"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(said(&refused).contains("needs schema version 999"), "{refused:?}");
}

#[test]
fn migrations_are_listed_and_applied() {
    let directory = tempfile::tempdir().unwrap();
    let listed = run(&directory, &["migrate", "--dry-run"]);
    let text = String::from_utf8(listed.stdout).unwrap();
    assert!(text.contains("to apply") && text.contains("00000000000001_first"), "{text}");
    assert!(!directory.path().join("chinwag.db").exists(), "a dry run makes nothing");
    let applied = String::from_utf8(run(&directory, &["migrate"]).stdout).unwrap();
    assert!(applied.contains("applied") && applied.contains("00000000000001_first"), "{applied}");
    for arguments in [&["migrate", "--dry-run"][..], &["migrate"]] {
        let again = String::from_utf8(run(&directory, arguments).stdout).unwrap();
        assert!(again.contains("up to date"), "{again}");
    }
    let server = Server::start_in(directory, &[]);
    let listed = server.command(&["migrate", "--dry-run"]);
    assert!(listed.status.success(), "beside a running server: {listed:?}");
    assert_eq!(server.command(&["migrate"]).status.code(), Some(3), "it holds the data directory");
}

#[test]
fn the_doctor_finds_a_healthy_server_healthy_and_says_what_to_do_otherwise() {
    let server = Server::start();
    let addresses = [
        "--http",
        &server.http,
        "--messenger",
        &server.messenger,
        "--presence",
        &server.presence,
        "--ops",
        &server.ops,
    ];
    let done = server.command(&[&["doctor", "--json"][..], &addresses].concat());
    assert!(done.status.success(), "{done:?}");
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let ours = findings.iter().filter(|finding| finding["found"].as_str().unwrap().contains("in use by this server"));
    assert_eq!(ours.count(), 4, "{report:#}");
    assert!(findings.iter().all(|finding| finding["level"] == "ok" || finding["advice"].is_string()), "{report:#}");

    let other = tempfile::tempdir().unwrap();
    let done = run(&other, &[&["doctor"][..], &addresses].concat());
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let told = String::from_utf8(done.stdout).unwrap();
    assert_eq!(told.matches("in use by another program").count(), 4, "{told}");
    assert!(
        told.lines().filter(|line| line.starts_with("FAIL")).count() == 4 && told.contains("→ stop that program"),
        "{told}"
    );
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0, "it made nothing");
}
