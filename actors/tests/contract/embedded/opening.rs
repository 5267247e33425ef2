//! Opening a data directory: the lock, the guard, the epoch, and how long it takes.

use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use chinwag_actors::{
    backends::embedded::{Database, DatabaseOptions, EmbeddedMessages, OpenError},
    ports::{StoreError, message_store::MessageStore},
};
use chinwag_schema::ids::{ConversationId, Seq};

use super::{messages, open};
use crate::suite::Log;

fn try_open(dir: &tempfile::TempDir) -> Result<(), OpenError> {
    Database::open(dir.path(), &DatabaseOptions::default()).map(|_| ())
}

/// Opens a directory that nobody has open any more (see [`open`]), and returns why it is refused.
fn refusal(dir: &tempfile::TempDir) -> OpenError {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match try_open(dir).unwrap_err() {
            OpenError::InUse { .. } if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            refused => return refused,
        }
    }
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_restart_under_the_same_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let mut epochs = Vec::new();
    for start in 0..3 {
        let database = open(&dir);
        epochs.push(database.epoch());
        let store = EmbeddedMessages::new(database.clone());
        let head = store.heads(&[ConversationId(1)]).await.unwrap()[0];
        assert_eq!(head.seq, Seq(start));
        let mut log = Log::new(&store, 1);
        log.head = head.seq;
        for _ in 0..=start {
            log.next_id();
        }
        log.say(1, "text").await;
        database.close().await.unwrap();
        let late = store.claim(ConversationId(2), log.term).await;
        assert!(matches!(late, Err(StoreError::Unavailable(_))), "a closed store takes no writes");
    }
    assert_eq!(epochs[0], epochs[1]);
    assert_eq!(epochs[1], epochs[2]);
}

#[tokio::test]
async fn a_store_without_its_companion_or_put_back_from_a_copy_gets_a_new_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir).epoch();
    std::fs::copy(dir.path().join("chinwag.db"), dir.path().join("copy")).unwrap();
    assert_eq!(open(&dir).epoch(), first);

    std::fs::rename(dir.path().join("copy"), dir.path().join("chinwag.db")).unwrap();
    let second = open(&dir).epoch();
    assert_ne!(second, first, "the copy is from an earlier start");
    assert_eq!(open(&dir).epoch(), second);

    std::fs::remove_file(dir.path().join("boot-id")).unwrap();
    let third = open(&dir).epoch();
    assert_ne!(third, second);
    assert_eq!(open(&dir).epoch(), third);
}

#[tokio::test]
async fn a_crash_between_the_two_writes_of_the_boot_id_keeps_the_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir).epoch();
    // As the first write leaves it: the id in the store, and one that didn't get there.
    let mut ids = std::fs::read(dir.path().join("boot-id")).unwrap();
    ids.extend([7; 16]);
    std::fs::write(dir.path().join("boot-id"), ids).unwrap();
    assert_eq!(open(&dir).epoch(), first);
}

#[tokio::test]
async fn a_second_opening_is_refused_while_the_first_lasts() {
    let first = messages().await;
    let refused = try_open(&first.dir).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }));
    let said = refused.to_string();
    assert!(said.contains(&format!("process {}", std::process::id())) && said.contains("--data"), "{said}");
    let dir = first.dir;
    drop((first.store, first.database));
    drop(open(&dir));
}

#[tokio::test]
async fn a_newer_schema_is_refused_unless_it_still_admits_this_program() {
    let dir = tempfile::tempdir().unwrap();
    // A newer program has expanded: migrations that this one doesn't know.
    let database = open(&dir);
    database
        .execute_on_writer("INSERT INTO __diesel_schema_migrations (version) VALUES ('00000000000099')")
        .await
        .unwrap();
    drop(database);
    let database = open(&dir);
    // And then contracted.
    database.execute_on_writer("UPDATE store_info SET oldest_reader = 99").await.unwrap();
    drop(database);
    let refused = refusal(&dir);
    assert!(matches!(refused, OpenError::NewerSchema { needed: 99, .. }));
    assert!(refused.to_string().contains("newer chinwag"), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("chinwag.db"), "not a database, but long enough to be asked ".repeat(100)).unwrap();
    let said = try_open(&dir).unwrap_err().to_string();
    assert!(said.contains("chinwag.db"), "{said}");
}

#[tokio::test]
async fn the_data_directory_and_its_files_are_private() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a").join("data");
    let database = Database::open(&path, &DatabaseOptions::default()).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let mut files = 0;
    for file in std::fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
        files += 1;
    }
    assert!(files >= 4, "the database, its log and index, the lock, the boot id");
    drop(database);
}

/// The promise is a second for a million; the bound here is for a fifth of it in a debug build.
#[tokio::test]
async fn a_large_store_opens_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(&dir);
    database
        .execute_on_writer(
            "PRAGMA synchronous = OFF; BEGIN;
             WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 199999)
             INSERT INTO events (conversation, seq, id, at_ms, kind, sender, sender_name, messages, own, content)
             SELECT i / 1000 + 1, i % 1000 + 1, i + 1, i, 0, 1, 'user 1', i % 1000 + 1, i % 1000 + 1, 'some text of a message'
             FROM n;
             INSERT INTO log_heads SELECT conversation, 1, max(seq), max(seq), 1, min(at_ms), max(id), max(at_ms)
             FROM events GROUP BY conversation;
             INSERT INTO own_totals SELECT conversation, 1, head FROM log_heads;
             COMMIT; PRAGMA synchronous = FULL;",
        )
        .await
        .unwrap();
    drop(database);

    // The fastest of several: a busy machine, or a disk that is, only delays.
    let mut fastest = Duration::MAX;
    for n in 0..10 {
        let begun = Instant::now();
        let database = open(&dir);
        let store = EmbeddedMessages::new(database);
        let head = store.heads(&[ConversationId(200)]).await.unwrap()[0];
        Log::new(&store, 201 + n).say(1, "ready").await;
        fastest = fastest.min(begun.elapsed());
        assert_eq!(head.seq, Seq(1000));
        if fastest < Duration::from_secs(1) {
            println!("opened and served 200,000 rows in {fastest:?}");
            return;
        }
    }
    panic!("{fastest:?}");
}
