//! The filter against a server that gives numbers, commits late, crashes and fails over as Postgres does.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Mutex,
};

use async_trait::async_trait;
use chinwag_schema::limits::lookups::{FLOOD_BEGINS_AT, ROUND_PATIENCE, WAITING_MAX};
use futures_util::{FutureExt as _, future::join_all};
use proptest::{prelude::*, sample::Index};
use tokio::task::JoinHandle;

use super::*;
use crate::ports::StoreResult;

/// What happens on the server between two statements of the keeper.
#[derive(Debug, Clone)]
enum Op {
    Begin,
    Commit(Index),
    Abort(Index),
    /// What wasn't committed is gone, and numbers that left no trace are given again.
    Crash,
    /// Another server with all that was committed, and numbers of its own.
    FailOver,
}

#[derive(Default)]
struct Tables {
    life: i64,
    next: i64,
    running: BTreeMap<i64, Name>,
    committed: Vec<Arrival>,
    /// Added before there were numbers.
    old: Vec<(UserId, Name)>,
    made: i64,
    script: VecDeque<Op>,
    down: bool,
    statements: usize,
}

impl Tables {
    fn begin(&mut self) -> (i64, Name) {
        let number = self.next;
        self.next += 1;
        self.made += 1;
        let name: Name = format!("user {}", self.made).into();
        self.running.insert(number, name.clone());
        (number, name)
    }

    fn commit(&mut self, number: i64) {
        let name = self.running.remove(&number).unwrap();
        // Ids come in no order that has to do with that of the commits.
        let id = UserId(self.made.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed()) ^ number);
        self.committed.push(Arrival { added_in: number, id, name });
    }

    fn some_running(&self, index: &Index) -> Option<i64> {
        let numbers: Vec<_> = self.running.keys().copied().collect();
        (!numbers.is_empty()).then(|| *index.get(&numbers))
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Begin => drop(self.begin()),
            Op::Commit(index) => {
                if let Some(number) = self.some_running(index) {
                    self.commit(number);
                }
            }
            Op::Abort(index) => {
                if let Some(number) = self.some_running(index) {
                    self.running.remove(&number);
                }
            }
            Op::Crash => {
                self.running.clear();
                let known = self.committed.iter().filter(|row| row.added_in < self.next);
                self.next = known.map(|row| row.added_in + 1).max().unwrap_or(1);
            }
            Op::FailOver => {
                self.running.clear();
                self.life += 1;
                self.next = 1 + self.made % 5;
            }
        }
    }

    fn statement(&mut self) -> StoreResult<()> {
        self.statements += 1;
        if let Some(op) = self.script.pop_front() {
            self.apply(&op);
        }
        if self.down { Err(StoreError::Unavailable("down".to_owned())) } else { Ok(()) }
    }

    fn visible(&self) -> BTreeSet<Name> {
        self.committed.iter().map(|row| row.name.clone()).chain(self.old.iter().map(|(_, name)| name.clone())).collect()
    }
}

#[derive(Default)]
struct Server {
    tables: Mutex<Tables>,
    /// Of each statement, before it looks.
    takes: Duration,
}

impl Server {
    fn new(old: usize) -> Self {
        let old = (0..old).map(|n| (UserId(n as i64 * 7 - 3), format!("old {n}").into())).collect();
        let tables = Tables { next: 1, old, ..Tables::default() };
        Self { tables: Mutex::new(tables), takes: Duration::ZERO }
    }

    fn with<R>(&self, work: impl FnOnce(&mut Tables) -> R) -> R {
        work(&mut self.tables.lock().unwrap())
    }

    async fn pass(&self) {
        if !self.takes.is_zero() {
            sleep(self.takes).await;
        }
    }
}

#[async_trait]
impl Arrivals for Server {
    async fn names(&self, after: UserId, limit: usize) -> StoreResult<Vec<(UserId, Name)>> {
        self.pass().await;
        self.with(|tables| {
            tables.statement()?;
            let numbered = tables.committed.iter().map(|row| (row.id, row.name.clone()));
            let mut page: Vec<_> = numbered.chain(tables.old.iter().cloned()).filter(|(id, _)| *id > after).collect();
            page.sort();
            page.truncate(limit);
            Ok(page)
        })
    }

