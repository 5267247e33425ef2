use std::collections::BTreeMap;

use chinwag_schema::{
    error::ErrorCode,
    ids::EventId,
    wire::native::{
        ConversationInfo, HistoryFrom, HistoryResult, Limits, LoggedKind, Notice, Outcome, Resumed, SendResult, SendTo,
        ServerError, ServerFrame, UserInfo,
    },
};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::*;
use crate::{
    error::Error,
    model::Resume,
    outbox::{Outbox, PendingState},
    testing::{CONVERSATION, EPOCH, ME, OTHER_EPOCH, group, message},
};

/// A session with a server that has one conversation, on a clock of its own.
struct World {
    session: Session,
    now: Instant,
    log: Vec<LoggedEvent>,
    page: usize,
    /// Requests that the server got and the test answers.
    sends: Vec<(String, Uuid, String)>,
    heard: Vec<u64>,
    told: Vec<Event>,
}

impl World {
    fn new(log: u64, resume: &Resume) -> Self {
        let now = Instant::now();
        let model = Model::new(Outbox::in_memory(), resume);
        let session = Session::new(model, 1000, now, 1_800_000_000_000);
        let log = (1..=log).map(|seq| message(seq, &seq.to_string())).collect();
        Self { session, now, log, page: 5, sends: Vec::new(), heard: Vec::new(), told: Vec::new() }
    }

    fn head(&self) -> u64 {
        self.log.len() as u64
    }

    fn welcome(&mut self, guest: bool, resumed: Vec<Resumed>, conversations: Vec<ConversationInfo>) {
        let user = UserInfo { guest, ..UserInfo::guest(ME, "ann".into()) };
        let welcome = Welcome {
            user,
            session: "0-0-0".into(),
            protocol: 1,
            features: Vec::new(),
            server_time: 1_800_000_000_000,
            epoch: EPOCH,
            limits: Limits::default(),
            conversations,
            next: None,
            resumed,
        };
        self.session.welcomed(welcome, Vec::new(), self.now);
    }

    fn hear(&mut self, event: LoggedEvent) {
        self.session.frame(ServerFrame::Logged(event), self.now).unwrap();
    }

    fn reply(&mut self, id: &str, result: &impl Serialize) {
        let result = RawValue::from_string(serde_json::to_string(result).unwrap()).unwrap();
        self.session.replied(id, Ok(result), self.now).unwrap();
    }

    fn refuse(&mut self, id: &str, code: ErrorCode) {
        let retryable = code.retryable();
        let error =
            ServerError { code, message: "no".into(), retryable, retry_after_ms: None, field: None, limit: None };
        self.session.replied(id, Err(error), self.now).unwrap();
    }

    /// Answers what the session asks until it asks no more; sends are kept for the test.
    fn serve(&mut self) {
        loop {
            while let Some(event) = self.session.pop_event() {
                if let Event::Logged { event, .. } = &event {
                    self.heard.push(event.seq.0);
                }
                self.told.push(event);
            }
            let out = self.session.take_out();
            if out.is_empty() {
                return;
            }
            for Request { id, command } in out {
                match command {
                    Command::Send { message_id, content, to } => {
                        assert_eq!(to, SendTo::Conversation(CONVERSATION));
                        self.sends.push((id, message_id, content));
                    }
                    Command::History { from: Some(HistoryFrom::After(after)), .. } => {
                        let events: Vec<_> =
                            self.log.iter().filter(|event| event.seq > after).take(self.page).cloned().collect();
                        let complete = events.last().is_none_or(|last| last.seq.0 == self.head());
                        let head = Seq(self.head());
                        let oldest_seq = Seq(1);
                        let page = HistoryResult {
                            conversation: CONVERSATION,
                            epoch: EPOCH,
                            events,
                            complete,
                            oldest_seq,
                            head,
                        };
                        self.reply(&id, &page);
                    }
                    Command::Conversation { .. } => {
                        let conversation = group(self.head());
                        self.reply(&id, &chinwag_schema::wire::native::OneConversation { conversation });
                    }
                    _ => self.reply(&id, &chinwag_schema::wire::native::Empty {}),
                }
            }
        }
    }

