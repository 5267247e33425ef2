//! An embedded store with something of everything, made through its ports, and everything that ports show of a store.

use std::path::Path;

use chinwag_actors::{
    backends::embedded::{Database, EmbeddedAccounts, EmbeddedMessages},
    ports::{
        account_store::{AccountStore, MemberRow, Rotation},
        message_store::{Direction, Filter, MessageStore, Page},
    },
};
use chinwag_schema::{
    event::LogEvent,
    ids::{ConversationId, Epoch, EventId, Seq, Shard, Term, UserId},
    model::{Conversation, ConversationKind, Cursor, Head, Mark, MemberState, Membership, Role, User},
};
use uuid::Uuid;

use crate::suite::{
    Log, NOW_MS,
    accounts::{conversation, direct, member, token, user},
    new, new_event,
};
use chinwag_actors::ports::message_store::{NewBody, NewEvent};

/// Users with accounts; a guest writes as well.
pub const USERS: i64 = 12;
pub const GUEST: i64 = 77;
/// Conversations: their numbers say what is special.
pub const LOBBY: i64 = 101;
pub const LONG: i64 = 102;
pub const GROUP: i64 = 103;
pub const CHAT: i64 = 104;
/// Retention has removed the first events: up to the middle of a bucket, to the end of one, and all.
pub const MIDDLE: i64 = 105;
pub const END: i64 = 106;
pub const EMPTIED: i64 = 107;
/// Never written to; and claimed only.
pub const SILENT: i64 = 108;
pub const CLAIMED: i64 = 109;
pub const ALL: [i64; 9] = [LOBBY, LONG, GROUP, CHAT, MIDDLE, END, EMPTIED, SILENT, CLAIMED];
/// Events of the long log: more than a page of the copy has.
pub const LONG_EVENTS: i64 = 300;
/// Time reserved for ids, further than any clock.
pub const RESERVED_MS: i64 = NOW_MS * 2;

/// Returns the id that a client gave a message.
pub fn client_id(conversation: i64, event: i64) -> Uuid {
    let at_ms = (NOW_MS + event).cast_unsigned();
    let random = u128::from(conversation.cast_unsigned()) << 20 | u128::from(event.cast_unsigned());
    uuid::Builder::from_unix_timestamp_millis(at_ms, &random.to_be_bytes()[6..].try_into().unwrap()).into_uuid()
}

/// Makes a message with a client id that follows from its own.
pub fn said(conversation: i64, id: i64, sender: i64, content: &str) -> NewEvent {
    new_event(id, sender, NewBody::Message { client_id: Some(client_id(conversation, id)), content: content.into() })
}

/// Fills the store in a directory that has none; returns the name of its log.
pub async fn fill(dir: &Path) -> Epoch {
    let database = Database::open(dir, &Default::default()).unwrap();
    let (accounts, messages) = (EmbeddedAccounts::new(database.clone()), EmbeddedMessages::new(database.clone()));
    fill_accounts(&accounts).await;
    fill_logs(&messages).await;
    let epoch = messages.epoch().await.unwrap();
    database.close().await.unwrap();
    epoch
}

