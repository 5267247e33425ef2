//! Frames that came from another node.

use chinwag_schema::{
    error::{ClientError, CloseCode},
    event::Class,
    ids::{ConversationId, Slot},
};
use rustc_hash::FxHashMap;

use super::{AGAIN_AFTER, P, PeerMessage, close, go_on, later, send};
use crate::{
    cluster::{
        frame::{Command, Frame, batch, close_reason},
        gather::{self, Question, Told},
        shards::ShardsMessage,
    },
    conversation::messages::ConversationMessage,
    directory::DirectoryMessage,
    relay::{RelayMessage, ReplyTo},
};

/// Rooms in one answer, whatever was asked.
const ROOMS_LISTED_MAX: usize = 1000;

/// Does what a frame says.
pub(super) fn handle(frame: Frame, cx: &mut P<'_>) {
    match frame {
        Frame::Command { n, conversation, command } => commanded(n, conversation, command, cx),
        Frame::Online { user, slot, dialect, conversations } => {
            let (ours, astray): (Vec<_>, Vec<_>) =
                conversations.into_iter().partition(|conversation| cx.keep.node.owns(*conversation));
            if !astray.is_empty() {
                send(Frame::Astray { user, slot, dialect, conversations: astray }, cx);
            }
            for conversation in ours.into_iter().filter(|_| slot.node == cx.keep.peer) {
                cx.keep.owned.put(slot, user, conversation);
                let online = ConversationMessage::Online { user, slot, dialect, added: false };
                cx.keep.node.conversations.tell_active(conversation, online);
            }
        }
        Frame::Sockets { conversation, sockets, added } => {
            for (user, slot, dialect) in sockets.into_iter().filter(|(_, slot, _)| slot.node == cx.keep.peer) {
                cx.keep.owned.put(slot, user, conversation);
                let online = ConversationMessage::Online { user, slot, dialect, added };
                cx.keep.node.conversations.tell_active(conversation, online);
            }
        }
        Frame::Touch { conversation } => match cx.keep.node.owns(conversation) {
            true => cx.keep.node.conversations.tell(conversation, ConversationMessage::Touch),
            // In a moment, when more is known of who owns what.
            false => later(conversation, ConversationMessage::Touch, cx),
        },
        Frame::Gone { user: _, slot } => {
            if let Some((user, conversations)) = cx.keep.owned.take(slot) {
                for conversation in conversations {
                    cx.keep.node.conversations.tell_active(conversation, ConversationMessage::Offline { user, slot });
                }
            }
        }

        Frame::Answered { n, answer } => cx.keep.home.answered(n, answer),
        Frame::Elsewhere { n, conversation } => {
            if let Some(keeper) = cx.keep.node.keeper.get() {
                // A hint: it looks within a second anyway.
                let _ = keeper.tell(ShardsMessage::Look);
            }
            let aftermath = cx.keep.home.elsewhere(conversation, n);
            go_on(aftermath, cx);
        }
        Frame::Deliver { conversation, events } => {
            let workers = cx.keep.home.deliver(conversation, &events);
            let events = batch(events);
            for worker in workers {
                let (owner, events) = (cx.keep.peer, events.clone());
                let message = RelayMessage::Deliver { conversation, owner, events };
                if cx.keep.node.relays[usize::from(worker)].tell(message).is_err() {
                    // They come back and resume; to wait here would hold up everybody else of that node.
                    close(cx.keep.home.sockets_of(conversation, worker), cx);
                }
            }
        }
        Frame::Astray { user, slot, dialect, conversations } => {
            // A moment later: our table of owners is about as old as that.
            cx.after(AGAIN_AFTER, PeerMessage::Astray { user, slot, dialect, conversations });
        }
        Frame::Replay { conversation, slot, events } => {
            let upto = events.last().and_then(|event| match *event.0.class() {
                Class::Sequenced { seq, .. } => Some(seq),
                _ => None,
            });
            if cx.keep.home.replayed(conversation, slot, upto) {
                for event in events {
                    relay(slot, RelayMessage::Send { slots: vec![slot], event: event.0 }, cx);
                }
            }
        }
        Frame::Attach { conversation, slot, replay, upto } => {
            if cx.keep.home.attached(conversation, slot, upto) {
                let replay = replay.into_iter().map(|event| event.0).collect();
                let owner = cx.keep.peer;
                relay(slot, RelayMessage::Attach { conversation, owner, slot, replay, upto }, cx);
            }
        }
        Frame::Detach { conversation, slot } => {
            cx.keep.home.detached(conversation, slot);
            relay(slot, RelayMessage::Detach { conversation, slot }, cx);
        }
        Frame::Send { slots, event } => {
            let mut by_worker: FxHashMap<u16, Vec<Slot>> = FxHashMap::default();
            for slot in slots {
                by_worker.entry(slot.worker).or_default().push(slot);
            }
            for slots in by_worker.into_values() {
                relay(slots[0], RelayMessage::Send { slots: slots.clone(), event: event.0.clone() }, cx);
            }
        }
        Frame::Wake { slot, woken } => relay(slot, RelayMessage::Wake { slot, woken }, cx),
        Frame::Asleep { slot, woken } => {
            cx.keep.home.detached(woken.id, slot);
            relay(slot, RelayMessage::Asleep { slot, woken }, cx);
        }
        Frame::Close { slot, code } => {
            let code = CloseCode(code);
            relay(slot, RelayMessage::Close { slot, code, reason: close_reason(code) }, cx);
        }
        Frame::Interest { conversation, users } => {
            let peer = cx.mailbox();
            let asked = DirectoryMessage::FarInterest { peer, conversation, users, added: false };
            // Past the bound: one per activation there.
            let _ = cx.keep.node.directory.tell_always(asked);
        }
        Frame::Joined { conversation, user } => {
            let peer = cx.mailbox();
            let asked = DirectoryMessage::FarInterest { peer, conversation, users: vec![user], added: true };
            let _ = cx.keep.node.directory.tell_always(asked);
        }
        Frame::Ask { n, question } => asked(n, question, cx),
        Frame::Told { n, told } => cx.keep.home.told(n, told),
        Frame::Look => {
            if let Some(keeper) = cx.keep.node.keeper.get() {
                // A hint: it looks within a second anyway.
                let _ = keeper.tell(ShardsMessage::Look);
            }
        }
        Frame::Notify { users, event } => {
            // Full: presence and notices are shed first.
            let _ = cx.keep.node.directory.tell(DirectoryMessage::NotifyHere { users, event: event.0 });
        }
    }
}

