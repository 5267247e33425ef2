//! Mailboxes of nodes: order, bounds, lives.

use std::time::Duration;

use chinwag_actors::ports::{
    StoreError,
    bus::{Bus, Payload},
    directory::NodeLease,
};
use chinwag_schema::{
    ids::{Incarnation, NodeId},
    limits::cluster::ENVELOPE_MAX_BYTES,
};
use tokio::sync::mpsc::Receiver;

fn payload(n: usize) -> Payload {
    n.to_string().into_bytes().into()
}

pub fn node(node: u16) -> NodeLease {
    life(node, 1)
}

pub fn life(node: u16, incarnation: u64) -> NodeLease {
    NodeLease { node: NodeId(node), incarnation: Incarnation(incarnation) }
}

/// Waits for the next envelope; `None` that the mailbox is gone.
pub async fn next(mailbox: &mut Receiver<Payload>) -> Option<Payload> {
    tokio::time::timeout(Duration::from_secs(20), mailbox.recv()).await.expect("an envelope comes in time")
}

/// Fills a mailbox; returns how many envelopes it took.
async fn fill(bus: &impl Bus, to: NodeLease) -> usize {
    let mut handed_over = 0;
    let refused = loop {
        match bus.send(to, payload(handed_over)).await {
            Ok(()) => handed_over += 1,
            Err(error) => break error,
        }
        assert!(handed_over <= 10_000, "nothing bounds the mailbox");
    };
    assert!(matches!(refused, StoreError::LimitReached(8)), "{refused}");
    handed_over
}

pub async fn envelopes_arrive_in_order(bus: &impl Bus) {
    bus.ping().await.unwrap();
    let mut mailbox = bus.subscribe(node(1), 100).await.unwrap();
    for n in 0..100 {
        bus.send(node(1), payload(n)).await.unwrap();
    }
    for n in 0..100 {
        assert_eq!(next(&mut mailbox).await.unwrap(), payload(n));
    }
}

pub async fn a_full_mailbox_refuses_and_recovers(bus: &impl Bus) {
    let mut mailbox = bus.subscribe(node(1), 8).await.unwrap();
    let handed_over = fill(bus, node(1)).await;
    assert!(handed_over >= 8);
    for n in 0..handed_over {
        assert_eq!(next(&mut mailbox).await.unwrap(), payload(n));
    }
    // What was taken makes room, soon.
    while bus.send(node(1), payload(7)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(next(&mut mailbox).await.unwrap(), payload(7));
}

pub async fn a_broadcast_reaches_everyone(bus: &impl Bus) {
    bus.broadcast(payload(0)).await.unwrap();
    let mut one = bus.subscribe(node(1), 8).await.unwrap();
    let mut two = bus.subscribe(node(2), 100).await.unwrap();
    bus.broadcast(payload(1)).await.unwrap();
    assert_eq!(next(&mut one).await.unwrap(), payload(1));
    assert_eq!(next(&mut two).await.unwrap(), payload(1));
    fill(bus, node(1)).await;
    // That one is full is said, and doesn't keep it from the others.
    while bus.broadcast(payload(2)).await.is_ok() {}
    assert!(matches!(bus.broadcast(payload(3)).await, Err(StoreError::LimitReached(_))));
    while next(&mut two).await.unwrap() != payload(3) {}
}

pub async fn many_are_sent_at_once_in_order(bus: &impl Bus) {
    let mut one = bus.subscribe(node(1), 10_000).await.unwrap();
    let mut two = bus.subscribe(node(2), 8).await.unwrap();
    let absent = life(1, 2);
    let to = |n: usize| [node(1), absent, node(1)][n % 3];
    let sent = bus.send_many((0..3000).map(|n| (to(n), payload(n))).collect()).await;
    assert_eq!(sent.len(), 3000);
    for (n, result) in sent.iter().enumerate() {
        match result {
            Ok(()) => assert_ne!(n % 3, 1),
            Err(StoreError::NotFound) => assert_eq!(n % 3, 1),
            Err(other) => panic!("{other}"),
        }
    }
    for n in (0..3000).filter(|n| n % 3 != 1) {
        assert_eq!(next(&mut one).await.unwrap(), payload(n));
    }
    let sent = bus.send_many((0..3000).map(|n| (node(2), payload(n))).collect()).await;
    let taken: Vec<_> = (0..3000).filter(|&n| sent[n].is_ok()).collect();
    assert!((8..2000).contains(&taken.len()), "{} of 3000", taken.len());
    assert!(sent.iter().all(|result| matches!(result, Ok(()) | Err(StoreError::LimitReached(8)))));
    for n in taken {
        assert_eq!(next(&mut two).await.unwrap(), payload(n));
    }
    assert!(bus.send_many(Vec::new()).await.is_empty());
}

pub async fn any_payload_arrives_as_it_was_and_a_huge_one_is_refused(bus: &impl Bus) {
    let mut mailbox = bus.subscribe(node(1), 100).await.unwrap();
    let payloads = [
        Payload::new(),
        Payload::from_static(b"\r\n$5\r\n\0{}"),
        (0..=255).collect::<Vec<u8>>().into(),
        Payload::new(),
        vec![0x80; ENVELOPE_MAX_BYTES].into(),
    ];
    let sent = bus.send_many(payloads.iter().map(|one| (node(1), one.clone())).collect()).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    for payload in &payloads {
        assert_eq!(next(&mut mailbox).await.unwrap(), payload);
    }
    let refused = bus.send(node(1), vec![0; ENVELOPE_MAX_BYTES + 1].into()).await;
    assert!(matches!(refused, Err(StoreError::LimitReached(bytes)) if bytes == ENVELOPE_MAX_BYTES as u64));
    bus.send(node(1), payload(1)).await.unwrap();
    assert_eq!(next(&mut mailbox).await.unwrap(), payload(1));
}

pub async fn a_later_subscription_replaces_the_mailbox(bus: &impl Bus) {
    let mut earlier = bus.subscribe(node(1), 8).await.unwrap();
    let mut later = bus.subscribe(node(1), 8).await.unwrap();
    bus.send(node(1), payload(1)).await.unwrap();
    assert_eq!(next(&mut later).await.unwrap(), payload(1));
    assert_eq!(next(&mut earlier).await, None);
}

pub async fn each_life_of_a_node_has_its_own_mailbox(bus: &impl Bus) {
    let mut first = bus.subscribe(life(1, 7), 8).await.unwrap();
    assert!(matches!(bus.send(life(1, 8), payload(1)).await, Err(StoreError::NotFound)));
    let mut second = bus.subscribe(life(1, 8), 8).await.unwrap();
    bus.send(life(1, 7), payload(7)).await.unwrap();
    bus.send(life(1, 8), payload(8)).await.unwrap();
    assert_eq!(next(&mut first).await.unwrap(), payload(7));
    assert_eq!(next(&mut second).await.unwrap(), payload(8));
}

pub async fn a_mailbox_ends_when_it_is_closed_or_dropped(bus: &impl Bus) {
    let mut closed = bus.subscribe(node(1), 8).await.unwrap();
    let dropped = bus.subscribe(node(2), 8).await.unwrap();
    bus.unsubscribe(node(1)).await.unwrap();
    assert_eq!(next(&mut closed).await, None);
    assert!(matches!(bus.send(node(1), payload(1)).await, Err(StoreError::NotFound)));
    bus.unsubscribe(node(1)).await.unwrap();
    drop(dropped);
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    while !matches!(bus.send(node(2), payload(1)).await, Err(StoreError::NotFound)) {
        assert!(tokio::time::Instant::now() < until, "the mailbox stays without a reader");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