async fn fill_accounts(accounts: &EmbeddedAccounts) {
    for id in 1..=USERS {
        accounts.create_user(&user(id, &format!("user {id}")), &format!("$argon2id$of {id}")).await.unwrap();
    }
    accounts.set_display_name(UserId(2), Some("Zoë, »die Zweite« 🎈")).await.unwrap();
    accounts.set_last_seen(&[(UserId(3), NOW_MS)]).await.unwrap();
    accounts.set_banned(UserId(4), true, NOW_MS).await.unwrap();
    accounts.set_password(UserId(5), "$argon2id$new", NOW_MS + 5).await.unwrap();
    let never = i64::MAX;
    for (hash, family, user) in [(1, 10, 1), (2, 20, 2), (200, 30, 1)] {
        accounts.add_refresh_token(&token(hash, family, user, never)).await.unwrap();
    }
    let rotated = accounts.rotate_refresh_token(&[2; 32], [3; 32], never, NOW_MS).await.unwrap();
    assert!(matches!(rotated, Rotation::Rotated { .. }));
    accounts.revoke_access_token("a token", never).await.unwrap();
    for (id, name) in [(LOBBY, "Lobby"), (LONG, "Long"), (EMPTIED, "Emptied"), (SILENT, "Silent")] {
        accounts.create_conversation(&conversation(id, ConversationKind::Room, Some(name))).await.unwrap();
    }
    for id in [GROUP, MIDDLE, END, CLAIMED] {
        accounts.create_conversation(&conversation(id, ConversationKind::Group, Some("a group"))).await.unwrap();
    }
    accounts.open_direct(&direct(CHAT, 1, 2)).await.unwrap();
    for id in 1..=USERS {
        for place in [LOBBY, GROUP, MIDDLE, END, EMPTIED] {
            accounts.put_member(ConversationId(place), &member(id, MemberState::Settled)).await.unwrap();
        }
    }
    let admin = MemberRow { role: Role::Admin, ..member(1, MemberState::Settled) };
    accounts.put_member(ConversationId(GROUP), &admin).await.unwrap();
    for (id, state) in [(5, MemberState::Joining), (6, MemberState::Leaving)] {
        accounts.put_member(ConversationId(LONG), &member(id, state)).await.unwrap();
    }
    let mark = |seq, messages, own| Mark { seq: Seq(seq), messages, own };
    let cursors = [
        (ConversationId(LOBBY), UserId(1), Cursor { delivered: mark(9, 8, 1), read: mark(4, 4, 1) }),
        (ConversationId(CHAT), UserId(2), Cursor { delivered: mark(1, 1, 0), read: Mark::default() }),
    ];
    accounts.put_cursors(&cursors).await.unwrap();
    accounts.reserve_ids(0, RESERVED_MS).await.unwrap();
    for _ in 0..3 {
        accounts.next_term(ConversationId(LOBBY).shard().0).await.unwrap();
    }
    accounts.raise_terms(&[(Shard(9), Term(70))]).await.unwrap();
}

async fn fill_logs(messages: &EmbeddedMessages) {
    // What retention removes comes first.
    old(messages, MIDDLE, 7).await;
    old(messages, END, 10).await;
    old(messages, EMPTIED, 12).await;
    while messages.remove_older_than(NOW_MS, 5).await.unwrap() > 0 {}
    for place in [MIDDLE, END] {
        let mut log = go_on(messages, place).await;
        // User 1 wrote before and after, the guest before only, user 3 after only.
        for (id, sender) in [(3001, 1), (3002, 3), (3003, 1), (3004, 3), (3005, 3), (3006, 1)] {
            log.append_one(said(place, id, sender, &format!("kept {id}"))).await;
        }
    }

    let mut log = Log::new(messages, LOBBY);
    log.term = Term(3);
    for user in 1..=3 {
        let id = log.next_id();
        log.append_one(new_event(id, user, NewBody::Joined)).await;
    }
    for id in 101..=120 {
        let sender = if id == 110 { GUEST } else { 1 + id % 4 };
        log.append_one(said(LOBBY, id, sender, &format!("text {id} – ünïcode \u{0} 🎉"))).await;
    }
    // In the same bucket, in an older one, twice, and of what is deleted then. Seq 4 is message 101.
    let change = |id, target_seq, content: Option<&str>| {
        let target_seq = Seq(target_seq);
        let body = match content {
            Some(content) => NewBody::Edited { target_seq, content: content.into() },
            None => NewBody::Deleted { target_seq },
        };
        new_event(id, 1, body)
    };
    for event in [
        change(201, 23, Some("edited at once")),
        change(202, 4, Some("edited later")),
        change(203, 4, Some("edited again")),
        change(204, 5, Some("edited, and then")),
        change(205, 5, None),
        change(206, 6, None),
        new_event(207, 3, NewBody::Left),
    ] {
        new(log.append_one(event).await);
    }

    let mut log = Log::new(messages, LONG);
    let events: Vec<_> = (1..=LONG_EVENTS).map(|id| said(LONG, id, 1 + id % 9, &format!("line {id}"))).collect();
    for some in events.chunks(100) {
        log.append(some.to_vec()).await;
    }
    for place in [GROUP, CHAT] {
        let mut log = Log::new(messages, place);
        log.say(1, "without an id").await;
        log.append_one(said(place, 500, 2, &"long ".repeat(800))).await;
    }
    messages.claim(ConversationId(CLAIMED), Term(5)).await.unwrap();
}

/// Writes messages that retention will remove: every third is the guest's.
async fn old(messages: &EmbeddedMessages, place: i64, count: i64) {
    let mut log = Log::new(messages, place);
    for id in 1..=count {
        let sender = if id % 3 == 0 { GUEST } else { 1 };
        let mut event = said(place, id, sender, "old");
        event.at_ms = 1_000_000 + id;
        log.append_one(event).await;
    }
}

