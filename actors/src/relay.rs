//! The relay of one worker thread: hands events and answers to the sockets that live there.
//!
//! A conversation sends each event once per worker (and once per node) that has listeners; the relay pushes the shared frame
//! into every listening outbox. It knows who listens to what on its thread, and nothing about rights: the owner attaches and detaches.
//! Everything the owner sends to a worker arrives in order, so an attachment, the answer to it and the events after it can't overtake
//! each other.

mod handed;
mod reply;

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc};

use chinwag_schema::{
    error::CloseCode,
    event::Class,
    ids::{ConversationId, NodeId, Seq, Slot},
    wire::{Dialect, encoded_event::EncodedEvent},
};
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use serde_json::{Value, json};
use slab::Slab;

use handed::Handed;
pub use reply::ReplyTo;

use crate::{
    conversation::messages::{Answer, Batch, Woken},
    message_kinds,
    runtime::{Behaviour, Cx, Kind, Mailbox},
    session::{
        SessionMessage, Tag,
        outbox::{Outbox, Pushed, wakes},
        render,
    },
};

/// Events that a corked socket may gather before it is closed as a slow reader.
pub const CORKED_MAX_EVENTS: usize = 8192;

/// What a relay is told.
pub enum RelayMessage {
    /// Sends events to all sockets of this worker that this owner attached to the conversation. Those that an earlier owner attached
    /// wait for theirs to attach them: it replays from where they are, and what it sends to others before would come too early.
    Deliver {
        conversation: ConversationId,
        owner: NodeId,
        events: Batch,
    },
    /// Attaches a socket; `replay` goes to it first, and then what comes after `upto` (events delivered late, because this relay was
    /// full, may be older than the attachment).
    Attach {
        conversation: ConversationId,
        owner: NodeId,
        slot: Slot,
        replay: Vec<Arc<EncodedEvent>>,
        upto: Seq,
    },
    Detach {
        conversation: ConversationId,
        slot: Slot,
    },
    /// Hands an answer to the session's renderer, and to the session if it waits for it.
    Answer {
        slot: Slot,
        tag: Tag,
        answer: Answer,
    },
    /// Sends one event to some sockets.
    Send {
        slots: Vec<Slot>,
        event: Arc<EncodedEvent>,
    },
    /// Tells a session of a conversation that is its user's.
    Wake {
        slot: Slot,
        woken: Woken,
    },
    /// Tells a session that the conversation sleeps and that it was handed all up to the head.
    Asleep {
        slot: Slot,
        woken: Woken,
    },
    /// Closes a socket.
    Close {
        slot: Slot,
        code: CloseCode,
        reason: &'static str,
    },
}

message_kinds!(RelayMessage { Deliver, Attach, Detach, Answer, Send, Wake, Asleep, Close });

/// One socket as its worker's table has it.
pub struct Socket {
    generation: u16,
    pub dialect: Dialect,
    pub outbox: Rc<Outbox>,
    pub session: Mailbox<SessionMessage>,
    /// While set, events gather here: the answer that must come first isn't there yet.
    cork: Option<VecDeque<Arc<EncodedEvent>>>,
    /// What messenger sockets were handed and what of it has arrived; none while nothing is open.
    handed: Handed,
}

/// The sockets of one worker thread. Shared by its relay and its sessions.
pub struct Sockets {
    node: NodeId,
    worker: u16,
    table: RefCell<Table>,
}

/// The sockets of one conversation on this thread: by index, with the seq after which each wants events.
type Attached = IndexMap<u32, (Slot, Seq, NodeId), FxBuildHasher>;

#[derive(Default)]
struct Table {
    sockets: Slab<Socket>,
    generations: Vec<u16>,
    attached: IndexMap<ConversationId, Attached, FxBuildHasher>,
    /// Conversations by socket would double the memory; a closing socket is detached by each owner, or when its slot is found empty.
    delivered: u64,
}

impl Sockets {
    /// Makes the table of worker `worker` of a node.
    pub fn new(node: NodeId, worker: u16) -> Rc<Self> {
        Rc::new(Self { node, worker, table: RefCell::default() })
    }

    /// Adds a socket and returns its slot.
    pub fn open(&self, dialect: Dialect, outbox: Rc<Outbox>, session: Mailbox<SessionMessage>) -> Slot {
        let mut table = self.table.borrow_mut();
        let index = table.sockets.vacant_key();
        if table.generations.len() <= index {
            table.generations.resize(index + 1, 0);
        }
        table.generations[index] = table.generations[index].wrapping_add(1);
        let generation = table.generations[index];
        table.sockets.insert(Socket { generation, dialect, outbox, session, cork: None, handed: Handed::default() });
        self.slot(index, generation)
    }

