//! The client on the real server: over sockets, with the server killed and started again, the client killed and started again.

mod common;

use std::time::Duration;

use chinwag_client::{
    Account, Client, Config, Connection, Delivery, EndReason, Error, Event, Login, Outbox, Resume, Seq, Trust,
    wire::LoggedKind,
};
use common::{Chat, PASSWORD, Server, eventually, texts};

#[tokio::test]
async fn two_users_chat_and_see_how_far_their_messages_are() {
    let server = Server::start();
    let ann = Chat::of(&server, "ann").await;
    let bob = Chat::of(&server, "bob").await;
    let chat = ann.client.chat("bob").await.unwrap();
    ann.client.send(chat, "hi bob").unwrap();
    let from_ann = bob.hears("hi bob").await;
    assert_eq!((&*from_ann.sender.name, from_ann.conversation, from_ann.seq), ("ann", chat, Seq(1)));
    let delivery = |who: &Chat| {
        who.client.view(|model| model.conversation(chat)?.entries.last().and_then(|last| model.delivery(last)))
    };
    eventually("delivered", || delivery(&ann) == Some(Delivery::Delivered)).await;
    assert_eq!(bob.client.view(|model| model.conversation(chat).unwrap().unread), 1);
    bob.client.seen(chat);
    eventually("read", || delivery(&ann) == Some(Delivery::Read)).await;
    assert_eq!(bob.client.view(|model| model.conversation(chat).unwrap().unread), 0);

    bob.client.typing(chat, true);
    let typists = || ann.client.view(|model| model.conversation(chat).unwrap().typists.clone());
    eventually("typing", || typists().iter().any(|name| &**name == "bob")).await;
    bob.client.send("ann", "hello").unwrap();
    ann.hears("hello").await;
    assert!(typists().is_empty());
    let last = ann.client.view(|model| model.conversation(chat).unwrap().entries[0].clone());
    ann.client.edit(chat, last.id, "hi, bob").await.unwrap();
    eventually("edited", || texts(&bob.client, chat) == ["hi, bob", "hello"]).await;
    ann.client.delete(chat, last.id).await.unwrap();
    eventually("deleted", || texts(&bob.client, chat) == ["", "hello"]).await;
    assert_eq!(texts(&ann.client, chat), ["", "hello"]);
    let refused = ann.client.chat("nobody-there").await.unwrap_err();
    assert!(matches!(refused, Error::Refused(_)) && !refused.is_temporary(), "{refused}");
}

#[tokio::test]
async fn what_is_written_while_the_server_is_down_is_sent_once_when_it_is_back() {
    let mut server = Server::start();
    let ann = Chat::of(&server, "ann").await;
    let bob = Chat::of(&server, "bob").await;
    let group = ann.client.create_group("team").await.unwrap();
    bob.client.join_group(group).await.unwrap();
    ann.client.send(group, "before").unwrap();
    bob.hears("before").await;
    server.kill();
    eventually("noticed", || !ann.client.view(|model| model.connection == Connection::Online)).await;
    for n in 0..5 {
        ann.client.send(group, &format!("while down {n}")).unwrap();
    }
    assert_eq!(ann.client.view(|model| model.pending(group).count()), 5);
    server.start_again();
    ann.client.flushed(Duration::from_secs(30)).await.unwrap();
    bob.hears("while down 4").await;
    let expected: Vec<String> =
        std::iter::once("before".to_owned()).chain((0..5).map(|n| format!("while down {n}"))).collect();
    assert_eq!(texts(&bob.client, group), expected);
    assert_eq!(texts(&ann.client, group), expected);
    assert_eq!(ann.client.view(|model| model.outbox().iter().count()), 0);
}

#[tokio::test]
async fn a_client_that_was_killed_goes_on_with_its_outbox_and_hears_what_it_missed() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let bob = Chat::of(&server, "bob").await;
    let account = server.account("ann").await;
    let config = |server: &Server, resume: Resume| {
        let mut config = Config::new(server.url(), Trust::new(None).unwrap(), Login::Account(account.clone()));
        config.outbox = Outbox::open(directory.path()).unwrap();
        config.resume = resume;
        config
    };
    let (ann, events) = Client::connect(config(&server, Resume::default()));
    ann.online().await.unwrap();
    let group = ann.create_group("team").await.unwrap();
    bob.client.join_group(group).await.unwrap();
    ann.send(group, "one").unwrap();
    bob.hears("one").await;
    eventually("joined", || texts(&ann, group).len() == 1).await;
    let resume = ann.resume();
    // What a killed process leaves: a message that nobody has sent.
    ann.close().await;
    drop(events);
    ann.send(group, "two").unwrap();
    drop(ann);
    bob.client.send(group, "three").unwrap();
    bob.hears_own("three").await;

    let (ann, events) = Client::connect(config(&server, resume));
    let ann = Chat::new(ann, events);
    ann.hears("three").await;
    bob.hears("two").await;
    ann.client.flushed(Duration::from_secs(10)).await.unwrap();
    eventually("whole", || texts(&ann.client, group) == ["three", "two"]).await;
    assert_eq!(texts(&bob.client, group), ["one", "three", "two"]);
    let heard = ann.heard();
    let seqs: Vec<_> = heard.iter().map(|event| event.seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0].next()), "each once, in order: {seqs:?}");
    assert!(ann.client.load_older(group));
    eventually("paged", || texts(&ann.client, group) == ["one", "three", "two"]).await;
}

