//! One-to-one chats: starting one, writing, reading.

use std::sync::Arc;

use chinwag_schema::{
    error::ClientError,
    ids::{ConversationId, UserId},
    limits::conversation::PAGE_DEFAULT,
    model::{Conversation, ConversationKind, Member, Name},
    names,
    wire::messenger::{Page, ServerFrame, error_of, texts},
};
use rustc_hash::FxHashMap;

use super::{
    Io, MessengerSession, MessengerTag, Standing, Tag, entrance, fail, render::chat_history, send, store_failed, wait,
    within_rate,
};
use crate::{
    conversation::messages::{Caller, ConversationMessage, HistoryQuery},
    engine::Node,
    ports::{StoreError, StoreResult, message_store::Filter},
};

/// Chats that a session remembers; beyond it all are looked up again.
const KNOWN_MAX: usize = 256;

/// Chats of this socket's user by the other's name, so that a message needs no look-up. A chat never ends, a name never changes hands.
#[derive(Default)]
pub(super) struct Known(FxHashMap<Box<str>, Chat>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chat {
    id: ConversationId,
    other: UserId,
}

impl Known {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, other: &str) -> Option<Chat> {
        self.0.get(other).copied()
    }

    fn put(&mut self, other: &str, chat: Chat) {
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        self.0.insert(other.into(), chat);
    }
}

/// What a look-up of a chat found.
enum Found {
    NoSuchUser,
    /// The user exists, the chat doesn't.
    NoChat {
        other: UserId,
    },
    Chat {
        chat: Chat,
        made: bool,
    },
}

impl MessengerSession {
    pub(super) fn start_chat(&mut self, to: &str, io: &mut Io<'_, '_>) {
        if *to == *io.caller().name {
            return fail(texts::CHAT_WITH_ONESELF, io);
        }
        if !within_rate(io) {
            return;
        }
        let to = Name::from(to);
        let Some(found) = find_or_make(&to, io) else {
            return send(&error_of(&ClientError::unavailable("the server")), io);
        };
        wait(io, found, move |found, session, io| match found {
            Err(error) => store_failed(&error, io),
            Ok(Found::NoSuchUser | Found::NoChat { .. }) => fail(texts::user_unknown(&to), io),
            Ok(Found::Chat { chat, made }) => {
                session.chats.put(&to, chat);
                if made {
                    session.started(to, chat, io);
                } else {
                    fail(texts::chat_exists(&to), io);
                }
            }
        });
    }

    /// The chat is there: both sides hear of it, this socket by its answer.
    fn started(&mut self, to: Name, chat: Chat, io: &mut Io<'_, '_>) {
        self.expect_announcement(chat.id);
        io.tell(chat.id, ConversationMessage::Announce { from: io.caller(), requested: true });
        let standing = standing(chat.other, io);
        wait(io, standing, move |standing, _, io| {
            if standing.online {
                let chat_id = names::chat_id(&io.caller().name, &to).into();
                send(&ServerFrame::chat_to(to, chat_id), io);
            } else {
                send(&ServerFrame::info(texts::user_offline(&to)), io);
            }
        });
    }

    pub(super) fn send_to_chat(&mut self, to: &str, content: String, chat_id: &str, io: &mut Io<'_, '_>) {
        let caller = io.caller();
        if let Some(wrong) = wrong_chat(&caller, to, chat_id) {
            return fail(wrong, io);
        }
        if !within_rate(io) {
            return;
        }
        let content: Arc<str> = content.into();
        if let Some(chat) = self.chats.get(to) {
            return post(chat.id, caller, content, io);
        }
        let to = Name::from(to);
        let Some(found) = find_or_make(&to, io) else {
            return send(&error_of(&ClientError::unavailable("the server")), io);
        };
        wait(io, found, move |found, session, io| match found {
            Err(error) => store_failed(&error, io),
            Ok(Found::NoSuchUser | Found::NoChat { .. }) => fail(texts::user_unknown(&to), io),
            Ok(Found::Chat { chat, made }) => {
                session.chats.put(&to, chat);
                if made {
                    io.tell(chat.id, ConversationMessage::Announce { from: io.caller(), requested: false });
                }
                post(chat.id, io.caller(), content, io);
            }
        });
    }