    async fn arrived(&self, after: (i64, UserId), limit: usize) -> StoreResult<(Standing, Vec<Arrival>)> {
        self.pass().await;
        self.with(|tables| {
            tables.statement()?;
            let next = tables.next;
            let mut page: Vec<_> = tables.committed.iter().filter(|row| row.added_in < next).cloned().collect();
            let newest = page.iter().map(|row| row.added_in).max().unwrap_or(0);
            let settled = tables.running.keys().next().copied().unwrap_or(next);
            page.retain(|row| (row.added_in, row.id) > after);
            page.sort_by_key(|row| (row.added_in, row.id));
            page.truncate(limit);
            Ok((Standing { life: tables.life, settled, newest }, page))
        })
    }
}

fn keeper(server: Server, page: usize) -> (Keeper, Arc<Server>) {
    let server = Arc::new(server);
    let (gate, remembered) = (Arc::new(Gate::new()), Cache::new(10));
    (Keeper { arrivals: server.clone(), gate, remembered, page }, server)
}

fn some_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => Just(Op::Begin),
        8 => any::<Index>().prop_map(Op::Commit),
        2 => any::<Index>().prop_map(Op::Abort),
        1 => Just(Op::Crash),
        1 => Just(Op::FailOver),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// Step 2 of the proof, with pages so small that everything happens between them.
    #[test]
    fn a_round_knows_all_that_was_committed_before_it(
        script in prop::collection::vec(some_op(), 0..120), old in 0usize..6, page in 1usize..4,
    ) {
        let (keeper, server) = keeper(Server::new(old), page);
        server.with(|tables| tables.script = script.into());
        let mut made: Option<(Filter, Standing)> = None;
        // Time without statements also passes on the server.
        let mut idle = 0;
        while server.with(|tables| !tables.script.is_empty()) {
            let before = server.with(|tables| tables.visible());
            made = match made {
                None => {
                    let mut filter = Filter::new();
                    let known = keeper.make(&mut filter).now_or_never().expect("it waits for nothing");
                    known.ok().map(|known| (filter, known))
                }
                Some((mut filter, known)) => {
                    let add = |page: &[Arrival]| page.iter().for_each(|arrival| filter.add(&arrival.name));
                    let known = keeper.catch_up(known, add).now_or_never().expect("it waits for nothing");
                    known.ok().map(|known| (filter, known))
                }
            };
            if let Some((filter, _)) = &made {
                for name in &before {
                    prop_assert!(filter.may_contain(name), "{name} was there before the round");
                }
            }
            for _ in 0..idle % 7 {
                server.with(|tables| {
                    let op = tables.script.pop_front();
                    op.inspect(|op| tables.apply(op));
                });
            }
            idle += 1;
        }
    }
}

struct Running {
    gate: Arc<Gate>,
    server: Arc<Server>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs a keeper on paused time until its filter is there.
async fn running() -> Running {
    let mut server = Server::new(3);
    server.takes = Duration::from_millis(1);
    let (keeper, server) = keeper(server, 2);
    let gate = keeper.gate.clone();
    let task = tokio::spawn(keeper.run());
    while gate.read().state.is_none() {
        sleep(Duration::from_millis(1)).await;
    }
    Running { gate, server, task }
}

impl Running {
    async fn flood(&self) {
        let names: Vec<_> = (0..FLOOD_BEGINS_AT).map(|n| format!("nobody {n}")).collect();
        join_all(names.iter().map(|name| self.gate.denies(name))).await;
        assert!(self.gate.read().flood);
    }

