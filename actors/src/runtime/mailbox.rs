//! Bounded mailboxes. The queue is ours and one per actor, however many addresses there are; actix only polls it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
};

use tokio::sync::oneshot;

use super::metrics::{KindMetrics, MessageKind};

/// A queue that grew past this many places gives its memory back once it is empty.
const KEEP_CAPACITY: usize = 32;

/// Why a message was not taken; gives it back.
#[derive(PartialEq, Eq)]
pub enum Refused<M> {
    /// The bound is reached: try later, or shed.
    Full(M),
    /// The actor has stopped.
    Closed(M),
}

impl<M> Refused<M> {
    /// Returns the message.
    pub fn into_inner(self) -> M {
        match self {
            Self::Full(message) | Self::Closed(message) => message,
        }
    }
}

impl<M> fmt::Debug for Refused<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Closed(_) => "Closed",
        })
    }
}

/// What waits in a queue.
pub(super) enum Item<M> {
    Message(M),
    /// What the actor itself started (a read, a timer): void if it was rebuilt since.
    Own {
        generation: u32,
        message: M,
    },
    Observe(oneshot::Sender<serde_json::Value>),
    /// Panics inside the next turn: tests of recovery.
    #[cfg(feature = "fault-injection")]
    Panic,
}

/// The queue of one actor, shared by its addresses.
pub struct Shared<M> {
    queue: Mutex<Queue<M>>,
    capacity: usize,
    pub(super) metrics: Arc<KindMetrics>,
    /// Waiting messages, readable without the lock.
    depth: AtomicUsize,
    pub(super) handled: AtomicU64,
}

struct Queue<M> {
    items: VecDeque<Item<M>>,
    waker: Option<Waker>,
    closed: bool,
}

impl<M: MessageKind> Shared<M> {
    pub(super) fn new(capacity: usize, metrics: Arc<KindMetrics>) -> Self {
        Self {
            queue: Mutex::new(Queue { items: VecDeque::new(), waker: None, closed: false }),
            capacity,
            metrics,
            depth: AtomicUsize::new(0),
            handled: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<M>> {
        // No code that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, item: Item<M>, capacity: usize) -> Result<(), Refused<Item<M>>> {
        let waker = {
            let mut queue = self.lock();
            if queue.closed {
                return Err(Refused::Closed(item));
            }
            if queue.items.len() >= capacity {
                return Err(Refused::Full(item));
            }
            queue.items.push_back(item);
            self.depth.store(queue.items.len(), Ordering::Relaxed);
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Puts a completion of the actor's own work into the queue, past the bound: it was admitted when it was started.
    pub(super) fn push_own(&self, generation: u32, message: M) {
        // Refused only by an actor that has stopped.
        let _ = self.push(Item::Own { generation, message }, usize::MAX);
    }

    /// Moves up to `max` items to `out`; with none, registers the waker and returns false.
    pub(super) fn take(&self, out: &mut VecDeque<Item<M>>, max: usize, waker: &Waker) -> bool {
        let mut queue = self.lock();
        if queue.items.is_empty() {
            if queue.items.capacity() > KEEP_CAPACITY {
                queue.items = VecDeque::new();
            }
            if !queue.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                queue.waker = Some(waker.clone());
            }
            return false;
        }
        if queue.items.len() <= max && out.is_empty() {
            std::mem::swap(&mut queue.items, out);
        } else {
            let count = max.min(queue.items.len());
            out.extend(queue.items.drain(..count));
        }
        self.depth.store(queue.items.len(), Ordering::Relaxed);
        true
    }

    /// Closes the queue if nothing waits (`force` also if something does) and says whether it is closed now.
    pub(super) fn close(&self, force: bool) -> bool {
        let dropped = {
            let mut queue = self.lock();
            if !force && !queue.items.is_empty() {
                return false;
            }
            queue.closed = true;
            queue.waker = None;
            self.depth.store(0, Ordering::Relaxed);
            std::mem::take(&mut queue.items)
        };
        // Outside the lock: dropping a message may answer somebody.
        drop(dropped);
        true
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }
}

/// The address of an actor. Cheap to clone; all clones share one bound.
pub struct Mailbox<M> {
    shared: Arc<Shared<M>>,
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<M> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox")
    }
}

impl<M: MessageKind> Mailbox<M> {
    pub(super) fn new(shared: Arc<Shared<M>>) -> Self {
        Self { shared }
    }

    /// Puts a message into the mailbox, or gives it back when the bound is reached or the actor has stopped.
    pub fn tell(&self, message: M) -> Result<(), Refused<M>> {
        let result = self.shared.push(Item::Message(message), self.shared.capacity);
        result.map_err(|refused| {
            self.shared.metrics.refused();
            unwrap_refused(refused)
        })
    }

    /// Puts a message into the mailbox past its bound. Only for what must not be lost and is bounded elsewhere: the end of a
    /// socket, the answer to a request that was admitted.
    pub fn tell_always(&self, message: M) -> Result<(), Refused<M>> {
        self.shared.push(Item::Message(message), usize::MAX).map_err(unwrap_refused)
    }

    /// Returns how many messages wait.
    pub fn depth(&self) -> usize {
        self.shared.depth.load(Ordering::Relaxed)
    }

    /// Says whether the actor has stopped.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Says whether both are addresses of the same actor.
    pub fn same_actor(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Asks the actor for its observable state.
    pub fn observe(&self) -> oneshot::Receiver<serde_json::Value> {
        self.shared.request_observation()
    }

    /// Returns an address that doesn't keep the queue in memory.
    pub fn downgrade(&self) -> Weak<Shared<M>> {
        Arc::downgrade(&self.shared)
    }
}

fn unwrap_refused<M>(refused: Refused<Item<M>>) -> Refused<M> {
    let message = |item| match item {
        Item::Message(message) | Item::Own { message, .. } => message,
        Item::Observe(_) => unreachable!("only messages are told"),
        #[cfg(feature = "fault-injection")]
        Item::Panic => unreachable!("only messages are told"),
    };
    match refused {
        Refused::Full(item) => Refused::Full(message(item)),
        Refused::Closed(item) => Refused::Closed(message(item)),
    }
}

/// What the operator's view needs of any actor, whatever its messages.
pub trait Inspect: Send + Sync {
    /// Returns how many messages wait.
    fn waiting(&self) -> usize;
    /// Returns how many messages were handled.
    fn handled(&self) -> u64;
    /// Asks for the observable state; answered on the actor's next turn.
    fn request_observation(&self) -> oneshot::Receiver<serde_json::Value>;
    /// Makes the actor's handler panic on its next turn.
    #[cfg(feature = "fault-injection")]
    fn inject_panic(&self);
}

impl<M: MessageKind> Inspect for Shared<M> {
    fn waiting(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    fn request_observation(&self) -> oneshot::Receiver<serde_json::Value> {
        let (sender, receiver) = oneshot::channel();
        // Refused only by an actor that has stopped: the receiver then hears that the sender is gone.
        let _ = self.push(Item::Observe(sender), usize::MAX);
        receiver
    }

    #[cfg(feature = "fault-injection")]
    fn inject_panic(&self) {
        let _ = self.push(Item::Panic, usize::MAX);
    }
}
