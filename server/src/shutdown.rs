//! Stopping: no new sockets, every client told when to come back, what was acknowledged written, then closed.

use std::{sync::Arc, time::Duration};

use actix_rt::signal::unix::{SignalKind, signal};
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

/// Waits for SIGTERM or SIGINT.
pub async fn wait_for_signal() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
    }
    Ok(())
}

/// Drains: native clients are told to reconnect at times spread over the drain window, then everyone is closed with 1001.
pub async fn drain(config: &Config, node: &Arc<Node>, net: &NetHandle) {
    node.begin_drain();
    net.stop_accepting();
    let window = config.drain_window;
    for index in 0..net.arbiters().len() {
        let node_there = node.clone();
        node.runtime.placement().run_on(index, move || tell_native(&node_there, window));
    }
    let until = Instant::now() + window;
    while sockets(node) > 0 && Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
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