#[tokio::test]
async fn guests_listen_in_rooms_again_after_a_lost_connection() {
    let mut server = Server::start();
    let ann = Chat::of(&server, "ann").await;
    let room = ann.client.listen_or_create("lobby").await.unwrap();
    let (guest, events) =
        Client::connect(Config::new(server.url(), Trust::new(None).unwrap(), Login::Guest("gus".into())));
    let guest = Chat::new(guest, events);
    assert_eq!(guest.client.listen("lobby").await.unwrap(), room);
    ann.client.send(room, "welcome").unwrap();
    guest.hears("welcome").await;
    server.kill();
    eventually("noticed", || !guest.client.view(|model| model.connection == Connection::Online)).await;
    guest.client.send(room, "from the guest").unwrap();
    ann.client.send(room, "from ann").unwrap();
    server.start_again();
    guest.hears("from ann").await;
    ann.hears("from the guest").await;
    eventually("all", || texts(&guest.client, room).len() == 3).await;
    assert_eq!(texts(&guest.client, room), texts(&ann.client, room));
    assert!(matches!(guest.client.listen("no-such-room").await, Err(Error::Refused(_))));
}

#[tokio::test]
async fn history_of_hundreds_is_paged_without_holes() {
    let server = Server::start();
    let ann = Chat::of(&server, "ann").await;
    let group = ann.client.create_group("team").await.unwrap();
    for n in 0..230 {
        ann.client.send(group, &format!("message {n}")).unwrap();
    }
    ann.client.flushed(Duration::from_secs(60)).await.unwrap();
    let (late, events) = Client::connect(Config::new(
        server.url(),
        Trust::new(None).unwrap(),
        Login::Account(server.account("ann").await),
    ));
    let _late = Chat::new(late.clone(), events);
    late.online().await.unwrap();
    eventually("all pages", || {
        late.load_older(group);
        late.view(|model| model.conversation(group).unwrap().complete)
    })
    .await;
    let expected: Vec<String> = (0..230).map(|n| format!("message {n}")).collect();
    assert_eq!(texts(&late, group), expected);
    let kinds =
        late.view(|model| model.conversation(group).unwrap().entries.iter().map(|e| e.event).collect::<Vec<_>>());
    assert_eq!(kinds[0], LoggedKind::MemberJoined);
}

#[tokio::test]
async fn a_wrong_password_and_an_ended_session_are_said_so() {
    let server = Server::start();
    let account = server.account("ann").await;
    let trust = Trust::new(None).unwrap();
    let wrong = Account::login(&server.url(), &trust, "ann", "not the password").await.unwrap_err();
    assert!(matches!(wrong, Error::Account { status: 401, .. }), "{wrong:?}");
    let (client, mut events) = Client::connect(Config::new(server.url(), trust, Login::Account(account.clone())));
    client.online().await.unwrap();
    account.logout().await.unwrap();
    let ended = async {
        loop {
            match events.recv().await {
                Some(Event::Connection(Connection::Ended(reason))) => return reason,
                Some(_) => {}
                None => panic!("the stream ended without a reason"),
            }
        }
    };
    let reason = tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    assert_eq!(reason, EndReason::LoggedOut);
    assert!(matches!(client.chat("bob").await, Err(Error::Ended(EndReason::LoggedOut))));
}

#[tokio::test]
async fn a_server_that_drains_and_comes_back_costs_no_message() {
    let mut server = Server::start_with(&["--drain-window", "1s"]);
    let ann = Chat::of(&server, "ann").await;
    let bob = Chat::of(&server, "bob").await;
    let group = ann.client.create_group("team").await.unwrap();
    bob.client.join_group(group).await.unwrap();
    let writer = ann.client.clone();
    let (done, mut stop) = tokio::sync::oneshot::channel::<()>();
    // Writes all the while.
    let writing = tokio::spawn(async move {
        let mut written = Vec::new();
        while stop.try_recv().is_err() {
            written.push(format!("message {}", written.len()));
            writer.send(group, written.last().unwrap()).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        written
    });
    bob.hears("message 3").await;
    server.stop().await;
    server.start_again();
    ann.client.online().await.unwrap();
    done.send(()).unwrap();
    let written = writing.await.unwrap();
    ann.client.flushed(Duration::from_secs(60)).await.unwrap();
    bob.hears(written.last().unwrap()).await;
    eventually("each once, in order", || texts(&bob.client, group) == written).await;
    assert_eq!(texts(&ann.client, group), written);
}

#[tokio::test]
async fn over_tls_a_server_is_trusted_by_its_authority_only() {
    let file = |name: &str| format!("{}/../server/tests/data/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let (certificate, key) = (file("cert.pem"), file("key.pem"));
    let server = Server::start_with(&["--tls-cert", &certificate, "--tls-key", &key]);
    let url: chinwag_client::Server = format!("https://localhost:{}", server.port()).parse().unwrap();
    let trust = Trust::new(Some(file("ca.pem").as_ref())).unwrap();
    Account::register(&url, &trust, "ann", PASSWORD).await.unwrap();
    let account = Account::login(&url, &trust, "ann", PASSWORD).await.unwrap();
    let (client, _events) = Client::connect(Config::new(url.clone(), trust, Login::Account(account)));
    client.online().await.unwrap();
    let group = client.create_group("team").await.unwrap();
    client.send(group, "in secret").unwrap();
    client.flushed(Duration::from_secs(10)).await.unwrap();

    let strangers = Trust::new(None).unwrap();
    let refused = Account::login(&url, &strangers, "ann", PASSWORD).await.unwrap_err();
    assert!(matches!(refused, Error::Unreachable(_)), "{refused:?}");
    let (client, _events) = Client::connect(Config::new(url, strangers, Login::Guest("gus".into())));
    let why = || client.view(|model| format!("{:?}", model.connection));
    eventually("refused", || why().contains("Waiting")).await;
    assert!(why().to_lowercase().contains("certificate"), "{}", why());
}