    /// Lets time pass.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.now += Duration::from_millis(100);
            self.session.tick(self.now);
            self.serve();
        }
    }

    fn position(&self) -> u64 {
        self.session.model.conversation(CONVERSATION).unwrap().position().seq.0
    }

    /// Stores a send as the server does, and returns the reply.
    fn store(&mut self, message_id: Uuid, content: &str) -> SendResult {
        let seq = self.head() + 1;
        let mut event = message(seq, content);
        event.message_id = Some(message_id);
        event.sender.id = ME;
        self.log.push(event);
        let id = EventId(seq as i64 * 1000);
        SendResult { conversation: CONVERSATION, epoch: EPOCH, seq: Seq(seq), id, timestamp: 1, duplicate: false }
    }
}

fn restored(seq: u64) -> Resume {
    let position = Position { epoch: EPOCH, seq: Seq(seq) };
    Resume { positions: BTreeMap::from([(CONVERSATION, position)]), rooms: Vec::new() }
}

#[test]
fn a_hole_is_fetched_after_a_second() {
    let mut world = World::new(10, &Resume::default());
    world.welcome(false, Vec::new(), vec![group(10)]);
    world.log.extend((11..=30).map(|seq| message(seq, "x")));
    world.hear(message(30, "x"));
    world.serve();
    assert_eq!(world.position(), 10);
    world.pass(2);
    assert_eq!(world.heard, (11..=30).collect::<Vec<_>>());
}

#[test]
fn a_gap_is_fetched_at_once_and_too_large_a_one_begins_the_window_anew() {
    let mut world = World::new(50, &restored(10));
    world.welcome(false, vec![Resumed::gap(CONVERSATION, EPOCH, Seq(10), Seq(50))], vec![group(50)]);
    world.serve();
    assert_eq!(world.heard, (11..=50).collect::<Vec<_>>());

    let mut world = World::new(2000, &restored(10));
    world.welcome(false, vec![Resumed::gap(CONVERSATION, EPOCH, Seq(10), Seq(2000))], vec![group(2000)]);
    world.serve();
    assert_eq!((world.position(), world.heard.len()), (2000, 0));
    assert!(world.told.iter().any(|event| matches!(event, Event::Restarted { .. })));
}

#[test]
fn another_log_voids_what_was_kept_and_what_is_gone_is_forgotten() {
    let mut world = World::new(10, &restored(400));
    world.welcome(false, vec![Resumed::reset(CONVERSATION, EPOCH, Seq(10))], vec![group(10)]);
    world.serve();
    assert_eq!(world.position(), 10);
    let mut of_another = message(11, "x");
    of_another.epoch = OTHER_EPOCH;
    world.hear(of_another);
    world.serve();
    world.session.unlinked(world.now);
    let gone = Resumed::gone(CONVERSATION);
    assert_eq!(gone.outcome, Outcome::Gone);
    world.welcome(false, vec![gone], Vec::new());
    world.serve();
    assert!(world.session.model.conversation(CONVERSATION).is_none());
}

#[test]
fn messages_of_a_conversation_go_one_after_the_other_and_again_under_their_ids() {
    let mut world = World::new(0, &Resume::default());
    world.welcome(false, Vec::new(), vec![group(0)]);
    let to = || Destination::Conversation(CONVERSATION);
    let first = world.session.send(to(), "one", world.now).unwrap();
    let second = world.session.send(to(), "two", world.now).unwrap();
    world.serve();
    assert_eq!(world.sends.len(), 1);
    // Busy: the same again, and nothing overtakes it.
    let (id, ..) = world.sends.remove(0);
    world.refuse(&id, ErrorCode::Unavailable);
    world.pass(3);
    assert_eq!(world.sends.iter().map(|(_, id, _)| *id).collect::<Vec<_>>(), [first]);
    // The answer gets lost with the link, the message not.
    world.sends.clear();
    world.store(first, "one");
    world.session.unlinked(world.now);
    let replayed = Resumed::replayed(CONVERSATION, EPOCH, Seq(0), Seq(1));
    world.welcome(false, vec![replayed], vec![group(1)]);
    world.session.tick(world.now);
    world.serve();
    assert_eq!(world.sends[0].1, first);
    world.hear(world.log[0].clone());
    world.serve();
    assert!(world.told.iter().any(|event| matches!(event, Event::Stored { message_id, .. } if *message_id == first)));
    let (id, ..) = world.sends.remove(0);
    let again = SendResult { seq: Seq(1), duplicate: true, ..world.store(Uuid::nil(), "") };
    world.log.pop();
    world.reply(&id, &again);
    world.serve();
    assert_eq!(world.sends[0].1, second);
    assert_eq!(world.heard, [1]);
    // Refused for good.
    let (id, ..) = world.sends.remove(0);
    world.refuse(&id, ErrorCode::Spam);
    world.serve();
    let failed = world.session.model.outbox.get(second).unwrap();
    assert_eq!(failed.state, PendingState::Failed("no".into()));
    let new = world.session.send_again(second, world.now).unwrap().unwrap();
    assert!(new > second && world.session.model.outbox.get(second).is_none());
}

