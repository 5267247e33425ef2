//! Starts listeners and workers, and stops accepting.

use std::{fmt, io, sync::Arc};

use actix_http::{Request, Response, body::MessageBody};
use actix_rt::Arbiter;
use actix_service::{IntoServiceFactory, Service, ServiceFactory};
use actix_web::dev::AppConfig;
use ipnet::IpNet;
use tokio::sync::{mpsc, watch};

use super::{
    Bound, ListenerKind, WorkerContext,
    acceptor::Acceptor,
    stream::Places,
    worker::{self, ListenerInfo, Shared},
};
use crate::ws::upgrade::Gate;

/// Accepted connections that wait for one worker thread.
const WAITING_MAX: usize = 1024;

/// What the caller chooses.
#[derive(Clone)]
pub struct NetSettings {
    /// Open connections of all listeners together.
    pub max_connections: usize,
    /// Open connections of one address, unless it is loopback or a trusted proxy: those stand for many.
    pub max_connections_per_address: usize,
    /// For every listener; `None`: plain TCP.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Whose PROXY protocol headers are believed.
    pub trusted_proxies: Arc<[IpNet]>,
}

/// Listeners with their workers.
pub struct Net;

impl Net {
    /// Starts the workers on the arbiters given (at least one), and one accept task per listener on the current thread. On each worker
    /// thread `gate` is called once, and `app` twice per listener: the application with and without upgrades in front of it.
    pub fn start<F, G, I, S, B>(
        listeners: Vec<Bound>,
        arbiters: Vec<Arbiter>,
        settings: NetSettings,
        app: F,
        gate: G,
    ) -> io::Result<NetHandle>
    where
        F: Fn(WorkerContext, ListenerKind) -> I + Clone + Send + 'static,
        G: Fn(WorkerContext) -> Gate + Clone + Send + 'static,
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
        let infos = listeners.iter().map(|bound| ListenerInfo {
            kind: bound.kind,
            address: bound.address,
            tls: settings.tls.clone(),
        });
        let shared = Shared { listeners: infos.collect(), trusted_proxies: settings.trusted_proxies.clone() };
        let mut workers = Vec::new();
        for (index, arbiter) in arbiters.iter().enumerate() {
            let context = WorkerContext { index: u16::try_from(index).map_err(io::Error::other)? };
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            let (shared, app, gate) = (shared.clone(), app.clone(), gate.clone());
            let started = arbiter.spawn_fn(move || {
                let gate = gate(context);
                actix_rt::spawn(worker::run(shared, move |kind| app(context, kind), gate, receiver));
            });
            if !started {
                return Err(io::Error::other("a worker thread ended at once"));
            }
            workers.push(sender);
        }
        let places = Places::new(settings.max_connections, settings.max_connections_per_address);
        let (stop, stopped) = watch::channel(false);
        let mut addresses = Vec::new();
        for (index, bound) in listeners.into_iter().enumerate() {
            addresses.push((bound.kind, bound.address));
            let acceptor = Acceptor {
                index,
                bound,
                places: places.clone(),
                trusted_proxies: settings.trusted_proxies.clone(),
                workers: workers.clone(),
                stop: stopped.clone(),
            };
            actix_rt::spawn(acceptor.run());
        }
        Ok(NetHandle { addresses, arbiters, places, stop })
    }
}

/// A running [`Net`].
pub struct NetHandle {
    addresses: Vec<(ListenerKind, std::net::SocketAddr)>,
    arbiters: Vec<Arbiter>,
    places: Arc<Places>,
    stop: watch::Sender<bool>,
}

impl NetHandle {
    /// Returns the bound addresses, with real ports.
    pub fn addresses(&self) -> &[(ListenerKind, std::net::SocketAddr)] {
        &self.addresses
    }

    /// Returns the workers' threads, in the order of their indexes.
    pub fn arbiters(&self) -> &[Arbiter] {
        &self.arbiters
    }

    /// Returns the places of the connections, of all listeners together.
    pub fn places(&self) -> Arc<Places> {
        self.places.clone()
    }

    /// Returns how many connections are open, upgraded ones included.
    pub fn connections(&self) -> usize {
        self.places.taken()
    }

    /// Closes the listeners. Open connections go on.
    pub fn stop_accepting(&self) {
        self.stop.send_replace(true);
    }

    /// Ends the worker threads with all their connections.
    pub fn stop(self) {
        self.stop_accepting();
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
        for arbiter in self.arbiters {
            // Fails only when the thread panicked; it is gone either way.
            let _ = arbiter.join();
        }
    }
}
