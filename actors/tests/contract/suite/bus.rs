//! Mailboxes of nodes: order, bounds.

use chinwag_actors::ports::{
    StoreError,
    bus::{Bus, Payload, To},
};
use chinwag_schema::ids::NodeId;

fn payload(n: usize) -> Payload {
    n.to_string().into_bytes().into()
}

pub async fn envelopes_arrive_in_order(bus: &impl Bus) {
    bus.ping().await.unwrap();
    let mut mailbox = bus.subscribe(NodeId(1), 100).await.unwrap();
    for n in 0..100 {
        bus.send(To::Node(NodeId(1)), payload(n)).await.unwrap();
    }
    for n in 0..100 {
        assert_eq!(mailbox.recv().await.unwrap(), payload(n));
    }
}

pub async fn a_full_mailbox_refuses_and_recovers(bus: &impl Bus) {
    let mut mailbox = bus.subscribe(NodeId(1), 8).await.unwrap();
    let mut handed_over = 0;
    let refused = loop {
        match bus.send(To::Node(NodeId(1)), payload(handed_over)).await {
            Ok(()) => handed_over += 1,
            Err(error) => break error,
        }
        assert!(handed_over <= 10_000, "nothing bounds the mailbox");
    };
    assert!(matches!(refused, StoreError::LimitReached(_)));
    assert!(handed_over >= 8);
    for n in 0..handed_over {
        assert_eq!(mailbox.recv().await.unwrap(), payload(n));
    }
    bus.send(To::Node(NodeId(1)), payload(7)).await.unwrap();
    assert_eq!(mailbox.recv().await.unwrap(), payload(7));
}

pub async fn a_broadcast_reaches_everyone(bus: &impl Bus) {
    let mut one = bus.subscribe(NodeId(1), 1).await.unwrap();
    let mut two = bus.subscribe(NodeId(2), 8).await.unwrap();
    bus.send(To::All, payload(1)).await.unwrap();
    // That one is full doesn't keep it from the others.
    let _ = bus.send(To::All, payload(2)).await;
    assert_eq!(one.recv().await.unwrap(), payload(1));
    assert_eq!(two.recv().await.unwrap(), payload(1));
    assert_eq!(two.recv().await.unwrap(), payload(2));
}

pub async fn a_later_subscription_replaces_the_mailbox(bus: &impl Bus) {
    let mut earlier = bus.subscribe(NodeId(1), 8).await.unwrap();
    let mut later = bus.subscribe(NodeId(1), 8).await.unwrap();
    bus.send(To::Node(NodeId(1)), payload(1)).await.unwrap();
    assert_eq!(later.recv().await.unwrap(), payload(1));
    assert_eq!(earlier.recv().await, None);
}