/// Returns the owner of a log that was written to before.
pub async fn go_on<S: MessageStore>(messages: &S, place: i64) -> Log<'_, S> {
    let mut log = Log::new(messages, place);
    log.head = messages.heads(&[log.conversation]).await.unwrap()[0].seq;
    log
}

/// All that ports show of one conversation.
#[derive(Debug, PartialEq)]
pub struct Shown {
    conversation: Option<Conversation>,
    members: Vec<MemberRow>,
    cursors: Vec<(UserId, Cursor)>,
    head: Head,
    forward: Vec<Page>,
    messages_backward: Vec<Page>,
    /// By sender: all of theirs, and how totals run at some positions.
    totals: Vec<(u64, Vec<(u64, u64)>)>,
    found: Vec<Option<LogEvent>>,
}

/// All that ports show of a store.
#[derive(Debug, PartialEq)]
pub struct Everything {
    users: Vec<User>,
    proofs: Vec<(String, i64)>,
    memberships: Vec<Vec<Membership>>,
    rooms: Vec<Conversation>,
    chat: Option<Conversation>,
    revoked_tokens: Vec<(String, i64)>,
    revoked_users: Vec<(UserId, i64)>,
    pub conversations: Vec<Shown>,
}

/// Reads everything.
pub async fn read(accounts: &impl AccountStore, messages: &impl MessageStore) -> Everything {
    let (mut proofs, mut memberships) = (Vec::new(), Vec::new());
    for id in 1..=USERS {
        let credentials = accounts.credentials(&format!("user {id}")).await.unwrap().unwrap();
        proofs.push((credentials.password_hash, credentials.tokens_valid_from_ms));
        memberships.push(accounts.memberships(UserId(id), ConversationId(0), 100).await.unwrap());
    }
    let mut conversations = Vec::new();
    for place in ALL {
        conversations.push(shown(accounts, messages, ConversationId(place)).await);
    }
    let mut revoked_users = accounts.revoked_users(0).await.unwrap();
    revoked_users.sort();
    Everything {
        users: accounts.list_users(UserId(0), 100).await.unwrap(),
        proofs,
        memberships,
        rooms: accounts.list_rooms(ConversationId(0), 100).await.unwrap(),
        chat: accounts.direct_between(UserId(2), UserId(1)).await.unwrap(),
        revoked_tokens: accounts.revoked_access_tokens(NOW_MS).await.unwrap(),
        revoked_users,
        conversations,
    }
}

async fn shown(accounts: &impl AccountStore, messages: &impl MessageStore, id: ConversationId) -> Shown {
    let head = messages.heads(&[id]).await.unwrap()[0];
    let step = if head.seq.0 > 100 { 97 } else { 1 };
    let mut totals = Vec::new();
    for user in (1..=4).chain([GUEST]).map(UserId) {
        let mut at = Vec::new();
        for seq in (0..=head.seq.0 + 1).step_by(step) {
            at.push(messages.totals_at(id, user, Seq(seq)).await.unwrap());
        }
        totals.push((messages.own_totals(user, &[id]).await.unwrap()[0], at));
    }
    let mut found = Vec::new();
    for event in [1, 7, 104, 203, 299, 3001, 3006, head.last_id.0] {
        found.push(messages.find(id, EventId(event)).await.unwrap());
    }
    Shown {
        conversation: accounts.conversation(id).await.unwrap(),
        members: accounts.members(id, UserId(0), 100).await.unwrap(),
        cursors: accounts.cursors_of(id, 100).await.unwrap(),
        head,
        forward: pages(messages, id, Direction::After(Seq::ZERO), Filter::All).await,
        messages_backward: pages(messages, id, Direction::Before(Seq(u64::MAX)), Filter::Messages).await,
        totals,
        found,
    }
}

async fn pages(
    messages: &impl MessageStore,
    id: ConversationId,
    mut direction: Direction,
    filter: Filter,
) -> Vec<Page> {
    let mut pages = Vec::new();
    loop {
        let page = messages.page(id, direction, 37, filter).await.unwrap();
        let complete = page.complete;
        if let (Some(first), Some(last)) = (page.events.first(), page.events.last()) {
            direction = match direction {
                Direction::After(_) => Direction::After(last.seq),
                Direction::Before(_) => Direction::Before(first.seq),
            };
        }
        pages.push(page);
        if complete {
            return pages;
        }
    }
}
