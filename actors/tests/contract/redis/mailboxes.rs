//! Mailboxes as they lie on Redis.

use std::time::{Duration, Instant};

use chinwag_actors::{
    backends::clustered::redis::RedisBus,
    ports::{
        StoreError,
        bus::{Bus as _, Payload},
    },
};
use chinwag_schema::limits::cluster::MAILBOX_KEPT;

use super::bus;
use crate::suite::bus::{next, node};

const BOX: &str = "mailbox:{1.0000000000000001}";

fn payload(n: usize) -> Payload {
    n.to_string().into()
}

#[tokio::test]
async fn what_was_read_is_removed_and_makes_room() {
    let bus = bus().await;
    let mut mailbox = bus.subscribe(node(1), 50).await.unwrap();
    let (stream, room) = (bus.prefix.key(BOX), bus.prefix.key(&format!("{BOX}:room")));
    for n in 0..1000 {
        while bus.send(node(1), payload(n)).await.is_err() {}
        assert_eq!(next(&mut mailbox).await.unwrap(), payload(n));
    }
    let until = Instant::now() + Duration::from_secs(20);
    while bus.prefix.redis(&["XLEN", &stream]) != "0" {
        assert!(Instant::now() < until, "what was read stays in the stream");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bus.prefix.redis(&["HGET", &room, "envelopes"]), "50");
}

#[tokio::test]
async fn a_mailbox_that_nobody_reads_any_more_ends() {
    let bus = bus().await;
    // Another process: it vanishes without a word.
    let other = RedisBus::connect(&bus.prefix.options()).await.unwrap();
    let mailbox = other.subscribe(node(1), 50).await.unwrap();
    bus.send(node(1), payload(1)).await.unwrap();
    drop(other);
    let began = Instant::now();
    while !matches!(bus.send(node(1), payload(2)).await, Err(StoreError::NotFound)) {
        assert!(began.elapsed() < 2 * MAILBOX_KEPT, "a dead node's mailbox stays");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(mailbox);
    assert_eq!(bus.prefix.redis(&["SMEMBERS", &bus.prefix.key("mailboxes")]), "1.0000000000000001");
    bus.broadcast(payload(3)).await.unwrap();
    bus.ping().await.unwrap();
    assert_eq!(bus.prefix.redis(&["SCARD", &bus.prefix.key("mailboxes")]), "0", "broadcasts strike it off the list");
}

#[tokio::test]
async fn a_slow_receiver_keeps_its_mailbox() {
    let bus = bus().await;
    let mut mailbox = bus.subscribe(node(1), 4).await.unwrap();
    let mut sent = 0;
    while bus.send(node(1), payload(sent)).await.is_ok() {
        sent += 1;
    }
    tokio::time::sleep(MAILBOX_KEPT + Duration::from_secs(1)).await;
    assert!(matches!(bus.send(node(1), payload(0)).await, Err(StoreError::LimitReached(4))));
    for n in 0..sent {
        assert_eq!(next(&mut mailbox).await.unwrap(), payload(n));
    }
}

#[tokio::test]
async fn senders_keep_their_order_each() {
    const SENDERS: usize = 8;
    const EACH: usize = 300;
    let bus = bus().await;
    let mut mailbox = bus.subscribe(node(1), SENDERS * EACH).await.unwrap();
    let send = async |sender: usize| {
        let own = RedisBus::connect(&bus.prefix.options()).await.unwrap();
        let mut n = 0;
        while n < EACH {
            if n % 7 == 3 && n + 5 <= EACH {
                let many = (n..n + 5).map(|n| (node(1), payload(sender * EACH + n))).collect();
                assert!(own.send_many(many).await.iter().all(Result::is_ok));
                n += 5;
            } else {
                own.send(node(1), payload(sender * EACH + n)).await.unwrap();
                n += 1;
            }
        }
    };
    let receive = async {
        let mut expected: Vec<_> = (0..SENDERS).map(|sender| sender * EACH).collect();
        for _ in 0..SENDERS * EACH {
            let text = next(&mut mailbox).await.unwrap();
            let n: usize = std::str::from_utf8(&text).unwrap().parse().unwrap();
            assert_eq!(n, expected[n / EACH]);
            expected[n / EACH] += 1;
        }
    };
    tokio::join!(futures_util::future::join_all((0..SENDERS).map(send)), receive);
}

#[tokio::test]
async fn a_mailbox_is_bounded_in_bytes_too() {
    let bus = bus().await;
    let _mailbox = bus.subscribe(node(1), 1_000_000).await.unwrap();
    let large = Payload::from(vec![7; 1024 * 1024]);
    let mut sent = 0;
    let refused = loop {
        match bus.send(node(1), large.clone()).await {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 1000, "nothing bounds the mailbox");
    };
    assert!(matches!(refused, StoreError::LimitReached(_)), "{refused}");
    // 64 MiB on Redis, and what the reader holds.
    assert!((60..450).contains(&sent), "{sent}");
}