    pub(super) fn chat_history(&mut self, to: &str, chat_id: &str, page: Page, io: &mut Io<'_, '_>) {
        if let Some(wrong) = wrong_chat(&io.caller(), to, chat_id) {
            return fail(wrong, io);
        }
        if let Some(chat) = self.chats.get(to) {
            return read_history(chat, page, io);
        }
        let (node, caller, to) = (io.node.clone(), io.caller(), Name::from(to));
        let name = to.clone();
        let found = async move { find(&node, &caller, &name).await };
        wait(io, found, move |found, session, io| match found {
            Err(error) => store_failed(&error, io),
            Ok(Found::NoSuchUser) => fail(texts::user_unknown(&to), io),
            Ok(Found::NoChat { other }) => {
                let standing = standing(other, io);
                wait(io, standing, |standing, _, io| send(&chat_history(Vec::new(), standing), io));
            }
            Ok(Found::Chat { chat, .. }) => {
                session.chats.put(&to, chat);
                read_history(chat, page, io);
            }
        });
    }
}

/// Says what is wrong with the other's name or the `chatId` of a frame.
fn wrong_chat(caller: &Caller, to: &str, chat_id: &str) -> Option<&'static str> {
    if *to == *caller.name {
        Some(texts::CHAT_WITH_ONESELF)
    } else if names::chat_id(&caller.name, to) != chat_id {
        Some(texts::WRONG_CHAT_ID)
    } else {
        None
    }
}

fn post(chat: ConversationId, from: Arc<Caller>, content: Arc<str>, io: &Io<'_, '_>) {
    let reply = io.reply_to(Tag::Messenger(MessengerTag::Post));
    io.tell(chat, ConversationMessage::Post { from, client_id: None, content, reply });
}

fn read_history(chat: Chat, page: Page, io: &mut Io<'_, '_>) {
    let standing = standing(chat.other, io);
    wait(io, standing, move |other, _, io| {
        let first = page.before.is_none();
        let reply = io.reply_to(Tag::Messenger(MessengerTag::ChatHistory { first, other }));
        io.hold_inbound();
        io.tell(chat.id, ConversationMessage::History { from: io.caller(), query: query(page), reply });
    });
}

/// Asks for a page of messages.
pub(super) fn query(page: Page) -> HistoryQuery {
    let limit = page.limit.unwrap_or(PAGE_DEFAULT);
    HistoryQuery { direction: None, limit, filter: Filter::Messages, epoch: None, before_id: page.before }
}

/// Finds the chat with the user of a name, without making it.
async fn find(node: &Node, caller: &Caller, to: &Name) -> StoreResult<Found> {
    let Some(other) = node.accounts.user_id(to.clone()).await? else { return Ok(Found::NoSuchUser) };
    let (a, b) = (caller.user, other);
    let chat =
        node.accounts.call("direct_between", move |store| async move { store.direct_between(a, b).await }).await?;
    Ok(match chat {
        Some(chat) => Found::Chat { chat: Chat { id: chat.id, other }, made: false },
        None => Found::NoChat { other },
    })
}

