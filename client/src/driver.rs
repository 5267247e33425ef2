//! Drives a [`Session`]: connects, writes what it says, reads what it hears, hands its events to the program, and connects again.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use chinwag_schema::wire::native::{Credentials, ServerFrame};
use tokio::sync::mpsc;

use crate::{
    account::Login,
    client::Shared,
    error::{EndReason, Error},
    link::{Down, Greeted, Link},
    model::Connection,
    reconnect::{self, LOST, Then},
    server::{Server, Trust},
    session::Event,
};

/// A socket that lived this long was a good one.
const SETTLED: Duration = Duration::from_secs(5);
/// While a node drains and there is no other, asking now and then is enough.
const DRAIN_RETRY: Duration = Duration::from_millis(1500);
/// A drain may ask for no longer pause than this.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// Somebody who is in a hurry isn't so more often than this.
const HURRY_PAUSE: Duration = Duration::from_secs(1);

type Connecting = Pin<Box<dyn Future<Output = Result<Greeted, Down>> + Send>>;

/// The task behind a client.
pub(crate) struct Driver {
    pub(crate) shared: Arc<Shared>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) server: Server,
    pub(crate) trust: Trust,
    pub(crate) login: Login,
    link: Option<Link>,
    connecting: Option<Connecting>,
    /// When to try again.
    retry_at: Option<Instant>,
    failures: u32,
    /// Whether the token was changed since the last welcome.
    refreshed: bool,
    welcomed_at: Option<Instant>,
    tried_at: Option<Instant>,
    ended: bool,
}