fn asked(n: u64, question: Question, cx: &mut P<'_>) {
    let node = cx.keep.node.clone();
    match question {
        Question::Rooms(limit) => {
            let rooms = node.board.list(limit.min(ROOMS_LISTED_MAX), cx.unix_ms());
            let _ = cx.mailbox().tell(PeerMessage::Tell { n, told: Told::Rooms(rooms) });
        }
        Question::Users => cx.pipe(async move { gather::here(&node).await.unwrap_or_default() }, move |users| {
            PeerMessage::Tell { n, told: Told::Users(users) }
        }),
    }
}

fn commanded(n: u64, conversation: ConversationId, command: Command, cx: &mut P<'_>) {
    if !cx.keep.node.owns(conversation) {
        return send(Frame::Elsewhere { n, conversation }, cx);
    }
    let from = command.from();
    if from.slot.node != cx.keep.peer {
        return tracing::error!(node = cx.keep.peer.0, slot = %from.slot, "a command for another node's socket was dropped");
    }
    if command.attaches() {
        cx.keep.owned.put(from.slot, from.user, conversation);
    }
    let reply = match n {
        0 => ReplyTo::nobody(),
        n => ReplyTo::peer(cx.mailbox(), n),
    };
    if let Err(message) = cx.keep.node.conversations.tell_here(conversation, command.into_message(reply)) {
        // Lost in this moment.
        message.refuse(ClientError::unavailable("the conversation's node"));
        send(Frame::Elsewhere { n: 0, conversation }, cx);
    }
}

/// Tells the relay of one of our sockets; one that isn't ours (a defect there) goes nowhere.
fn relay(slot: Slot, message: RelayMessage, cx: &P<'_>) {
    let node = &cx.keep.node;
    if slot.node == node.id
        && let Some(relay) = node.relays.get(usize::from(slot.worker))
    {
        // Past the bound: what comes this way is bounded by the number of sockets.
        let _ = relay.tell_always(message);
    }
}