    fn statements(&self) -> usize {
        self.server.with(|tables| tables.statements)
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_flood_it_answers_nothing_itself() {
    let node = running().await;
    let before = node.statements();
    for n in 0..FLOOD_BEGINS_AT - 1 {
        assert!(!node.gate.denies(&format!("nobody {n}")).await);
    }
    assert_eq!((node.statements(), node.gate.read().flood), (before, false));
}

#[tokio::test(start_paused = true)]
async fn in_a_flood_thousands_of_unknown_names_share_a_few_queries_and_known_ones_pass() {
    let node = running().await;
    node.flood().await;
    let before = node.statements();
    let names: Vec<_> = (0..5_000).map(|n| format!("nobody at all {n}")).collect();
    let denied = join_all(names.iter().map(|name| node.gate.denies(name))).await;
    let count = denied.into_iter().filter(|denied| *denied).count();
    // The filter is wrong about one in a thousand.
    assert!((4_950..=5_000).contains(&count), "{count}");
    assert!(node.statements() - before <= 2, "{}", node.statements() - before);
    assert!(!node.gate.denies("old 1").await);
    assert!(node.gate.read().filter >= count as u64);
}

#[tokio::test(start_paused = true)]
async fn questions_beyond_the_bound_pass_instead_of_waiting() {
    let node = running().await;
    node.flood().await;
    let names: Vec<_> = (0..WAITING_MAX + 500).map(|n| format!("nobody at all {n}")).collect();
    let denied = join_all(names.iter().map(|name| node.gate.denies(name))).await;
    let passed = denied.into_iter().filter(|denied| !denied).count();
    // With those that the filter is wrong about.
    assert!((500..600).contains(&passed), "{passed}");
    assert!(node.gate.denies("nobody at all 1").await, "places come back");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_comes_late_with_a_small_number_is_known_at_once() {
    let node = running().await;
    let (number, late) = node.server.with(Tables::begin);
    // Later ones come first, and rounds pass them.
    for _ in 0..20 {
        node.server.with(|tables| {
            let (number, _) = tables.begin();
            tables.commit(number);
        });
        sleep(REFRESH_EVERY).await;
    }
    node.flood().await;
    assert!(node.gate.denies(&late).await, "not committed yet");
    node.server.with(|tables| tables.commit(number));
    assert!(!node.gate.denies(&late).await);
}

#[tokio::test(start_paused = true)]
async fn whoever_registers_during_a_flood_is_never_denied() {
    let node = running().await;
    node.flood().await;
    let flood = async {
        for wave in 0..200 {
            let names: Vec<_> = (0..50).map(|n| format!("nobody {wave} {n}")).collect();
            join_all(names.iter().map(|name| node.gate.denies(name))).await;
        }
    };
    let people = async {
        for n in 0..300 {
            let (number, name) = node.server.with(Tables::begin);
            sleep(Duration::from_micros(n * 37 % 5_000)).await;
            node.server.with(|tables| tables.commit(number));
            assert!(!node.gate.denies(&name).await, "{name}");
            assert!(node.gate.read().flood);
        }
    };
    tokio::join!(flood, people);
}

#[tokio::test(start_paused = true)]
async fn while_rounds_fail_everything_passes_without_waiting_and_afterwards_it_answers_again() {
    let node = running().await;
    node.flood().await;
    node.server.with(|tables| tables.down = true);
    assert!(!node.gate.denies("nobody").await);
    let began = Instant::now();
    assert!(!node.gate.denies("nobody").await);
    assert!(began.elapsed() < ROUND_PATIENCE / 100, "{:?}", began.elapsed());
    assert!(node.gate.read().rounds_failed > 0);
    node.server.with(|tables| tables.down = false);
    let mut tries = 0;
    while !node.gate.denies("nobody").await {
        tries += 1;
        assert!(tries < 1_000);
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_failover_the_filter_is_made_anew() {
    let node = running().await;
    for _ in 0..30 {
        node.server.with(|tables| {
            let (number, _) = tables.begin();
            tables.commit(number);
        });
    }
    sleep(REFRESH_EVERY * 2).await;
    node.flood().await;
    node.server.with(|tables| tables.apply(&Op::FailOver));
    // It gets a number that the old server gave long ago.
    let name = node.server.with(|tables| {
        let (number, name) = tables.begin();
        tables.commit(number);
        name
    });
    assert!(!node.gate.denies(&name).await);
    while node.gate.read().built < 2 {
        sleep(Duration::from_millis(10)).await;
    }
    node.flood().await;
    assert!(!node.gate.denies(&name).await && node.gate.denies("nobody").await);
}
