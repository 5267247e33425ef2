//! The runtime under every actor: each test shows one trap of actix (`ops/decisions/actor-runtime.md`) that must not come back.

use std::{
    sync::Arc,
    thread::ThreadId,
    time::{Duration, Instant},
};

use chinwag_actors::{
    message_kinds,
    runtime::{Behaviour, Cx, Kind, Mailbox, Placement, Refused, Runtime, clock::SystemClock},
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

enum Probe {
    /// Adds to what is built and to what is kept; answers with both.
    Add(u64, oneshot::Sender<(u64, u64)>),
    Panic(oneshot::Sender<()>),
    /// Keeps the thread busy.
    Burn(Duration),
    /// Waits without blocking the mailbox, then says so.
    Wait(Duration, oneshot::Sender<()>),
    Waited(oneshot::Sender<()>),
    WhichThread(oneshot::Sender<ThreadId>),
    Stop,
    StopIfIdle,
}

message_kinds!(Probe { Add, Panic, Burn, Wait, Waited, WhichThread, Stop, StopIfIdle });

/// `ESSENTIAL` chooses what happens when the restart budget is spent.
struct Counter<const ESSENTIAL: bool> {
    built: u64,
}

impl<const ESSENTIAL: bool> Behaviour for Counter<ESSENTIAL> {
    type Message = Probe;
    type Keep = u64;
    const KIND: Kind = if ESSENTIAL { "essential_counter" } else { "counter" };
    const MAILBOX: usize = 16;
    const ESSENTIAL: bool = ESSENTIAL;

    fn new(_cx: &mut Cx<'_, Self>) -> Self {
        Self { built: 0 }
    }

    fn handle(&mut self, message: Probe, cx: &mut Cx<'_, Self>) {
        match message {
            Probe::Add(n, reply) => {
                self.built += n;
                *cx.keep += n;
                let _ = reply.send((self.built, *cx.keep));
            }
            Probe::Panic(_reply) => panic!("as asked"),
            Probe::Burn(time) => {
                let until = Instant::now() + time;
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
            }
            Probe::Wait(time, reply) => cx.pipe(tokio::time::sleep(time), move |()| Probe::Waited(reply)),
            Probe::Waited(reply) => {
                let _ = reply.send(());
            }
            Probe::WhichThread(reply) => {
                let _ = reply.send(std::thread::current().id());
            }
            Probe::Stop => cx.stop(),
            Probe::StopIfIdle => cx.stop_if_idle(),
        }
    }

    fn observe(&self, keep: &u64) -> Value {
        json!({"built": self.built, "kept": keep})
    }
}

fn here() -> Arc<Runtime> {
    Runtime::start(Arc::new(SystemClock), Placement::Here { workers: 1 })
}

async fn add<const E: bool>(counter: &Mailbox<Probe>, n: u64) -> (u64, u64) {
    let (reply, answer) = oneshot::channel();
    counter.tell(Probe::Add(n, reply)).unwrap();
    answer.await.unwrap()
}

/// Lets the actor panic; true if whoever asked heard that nobody will answer.
async fn panicked(counter: &Mailbox<Probe>) -> bool {
    let (reply, answer) = oneshot::channel();
    counter.tell(Probe::Panic(reply)).unwrap();
    answer.await.is_err()
}

/// Stops as soon as it has nothing to do, as the conversation does for an id that names none.
struct Shy;

impl Behaviour for Shy {
    type Message = Probe;
    type Keep = ();
    const KIND: Kind = "shy";
    const MAILBOX: usize = 16;

    fn new(cx: &mut Cx<'_, Self>) -> Self {
        cx.pipe(std::future::ready(()), |()| Probe::StopIfIdle);
        Self
    }

    fn handle(&mut self, message: Probe, cx: &mut Cx<'_, Self>) {
        if let Probe::Add(n, reply) = message {
            let _ = reply.send((n, n));
        }
        cx.stop_if_idle();
    }

    fn observe(&self, (): &()) -> Value {
        Value::Null
    }
}

#[actix_rt::test]
async fn an_actor_that_stops_at_once_has_handled_what_it_was_started_for() {
    let runtime = here();
    let (reply, answer) = oneshot::channel();
    runtime.spawn_told::<Shy>(0, Some(Probe::Add(3, reply)), || ());
    assert_eq!(answer.await, Ok((3, 3)));
    // Told after its start instead, it may be gone already.
    let late = runtime.spawn::<Shy>(0, || ());
    while !late.is_closed() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(late.tell(Probe::Stop), Err(Refused::Closed(_))));
}

