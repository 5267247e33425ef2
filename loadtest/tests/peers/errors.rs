//! What goes wrong, and how it is said.

use chinwag_loadtest::peer::{Closed, Heard, Login, Peer, Protocol, To};

use super::world::{Participant, World, guest, next};

/// More than a message may have, bytes.
const TOO_LONG: usize = 5000;

#[tokio::test]
async fn a_refused_message_is_heard_of_and_is_nowhere() {
    let world = World::start(Protocol::Native, false);
    for (protocol, knows) in [(Protocol::Native, true), (Protocol::Rooms, true), (Protocol::Messenger, false)] {
        let login = world.user(&format!("ann-{protocol:?}")).await;
        let mut peer = world.connect(protocol, &login).await;
        let to = To::Place(peer.make_place(&format!("Strict {protocol:?}")).await.unwrap());
        let place = world.run.ledger.place(to.clone(), login, peer.hears_itself());
        let mark = world.run.mark(protocol as u32, 1, std::time::Instant::now());
        world.run.ledger.sent(place, mark);
        peer.post(&to, &mark, TOO_LONG).await.unwrap();
        match next(&mut peer).await {
            Heard::Refused { mark: refused, .. } => assert_eq!(refused, knows.then_some(mark), "{protocol:?}"),
            other => panic!("{protocol:?}: {other:?}"),
        }
        world.run.ledger.refused(&mark);
    }
    let verdict = world.run.ledger.verify(&world.run).await.unwrap();
    assert_eq!((verdict.violations, verdict.checked.histories), (Vec::new(), 3));
}

#[tokio::test]
async fn a_message_that_nobody_took_notice_of_is_a_violation() {
    let world = World::start(Protocol::Native, false);
    let mut writer = world.connect(Protocol::Native, &world.user("writer").await).await;
    let mut deaf = world.connect(Protocol::Native, &guest("deaf")).await;
    let place = writer.make_place("Deaf").await.unwrap();
    deaf.join(&place).await.unwrap();
    let to = To::Place(place);
    let place = world.run.ledger.place(to.clone(), guest("reader"), false);
    let ear = world.run.ledger.listen(place, 1);
    let participant = Participant { peer: writer, index: 0, place, to, messages: 3, bytes: 0 };
    let talk = world.talk(vec![participant]);
    let (seen, verdict) = tokio::join!(talk, async {
        for _ in 0..3 {
            next(&mut deaf).await;
        }
        ear.stayed();
    })
    .0;
    assert_eq!(seen[0].stored, 3);
    assert_eq!(
        verdict.violations,
        ["'Deaf': receiver 1 did not hear 3 messages at the end, the first of them message 1 of sender 0"]
    );
}

#[tokio::test]
async fn a_guest_who_cannot_make_a_room_is_told_so() {
    let world = World::start(Protocol::Native, false);
    let mut peer = world.connect(Protocol::Native, &guest("guest")).await;
    let error = peer.make_place("No such room").await.unwrap_err();
    assert_eq!(error.to_string(), "room.create was refused");
}

#[tokio::test]
async fn wrong_credentials_are_a_clear_sentence() {
    let world = World::start(Protocol::Native, false);
    let login = Login { name: "mallory".into(), token: Some("no token".into()) };
    for (protocol, sentence) in [
        (Protocol::Native, "hello was refused"),
        (Protocol::Rooms, "auth was refused: Invalid token or password"),
        (Protocol::Messenger, "the server refused the upgrade: 401 Unauthorized"),
    ] {
        let error = Peer::connect_over(protocol, &world.run, 0, &login).await.err().unwrap();
        assert_eq!(error.to_string(), sentence);
    }
    let error = Peer::connect_over(Protocol::Messenger, &world.run, 0, &guest("guest")).await.err().unwrap();
    assert_eq!(error.to_string(), "guest is a guest: the messenger protocol has none");
}

#[tokio::test]
async fn a_server_that_dies_ends_its_peers() {
    for protocol in [Protocol::Native, Protocol::Rooms] {
        let world = World::start(protocol, false);
        let mut peer = world.connect(protocol, &guest("last")).await;
        world.server.kill().unwrap();
        let error = loop {
            if let Err(error) = peer.next().await {
                break error;
            }
        };
        // A reset says so, too.
        let closed = error.downcast_ref::<Closed>().is_none_or(|closed| closed.code.is_none());
        assert!(closed, "{error:#}");
    }
}
