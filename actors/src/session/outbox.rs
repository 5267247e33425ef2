//! The bounded queue of frames that wait for one socket.
//!
//! Sessions and fan-out push shared frames; the socket's writer puts them into gathered writes straight from the queue. When a
//! reader is too slow the ladder begins (`protocol-native`, promise 5): ephemeral frames are dropped, then a conversation's queued
//! events become one gap, and only then the socket is closed. Knows nothing of sockets, of tasks beyond one waker, or of what
//! the frames say.
//!
//! A push wakes the socket's task when its turn among the sockets of the thread has come (`wakes`).
//!
//! Lives on one thread and is shared by `Rc`. An empty one owns no memory besides itself.

mod delivery;
mod ladder;
mod queue;
#[cfg(test)]
mod tests;
pub(crate) mod wakes;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    io::IoSlice,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use chinwag_schema::{
    error::CloseCode,
    event::Class,
    limits::socket::{OUTBOX_MAX_BYTES, OUTBOX_MAX_FRAMES, WRITE_MAX_FRAMES},
    wire::{Encoding, encoded_event::EncodedEvent, frame},
};
pub use delivery::{DELIVERY_BUCKETS_MS, DeliveryTimes};
use queue::{Entry, Queue, Timed};

use crate::runtime::clock::{Clock as _, SystemClock};

/// What a gap counts for in the byte bound; its frame, with a long room name, is about as large.
const GAP_BYTES: usize = 256;

/// What became of a pushed frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It waits for the writer (or its dialect doesn't tell such events).
    Queued,
    /// The bound was reached: ephemeral frames were dropped, maybe this one.
    Shed,
    /// The bound was reached: sequenced frames were replaced by a gap, maybe this one too.
    Gapped,
    /// The bound was reached and nothing could be dropped: the socket is being closed with `SLOW_READER`.
    Overflow,
    /// The socket is closing: ignored.
    Closed,
}

/// Entries that a look for the oldest event goes through at most: answers and pings have no time.
const LOOKED_AT_MAX: usize = 64;

/// What of an event waits in an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Nothing: it was written, or never came here.
    No,
    /// It does, behind so many frames.
    Behind(usize),
    /// It was left out, and the reader will be told.
    InGap,
}

/// What waits in an outbox, as operators see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    pub bytes: usize,
    pub frames: usize,
    /// Conversations of which something was left out and the reader hasn't been told yet.
    pub gaps: usize,
    /// When the oldest event that waits was sent, Unix ms; `None` when there is none among the first 64 frames.
    pub oldest_ms: Option<i64>,
}

/// Counters of all outboxes of one worker thread; they only grow, except `queued_bytes` and `queued_frames`.
#[derive(Debug, Default)]
pub struct OutboxStats {
    /// Bytes that wait now.
    pub queued_bytes: Cell<u64>,
    /// Frames that wait now.
    pub queued_frames: Cell<u64>,
    /// Frames and bytes handed to the kernel.
    pub written_frames: Cell<u64>,
    pub written_bytes: Cell<u64>,
    /// Ephemeral frames dropped.
    pub sheds: Cell<u64>,
    /// Gaps made, and the events they stand for.
    pub gaps: Cell<u64>,
    pub gapped_events: Cell<u64>,
    /// Sockets closed because nothing more could be dropped.
    pub slow_closes: Cell<u64>,
    /// From the moment an event was accepted until it was handed to the kernel here.
    pub delivery: DeliveryTimes,
}

fn add(cell: &Cell<u64>, n: usize) {
    cell.set(cell.get() + n as u64);
}

fn sub(cell: &Cell<u64>, n: usize) {
    cell.set(cell.get() - n as u64);
}

/// How far a socket's end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The close frame is the queue's last.
    Closing,
}

/// The frames that wait for one socket.
pub struct Outbox {
    queue: RefCell<Queue>,
    /// None while the task runs, is woken, or waits to be.
    waker: Cell<Option<Waker>>,
    /// Where it waits to be woken.
    place: Cell<wakes::Place>,
    stats: Rc<OutboxStats>,
    max_bytes: u32,
    max_frames: u32,
    encoding: Encoding,
    phase: Cell<Phase>,
    close_code: Cell<Option<CloseCode>>,
}

