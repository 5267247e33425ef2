//! The actix actor around a [`Behaviour`]: polls the mailbox, catches panics, rebuilds, yields, measures.

use std::{
    any::Any,
    collections::VecDeque,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Context};
use tokio::time::Instant;

use super::{
    Mailbox, Runtime,
    mailbox::{Item, Shared},
    metrics::{Kind, MessageKind},
    supervisor::SupervisorMessage,
};

/// Most messages that an actor handles before other tasks of its thread get a turn.
pub const BATCH_MAX: usize = 64;
/// Longest time that it goes on within a turn (checked between messages).
pub const BATCH_TIME_MAX: Duration = Duration::from_millis(1);
/// Restarts within [`RESTART_WINDOW`] before an actor stops, or rests for [`REST`] if it is essential.
pub const RESTARTS_MAX: u32 = 8;
pub const RESTART_WINDOW: Duration = Duration::from_secs(10);
pub const REST: Duration = Duration::from_secs(1);

/// What an actor does. State that must outlive a panic is in [`Self::Keep`]; all else is rebuilt by [`Self::new`].
pub trait Behaviour: Sized + 'static {
    type Message: MessageKind;
    /// What outlives a panic: changed only by small steps that leave it whole.
    type Keep: 'static;
    /// Name in metrics and the console.
    const KIND: Kind;
    /// Bound of the mailbox, messages.
    const MAILBOX: usize;
    /// Whether the node can't go on without it: it then rests instead of stopping when its restart budget is spent.
    const ESSENTIAL: bool = false;

    /// Builds the state, at the start and after a panic. Loading from a store is started here ([`Tools::pipe`]).
    fn new(cx: &mut Cx<'_, Self>) -> Self;

    /// Handles a message. Must not block; waits are piped ([`Tools::pipe`]).
    fn handle(&mut self, message: Self::Message, cx: &mut Cx<'_, Self>);

    /// Runs when a turn ends, after up to [`BATCH_MAX`] messages: a place to send what has gathered.
    fn turn_ended(&mut self, _cx: &mut Cx<'_, Self>) {}

    /// Runs when the actor stops, also when it stops because its restart budget was spent (freshly rebuilt then).
    fn stopped(&mut self, _cx: &mut Cx<'_, Self>) {}

    /// Returns what an operator may see: no message bodies, no secrets.
    fn observe(&self, keep: &Self::Keep) -> serde_json::Value;
}

/// What a handler may use.
pub struct Cx<'a, B: Behaviour> {
    /// What outlives a panic.
    pub keep: &'a mut B::Keep,
    tools: Tools<'a, B>,
    stop: &'a mut Stop,
}

/// The part of [`Cx`] that doesn't borrow what is kept: time, waiting, the own address.
pub struct Tools<'a, B: Behaviour> {
    core: &'a Core<B>,
}

impl<B: Behaviour> Clone for Tools<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Behaviour> Copy for Tools<'_, B> {}

struct Core<B: Behaviour> {
    runtime: Arc<Runtime>,
    shared: Arc<Shared<B::Message>>,
    generation: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    IfIdle,
    /// Not the end: the behaviour is built anew.
    Rebuild,
    Now,
}

impl<B: Behaviour> Tools<'_, B> {
    /// Returns the runtime.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.core.runtime
    }

    /// Returns this actor's address.
    pub fn mailbox(&self) -> Mailbox<B::Message> {
        Mailbox::new(self.core.shared.clone())
    }

    /// Returns monotonic time.
    pub fn now(&self) -> Instant {
        self.core.runtime.clock.now()
    }

    /// Returns wall time, Unix milliseconds.
    pub fn unix_ms(&self) -> i64 {
        self.core.runtime.clock.unix_ms()
    }

    /// Runs a future on this thread and tells this actor what became of it. Void if the actor is rebuilt or stopped meanwhile.
    ///
    /// The future needs a deadline of its own; the number in flight is the caller's to bound.
    pub fn pipe<T, F>(&self, future: F, into: impl FnOnce(T) -> B::Message + 'static)
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let (shared, generation) = (Arc::downgrade(&self.core.shared), self.core.generation);
        actix_rt::spawn(async move {
            let value = future.await;
            if let Some(shared) = shared.upgrade() {
                shared.push_own(generation, into(value));
            }
        });
    }

    /// Tells this actor a message after a delay. Void if the actor is rebuilt or stopped meanwhile.
    pub fn after(&self, delay: Duration, message: B::Message) {
        self.pipe(tokio::time::sleep(delay), move |()| message);
    }

    /// Returns a handle through which somebody else completes work of this actor, past the mailbox's bound.
    ///
    /// If it is dropped unused (whoever had it was rebuilt), this actor is told `lost` instead.
    pub fn completion(&self, lost: fn() -> B::Message) -> Completion<B::Message> {
        Completion { shared: Some(self.core.shared.clone()), generation: self.core.generation, lost }
    }
}

