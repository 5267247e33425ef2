//! Binding addresses and accepting connections.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, watch};

use ipnet::IpNet;

use super::{
    ListenerKind, proxy_protocol,
    stream::{Place, Places},
};

/// Connections that the kernel keeps for us to accept.
const BACKLOG: i32 = 4096;
/// Pause after an accept error that won't pass by itself (EMFILE and the like): doubles up to the longest.
const BACK_OFF: Duration = Duration::from_millis(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// A listener that is bound and not yet served.
#[derive(Debug)]
pub struct Bound {
    pub kind: ListenerKind,
    /// With the real port, when 0 was asked for.
    pub address: SocketAddr,
    listener: TcpListener,
}

/// Binds an address. Port 0 lets the kernel choose.
pub fn bind(kind: ListenerKind, address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` means IPv4 too, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok(Bound { kind, address, listener })
}

/// A connection on its way to a worker.
#[derive(Debug)]
pub struct Accepted {
    /// Which of the listeners, in the order given to `Net::start`.
    pub listener: usize,
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub place: Place,
}

/// Accepts connections of one listener.
pub(super) struct Acceptor {
    pub index: usize,
    pub bound: Bound,
    pub places: Arc<Places>,
    pub trusted_proxies: Arc<[IpNet]>,
    pub workers: Vec<mpsc::Sender<Accepted>>,
    pub stop: watch::Receiver<bool>,
}

impl Acceptor {
    /// Runs until told to stop; the listener is closed then.
    pub async fn run(mut self) {
        let kind = self.bound.kind;
        let listener = match tokio::net::TcpListener::from_std(self.bound.listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, listener = kind.as_str(), "can't watch the listener");
                return;
            }
        };
        let mut back_off = BACK_OFF;
        let mut turn = self.index;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = self.stop.wait_for(|stop| *stop) => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    tracing::warn!(%error, listener = kind.as_str(), "can't accept connections");
                    tokio::time::sleep(back_off).await;
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                    continue;
                }
            };
            back_off = BACK_OFF;
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            let shared = peer.ip().is_loopback() || proxy_protocol::is_trusted(peer.ip(), &self.trusted_proxies);
            let Some(place) = self.places.take((!shared).then_some(peer.ip())) else {
                tracing::debug!(%peer, "refused: too many connections");
                continue;
            };
            // The worker registers it with its own reactor. Errors mean that the client is gone already.
            let Ok(stream) = stream.into_std() else { continue };
            if stream.set_nodelay(true).is_err() {
                continue;
            }
            turn = turn.wrapping_add(1);
            hand_over(&self.workers, turn, Accepted { listener: self.index, stream, peer, place }).await;
        }
    }
}

/// Gives a connection to the next worker whose queue isn't full; waits for that worker when all are (the kernel's backlog holds the
/// rest).
async fn hand_over(workers: &[mpsc::Sender<Accepted>], turn: usize, mut accepted: Accepted) {
    for n in 0..workers.len() {
        match workers[(turn + n) % workers.len()].try_send(accepted) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) => accepted = back,
        }
    }
    // Fails only when the worker is gone, at the end of the process: the connection is dropped.
    let _ = workers[turn % workers.len()].send(accepted).await;
}

/// Says whether an accept error concerns only the connection that would have been accepted (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_zero_gets_a_real_port() {
        let bound = bind(ListenerKind::Ops, "127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(bound.address.port(), 0);
        assert!(bind(ListenerKind::Ops, bound.address).is_err());
    }

    #[test]
    fn places_are_limited_and_come_back() {
        let places = Places::new(2, 2);
        let first = places.take(None).unwrap();
        let _second = places.take(None).unwrap();
        assert!(places.take(None).is_none());
        drop(first);
        assert!(places.take(None).is_some());
        assert_eq!(places.taken(), 1);
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let places = Places::new(10, 2);
        let ip = |text: &str| Some(text.parse().unwrap());
        let first = places.take(ip("203.0.113.7")).unwrap();
        let _second = places.take(ip("203.0.113.7")).unwrap();
        assert!(places.take(ip("203.0.113.7")).is_none());
        assert_eq!(places.taken(), 2, "what was refused takes no place");
        let _other = places.take(ip("203.0.113.8")).unwrap();
        drop(first);
        assert!(places.take(ip("203.0.113.7")).is_some());
        // A customer's network of IPv6 is one address; shared ones aren't counted.
        let _v6 = [places.take(ip("2001:db8::1")).unwrap(), places.take(ip("2001:db8::2")).unwrap()];
        assert!(places.take(ip("2001:db8::3")).is_none());
        assert!((0..3).map(|_| places.take(None)).collect::<Option<Vec<_>>>().is_some());
    }
}