#[actix_rt::test]
async fn clones_of_an_address_share_one_bound() {
    let runtime = here();
    let counter = runtime.spawn::<Counter<false>>(0, || 0);
    // Nothing runs before the first await: all messages wait.
    let taken = (0..1000).filter(|_| counter.clone().tell(Probe::Burn(Duration::ZERO)).is_ok()).count();
    assert_eq!(taken, 16);
    assert!(matches!(counter.tell(Probe::Burn(Duration::ZERO)), Err(Refused::Full(_))));
    let refused = runtime.metrics().kind_named("counter").unwrap().snapshot().refused;
    assert_eq!(refused, 985, "and each refusal is counted");
    assert_eq!(counter.depth(), 16);
}

#[actix_rt::test]
async fn a_panic_is_counted_keeps_the_address_and_what_is_kept() {
    let runtime = here();
    let counter = runtime.spawn::<Counter<false>>(0, || 5);
    assert_eq!(add::<false>(&counter, 2).await, (2, 7));
    assert!(panicked(&counter).await, "whoever asked hears that it failed");
    assert_eq!(add::<false>(&counter, 1).await, (1, 8), "the next message works, on a state built anew");
    let snapshot = runtime.metrics().kind_named("counter").unwrap().snapshot();
    assert_eq!((snapshot.restarts, snapshot.live), (1, 1));
    let supervisor = runtime.metrics().kind_named("supervisor").unwrap().busiest(1).remove(0);
    let observed = supervisor.request_observation().await.unwrap();
    assert_eq!(observed["panics"], 1);
    assert_eq!(observed["last"][0]["panic"], "as asked");
}

#[actix_rt::test]
async fn work_begun_before_a_panic_is_void_after_it() {
    // Time goes on when there is nothing left to do: the work ends after the panic, however slow the machine.
    tokio::time::pause();
    let runtime = here();
    let counter = runtime.spawn::<Counter<false>>(0, || 0);
    let (reply, waited) = oneshot::channel();
    counter.tell(Probe::Wait(Duration::from_millis(20), reply)).unwrap();
    assert!(panicked(&counter).await);
    assert!(waited.await.is_err(), "the completion belongs to a state that is gone");
}

#[actix_rt::test]
async fn an_actor_that_panics_too_often_stops() {
    let runtime = here();
    let counter = runtime.spawn::<Counter<false>>(0, || 0);
    for _ in 0..9 {
        assert!(panicked(&counter).await);
    }
    assert!(counter.is_closed());
    let (reply, _answer) = oneshot::channel();
    assert!(matches!(counter.tell(Probe::Add(1, reply)), Err(Refused::Closed(_))));
    let snapshot = runtime.metrics().kind_named("counter").unwrap().snapshot();
    assert_eq!((snapshot.restarts, snapshot.stopped_by_budget), (9, 1));
}

#[actix_rt::test]
async fn an_essential_actor_rests_and_comes_back() {
    let runtime = here();
    let counter = runtime.spawn::<Counter<true>>(0, || 3);
    let begun = Instant::now();
    for _ in 0..9 {
        assert!(panicked(&counter).await);
    }
    assert_eq!(add::<true>(&counter, 1).await, (1, 4));
    assert!(begun.elapsed() >= Duration::from_millis(900), "it rested first");
}

