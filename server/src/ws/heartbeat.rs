//! The heartbeat of one worker thread: one tick a second for all its sockets, instead of timers in each.
//!
//! Pings every 30 s and closes a socket that hasn't answered by the next ping; half-open connections end that way. Messenger sockets
//! are pinged within a second after a delivery too, at most once a second: the pong says that what was written has arrived.

use std::{cell::RefCell, rc::Rc, time::Duration};

use chinwag_actors::{
    relay::Sockets,
    runtime::Mailbox,
    session::{
        SessionMessage,
        socket::{SocketState, coarse_now_s},
    },
};
use chinwag_schema::{
    error::CloseCode,
    event::Class,
    ids::Slot,
    limits::socket::PING_INTERVAL,
    wire::{Dialect, frame},
};
use slab::Slab;

const TICK: Duration = Duration::from_secs(1);
const PING_EVERY_S: u32 = PING_INTERVAL.as_secs() as u32;

thread_local! {
    static BEATS: RefCell<Slab<Beat>> = const { RefCell::new(Slab::new()) };
}

/// A socket as the heartbeat sees it.
pub struct Beat {
    state: Rc<SocketState>,
    session: Mailbox<SessionMessage>,
    slot: Slot,
    dialect: Dialect,
    /// When the last liveness ping went out ([`coarse_now_s`]), and whether its pong is missing.
    pinged_s: u32,
    unanswered: bool,
    /// Number of the delivery ping under way.
    delivery_ping: Option<u32>,
    next_ping: u32,
}

/// Names a socket of this thread.
pub type Key = usize;

impl Beat {
    /// Makes the beat of a socket that opens now.
    pub fn new(state: Rc<SocketState>, session: Mailbox<SessionMessage>, slot: Slot, dialect: Dialect) -> Self {
        let pinged_s = coarse_now_s();
        Self { state, session, slot, dialect, pinged_s, unanswered: false, delivery_ping: None, next_ping: 0 }
    }
}

/// Adds a socket of this thread.
pub fn add(beat: Beat) -> Key {
    BEATS.with_borrow_mut(|beats| beats.insert(beat))
}

/// Removes a socket. Keys are reused: once only.
pub fn remove(key: Key) {
    // The beat is dropped after the borrow: dropping may touch anything.
    let removed = BEATS.with_borrow_mut(|beats| beats.try_remove(key));
    drop(removed);
}

/// Notes a pong.
pub fn pong(key: Key, payload: &[u8]) {
    let arrived = BEATS.with_borrow_mut(|beats| {
        let beat = beats.get_mut(key)?;
        beat.unanswered = false;
        let number = payload.try_into().map(u32::from_be_bytes).ok()?;
        if beat.delivery_ping != Some(number) {
            return None;
        }
        beat.delivery_ping = None;
        Some(beat.session.clone())
    });
    if let Some(session) = arrived {
        // Closed: the session is ending.
        let _ = session.tell_always(SessionMessage::Delivered);
    }
}

/// Beats until the thread ends. `sockets` knows what messenger sockets were handed.
pub async fn run(sockets: Rc<Sockets>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tick(&sockets);
    }
}

fn tick(sockets: &Sockets) {
    let now_s = coarse_now_s();
    let mut delivered_to = Vec::new();
    sockets.for_each(|slot, socket| {
        if socket.wants_ping() {
            delivered_to.push(slot);
        }
    });
    BEATS.with_borrow_mut(|beats| {
        let mut wanting = delivered_to.into_iter().collect::<std::collections::HashSet<_>>();
        for (_, beat) in beats.iter_mut() {
            let wants = beat.dialect == Dialect::Messenger && wanting.remove(&beat.slot);
            beat.tick(now_s, wants, sockets);
        }
    });
}

impl Beat {
    fn tick(&mut self, now_s: u32, wants_delivery_ping: bool, sockets: &Sockets) {
        if self.state.outbox.is_closing() {
            return;
        }
        if self.unanswered && self.state.last_pong_s.get() >= self.pinged_s {
            self.unanswered = false;
        }
        let due = now_s.saturating_sub(self.pinged_s) >= PING_EVERY_S;
        if due && self.unanswered {
            return self.state.outbox.close_now(CloseCode::PING_TIMEOUT, "no pong in time");
        }
        let for_delivery = wants_delivery_ping && self.delivery_ping.is_none();
        if !due && !for_delivery {
            return;
        }
        self.next_ping = self.next_ping.wrapping_add(1);
        if for_delivery {
            self.delivery_ping = Some(self.next_ping);
            sockets.ping_goes_out(self.slot);
        }
        if due {
            self.pinged_s = now_s;
            self.unanswered = true;
        }
        self.state.outbox.push(frame::ping(&self.next_ping.to_be_bytes()), &Class::Kept);
    }
}
