//! The program's command line, as a shell sees it: what it prints, and its exit codes.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

/// Runs the program in a directory with nothing of the caller's environment.
fn chinwag(directory: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chinwag"))
        .args(args)
        .current_dir(directory)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it prints UTF-8")
}

#[test]
fn config_prints_effective_settings_with_their_sources_and_touches_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("chinwag.toml"), "retention_days = 3\n").unwrap();
    std::fs::write(directory.path().join(".env"), "CHINWAG_LOG_FORMAT=json\n").unwrap();
    let secret = "0f".repeat(32);
    let environment = [("CHINWAG_GUESTS", "off"), ("CHINWAG_SECRET", secret.as_str())];
    let output = chinwag(directory.path(), &["config", "--http", "127.0.0.1:0"], &environment);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for (setting, source) in [
        ("http = [\"127.0.0.1:0\"]", "# flag"),
        ("guests = \"off\"", "# environment"),
        ("log_format = \"json\"", ".env:1"),
        ("retention_days = 3", "chinwag.toml:1"),
        ("messenger = [\"127.0.0.1:4000\"]", "# default"),
        ("secret = \"********\"", "# environment"),
    ] {
        let line = shown.lines().find(|line| line.starts_with(setting)).unwrap_or_else(|| panic!("{setting}\n{shown}"));
        assert!(line.ends_with(source), "{line}");
    }
    assert!(!shown.contains(&secret));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "no data directory was made");
}

#[test]
fn unknown_and_contradictory_settings_refuse_to_start_with_code_2() {
    let directory = tempfile::tempdir().unwrap();
    for (args, environment, expected) in [
        (&["serve", "--nonsense"][..], &[][..], "--nonsense"),
        (&["serve", "--tls-cert", "c.pem"], &[], "--tls-cert: needs tls_key too"),
        (&["serve"], &[("CHINWAG_HTP", "x")], "unknown variable CHINWAG_HTP; did you mean CHINWAG_HTTP?"),
        (&["serve", "--config", "missing.toml"], &[], "missing.toml"),
        (&["user", "list", "--messenger", "nowhere"], &[], "--messenger: 'nowhere' is not an address"),
    ] {
        let output = chinwag(directory.path(), args, environment);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(expected), "{args:?}: {}", text(&output.stderr));
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn users_are_managed_from_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    std::fs::write(&password, "secret1\n").unwrap();
    let user = |args: &[&str]| {
        let all: Vec<&str> = ["user"].iter().chain(args).copied().chain(["--data", "data"]).collect();
        chinwag(directory.path(), &all, &[])
    };
    let add = |name: &str| user(&["add", name, "--password-file", "password"]);
    let added = add("ann");
    assert!(added.status.success(), "{}", text(&added.stderr));
    assert_eq!(add("ann").status.code(), Some(5), "the name is taken");
    assert_eq!(user(&["ban", "nobody"]).status.code(), Some(5), "nobody of that name");
    assert!(user(&["ban", "ann"]).status.success());
    let listed = text(&user(&["list"]).stdout);
    assert!(listed.contains("\tann\t\tbanned"), "{listed}");
}

#[test]
fn a_node_of_a_cluster_says_which_service_it_misses_and_shows_no_password() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let run = |args: &[&str], environment: &[(&str, &str)]| {
        let all: Vec<&str> = args.iter().copied().chain(["--data", "data"]).collect();
        let output = chinwag(directory.path(), &all, environment);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(!said.contains("s3cret"), "{said}");
        (output.status.code(), said)
    };
    let (code, said) = run(&["serve"], &[("CHINWAG_REDIS", "redis://:s3cret@127.0.0.1:1")]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--node, --postgres, --scylla, --cluster-key-file are missing"), "{said}");

    let (code, said) = run(&["cluster-key", "key"], &[("CHINWAG_CLUSTER_KEY_FILE", "key")]);
    assert_eq!(code, Some(0), "though the settings name it: {said}");
    assert_eq!(std::fs::metadata(directory.path().join("key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(run(&["cluster-key", "key"], &[]).0, Some(1), "it is there already");
    let node = [
        ("CHINWAG_NODE", "a"),
        // Nobody listens there.
        ("CHINWAG_POSTGRES", "postgres://chat:s3cret@127.0.0.1:1/chat"),
        ("CHINWAG_SCYLLA", "127.0.0.1:1"),
        ("CHINWAG_REDIS", "redis://:s3cret@127.0.0.1:1"),
        ("CHINWAG_CLUSTER_KEY_FILE", "key"),
    ];
    let (code, said) = run(&["user", "list"], &node);
    assert_eq!(code, Some(6), "{said}");
    let (code, said) = run(&["migrate", "--dry-run"], &node);
    assert_eq!(code, Some(6), "{said}");
    assert_eq!(run(&["backup", "file"], &node).0, Some(2));
    let (code, said) = run(&["config"], &node);
    assert!(code == Some(0) && said.contains("postgres://chat:********@127.0.0.1:1/chat"), "{said}");
    let (code, said) =
        run(&["doctor", "--http", "127.0.0.1:0", "--messenger", "off", "--presence", "off", "--ops", "off"], &node);
    assert_eq!(code, Some(1), "{said}");
    for service in ["FAIL  Postgres", "FAIL  ScyllaDB or Cassandra", "FAIL  Redis"] {
        assert!(said.contains(service), "{said}");
    }
    let kept: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(kept, ["key"], "no command made a data directory");
}