impl<'a, B: Behaviour> Cx<'a, B> {
    /// Returns what can be used while [`Self::keep`] is borrowed.
    pub fn tools(&self) -> Tools<'a, B> {
        self.tools
    }

    /// Stops the actor after this message; what still waits is dropped.
    pub fn stop(&mut self) {
        *self.stop = Stop::Now;
    }

    /// Builds the behaviour anew after this message, as after a panic: for state that turned out wrong. Counts against the same
    /// budget, so that it can't go round for ever.
    pub fn rebuild(&mut self) {
        *self.stop = Stop::Rebuild;
    }

    /// Stops the actor after this turn if its mailbox is empty then; else it goes on.
    pub fn stop_if_idle(&mut self) {
        if *self.stop == Stop::No {
            *self.stop = Stop::IfIdle;
        }
    }
}

impl<'a, B: Behaviour> std::ops::Deref for Cx<'a, B> {
    type Target = Tools<'a, B>;

    fn deref(&self) -> &Tools<'a, B> {
        &self.tools
    }
}

/// See [`Tools::completion`].
pub struct Completion<M: MessageKind> {
    shared: Option<Arc<Shared<M>>>,
    generation: u32,
    lost: fn() -> M,
}

impl<M: MessageKind> Completion<M> {
    /// Tells the actor; void if it was rebuilt or stopped since.
    pub fn complete(mut self, message: M) {
        if let Some(shared) = self.shared.take() {
            shared.push_own(self.generation, message);
        }
    }
}

impl<M: MessageKind> Drop for Completion<M> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.push_own(self.generation, (self.lost)());
        }
    }
}

/// The actix actor around a behaviour.
pub struct Hosted<B: Behaviour> {
    core: Core<B>,
    keep: B::Keep,
    behaviour: Option<B>,
    restarts: u32,
    window_from: Instant,
    resting: bool,
}

// Nothing in it is ever pinned.
impl<B: Behaviour> Unpin for Hosted<B> {}

impl<B: Behaviour> Actor for Hosted<B> {
    type Context = Context<Self>;
}

/// Starts an actor on the calling thread.
pub(super) fn start<B: Behaviour>(runtime: Arc<Runtime>, shared: Arc<Shared<B::Message>>, keep: B::Keep) {
    let window_from = runtime.clock.now();
    let core = Core::<B> { runtime, shared, generation: 0 };
    let hosted = Hosted { core, keep, behaviour: None, restarts: 0, window_from, resting: false };
    let context = Context::new();
    context.run_with(hosted);
}

trait RunWith<B: Behaviour> {
    fn run_with(self, hosted: Hosted<B>);
}

impl<B: Behaviour> RunWith<B> for Context<Hosted<B>> {
    fn run_with(mut self, mut hosted: Hosted<B>) {
        hosted.core.shared.metrics.started();
        hosted.rebuild();
        self.spawn(Drain { taken: VecDeque::new(), rest: None });
        // The address isn't needed: the queue is ours. Dropping it would stop the context, were it not for the future in it.
        let _ = self.run(hosted);
    }
}