    /// Removes a socket; later events for its slot go nowhere.
    pub fn close(&self, slot: Slot) {
        let mut table = self.table.borrow_mut();
        if table.get(slot).is_some() {
            let socket = table.sockets.remove(slot.index as usize);
            drop(table);
            drop(socket);
        }
    }

    /// Holds events for the socket back until [`Self::uncork`], so that an answer can come before them.
    pub fn cork(&self, slot: Slot) {
        if let Some(socket) = self.table.borrow_mut().get(slot) {
            socket.cork.get_or_insert_default();
        }
    }

    /// Sends what was held back.
    pub fn uncork(&self, slot: Slot) {
        if let Some(socket) = self.table.borrow_mut().get(slot) {
            for event in socket.cork.take().into_iter().flatten() {
                socket.outbox.push_event(&event);
            }
        }
    }

    /// Pushes an event to one socket, in order with the relay's.
    pub fn send(&self, slot: Slot, event: &Arc<EncodedEvent>) {
        if let Some(socket) = self.table.borrow_mut().get(slot) {
            socket.push(event);
        }
    }

    /// Says whether the events of the conversation go to the socket.
    pub fn is_attached(&self, conversation: ConversationId, slot: Slot) -> bool {
        let table = self.table.borrow();
        table
            .attached
            .get(&conversation)
            .is_some_and(|all| all.get(&slot.index).is_some_and(|(known, ..)| *known == slot))
    }

    /// Notes that a ping goes out to a socket now; see [`Socket::ping_goes_out`].
    pub fn ping_goes_out(&self, slot: Slot) {
        if let Some(socket) = self.table.borrow_mut().get(slot) {
            socket.ping_goes_out();
        }
    }

    /// Notes that the pong to that ping came back.
    pub fn pong_came(&self, slot: Slot) {
        if let Some(socket) = self.table.borrow_mut().get(slot) {
            socket.handed.pong_came();
        }
    }

    /// Notes that all that a socket was handed has arrived: it closed cleanly.
    pub fn all_arrived(&self, slot: Slot) {
        if let Some(socket) = self.table.borrow_mut().get(slot) {
            socket.handed.all_arrived();
        }
    }

    /// Takes the positions up to which a messenger socket has certainly received what it was handed.
    pub fn take_arrived(&self, slot: Slot) -> Vec<(ConversationId, Seq)> {
        self.table.borrow_mut().get(slot).map(|socket| socket.handed.take_arrived()).unwrap_or_default()
    }

    /// Returns the positions up to which a messenger socket was handed events, arrived or not, as far as they weren't taken.
    pub fn handed(&self, slot: Slot) -> Vec<(ConversationId, Seq)> {
        self.table.borrow_mut().get(slot).map(|socket| socket.handed.so_far()).unwrap_or_default()
    }

    /// Returns how many sockets there are.
    pub fn len(&self) -> usize {
        self.table.borrow().sockets.len()
    }

    /// Says whether there is no socket.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `visit` for every socket (heartbeat, drain).
    pub fn for_each(&self, mut visit: impl FnMut(Slot, &Socket)) {
        for (index, socket) in &self.table.borrow().sockets {
            visit(self.slot(index, socket.generation), socket);
        }
    }

    fn slot(&self, index: usize, generation: u16) -> Slot {
        let index = u32::try_from(index).expect("fewer sockets than 2^32");
        Slot { node: self.node, worker: self.worker, generation, index }
    }
}

impl Table {
    fn get(&mut self, slot: Slot) -> Option<&mut Socket> {
        self.sockets.get_mut(slot.index as usize).filter(|socket| socket.generation == slot.generation)
    }
}

impl Socket {
    /// Notes that a ping goes out now, behind all that was handed so far. Call it in the same step that queues the ping.
    pub fn ping_goes_out(&self) {
        self.handed.ping_goes_out();
    }

    /// Says whether something was handed that no ping has followed yet.
    pub fn wants_ping(&self) -> bool {
        self.handed.wants_ping()
    }

    /// Remembers what a messenger socket was handed. Its outbox makes no gaps, so what is queued is written in order or never.
    fn note_handed(&self, event: &EncodedEvent) {
        if self.dialect == Dialect::Messenger
            && let Class::Sequenced { conversation, seq } = *event.class()
        {
            self.handed.note(conversation, seq);
        }
    }

    fn note_pushed(&self, pushed: Pushed, event: &EncodedEvent) {
        if matches!(pushed, Pushed::Queued | Pushed::Shed) {
            self.note_handed(event);
        }
    }

    /// Pushes what has just happened. Behind a cork it waits for the client's own question: that time isn't a delivery's.
    fn push_live(&mut self, event: &Arc<EncodedEvent>) {
        if self.cork.is_some() {
            return self.push(event);
        }
        let pushed = self.outbox.push_live(event);
        self.note_pushed(pushed, event);
    }