#[actix_rt::test]
async fn a_full_mailbox_does_not_hold_up_the_timers_of_its_thread() {
    let runtime = here();
    let counter = runtime.spawn::<Counter<false>>(0, || 0);
    // 50,000 messages of 20 us: a second of work, fed past the bound.
    for _ in 0..50_000 {
        counter.tell_always(Probe::Burn(Duration::from_micros(20))).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    // At most 50 messages fit into a millisecond, and a turn is that long. Measured in messages: a busy machine may stop us for longer.
    let handled = 50_000 - counter.depth();
    assert!(handled < 2000, "a 10 ms timer fired after {handled} messages");
}

#[actix_rt::test]
async fn waiting_does_not_pause_the_mailbox() {
    let runtime = here();
    let counter = runtime.spawn::<Counter<false>>(0, || 0);
    let (reply, mut waited) = oneshot::channel();
    counter.tell(Probe::Wait(Duration::from_secs(3600), reply)).unwrap();
    assert_eq!(add::<false>(&counter, 1).await, (1, 1));
    assert!(waited.try_recv().is_err(), "still waiting");
}

#[test]
fn actors_live_on_the_worker_they_were_placed_on() {
    actix_rt::System::new().block_on(async {
        let arbiters: Vec<_> = (0..3).map(|_| actix_rt::Arbiter::new()).collect();
        for (index, arbiter) in arbiters.iter().enumerate() {
            arbiter.spawn_fn(move || Placement::enter_worker(u16::try_from(index).unwrap()));
        }
        let pool = Placement::Pool(arbiters.iter().map(actix_rt::Arbiter::handle).collect());
        let runtime = Runtime::start(Arc::new(SystemClock), pool);
        let mut threads = Vec::new();
        for worker in 0..6 {
            let counter = runtime.spawn::<Counter<false>>(worker, || 0);
            let (reply, answer) = oneshot::channel();
            counter.tell(Probe::WhichThread(reply)).unwrap();
            threads.push(answer.await.unwrap());
        }
        assert_eq!(threads[..3], threads[3..], "the same worker, the same thread");
        assert!(threads[0] != threads[1] && threads[1] != threads[2] && threads[0] != threads[2]);
    });
}

#[actix_rt::test]
async fn an_idle_stop_never_loses_a_message() {
    let runtime = here();
    let counter = runtime.spawn::<Counter<false>>(0, || 0);
    counter.tell(Probe::StopIfIdle).unwrap();
    let (reply, answer) = oneshot::channel();
    counter.tell(Probe::Add(1, reply)).unwrap();
    assert_eq!(answer.await.unwrap(), (1, 1), "it was not idle");
    assert!(!counter.is_closed());
    counter.tell(Probe::StopIfIdle).unwrap();
    while !counter.is_closed() {
        tokio::task::yield_now().await;
    }
    assert_eq!(runtime.metrics().kind_named("counter").unwrap().snapshot().stopped_by_budget, 0);
}

#[actix_rt::test]
async fn stopping_drops_what_waits_and_frees_the_actor() {
    let runtime = here();
    let counter = runtime.spawn::<Counter<false>>(0, || 0);
    counter.tell(Probe::Stop).unwrap();
    let (reply, answer) = oneshot::channel();
    counter.tell(Probe::Add(1, reply)).unwrap();
    assert!(answer.await.is_err());
    while runtime.metrics().kind_named("counter").unwrap().snapshot().live > 0 {
        tokio::task::yield_now().await;
    }
}

#[actix_rt::test]
async fn handlers_are_measured_by_message_type_without_a_call_in_them() {
    let runtime = here();
    let counter = runtime.spawn::<Counter<false>>(0, || 0);
    let begun = Instant::now();
    counter.tell(Probe::Burn(Duration::from_millis(3))).unwrap();
    for _ in 0..5 {
        add::<false>(&counter, 1).await;
    }
    let took_s = begun.elapsed().as_secs_f64();
    let snapshot = runtime.metrics().kind_named("counter").unwrap().snapshot();
    let of = |name: &str| snapshot.messages.iter().find(|message| message.message == name).unwrap().clone();
    assert_eq!((of("Add").handled, of("Burn").handled, of("Panic").handled), (5, 1, 0));
    assert!((0.003..=took_s).contains(&of("Burn").handler_s));
    assert_eq!(of("Burn").buckets.iter().sum::<u64>(), 1);
    let observed = counter.observe().await.unwrap();
    assert_eq!(observed, json!({"built": 5, "kept": 5}));
}

#[actix_rt::test]
async fn messages_of_one_sender_stay_in_order_across_turns() {
    let runtime = here();
    let counter = runtime.spawn::<Counter<false>>(0, || 0);
    let mut last = 0;
    for n in 1..=500u64 {
        let (reply, answer) = oneshot::channel();
        counter.tell_always(Probe::Add(1, reply)).unwrap();
        if n % 100 == 0 {
            last = answer.await.unwrap().0;
            assert_eq!(last, n);
        }
    }
    assert_eq!(last, 500);
}
