//! The runtime that every actor lives on.
//!
//! An actor here is an actix actor ([`hosted::Hosted`]) around a [`Behaviour`]: actix gives the thread (arbiter), the context and the
//! lifecycle; this module gives what actix lacks (`ops/decisions/actor-runtime.md`):
//!
//! - a mailbox with a real bound ([`mailbox::Mailbox`]; actix counts slots per clone of an address and `do_send` ignores them),
//! - survival of a panic: the behaviour is rebuilt from [`Behaviour::Keep`] and from storage, the address stays valid,
//! - fair yielding: at most [`hosted::BATCH_MAX`] messages or [`hosted::BATCH_TIME_MAX`] per turn,
//! - an injected clock and executor ([`clock`], [`placement`]), so that a whole node can run on one paused thread,
//! - metrics by actor kind and message type, without a call in any handler ([`metrics`]).

pub mod clock;
pub mod hosted;
pub mod mailbox;
pub mod metrics;
pub mod placement;
pub mod supervisor;

use std::sync::{Arc, OnceLock};

pub use clock::Clock;
pub use hosted::{Behaviour, Completion, Cx, Tools};
pub use mailbox::{Mailbox, Refused};
pub use metrics::{Kind, MessageKind};
pub use placement::Placement;

use mailbox::Shared;
use supervisor::SupervisorMessage;

/// What all actors of a node share: clock, threads, metrics, supervisor.
pub struct Runtime {
    clock: Arc<dyn Clock>,
    placement: Placement,
    metrics: Arc<metrics::Metrics>,
    supervisor: OnceLock<Mailbox<SupervisorMessage>>,
}

impl Runtime {
    /// Makes a runtime and starts its supervisor on the first worker.
    pub fn start(clock: Arc<dyn Clock>, placement: Placement) -> Arc<Self> {
        let runtime = Arc::new(Self { clock, placement, metrics: Arc::default(), supervisor: OnceLock::new() });
        let supervisor = runtime.spawn::<supervisor::Supervisor>(0, supervisor::Tally::default);
        if runtime.supervisor.set(supervisor).is_err() {
            unreachable!("set once, here");
        }
        runtime
    }

    /// Starts an actor on worker `worker % workers` and returns its address at once; messages wait until it runs.
    ///
    /// `keep` is called on that worker and makes what outlives a panic.
    pub fn spawn<B: Behaviour>(
        self: &Arc<Self>,
        worker: usize,
        keep: impl FnOnce() -> B::Keep + Send + 'static,
    ) -> Mailbox<B::Message> {
        self.spawn_told::<B>(worker, None, keep)
    }

    /// Like [`Self::spawn`], with a message that is in the mailbox before the actor runs: one that stops when it has nothing to do
    /// can't stop before it has handled that.
    pub fn spawn_told<B: Behaviour>(
        self: &Arc<Self>,
        worker: usize,
        first: Option<B::Message>,
        keep: impl FnOnce() -> B::Keep + Send + 'static,
    ) -> Mailbox<B::Message> {
        let shared = Arc::new(Shared::<B::Message>::new(B::MAILBOX, self.metrics.kind::<B>()));
        self.metrics.register(&shared);
        let mailbox = Mailbox::new(shared.clone());
        if let Some(first) = first {
            // A new mailbox is neither full nor closed.
            let _ = mailbox.tell(first);
        }
        let runtime = self.clone();
        self.placement.run_on(worker, move || hosted::start::<B>(runtime, shared, keep()));
        mailbox
    }

    /// Makes the address of an actor that is started on the calling thread later, by the function returned.
    pub fn prepare<B: Behaviour>(self: &Arc<Self>) -> (Mailbox<B::Message>, impl FnOnce(B::Keep) + use<B>) {
        let shared = Arc::new(Shared::<B::Message>::new(B::MAILBOX, self.metrics.kind::<B>()));
        self.metrics.register(&shared);
        let (runtime, started) = (self.clone(), shared.clone());
        (Mailbox::new(shared), move |keep| hosted::start::<B>(runtime, started, keep))
    }

    /// Returns the clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Returns the wall clock, Unix milliseconds.
    pub fn unix_ms(&self) -> i64 {
        self.clock.unix_ms()
    }

    /// Returns where actors run.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Returns the counters of all actors.
    pub fn metrics(&self) -> &Arc<metrics::Metrics> {
        &self.metrics
    }

    fn report(&self, message: SupervisorMessage) {
        if let Some(supervisor) = self.supervisor.get() {
            // A full supervisor only loses a log line: the counters have it already.
            let _ = supervisor.tell(message);
        }
    }
}