impl Outbox {
    /// Makes an empty outbox with the bounds of `limits::socket`.
    pub fn new(encoding: Encoding, stats: Rc<OutboxStats>) -> Self {
        Self::with_bounds(encoding, stats, OUTBOX_MAX_BYTES, OUTBOX_MAX_FRAMES)
    }

    /// Makes an empty outbox with other bounds, in bytes and frames. A single frame is taken whatever its size.
    pub fn with_bounds(encoding: Encoding, stats: Rc<OutboxStats>, max_bytes: usize, max_frames: usize) -> Self {
        Self {
            queue: RefCell::default(),
            waker: Cell::default(),
            place: Cell::default(),
            stats,
            max_bytes: u32::try_from(max_bytes).unwrap_or(u32::MAX),
            max_frames: u32::try_from(max_frames).unwrap_or(u32::MAX),
            encoding,
            phase: Cell::new(Phase::Open),
            close_code: Cell::new(None),
        }
    }

    /// Returns how frames for this socket are written.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Queues a frame that is no [`EncodedEvent`]: an answer, a ping, a replay. `Class::Sequenced` counts as kept here, since a gap
    /// needs to know the conversation: push sequenced events with [`Self::push_event`].
    pub fn push(&self, frame: Bytes, class: &Class) -> Pushed {
        let bytes = frame.len();
        let ephemeral = *class == Class::Ephemeral;
        self.queue_entry(Entry::Frame { frame, ephemeral }, bytes, ephemeral)
    }

    /// Queues an event that is no news, or whose delivery isn't timed, if this socket's dialect tells it.
    pub fn push_event(&self, event: &Arc<EncodedEvent>) -> Pushed {
        self.queue_event(event, Timed::No)
    }

    /// Queues an event that has just happened, if this socket's dialect tells it. [`OutboxStats::delivery`] counts its time.
    pub fn push_live(&self, event: &Arc<EncodedEvent>) -> Pushed {
        self.queue_event(event, Timed::Yes)
    }

    fn queue_event(&self, event: &Arc<EncodedEvent>, timed: Timed) -> Pushed {
        let Some(frame) = event.frame_ref(self.encoding) else { return Pushed::Queued };
        if self.extends_gap(event) {
            return Pushed::Gapped;
        }
        let entry = Entry::Event { event: event.clone(), timed };
        self.queue_entry(entry, frame.len(), *event.class() == Class::Ephemeral)
    }

    /// Begins the end: what waits is written first, then a close frame; later pushes are ignored. A second call changes nothing.
    pub fn close(&self, code: CloseCode, reason: &str) {
        if self.phase.get() == Phase::Open {
            self.end_with(Some(code), frame::close(code, reason));
        }
    }

    /// Drops what waits (but not the rest of a frame that is half written) and closes, even when already closing; once the close frame
    /// is written, does nothing.
    pub fn close_now(&self, code: CloseCode, reason: &str) {
        if self.is_closing() && self.is_empty() {
            return;
        }
        self.clear();
        self.end_with(Some(code), frame::close(code, reason));
    }

    /// Answers the peer's close frame with `reply` and drops nothing. `code` is the peer's.
    pub fn close_with_reply(&self, code: Option<CloseCode>, reply: Bytes) {
        if self.phase.get() == Phase::Open {
            self.end_with(code, reply);
        }
    }

    /// Says whether a close was begun, by whichever side.
    pub fn is_closing(&self) -> bool {
        self.phase.get() == Phase::Closing
    }

    /// Returns the code with which the socket closes, once it does.
    pub fn close_code(&self) -> Option<CloseCode> {
        self.close_code.get()
    }

    /// Returns how many frames wait.
    pub fn len(&self) -> usize {
        self.queue.borrow().entries.len()
    }

    /// Says whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many bytes wait.
    pub fn bytes(&self) -> usize {
        self.queue.borrow().bytes
    }