#[test]
fn a_guest_waits_for_what_it_missed_before_it_sends_again() {
    let mut world = World::new(0, &Resume::default());
    let room = ConversationInfo { kind: chinwag_schema::model::ConversationKind::Room, role: None, ..group(0) };
    world.welcome(true, Vec::new(), Vec::new());
    let names = vec!["ann".into()];
    world.session.listening(&Listening { conversation: room.clone(), listeners: 1, names, resumed: None }, world.now);
    let sent = world.session.send(Destination::Conversation(CONVERSATION), "hi", world.now).unwrap();
    world.serve();
    world.store(sent, "hi");
    world.sends.clear();
    world.session.unlinked(world.now);
    // Another socket, another user.
    world.log[0].sender.id = crate::testing::OTHER;
    world.welcome(true, Vec::new(), Vec::new());
    world.session.tick(world.now);
    let asked = world.session.take_out();
    let listens = |request: &&Request| matches!(request.command, Command::RoomListen { position: Some(_), .. });
    let listen = asked.iter().find(listens).unwrap().id.clone();
    assert!(!asked.iter().any(|request| matches!(request.command, Command::Send { .. })));
    let resumed = Some(Resumed::replayed(CONVERSATION, EPOCH, Seq(0), Seq(1)));
    let head = ConversationInfo { head: Seq(1), ..room };
    world.reply(&listen, &Listening { conversation: head, listeners: 1, names: Vec::new(), resumed });
    world.serve();
    world.hear(world.log[0].clone());
    world.pass(3);
    assert_eq!((world.sends.len(), world.heard.len()), (0, 1));
    assert!(world.session.model.outbox.get(sent).is_none());
}

#[test]
fn a_history_that_is_refused_is_asked_for_again_with_the_next_event_and_not_each_second() {
    let mut world = World::new(10, &Resume::default());
    world.welcome(false, Vec::new(), vec![group(10)]);
    world.serve();
    world.hear(message(12, "x"));
    let asked = |world: &mut World| {
        let mut asked = Vec::new();
        for _ in 0..100 {
            world.now += Duration::from_millis(100);
            world.session.tick(world.now);
            let out = world.session.take_out();
            let histories = out.into_iter().filter(|request| matches!(request.command, Command::History { .. }));
            for request in histories {
                world.refuse(&request.id, ErrorCode::Forbidden);
                asked.push(request.command);
            }
            // As a screen does that has room above.
            world.session.load_older(CONVERSATION, world.now);
        }
        asked.len()
    };
    assert_eq!(asked(&mut world), 1);
    world.hear(message(13, "y"));
    assert_eq!(asked(&mut world), 1);
    world.session.unlinked(world.now);
    world.log.extend((11..=13).map(|seq| message(seq, "x")));
    world.welcome(false, Vec::new(), vec![group(13)]);
    world.pass(3);
    assert_eq!(world.heard, [11, 12, 13]);
}

#[test]
fn an_older_page_that_is_refused_for_now_is_asked_for_again_after_a_second() {
    let mut world = World::new(10, &Resume::default());
    world.welcome(false, Vec::new(), vec![group(10)]);
    world.serve();
    assert!(world.session.load_older(CONVERSATION, world.now));
    let id = world.session.take_out().remove(0).id;
    world.refuse(&id, ErrorCode::Unavailable);
    assert!(!world.session.load_older(CONVERSATION, world.now));
    world.pass(2);
    assert!(world.session.load_older(CONVERSATION, world.now));
}

