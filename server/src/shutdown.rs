//! Stopping: no new sockets, every client told when to come back, what was acknowledged written, then closed.

use std::{sync::Arc, time::Duration};

use actix_rt::signal::unix::{Signal, SignalKind, signal};
use chinwag_actors::engine::Node;
use chinwag_schema::{
    error::CloseCode,
    event::Event,
    wire::{Dialect, encoded_event::EncodedEvent},
};
use tokio::time::Instant;

use crate::{config::Config, net::NetHandle};

/// How often is looked whether all sockets are gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long closing handshakes may take at the end.
const LAST_CLOSES: Duration = Duration::from_secs(2);

/// The signals that stop the program. While this is watched they don't kill it.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the system doesn't let us.
    pub fn watch() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for SIGTERM or SIGINT and returns its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Drains: native clients are told to reconnect at times spread over the drain window, then everyone is closed with 1001. Another
/// signal ends the window: whoever sends it doesn't want to wait.
pub async fn drain(config: &Config, node: &Arc<Node>, net: &NetHandle, signals: &mut Signals) {
    node.begin_drain();
    net.stop_accepting();
    // Before the sockets: while they are here, what they say is passed on.
    let second = tokio::select! {
        () = node.hand_over_shards() => None,
        signal = signals.next() => Some(signal),
    };
    let window = config.drain_window;
    for index in 0..net.arbiters().len() {
        let node_there = node.clone();
        node.runtime.placement().run_on(index, move || tell_native(&node_there, window));
    }
    let until = Instant::now() + if second.is_some() { Duration::ZERO } else { window };
    while sockets(node) > 0 && Instant::now() < until {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            signal = signals.next() => {
                tracing::info!(signal, "a second signal: closing the sockets that are left");
                break;
            }
        }
    }
    for index in 0..net.arbiters().len() {
        let node_there = node.clone();
        node.runtime.placement().run_on(index, move || close_all(&node_there));
    }
    let until = Instant::now() + LAST_CLOSES;
    while sockets(node) > 0 && Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if let Err(error) = node.accounts.flush_cursors().await {
        tracing::warn!(%error, "some read positions were not stored; clients report them again");
    }
    node.leave().await;
}

fn sockets(node: &Node) -> u64 {
    node.counters.sockets.iter().map(|count| count.load(std::sync::atomic::Ordering::Relaxed)).sum()
}

fn tell_native(node: &Node, window: Duration) {
    let sockets = node.local_sockets();
    let total = u64::try_from(sockets.len().max(1)).unwrap_or(u64::MAX);
    let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    let now_ms = node.runtime.unix_ms();
    let mut nth = 0;
    sockets.for_each(|_, socket| {
        if socket.dialect == Dialect::Native {
            let reconnect_after_ms = window_ms * nth / total;
            let event = Arc::new(EncodedEvent::new(Event::Drain { reconnect_after_ms }, now_ms));
            socket.outbox.push_event(&event);
        }
        nth += 1;
    });
}

fn close_all(node: &Node) {
    node.local_sockets().for_each(|_, socket| socket.outbox.close(CloseCode::GOING_AWAY, "server is stopping"));
}
