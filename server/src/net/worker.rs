//! A worker thread: HTTP for the connections it is handed, until they upgrade.
//!
//! Builds one `actix_http::HttpService` per listener around the actix-web application. The sessions of upgraded sockets live on this
//! thread too.

use std::{fmt, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use actix_codec::Framed;
use actix_http::{HttpService, KeepAlive, Protocol, Request, Response, body::MessageBody, h1};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, apply_fn_factory, fn_service, map_config};
use actix_web::dev::AppConfig;
use futures_util::future::LocalBoxFuture;
use ipnet::IpNet;
use tokio::{net::TcpStream, sync::mpsc, time::Instant};
use tokio_rustls::TlsAcceptor;

use super::{
    ListenerKind,
    acceptor::Accepted,
    proxy_protocol, slow_body,
    stream::{Socket, Unanswered},
};
use crate::ws::upgrade::{Gate, PlainHttp, upgrade};

/// The PROXY header, the TLS handshake, and a request's head must each be there within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle HTTP connection stays open for this long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A client may take this long to hang up after our last byte.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A request, its body and its handler must not go on for longer than this without a byte of the answer, nor may a client leave its
/// answer unread for longer: actix-http has no limit for either.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The head of a later request on the same connection; actix-http limits the first only, and answers that before we cut it.
const LATER_HEAD_TIMEOUT: Duration = HEAD_TIMEOUT.saturating_add(Duration::from_secs(1));

/// What a worker tells the caller's factories about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerContext {
    /// 0, 1, 2, …: the `worker` of the `Slot`s of its sockets.
    pub index: u16,
}

/// One listener as workers know it.
#[derive(Clone)]
pub(super) struct ListenerInfo {
    pub kind: ListenerKind,
    pub address: SocketAddr,
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// What is the same for all connections.
#[derive(Clone)]
pub(super) struct Shared {
    pub listeners: Arc<[ListenerInfo]>,
    pub trusted_proxies: Arc<[IpNet]>,
}

/// Runs HTTP on a socket until it ends or upgrades.
type Serve = Rc<dyn Fn(Socket, SocketAddr) -> LocalBoxFuture<'static, ()>>;

/// Serves connections on this thread until the acceptors are gone.
pub(super) async fn run<F, I, S, B>(shared: Shared, app: F, gate: Gate, mut accepted: mpsc::Receiver<Accepted>)
where
    F: Fn(ListenerKind) -> I,
    I: IntoServiceFactory<S, Request> + 'static,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Future: 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Error: Into<actix_web::Error> + Into<Response<actix_http::body::BoxBody>> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    B: MessageBody + 'static,
{
    let mut services = Vec::new();
    for listener in shared.listeners.iter() {
        let Some(plain) = http_service(app(listener.kind), listener, None).await else { return };
        let Some(serve) = http_service(app(listener.kind), listener, Some((gate.clone(), plain))).await else { return };
        services.push((serve, listener.tls.clone().map(TlsAcceptor::from)));
    }
    while let Some(accepted) = accepted.recv().await {
        let (serve, tls) = services[accepted.listener].clone();
        let trusted = shared.trusted_proxies.clone();
        actix_rt::spawn(async move {
            let peer = accepted.peer;
            let prepared = tokio::time::timeout(HEAD_TIMEOUT, prepare(accepted, &trusted, tls)).await;
            match prepared.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok((mut socket, peer)) => {
                    let unanswered = socket.watch();
                    tokio::select! {
                        () = serve(socket, peer) => {}
                        () = watch(&unanswered) => tracing::debug!(%peer, "cut a request that took too long"),
                    }
                }
                Err(error) => tracing::debug!(%error, %peer, "a connection ended before its first request"),
            }
        });
    }
}

/// Ends when a request waits too long for its answer.
async fn watch(unanswered: &Unanswered) {
    loop {
        // A request that begins during this sleep can't be late at its end.
        let soon = Instant::now() + LATER_HEAD_TIMEOUT;
        match unanswered.late_at(LATER_HEAD_TIMEOUT, ANSWER_TIMEOUT) {
            Some(late) if late <= Instant::now() => return,
            Some(late) => tokio::time::sleep_until(late.min(soon)).await,
            None => tokio::time::sleep_until(soon).await,
        }
    }
}

/// Does what comes before HTTP: PROXY header, TLS handshake.
async fn prepare(accepted: Accepted, trusted: &[IpNet], tls: Option<TlsAcceptor>) -> io::Result<(Socket, SocketAddr)> {
    let mut stream = TcpStream::from_std(accepted.stream)?;
    let mut peer = accepted.peer;
    if proxy_protocol::is_trusted(peer.ip(), trusted) {
        peer = proxy_protocol::client_address(&mut stream, peer).await?;
    }
    let place = Some(accepted.place);
    Ok(match tls {
        None => (Socket::plain(stream, place), peer),
        Some(tls) => (Socket::tls(tls.accept(stream).await?, place), peer),
    })
}