#[test]
fn a_page_of_the_list_that_is_refused_for_now_is_asked_for_again() {
    let mut world = World::new(10, &restored(10));
    world.welcome(false, Vec::new(), vec![group(10)]);
    world.serve();
    let next = Some(ConversationId(5));
    let lists = |world: &mut World| {
        let out = world.session.take_out();
        let mut lists = out.into_iter().filter(|request| matches!(request.command, Command::Conversations { .. }));
        let list = lists.next().map(|request| {
            assert!(matches!(request.command, Command::Conversations { after: Some(ConversationId(5)), .. }));
            request.id
        });
        assert!(lists.next().is_none());
        list
    };
    // The first page doesn't name the group, the second would.
    world.session.unlisted.insert(CONVERSATION);
    world.session.listed(next, world.now);
    let id = lists(&mut world).unwrap();
    world.refuse(&id, ErrorCode::Unavailable);
    assert_eq!(lists(&mut world), None);
    world.now += Duration::from_secs(1);
    world.session.tick(world.now);
    let id = lists(&mut world).unwrap();
    world.reply(&id, &Conversations { conversations: vec![group(10)], next: None });
    world.serve();
    assert!(world.session.model.conversation(CONVERSATION).is_some());
    // For good: nobody is taken for gone because of it.
    world.session.unlisted.insert(CONVERSATION);
    world.session.listed(next, world.now);
    let id = lists(&mut world).unwrap();
    world.refuse(&id, ErrorCode::Forbidden);
    world.pass(5);
    assert!(world.session.unlisted.is_empty() && world.session.model.conversation(CONVERSATION).is_some());
}

#[test]
fn commands_survive_a_lost_link_and_end_after_twenty_seconds() {
    let mut world = World::new(0, &Resume::default());
    world.welcome(false, Vec::new(), vec![group(0)]);
    world.serve();
    let (reply, mut answer) = oneshot::channel();
    world.session.command(Command::GroupCreate { name: "x".into() }, reply, world.now);
    let first = world.session.take_out();
    world.session.unlinked(world.now);
    world.welcome(false, Vec::new(), vec![group(0)]);
    let again = world.session.take_out();
    assert!(again.contains(&first[0]), "the same request id: {again:?}");
    world.now += Duration::from_secs(21);
    world.session.tick(world.now);
    assert!(matches!(answer.try_recv(), Ok(Err(Error::Timeout))));
    for _ in 0..256 {
        world.session.command(Command::Stats, oneshot::channel().0, world.now);
    }
    let (reply, mut answer) = oneshot::channel();
    world.session.command(Command::Stats, reply, world.now);
    assert!(matches!(answer.try_recv(), Ok(Err(Error::Busy))));
}

/// What happens to a client of a log: an event comes (any, once or again), the link breaks and what was missed is replayed or is a gap, time
/// passes, the server drops events for a slow reader.
#[derive(Debug, Clone)]
enum Step {
    Event(u64),
    Broken { gap: bool },
    Gap,
    Second,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1..40u64).prop_map(Step::Event),
        1 => any::<bool>().prop_map(|gap| Step::Broken { gap }),
        1 => Just(Step::Gap),
        2 => Just(Step::Second),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_happens_on_the_way_the_client_ends_with_the_log(steps in steps(), page in 1..9usize) {
        let mut world = World::new(0, &Resume::default());
        world.page = page;
        world.welcome(false, Vec::new(), vec![group(0)]);
        world.log = (1..=40).map(|seq| message(seq, &seq.to_string())).collect();
        for step in steps {
            match step {
                Step::Event(seq) => world.hear(world.log[seq as usize - 1].clone()),
                Step::Second => world.pass(1),
                Step::Gap => {
                    let notice = Notice::Gap { conversation: CONVERSATION, epoch: EPOCH, from: Seq(1), to: Seq(30) };
                    world.session.frame(ServerFrame::Notice(notice), world.now).unwrap();
                }
                Step::Broken { gap } => {
                    world.session.unlinked(world.now);
                    let have = Seq(world.position());
                    let outcome = if gap { Resumed::gap } else { Resumed::replayed };
                    world.welcome(false, vec![outcome(CONVERSATION, EPOCH, have, Seq(35))], vec![group(35)]);
                    for seq in (have.0 + 1..=35).filter(|_| !gap) {
                        world.hear(message(seq, &seq.to_string()));
                    }
                }
            }
            world.serve();
        }
        world.hear(message(40, "40"));
        world.pass(5);
        prop_assert_eq!(&world.heard, &(1..=40).collect::<Vec<_>>());
        let window = &world.session.model.conversation(CONVERSATION).unwrap().entries;
        prop_assert!(window.iter().map(|entry| entry.seq.0).eq(1..=40));
        prop_assert!(window.iter().all(|entry| entry.event == LoggedKind::Message));
    }
}