    /// Returns what waits: for operators, at the cost of a look at 64 frames.
    pub fn waiting(&self) -> Waiting {
        let queue = self.queue.borrow();
        let oldest_ms = queue.entries.iter().take(LOOKED_AT_MAX).find_map(|entry| match entry {
            Entry::Event { event, .. } => Some(event.now_ms()),
            Entry::Frame { .. } | Entry::Gap(_) => None,
        });
        Waiting { bytes: queue.bytes, frames: queue.entries.len(), gaps: queue.gaps.len(), oldest_ms }
    }

    /// Returns the bounds, in bytes and frames.
    pub fn bounds(&self) -> (usize, usize) {
        (self.max_bytes as usize, self.max_frames as usize)
    }

    /// Is ready when something waits; until then the task is woken by the push that ends the emptiness, and by a close.
    pub fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        self.register(cx);
        if self.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Remembers the task to wake.
    pub fn register(&self, cx: &Context<'_>) {
        let waker = self.take_waker().filter(|waker| waker.will_wake(cx.waker()));
        self.waker.set(Some(waker.unwrap_or_else(|| cx.waker().clone())));
    }

    /// Takes the remembered task back, also from where it waits to be woken: while the task itself runs, its own pushes needn't wake it.
    pub fn take_waker(&self) -> Option<Waker> {
        self.waker.take().or_else(|| wakes::take_back(self.place.get()))
    }

    /// Remembers the task again after [`Self::take_waker`], without a clone when it is still the same.
    pub fn restore_waker(&self, waker: Option<Waker>, cx: &Context<'_>) {
        self.waker.set(waker);
        self.register(cx);
    }