    fn push(&mut self, event: &Arc<EncodedEvent>) {
        match &mut self.cork {
            None => {
                let pushed = self.outbox.push_event(event);
                self.note_pushed(pushed, event);
            }
            Some(corked) if corked.len() < CORKED_MAX_EVENTS => corked.push_back(event.clone()),
            Some(_) => self.outbox.close_now(CloseCode::SLOW_READER, "too many events while resuming"),
        }
    }
}

/// The relay of one worker. Mailbox bound 65,536; when full the owner keeps the events and tries again (`conversation/fanout.rs`).
/// A panic keeps the table of sockets and who is attached where.
pub struct Relay;

impl Behaviour for Relay {
    type Message = RelayMessage;
    type Keep = Rc<Sockets>;
    const KIND: Kind = "relay";
    const MAILBOX: usize = 65_536;
    const ESSENTIAL: bool = true;

    fn new(_cx: &mut Cx<'_, Self>) -> Self {
        wakes::start();
        Self
    }

    fn handle(&mut self, message: RelayMessage, cx: &mut Cx<'_, Self>) {
        let now_ms = cx.unix_ms();
        let table = &mut *cx.keep.table.borrow_mut();
        match message {
            RelayMessage::Deliver { conversation, owner, events } => deliver(table, conversation, owner, &events),
            RelayMessage::Attach { conversation, owner, slot, replay, upto } => {
                let Some(socket) = table.get(slot) else { return };
                replay.iter().for_each(|event| socket.push(event));
                table.attached.entry(conversation).or_default().insert(slot.index, (slot, upto, owner));
            }
            RelayMessage::Detach { conversation, slot } => detach(table, conversation, slot),
            RelayMessage::Answer { slot, tag, answer } => {
                let Some(socket) = table.get(slot) else { return };
                let told = if tag.awaited() { Some(answer.clone()) } else { None };
                render::answer(socket.dialect, &tag, answer, &socket.outbox, now_ms);
                if let Some(answer) = told {
                    // Closed: the socket is on its way out.
                    let _ = socket.session.tell_always(SessionMessage::Answered { tag, answer });
                }
            }
            RelayMessage::Send { slots, event } => {
                for slot in slots {
                    if let Some(socket) = table.get(slot) {
                        socket.push(&event);
                    }
                }
            }
            RelayMessage::Wake { slot, woken } => tell(table, slot, SessionMessage::Wake(woken)),
            RelayMessage::Asleep { slot, woken } => {
                detach(table, woken.id, slot);
                tell(table, slot, SessionMessage::Asleep(woken));
            }
            RelayMessage::Close { slot, code, reason } => tell(table, slot, SessionMessage::Close { code, reason }),
        }
    }

    fn observe(&self, keep: &Rc<Sockets>) -> Value {
        let table = keep.table.borrow();
        json!({
            "worker": keep.worker,
            "sockets": table.sockets.len(),
            "conversations": table.attached.len(),
            "delivered": table.delivered,
        })
    }
}

fn tell(table: &mut Table, slot: Slot, message: SessionMessage) {
    if let Some(socket) = table.get(slot) {
        // Closed: the socket is on its way out.
        let _ = socket.session.tell_always(message);
    }
}

fn detach(table: &mut Table, conversation: ConversationId, slot: Slot) {
    if let Some(listeners) = table.attached.get_mut(&conversation) {
        if listeners.get(&slot.index).is_some_and(|(known, ..)| *known == slot) {
            listeners.swap_remove(&slot.index);
        }
        if listeners.is_empty() {
            table.attached.swap_remove(&conversation);
        }
    }
}

fn deliver(table: &mut Table, conversation: ConversationId, owner: NodeId, events: &Batch) {
    let Table { sockets, attached, delivered, .. } = table;
    let Some(listeners) = attached.get_mut(&conversation) else { return };
    let seqs: Vec<_> = events.iter().map(|(event, _)| seq_of(event)).collect();
    let mut gone = false;
    for (slot, upto, _) in listeners.values().filter(|(.., by)| *by == owner) {
        let Some(socket) = sockets.get_mut(slot.index as usize).filter(|s| s.generation == slot.generation) else {
            gone = true;
            continue;
        };
        for ((event, except), seq) in events.iter().zip(&seqs) {
            if *except != Some(*slot) && *seq > *upto {
                socket.push_live(event);
                *delivered += 1;
            }
        }
    }
    if gone {
        listeners.retain(|_, (slot, ..)| {
            sockets.get(slot.index as usize).is_some_and(|socket| socket.generation == slot.generation)
        });
        if listeners.is_empty() {
            attached.swap_remove(&conversation);
        }
    }
}

/// Returns the seq of a sequenced event; others are for everybody.
fn seq_of(event: &EncodedEvent) -> Seq {
    match event.class() {
        Class::Sequenced { seq, .. } => *seq,
        Class::Ephemeral | Class::Kept => Seq(u64::MAX),
    }
}