/// Builds the HTTP service of a listener; with a gate, requests with `Upgrade: websocket` go there.
async fn http_service<I, S, B>(app: I, listener: &ListenerInfo, gate: Option<(Gate, PlainHttp)>) -> Option<Serve>
where
    I: IntoServiceFactory<S, Request> + 'static,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Future: 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Error: Into<Response<actix_http::body::BoxBody>> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    B: MessageBody + 'static,
{
    let secure = listener.tls.is_some();
    let address = listener.address;
    let kind = listener.kind;
    let config = AppConfig::__priv_test_new(secure, address.to_string(), address);
    // Not public, but the only way to say that a listener has TLS; without it `ConnectionInfo::scheme` would be wrong.
    let app = map_config(app.into_factory(), move |()| config.clone());
    let app = apply_fn_factory(app, |request: Request, app: &S::Service| {
        if let Some(unanswered) = request.conn_data::<Rc<Unanswered>>() {
            unanswered.is_handled();
        }
        app.call(slow_body::limited(request))
    });
    let builder = HttpService::build()
        .on_connect_ext(|socket: &Socket, data| {
            if let Some(unanswered) = socket.watched() {
                data.insert(unanswered);
            }
        })
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .local_addr(address);
    let serve: Serve = match gate {
        None => {
            let service = builder.finish(app).new_service(()).await.ok()?;
            let service = Rc::new(service);
            Rc::new(move |socket, peer| {
                let call = service.call((socket, Protocol::Http1, Some(peer)));
                Box::pin(async move { log_end(call.await, peer) })
            })
        }
        Some((gate, plain)) => {
            let upgrades = fn_service(move |(request, framed): (Request, Framed<Socket, h1::Codec>)| {
                let (gate, plain) = (gate.clone(), plain.clone());
                async move {
                    if let Some(peer) = request.peer_addr() {
                        upgrade(kind, gate, plain, peer, request, framed).await;
                    }
                    Ok::<_, actix_web::Error>(())
                }
            });
            let service = builder.upgrade(upgrades).finish(app).new_service(()).await.ok()?;
            let service = Rc::new(service);
            Rc::new(move |socket, peer| {
                let call = service.call((socket, Protocol::Http1, Some(peer)));
                Box::pin(async move { log_end(call.await, peer) })
            })
        }
    };
    Some(serve)
}

fn log_end(result: Result<(), actix_http::error::DispatchError>, peer: SocketAddr) {
    if let Err(error) = result {
        tracing::debug!(%error, %peer, "an HTTP connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = Socket::plain(listener.accept().await.unwrap().0, None);
        let unanswered = socket.watch();
        client.write_all(b"GET ").await.unwrap();
        socket.read_exact(&mut [0; 4]).await.unwrap();
        let answer = vec![b'x'; 64 << 20];
        {
            let mut write = std::pin::pin!(socket.write_all(&answer));
            assert!(tokio::time::timeout(Duration::from_millis(200), &mut write).await.is_err());
            assert!(unanswered.since().is_some(), "a part was taken, then nothing more");
            // A client that begins to read again has its time anew.
            let stuck = unanswered.since();
            let mut part = vec![0; 8 << 20];
            tokio::select! {
                read = client.read_exact(&mut part) => drop(read.unwrap()),
                _ = &mut write => panic!("there is more than that"),
            }
            assert!(tokio::time::timeout(Duration::from_millis(200), &mut write).await.is_err());
            assert!(unanswered.since() > stuck);
        }
        tokio::time::pause();
        watch(&unanswered).await;
    }

    #[tokio::test]
    async fn a_request_without_an_answer_is_noticed_and_one_with_isnt() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = Socket::plain(listener.accept().await.unwrap().0, None);
        let unanswered = socket.watch();
        for _ in 0..2 {
            client.write_all(b"GET ").await.unwrap();
            socket.read_exact(&mut [0; 4]).await.unwrap();
            assert!(unanswered.since().is_some());
            socket.write_all(b"HTTP").await.unwrap();
            assert!(unanswered.since().is_none());
        }
        for (handled, limit) in [(false, LATER_HEAD_TIMEOUT), (true, ANSWER_TIMEOUT)] {
            // Before the request begins, and before time stands still: between them the machine may do something else.
            let begun = Instant::now();
            client.write_all(b"G").await.unwrap();
            socket.read_exact(&mut [0; 1]).await.unwrap();
            if handled {
                unanswered.is_handled();
            }
            tokio::time::pause();
            watch(&unanswered).await;
            assert!((limit..limit + Duration::from_secs(10)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
            tokio::time::resume();
            socket.write_all(b"H").await.unwrap();
        }
    }
}