/// The future inside the actix context that handles what waits.
struct Drain<M> {
    taken: VecDeque<Item<M>>,
    rest: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<M> Unpin for Drain<M> {}

impl<B: Behaviour> ActorFuture<Hosted<B>> for Drain<B::Message> {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        actor: &mut Hosted<B>,
        context: &mut Context<Hosted<B>>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        let this = &mut *self;
        if actor.resting {
            let rest = this.rest.get_or_insert_with(|| Box::pin(tokio::time::sleep(REST)));
            if rest.as_mut().poll(task).is_pending() {
                return Poll::Pending;
            }
            this.rest = None;
            actor.resting = false;
            actor.rebuild();
        }
        if this.taken.is_empty() && !actor.core.shared.take(&mut this.taken, BATCH_MAX, task.waker()) {
            return Poll::Pending;
        }
        let stop = actor.turn(&mut this.taken);
        if stop == Stop::Now || (stop == Stop::IfIdle && this.taken.is_empty() && actor.core.shared.close(false)) {
            this.taken.clear();
            actor.core.shared.close(true);
            actor.stopping();
            context.stop();
            return Poll::Ready(());
        }
        if this.taken.is_empty() && this.taken.capacity() > BATCH_MAX {
            this.taken = VecDeque::new();
        }
        // There may be more: take another turn after the other tasks of this thread.
        if this.taken.is_empty() && !actor.resting {
            if actor.core.shared.take(&mut this.taken, BATCH_MAX, task.waker()) {
                task.waker().wake_by_ref();
            }
        } else {
            task.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<B: Behaviour> Hosted<B> {
    /// Handles what was taken, until a bound of the turn is reached.
    fn turn(&mut self, taken: &mut VecDeque<Item<B::Message>>) -> Stop {
        let mut stop = Stop::No;
        let begun = std::time::Instant::now();
        let mut last = begun;
        let mut handled = 0u64;
        while let Some(item) = taken.pop_front() {
            let message = match item {
                Item::Message(message) => message,
                Item::Own { generation, message } if generation == self.core.generation => message,
                Item::Own { .. } => continue,
                Item::Observe(reply) => {
                    self.observe(reply);
                    continue;
                }
                #[cfg(feature = "fault-injection")]
                Item::Panic => {
                    if let Err(panic) = self.guarded(&mut stop, |_, _| panic!("injected")) {
                        self.recover("injected", &*panic, &mut stop);
                    }
                    if stop == Stop::Now || self.resting {
                        break;
                    }
                    continue;
                }
            };
            if stop == Stop::IfIdle {
                // Another message came after the one that found the actor idle.
                stop = Stop::No;
            }
            let kind = message.kind();
            let outcome = self.guarded(&mut stop, |behaviour, cx| behaviour.handle(message, cx));
            let now = std::time::Instant::now();
            self.core.shared.metrics.handled(kind, now - last);
            last = now;
            handled += 1;
            match outcome {
                Err(panic) => self.recover(<B::Message as MessageKind>::NAMES[kind], &*panic, &mut stop),
                Ok(()) if stop == Stop::Rebuild => self.start_anew(&mut stop),
                Ok(()) => {}
            }
            if stop == Stop::Now || self.resting || now - begun > BATCH_TIME_MAX {
                break;
            }
        }
        self.core.shared.handled.fetch_add(handled, Ordering::Relaxed);
        match self.guarded(&mut stop, |behaviour, cx| behaviour.turn_ended(cx)) {
            Err(panic) => self.recover("turn_ended", &*panic, &mut stop),
            Ok(()) if stop == Stop::Rebuild => self.start_anew(&mut stop),
            Ok(()) => {}
        }
        stop
    }

    fn guarded(
        &mut self,
        stop: &mut Stop,
        work: impl FnOnce(&mut B, &mut Cx<'_, B>),
    ) -> Result<(), Box<dyn Any + Send>> {
        let Some(behaviour) = self.behaviour.as_mut() else { return Ok(()) };
        let mut cx = Cx { keep: &mut self.keep, tools: Tools { core: &self.core }, stop };
        catch_unwind(AssertUnwindSafe(|| work(behaviour, &mut cx)))
    }

    fn recover(&mut self, message: &'static str, panic: &(dyn Any + Send), stop: &mut Stop) {
        let text = panic_text(panic);
        self.core.runtime.report(SupervisorMessage::Panicked { kind: B::KIND, message, text });
        self.start_anew(stop);
    }

    /// Builds the behaviour anew within the budget of restarts; beyond it the actor rests, or stops if it isn't essential.
    fn start_anew(&mut self, stop: &mut Stop) {
        *stop = Stop::No;
        self.behaviour = None;
        self.core.generation = self.core.generation.wrapping_add(1);
        self.core.shared.metrics.restarted();
        let now = self.core.runtime.clock.now();
        if now - self.window_from > RESTART_WINDOW {
            (self.window_from, self.restarts) = (now, 0);
        }
        self.restarts += 1;
        if self.restarts <= RESTARTS_MAX {
            self.rebuild();
            return;
        }
        self.core.shared.metrics.budget_spent();
        self.core.runtime.report(SupervisorMessage::BudgetSpent { kind: B::KIND, essential: B::ESSENTIAL });
        if B::ESSENTIAL {
            self.resting = true;
        } else {
            // Built once more, only to end: what it keeps for others must be given up by `stopped`.
            self.rebuild();
            self.resting = false;
            *stop = Stop::Now;
        }
    }

    /// Builds the behaviour; one that panics while being built rests and tries again.
    fn rebuild(&mut self) {
        let mut stop = Stop::No;
        let mut cx = Cx { keep: &mut self.keep, tools: Tools { core: &self.core }, stop: &mut stop };
        match catch_unwind(AssertUnwindSafe(|| B::new(&mut cx))) {
            Ok(behaviour) => self.behaviour = Some(behaviour),
            Err(panic) => {
                self.core.shared.metrics.restarted();
                let text = panic_text(&*panic);
                self.core.runtime.report(SupervisorMessage::Panicked { kind: B::KIND, message: "new", text });
                self.resting = true;
            }
        }
    }

    fn observe(&mut self, reply: tokio::sync::oneshot::Sender<serde_json::Value>) {
        let Some(behaviour) = self.behaviour.as_ref() else { return };
        let keep = &self.keep;
        if let Ok(value) = catch_unwind(AssertUnwindSafe(|| behaviour.observe(keep))) {
            // Whoever asked may have gone.
            let _ = reply.send(value);
        }
    }

    fn stopping(&mut self) {
        let mut stop = Stop::No;
        if let Err(panic) = self.guarded(&mut stop, |behaviour, cx| behaviour.stopped(cx)) {
            let text = panic_text(&*panic);
            self.core.runtime.report(SupervisorMessage::Panicked { kind: B::KIND, message: "stopped", text });
        }
        self.behaviour = None;
    }
}

impl<B: Behaviour> Drop for Hosted<B> {
    fn drop(&mut self) {
        self.core.shared.close(true);
        self.core.shared.metrics.stopped();
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "not a text".to_owned())
}
