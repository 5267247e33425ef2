//! One-to-one chats, groups and presence: native and messenger.

use chinwag_loadtest::peer::{Heard, Peer, Protocol, To};

use super::world::{Participant, Seen, World, next};

/// Two native users, two messenger users, and one of each write to each other, both ways at once.
pub async fn pairs(deflate: bool, bytes: usize) {
    let world = World::start(Protocol::Native, deflate);
    let mut participants = Vec::new();
    for (pair, protocols) in [
        [Protocol::Native, Protocol::Native],
        [Protocol::Messenger, Protocol::Messenger],
        [Protocol::Messenger, Protocol::Native],
    ]
    .into_iter()
    .enumerate()
    {
        // The chat's id sorts by UTF-16 units: a name beyond ASCII, and one with a hyphen, are as good as any.
        let names = [format!("anna-{pair}"), format!("Zoë {pair}")];
        let logins = [world.user(&names[0]).await, world.user(&names[1]).await];
        let place = world.run.ledger.place(To::User(names[1].clone()), logins[0].clone(), false);
        for side in 0..2 {
            let peer = world.connect(protocols[side], &logins[side]).await;
            let (index, to) = ((pair * 2 + side) as u32, To::User(names[1 - side].clone()));
            participants.push(Participant { peer, index, place, to, messages: 10, bytes });
        }
    }
    let (seen, verdict) = world.talk(participants).await;
    assert_eq!(verdict.violations, <[String; 0]>::default());
    assert_eq!((verdict.checked.messages, verdict.checked.deliveries, verdict.checked.histories), (60, 60, 3));
    let stored = [10, 10, 0, 0, 0, 10];
    assert_eq!(seen, stored.map(|stored| Seen { heard: 10, stored }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_write_to_each_other() {
    pairs(false, 100).await;
}

#[tokio::test]
async fn groups_are_made_joined_and_left() {
    let world = World::start(Protocol::Native, false);
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    for protocol in [Protocol::Native, Protocol::Messenger] {
        let mut maker = world.connect(protocol, &ann).await;
        let mut other = world.connect(protocol, &bob).await;
        let group = maker.make_group("Friends").await.unwrap();
        other.join(&group).await.unwrap();
        // Coming back, one is a member already.
        other.join(&group).await.unwrap();
        let to = To::Place(group.clone());
        let mark = |n| world.run.mark(0, n, std::time::Instant::now());
        let (first, second, third) = (mark(1), mark(2), mark(3));
        maker.post(&to, &first, 0).await.unwrap();
        assert_eq!(next(&mut other).await, Heard::Message(first), "{protocol:?}");
        other.leave(&group).await.unwrap();
        maker.post(&to, &second, 0).await.unwrap();
        assert!(maker.newest_page(&to).await.unwrap() >= 1);
        other.join(&group).await.unwrap();
        maker.post(&to, &third, 0).await.unwrap();
        assert_eq!(next(&mut other).await, Heard::Message(third), "{protocol:?}");
    }
}

#[tokio::test]
async fn friends_come_and_go() {
    for protocol in [Protocol::Native, Protocol::Messenger] {
        let world = World::start(protocol, false);
        let (ann, bob) = (world.user("ann").await, world.user("bob").await);
        // A message makes them friends.
        let mut peer = world.connect(protocol, &ann).await;
        let mark = world.run.mark(0, 1, std::time::Instant::now());
        peer.post(&To::User("bob".into()), &mark, 0).await.unwrap();
        // The messenger protocol doesn't say when it is stored.
        while peer.newest_page(&To::User("bob".into())).await.unwrap() == 0 {}
        let mut watcher = Peer::watch(&world.run, 0, &ann).await.unwrap();
        // Nothing says when a presence socket hears; it does by the time that its friend has been gone for the grace period.
        world.connect(protocol, &bob).await.close().await;
        let gone = Heard::Presence { name: "bob".into(), online: false };
        while next(&mut watcher).await != gone {}
        let _bobs = world.connect(protocol, &bob).await;
        assert_eq!(next(&mut watcher).await, Heard::Presence { name: "bob".into(), online: true }, "{protocol:?}");
    }
}
