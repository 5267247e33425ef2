//! Rooms, which all protocols share.

use chinwag_loadtest::{
    peer::{Heard, Place, Protocol, To},
    run::meter::{Counter, Measured, Timer},
};

use super::world::{Participant, Seen, World, guest, next};

/// Two peers of each protocol write ten messages each into one room, and all hear all of it.
pub async fn mixed_room(deflate: bool, bytes: usize) {
    let world = World::start(Protocol::Native, deflate);
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let mut peers = Vec::new();
    let mut place: Option<Place> = None;
    for (protocol, login) in [
        (Protocol::Rooms, &guest("rooms-1")),
        (Protocol::Rooms, &ann),
        (Protocol::Native, &guest("native-1")),
        (Protocol::Native, &bob),
        (Protocol::Messenger, &ann),
        (Protocol::Messenger, &bob),
    ] {
        let mut peer = world.connect(protocol, login).await;
        match &place {
            None => place = Some(peer.make_place("Mixed room").await.unwrap()),
            Some(place) => peer.join(place).await.unwrap(),
        }
        peers.push(peer);
    }
    let to = To::Place(place.unwrap());
    let place = world.run.ledger.place(to.clone(), guest("reader"), false);
    let participants = (0..).zip(peers).map(|(index, peer)| {
        let to = to.clone();
        Participant { peer, index, place, to, messages: 10, bytes }
    });
    let (seen, verdict) = world.talk(participants.collect()).await;
    assert_eq!(verdict.violations, <[String; 0]>::default());
    assert_eq!((verdict.checked.messages, verdict.checked.deliveries, verdict.checked.histories), (60, 320, 1));
    let (rooms, native, messenger) =
        (Seen { heard: 60, stored: 10 }, Seen { heard: 50, stored: 10 }, Seen { heard: 50, stored: 0 });
    for (n, seen) in seen.iter().enumerate() {
        assert_eq!(seen, [&rooms, &native, &messenger][n / 2], "peer {n}");
    }
    let mut measured = Measured::default();
    world.run.meter.drain(&mut measured);
    let counted = |counter| measured.counter(counter);
    assert_eq!((counted(Counter::Connected), counted(Counter::Closed)), (6, 6));
    assert_eq!(measured.timer(Timer::Handshake).len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_heard_by_peers_of_all_protocols() {
    mixed_room(false, 100).await;
}

#[tokio::test]
async fn a_room_of_the_name_is_found_by_whoever_comes_second() {
    for protocol in [Protocol::Native, Protocol::Rooms] {
        let world = World::start(protocol, false);
        let ann = world.user("ann").await;
        let mut first = world.connect(protocol, &ann).await;
        let mut second = world.connect(protocol, &guest("second")).await;
        let made = first.make_place("Here we are").await.unwrap();
        assert_eq!(second.make_place("Here we are").await.unwrap(), made, "{protocol:?}");
        let mark = world.run.mark(0, 1, std::time::Instant::now());
        first.post(&To::Place(made.clone()), &mark, 0).await.unwrap();
        assert_eq!(next(&mut second).await, Heard::Message(mark), "{protocol:?}");
        second.leave(&made).await.unwrap();
        let unheard = world.run.mark(0, 2, std::time::Instant::now());
        first.post(&To::Place(made.clone()), &unheard, 0).await.unwrap();
        loop {
            if matches!(next(&mut first).await, Heard::Stored { mark, .. } if mark == unheard) {
                break;
            }
        }
        second.join(&made).await.unwrap();
        let again = world.run.mark(0, 3, std::time::Instant::now());
        first.post(&To::Place(made), &again, 0).await.unwrap();
        assert_eq!(next(&mut second).await, Heard::Message(again), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_page_of_history_is_read_and_a_rooms_peer_begins_anew_after_it() {
    let world = World::start(Protocol::Rooms, false);
    let ann = world.user("ann").await;
    let mut rooms = world.connect(Protocol::Rooms, &guest("rooms")).await;
    let mut native = world.connect(Protocol::Native, &guest("native")).await;
    let mut messenger = world.connect(Protocol::Messenger, &ann).await;
    let place = rooms.make_place("Pages").await.unwrap();
    native.join(&place).await.unwrap();
    messenger.join(&place).await.unwrap();
    let gap = Heard::Gap { conversation: place.conversation().unwrap(), left_out: None };
    let to = To::Place(place);
    assert_eq!(rooms.newest_page(&to).await.unwrap(), 0);
    assert_eq!(next(&mut rooms).await, gap);
    let marks: Vec<_> = (1..=25).map(|n| world.run.mark(0, n, std::time::Instant::now())).collect();
    for mark in &marks {
        rooms.post(&to, mark, 0).await.unwrap();
        for heard in [Heard::Message(*mark), Heard::Stored { mark: *mark, seq: None }] {
            assert_eq!(next(&mut rooms).await, heard);
        }
    }
    assert_eq!(rooms.newest_page(&to).await.unwrap(), 20);
    assert_eq!(next(&mut rooms).await, gap);
    for peer in [&mut native, &mut messenger] {
        // What came before the page isn't lost by asking for it, and the page isn't taken for it.
        assert_eq!(peer.newest_page(&to).await.unwrap(), 25);
        for mark in &marks {
            assert_eq!(next(peer).await, Heard::Message(*mark));
        }
    }
}