    /// Wakes the remembered task, if any, when its turn among the sockets of this thread has come.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            self.place.set(wakes::wake(waker, self.place.get()));
        }
    }

    /// Lends the first frames for one gathered write, at most `max_bytes` of them but always at least one frame. Follow with
    /// [`Self::advance`]. `write` must not push.
    pub fn with_front<R>(&self, max_bytes: usize, write: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        let mut queue = self.queue.borrow_mut();
        queue.encode_gaps(self.encoding);
        let queue = &*queue;
        if queue.entries.len() == 1 {
            let head = &queue.frame(&queue.entries[0], self.encoding)[queue.head_written as usize..];
            return write(&[IoSlice::new(head)]);
        }
        let mut slices = [IoSlice::new(&[]); WRITE_MAX_FRAMES];
        let mut count = 0;
        let mut bytes = 0;
        for entry in queue.entries.iter().take(WRITE_MAX_FRAMES) {
            let mut frame = &queue.frame(entry, self.encoding)[..];
            if count == 0 {
                frame = &frame[queue.head_written as usize..];
            }
            if count > 0 && bytes + frame.len() > max_bytes {
                break;
            }
            bytes += frame.len();
            slices[count] = IoSlice::new(frame);
            count += 1;
        }
        write(&slices[..count])
    }

    /// Notes that this many bytes of the front were written.
    pub fn advance(&self, written: usize) {
        let mut queue = self.queue.borrow_mut();
        add(&self.stats.written_bytes, written);
        let mut left = written + queue.head_written as usize;
        queue.head_written = 0;
        // Asked for once a write, and only if something in it is timed.
        let mut now_ms = None;
        while let Some(head) = queue.entries.front() {
            let len = queue.frame(head, self.encoding).len();
            if left < len {
                break;
            }
            left -= len;
            add(&self.stats.written_frames, 1);
            if let Some(at_ms) = head.timed_since_ms() {
                let now_ms = *now_ms.get_or_insert_with(|| SystemClock.unix_ms());
                self.stats.delivery.observe(now_ms - at_ms);
            }
            self.pop_front(&mut queue);
        }
        if left > 0 {
            self.pin_head(&mut queue, left);
        }
        if queue.entries.is_empty() {
            queue.entries = VecDeque::new();
            queue.gaps = Vec::new();
        }
    }

    /// Moves up to `max_frames` frames and about `max_bytes` bytes into `out`, as one write would. For readers that are no socket.
    pub fn take(&self, out: &mut Vec<Bytes>, max_frames: usize, max_bytes: usize) {
        let mut bytes = 0;
        let mut frames = 0;
        while frames < max_frames && (frames == 0 || bytes < max_bytes) && !self.is_empty() {
            let frame = self.with_front(1, |slices| Bytes::copy_from_slice(&slices[0]));
            self.advance(frame.len());
            bytes += frame.len();
            frames += 1;
            out.push(frame);
        }
    }

    fn queue_entry(&self, entry: Entry, bytes: usize, ephemeral: bool) -> Pushed {
        if self.phase.get() != Phase::Open {
            return Pushed::Closed;
        }
        let mut queue = self.queue.borrow_mut();
        let was_empty = queue.entries.is_empty();
        queue.entries.push_back(entry);
        queue.bytes += bytes;
        queue.ephemerals += u32::from(ephemeral);
        add(&self.stats.queued_bytes, bytes);
        add(&self.stats.queued_frames, 1);
        let pushed = if self.fits(&queue) { Pushed::Queued } else { self.climb_down(&mut queue) };
        drop(queue);
        if pushed == Pushed::Overflow {
            add(&self.stats.slow_closes, 1);
            self.close_now(CloseCode::SLOW_READER, "reading too slowly, reconnect and resume");
        } else if was_empty {
            self.wake();
        }
        pushed
    }

    fn end_with(&self, code: Option<CloseCode>, close_frame: Bytes) {
        let bytes = close_frame.len();
        let mut queue = self.queue.borrow_mut();
        queue.entries.push_back(Entry::Frame { frame: close_frame, ephemeral: false });
        queue.bytes += bytes;
        drop(queue);
        add(&self.stats.queued_bytes, bytes);
        add(&self.stats.queued_frames, 1);
        self.phase.set(Phase::Closing);
        self.close_code.set(code);
        // Even a writer that waits for the kernel must hear it: from now on its time is limited.
        self.wake();
    }

    fn pop_front(&self, queue: &mut Queue) {
        let Some(entry) = queue.entries.pop_front() else { return };
        self.forget(queue, entry);
    }

    /// Takes an entry that left the queue out of the sums.
    fn forget(&self, queue: &mut Queue, entry: Entry) {
        let bytes = queue.counted_bytes(&entry, self.encoding);
        queue.bytes -= bytes;
        queue.ephemerals -= u32::from(entry.is_ephemeral());
        sub(&self.stats.queued_bytes, bytes);
        sub(&self.stats.queued_frames, 1);
        if let Entry::Gap(conversation) = entry {
            queue.gaps.retain(|gap| gap.origin.conversation != conversation);
        }
    }

    /// Notes that the head is partly written. A gap there is final now: later events of its conversation queue behind it.
    fn pin_head(&self, queue: &mut Queue, written: usize) {
        queue.head_written = u32::try_from(written).expect("frames are smaller than 4 GiB");
        let Some(&Entry::Gap(conversation)) = queue.entries.front() else { return };
        let frame = queue.frame(&queue.entries[0], self.encoding).clone();
        queue.gaps.retain(|gap| gap.origin.conversation != conversation);
        // From here on it counts for its real size.
        queue.bytes = queue.bytes - GAP_BYTES + frame.len();
        add(&self.stats.queued_bytes, frame.len());
        sub(&self.stats.queued_bytes, GAP_BYTES);
        queue.entries[0] = Entry::Frame { frame, ephemeral: false };
    }

    fn clear(&self) {
        let mut queue = self.queue.borrow_mut();
        let pinned = usize::from(queue.head_written > 0);
        while queue.entries.len() > pinned {
            if let Some(entry) = queue.entries.pop_back() {
                self.forget(&mut queue, entry);
            }
        }
        queue.entries.shrink_to_fit();
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Outbox");
        debug.field("encoding", &self.encoding).field("frames", &self.len()).field("bytes", &self.bytes());
        debug.field("close_code", &self.close_code).finish_non_exhaustive()
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.queue.get_mut().head_written = 0;
        self.clear();
        drop(self.take_waker());
    }
}