/// What happened.
enum Woken {
    Nothing,
    Frame(Result<ServerFrame, Down>),
    Connected(Box<Result<Greeted, Down>>),
    Stop,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        events: mpsc::Sender<Event>,
        server: Server,
        trust: Trust,
        login: Login,
    ) -> Self {
        Self {
            shared,
            events,
            server,
            trust,
            login,
            link: None,
            connecting: None,
            retry_at: Some(Instant::now()),
            failures: 0,
            refreshed: false,
            welcomed_at: None,
            tried_at: None,
            ended: false,
        }
    }

    /// Runs until the client is closed or the connection can't be made any more.
    pub(crate) async fn run(mut self) {
        while !self.ended {
            let out = self.shared.session().take_out();
            if let Some(link) = self.link.as_mut().filter(|_| !out.is_empty())
                && let Err(down) = link.send(out.iter()).await
            {
                self.lost(down).await;
                continue;
            }
            match self.wait().await {
                Woken::Nothing => {}
                Woken::Frame(Ok(frame)) => {
                    let taken = self.shared.session().frame(frame, Instant::now());
                    match taken {
                        Ok(None) => {}
                        Ok(Some(wait_ms)) => {
                            self.retry_at = Some(Instant::now() + Duration::from_millis(wait_ms).min(DRAIN_MAX));
                        }
                        Err(error) => {
                            let why = Error::Strange(error.to_string()).to_string();
                            self.lost(Down { code: LOST, why, refused: None }).await;
                        }
                    }
                }
                Woken::Frame(Err(down)) => self.lost(down).await,
                Woken::Connected(outcome) => match *outcome {
                    Ok(greeted) => self.welcomed(greeted).await,
                    Err(down) => self.not_connected(down).await,
                },
                Woken::Stop => self.end(EndReason::Stopped),
            }
            let now = Instant::now();
            self.shared.session().tick(now);
            if self.welcomed_at.is_some_and(|at| now >= at + SETTLED) {
                self.welcomed_at = None;
                self.failures = 0;
            }
            if self.shared.hurry.swap(false, SeqCst) && self.link.is_none() && self.retry_at.is_some() {
                self.retry_at = self.retry_at.min(Some(self.tried_at.map_or(now, |at| now.max(at + HURRY_PAUSE))));
            }
            if self.retry_at.is_some_and(|at| now >= at) && self.connecting.is_none() {
                (self.retry_at, self.tried_at) = (None, Some(now));
                self.connect().await;
            }
        }
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        // What is left goes as far as there is room; nobody waits for a program that doesn't read.
        while let Some(event) = { self.shared.session().pop_event() } {
            if self.events.try_send(event).is_err() {
                break;
            }
        }
    }

    /// Waits until something happens.
    async fn wait(&mut self) -> Woken {
        let (has_events, full, deadline) = {
            let session = self.shared.session();
            (session.has_events(), session.is_full(), session.next_deadline())
        };
        let settled = self.welcomed_at.map(|at| at + SETTLED);
        let deadline = [deadline, self.retry_at.filter(|_| self.connecting.is_none()), settled];
        let deadline = deadline.into_iter().flatten().min();
        let shared = self.shared.clone();
        let frame = async {
            match &mut self.link {
                Some(link) if !full => link.next().await,
                _ => std::future::pending().await,
            }
        };
        let connected = async {
            match &mut self.connecting {
                Some(connecting) => connecting.as_mut().await,
                None => std::future::pending().await,
            }
        };
        let due = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let woken = tokio::select! {
            biased;
            () = shared.stopped() => Woken::Stop,
            permit = self.events.reserve(), if has_events => match permit {
                Ok(permit) => {
                    if let Some(event) = shared.session().pop_event() {
                        permit.send(event);
                    }
                    Woken::Nothing
                }
                // Nobody listens: the program needs the client for sending only, or has let it go.
                Err(_) => {
                    while shared.session().pop_event().is_some() {}
                    Woken::Nothing
                }
            },
            outcome = connected => Woken::Connected(Box::new(outcome)),
            frame = frame => Woken::Frame(frame),
            () = shared.changed.notified() => Woken::Nothing,
            () = due => Woken::Nothing,
        };
        if full && let Some(link) = &mut self.link {
            link.paused();
        }
        if matches!(woken, Woken::Connected(_)) {
            self.connecting = None;
        }
        woken
    }

    /// Begins to connect.
    async fn connect(&mut self) {
        if self.link.is_none() {
            self.shared.session().become_(Connection::Connecting);
        }
        let credentials = match &self.login {
            Login::Guest(name) => Ok(Credentials::Guest(name.clone())),
            Login::Account(account) => account.credentials().await,
        };
        match credentials {
            Ok(credentials) => {
                let (hello, unsaid) = self.shared.session().hello(credentials);
                let (server, trust) = (self.server.clone(), self.trust.clone());
                self.connecting = Some(Box::pin(Link::open(server, trust, hello, unsaid)));
            }
            Err(error) => self.not_refreshed(error),
        }
    }

    /// There is a new link; an old one, of a node that drains, has served until now.
    async fn welcomed(&mut self, greeted: Greeted) {
        let Greeted { link, welcome, unsaid } = greeted;
        let old = self.link.replace(link);
        let now = Instant::now();
        (self.refreshed, self.retry_at, self.welcomed_at) = (false, None, Some(now));
        self.shared.session().welcomed(welcome, unsaid, now);
        if let Some(old) = old {
            tokio::spawn(old.close());
        }
    }

    async fn not_connected(&mut self, down: Down) {
        if let (Login::Guest(_), Some(refused)) = (&self.login, &down.refused) {
            self.end(EndReason::Refused(refused.message.clone()));
        } else if self.link.is_some() && down.code < 4200 {
            // The old one still serves.
            self.retry_at = Some(Instant::now() + DRAIN_RETRY + reconnect::backoff(0, reconnect::chance()));
        } else {
            self.closed(down).await;
        }
    }

    async fn lost(&mut self, down: Down) {
        self.link = None;
        self.welcomed_at = None;
        self.shared.session().unlinked(Instant::now());
        if self.connecting.is_some() {
            self.shared.session().become_(Connection::Connecting);
            return;
        }
        self.closed(down).await;
    }

    async fn closed(&mut self, down: Down) {
        match reconnect::after_close(down.code, self.failures, reconnect::chance()) {
            Then::Reconnect(wait) => self.wait_for(wait, down.why),
            Then::Refresh => self.refresh().await,
            Then::LogIn => self.end(EndReason::LoggedOut),
            Then::Outdated => self.end(EndReason::Outdated),
            Then::Stop => self.end(EndReason::Closed(down.code)),
        }
    }

    fn wait_for(&mut self, wait: Duration, why: String) {
        self.failures += 1;
        let until = Instant::now() + wait;
        self.retry_at = Some(until);
        if self.link.is_none() {
            self.shared.session().become_(Connection::Waiting { until, why });
        }
    }

    /// The token was refused: one try with a new one.
    async fn refresh(&mut self) {
        let Login::Account(account) = &self.login else {
            return self.end(EndReason::Refused("guests aren't let in".into()));
        };
        if std::mem::replace(&mut self.refreshed, true) {
            return self.end(EndReason::LogIn);
        }
        match account.refresh().await {
            Ok(()) => self.retry_at = Some(Instant::now()),
            Err(error) => {
                self.refreshed = false;
                self.not_refreshed(error);
            }
        }
    }

    fn not_refreshed(&mut self, error: Error) {
        match error {
            Error::Account { status: 401 | 403, .. } => self.end(EndReason::LogIn),
            error => self.wait_for(reconnect::backoff(self.failures, reconnect::chance()), error.to_string()),
        }
    }

    fn end(&mut self, reason: EndReason) {
        let mut session = self.shared.session();
        session.become_(Connection::Ended(reason.clone()));
        session.end_requests(|| Error::Ended(reason.clone()));
        drop(session);
        self.ended = true;
    }
}