/// Finds the chat with the user of a name, or makes it; `None` when there are no identifiers to be had.
fn find_or_make(to: &Name, io: &Io<'_, '_>) -> Option<impl Future<Output = Result<Found, StoreError>> + use<>> {
    let (node, caller, to, now_ms) = (io.node.clone(), io.caller(), to.clone(), io.now_ms());
    // An id that isn't used after all is no loss.
    let id = node.ids.conversation(now_ms, ConversationKind::Direct).ok()?;
    Some(async move {
        let other = match find(&node, &caller, &to).await? {
            Found::NoChat { other } => other,
            found => return Ok(found),
        };
        let mut pair =
            [Member { user: caller.user, name: caller.name.clone() }, Member { user: other, name: to.clone() }];
        pair.sort_by_key(|member| member.user);
        let kind = ConversationKind::Direct;
        let new =
            Conversation { id, kind, name: None, created_by: caller.user, created_at_ms: now_ms, pair: Some(pair) };
        let opened = node.accounts.call("open_direct", move |store| async move { store.open_direct(&new).await });
        let (chat, made) = opened.await?;
        Ok(Found::Chat { chat: Chat { id: chat.id, other }, made })
    })
}

/// Asks how a user stands. A presence or store that doesn't answer counts as 'offline, not known since when': a history is worth more
/// than who is there.
fn standing(user: UserId, io: &Io<'_, '_>) -> impl Future<Output = Standing> + use<> {
    let standings = standings(vec![user], io);
    async move { standings.await.pop().unwrap_or(Standing { online: false, last_seen_ms: None }) }
}

/// Asks how users stand, in their order.
pub(super) fn standings(users: Vec<UserId>, io: &Io<'_, '_>) -> impl Future<Output = Vec<Standing>> + use<> {
    let asked = io.node.ask_presence(users.clone());
    let accounts = io.node.accounts.clone();
    async move {
        let now = match asked {
            Some(answer) => entrance::asked(true, answer).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let mut standings: Vec<_> = (0..users.len())
            .map(|index| match now.get(index) {
                Some(status) => Standing { online: status.online, last_seen_ms: status.last_seen_ms },
                None => Standing { online: false, last_seen_ms: None },
            })
            .collect();
        // Presence knows last-seen times until they are stored; earlier ones are in the accounts' rows.
        let unknown = users.iter().zip(&standings).filter(|(_, standing)| standing.last_seen_ms.is_none());
        let unknown: Vec<_> = unknown.map(|(&user, _)| user).collect();
        let mut stored: FxHashMap<UserId, i64> = FxHashMap::default();
        for some in unknown.chunks(500).map(<[UserId]>::to_vec) {
            if let Ok(rows) = accounts.call("users", move |store| async move { store.users(&some).await }).await {
                stored.extend(rows.iter().filter_map(|row| Some((row.id, row.last_seen_ms?))));
            }
        }
        for (user, standing) in users.iter().zip(&mut standings) {
            standing.last_seen_ms = standing.last_seen_ms.or_else(|| stored.get(user).copied());
        }
        standings
    }
}

#[cfg(test)]
mod tests {
    use chinwag_schema::{
        ids::{NodeId, Slot},
        wire::Dialect,
    };

    use super::*;

    #[test]
    fn a_chat_is_that_of_the_two_users_whatever_its_id_says() {
        let slot = Slot { node: NodeId(0), worker: 0, generation: 1, index: 0 };
        let dialect = Dialect::Messenger;
        let bob = Caller { slot, user: UserId(2), name: "bob".into(), dialect, guest: false };
        assert_eq!(wrong_chat(&bob, "ann", "ann-bob"), None);
        assert_eq!(wrong_chat(&bob, "ann", "bob-ann"), Some(texts::WRONG_CHAT_ID));
        assert_eq!(wrong_chat(&bob, "ann", "ann-carl"), Some(texts::WRONG_CHAT_ID));
        assert_eq!(wrong_chat(&bob, "bob", "bob-bob"), Some(texts::CHAT_WITH_ONESELF));
    }

    #[test]
    fn remembered_chats_are_bounded() {
        let mut known = Known::default();
        for n in 0..1000 {
            known.put(&format!("u{n}"), Chat { id: ConversationId(n), other: UserId(n) });
            assert!(known.len() <= KNOWN_MAX);
        }
        assert_eq!(known.get("u999"), Some(Chat { id: ConversationId(999), other: UserId(999) }));
    }
}
