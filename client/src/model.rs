//! What this client knows: who the user is, the conversations, the outbox. For reading, by [`Client::view`](crate::Client::view).

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::Instant,
};

use chinwag_schema::{
    ids::{ConversationId, UserId},
    model::{ConversationKind, Position},
    wire::native::{Limits, LoggedEvent, LoggedKind, UserInfo},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    conversation::Conversation,
    error::EndReason,
    outbox::{Destination, Outbox, Pending},
};

/// Own message ids that are remembered, to know a guest's own messages: their user id changes with every socket.
const WRITTEN_MAX: usize = 1024;

/// Whether there is a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    Connecting,
    /// Welcomed: what the client knows is what the server knows, but for what is on its way.
    Online,
    /// The next try is at `until`.
    Waiting {
        until: Instant,
        /// For people.
        why: String,
    },
    Ended(EndReason),
}

/// How far an own message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    Sending,
    /// Refused; why, for people.
    Failed(String),
    /// The server has it, durably.
    Stored,
    /// Somebody else's device has it.
    Delivered,
    /// Somebody else has read it.
    Read,
}

/// What the next run of a program needs to go on where this one was: kept by the program, given back as
/// [`Config::resume`](crate::Config).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Up to where everything has come.
    pub positions: BTreeMap<ConversationId, Position>,
    /// Public rooms that are listened to, those left out of which the user is a member.
    pub rooms: Vec<ConversationId>,
}

/// What this client knows.
#[derive(Debug)]
pub struct Model {
    /// Who the user is, once the server has said it.
    pub me: Option<UserInfo>,
    pub connection: Connection,
    /// The server's bounds.
    pub limits: Limits,
    pub(crate) conversations: BTreeMap<ConversationId, Conversation>,
    pub(crate) outbox: Outbox,
    written: (VecDeque<Uuid>, HashSet<Uuid>),
}

impl Model {
    pub(crate) fn new(outbox: Outbox, resume: &Resume) -> Self {
        let mut conversations = BTreeMap::new();
        for (&id, &position) in &resume.positions {
            conversations.insert(id, Conversation::restored(id, position, resume.rooms.contains(&id)));
        }
        let mut model = Self {
            me: None,
            connection: Connection::Connecting,
            limits: Limits::default(),
            conversations,
            outbox,
            written: Default::default(),
        };
        let ids: Vec<Uuid> = model.outbox.iter().map(|item| item.message_id).collect();
        ids.into_iter().for_each(|id| model.wrote(id));
        model
    }

    /// Returns a conversation.
    pub fn conversation(&self, id: ConversationId) -> Option<&Conversation> {
        self.conversations.get(&id).filter(|conversation| conversation.known)
    }

    /// Says whether a conversation is known, or is about to be, because an earlier run has left a position in it.
    pub fn expects(&self, id: ConversationId) -> bool {
        self.conversations.contains_key(&id)
    }

    /// Returns the conversations, the one in which something happened last first.
    pub fn conversations(&self) -> Vec<&Conversation> {
        let mut all: Vec<_> = self.conversations.values().filter(|conversation| conversation.known).collect();
        all.sort_by_key(|conversation| std::cmp::Reverse((conversation.activity_ms(), conversation.id)));
        all
    }

    /// Finds a conversation by the name of a room or group, or of the other user of a chat; letters' case doesn't matter.
    pub fn find(&self, name: &str) -> Option<&Conversation> {
        let name = name.to_lowercase();
        self.conversations().into_iter().find(|conversation| conversation.name.to_lowercase() == name)
    }

    /// Finds the one-to-one chat with a user.
    pub fn chat_with(&self, name: &str) -> Option<&Conversation> {
        let chats = self.conversations.values().filter(|one| one.kind == ConversationKind::Direct);
        chats.into_iter().find(|one| one.with.as_ref().is_some_and(|with| &*with.name == name))
    }

    /// Returns the outbox.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Returns the unacknowledged messages of a conversation, oldest first.
    pub fn pending(&self, id: ConversationId) -> impl Iterator<Item = &Pending> {
        let with = self.conversations.get(&id).and_then(|one| one.with.as_ref()).map(|with| &*with.name);
        self.outbox.iter().filter(move |item| match &item.to {
            Destination::Conversation(to) => *to == id,
            Destination::User(name) => Some(&**name) == with,
        })
    }

    /// Says whether the user here wrote a message.
    pub fn is_own(&self, event: &LoggedEvent) -> bool {
        self.me_id() == event.sender.id || event.message_id.is_some_and(|id| self.written.1.contains(&id))
    }

    /// Says how far an own message of the log is.
    pub fn delivery(&self, event: &LoggedEvent) -> Option<Delivery> {
        let own = event.event == LoggedKind::Message && self.is_own(event);
        let conversation = self.conversations.get(&event.conversation).filter(|_| own)?;
        let far = conversation.furthest_peer();
        Some(match () {
            () if far.read >= event.seq => Delivery::Read,
            () if far.delivered >= event.seq => Delivery::Delivered,
            () => Delivery::Stored,
        })
    }

    /// Returns what the next run needs to go on from here.
    pub fn resume(&self) -> Resume {
        let mut resume = Resume::default();
        for conversation in self.conversations.values().filter(|one| one.member || one.listening) {
            resume.positions.insert(conversation.id, conversation.position());
            if conversation.listening && !conversation.member {
                resume.rooms.push(conversation.id);
            }
        }
        resume
    }

    pub(crate) fn me_id(&self) -> UserId {
        self.me.as_ref().map_or(UserId(0), |me| me.id)
    }

    pub(crate) fn is_guest(&self) -> bool {
        self.me.as_ref().is_some_and(|me| me.guest)
    }

    /// Notes that the user here wrote the message with this id.
    pub(crate) fn wrote(&mut self, message_id: Uuid) {
        let (order, set) = &mut self.written;
        if set.insert(message_id) {
            order.push_back(message_id);
        }
        if order.len() > WRITTEN_MAX
            && let Some(oldest) = order.pop_front()
        {
            set.remove(&oldest);
        }
    }
}
