//! A node: everything that its actors and sessions share, and how it is put together.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use chinwag_schema::{
    error::{ClientError, CloseCode},
    ids::{ConversationId, Epoch, Incarnation, NodeId, Shard, Slot, UserId},
    wire::Dialect,
};
use tokio::sync::{Notify, oneshot};

use crate::{
    breaker::BreakerGauge,
    cluster::{
        Cluster, ClusterSettings, keeping,
        park::{Park, keep_expiring},
        shards::{self, JoinError, ShardState, ShardTable, ShardsMessage},
    },
    conversation::{
        board::RoomBoard,
        closed::ClosedRooms,
        messages::ConversationMessage,
        router::{Parked, Router},
    },
    directory::{Directory, DirectoryKeep, DirectoryMessage, Here},
    metrics::StorageMetrics,
    ports::{
        StoreError, StoreResult,
        account_store::AccountStore,
        bus::Bus,
        directory::{Directory as DirectoryPort, NodeLease},
        message_store::MessageStore,
    },
    presence::{Known, Presence, PresenceKeep, PresenceMessage, Status},
    protection::Protection,
    relay::{Relay, RelayMessage, Sockets},
    runtime::{Clock, Mailbox, Placement, Runtime},
    server_mailbox::{ServerMailbox, ServerMailboxKeep, ServerMailboxMessage},
    session::{
        Conn, Session, SessionMessage,
        actor::{ReaderGate, SessionKeep},
        authenticator::{Authenticator, Identity},
        messenger::MessengerSession,
        native::{CreatedGroups, NativeSession},
        outbox::Outbox,
        presence::PresenceSession,
        rooms::RoomsSession,
    },
    snowflake::Snowflakes,
    storage::{accounts::Accounts, messages::Messages},
};

/// How far ahead a node reserves snowflake time, and how often.
const RESERVE_AHEAD: Duration = Duration::from_secs(15);
const RESERVE_EVERY: Duration = Duration::from_secs(5);

/// What an operator may change about the engine.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Whether guests may enter (rooms dialect, native protocol).
    pub guests: bool,
    /// No rates, no spam rules (load tests).
    pub unlimited: bool,
    pub sockets_per_user_max: usize,
    /// Bytes that may wait for one slow reader.
    pub outbox_max_bytes: usize,
    /// Offline is announced after this time without a socket.
    pub presence_grace: Duration,
    /// Listeners beyond which joins, leaves and typing aren't announced.
    pub announce_max_listeners: usize,
    /// An empty room stays in the list of rooms for this time.
    pub empty_room_grace: Duration,
    /// An idle conversation sleeps after this time.
    pub idle_before_sleep: Duration,
    /// Message ids older than this are refused; `None`: never (no retention).
    pub dedup_window: Option<Duration>,
    /// What the rooms dialect says first.
    pub welcome: Arc<str>,
    /// Version of the program, for `welcome`.
    pub version: &'static str,
}

impl Default for EngineSettings {
    fn default() -> Self {
        use chinwag_schema::limits;
        Self {
            guests: true,
            unlimited: false,
            sockets_per_user_max: 100,
            outbox_max_bytes: limits::socket::OUTBOX_MAX_BYTES,
            presence_grace: Duration::from_secs(5),
            announce_max_listeners: limits::conversation::ANNOUNCE_MAX_LISTENERS,
            empty_room_grace: Duration::from_secs(300),
            idle_before_sleep: limits::conversation::IDLE_BEFORE_SLEEP,
            dedup_window: None,
            welcome: "Welcome to Chinwag! Say who you are to begin.".into(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// Counters that many threads touch at the beginning and end of sockets.
#[derive(Debug, Default)]
pub struct Counters {
    /// Distinct users with sockets here.
    pub users: AtomicU64,
    /// Open sockets, by dialect.
    pub sockets: [AtomicU64; Dialect::COUNT],
    /// Of these, authenticated.
    pub authenticated: AtomicU64,
    /// Sockets opened since the start, by dialect.
    pub opened: [AtomicU64; Dialect::COUNT],
    /// Sum of the lengths of ended sessions, milliseconds.
    pub session_ms: AtomicU64,
    pub ended: AtomicU64,
    /// Frames refused for a rate, and messages refused as spam.
    pub rate_limited: AtomicU64,
    pub spam: AtomicU64,
    /// Messages made durable.
    pub messages: AtomicU64,
    /// Events taken from their senders that aren't durable yet, told by each conversation at the end of its turns.
    pub unacknowledged: AtomicU64,
    /// Frames from clients.
    pub inbound: AtomicU64,
    /// Frames that no decoder could read.
    pub malformed: AtomicU64,
}

/// Names this life of the process.
pub fn new_incarnation() -> Incarnation {
    Incarnation::from_random(rand::random())
}

/// What a node is made of besides its own code: the four ports, credentials, time and threads.
pub struct Parts {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub clock: Arc<dyn Clock>,
    pub placement: Placement,
    pub accounts: Arc<dyn AccountStore>,
    pub messages: Arc<dyn MessageStore>,
    pub directory: Arc<dyn DirectoryPort>,
    pub bus: Arc<dyn Bus>,
    /// `None`: a lone node.
    pub cluster: Option<ClusterSettings>,
    pub protection: Protection,
    pub settings: EngineSettings,
}

/// Why a node can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Join(#[from] JoinError),
}

/// A node of the engine.
pub struct Node {
    pub id: NodeId,
    pub incarnation: Incarnation,
    pub cluster: Arc<Cluster>,
    /// Messages for conversations that nobody owns at the moment.
    pub park: Arc<Park<Parked>>,
    /// Keeps the shards of one of several nodes.
    pub keeper: OnceLock<Mailbox<ShardsMessage>>,
    /// Another process took this node's name: this one must end.
    pub displaced: Notify,
    pub epoch: Epoch,
    pub runtime: Arc<Runtime>,
    pub settings: EngineSettings,
    pub ids: Arc<Snowflakes>,
    pub accounts: Accounts,
    pub messages: Messages,
    pub account_breaker: Arc<BreakerGauge>,
    pub message_breaker: Arc<BreakerGauge>,
    pub account_metrics: Arc<StorageMetrics>,
    pub message_metrics: Arc<StorageMetrics>,
    pub conversations: Arc<Router>,
    pub board: RoomBoard,
    pub closed_rooms: ClosedRooms,
    pub directory: Mailbox<DirectoryMessage>,
    pub presence: Mailbox<PresenceMessage>,
    pub server_mailbox: Mailbox<ServerMailboxMessage>,
    pub relays: Arc<[Mailbox<RelayMessage>]>,
    pub shards: Arc<ShardTable>,
    pub protection: Protection,
    pub counters: Arc<Counters>,
    /// Groups made by native requests of the last minutes.
    pub created_groups: CreatedGroups,
    pub started_at_ms: i64,
    draining: AtomicBool,
    authenticator: Arc<std::sync::OnceLock<Arc<dyn Authenticator>>>,
}

thread_local! {
    /// The socket tables of this thread, by node (a simulation has many nodes on one thread).
    static SOCKETS: RefCell<HashMap<(usize, u16), Rc<Sockets>>> = RefCell::default();
}

/// A socket as the connection sees it.
pub struct OpenSession {
    pub slot: Slot,
    pub session: Mailbox<SessionMessage>,
    pub gate: Rc<ReaderGate>,
}

impl Node {
    /// Starts a node: takes its lease, reserves identifiers, starts its actors. One of several gets its shards a moment later.
    ///
    /// # Errors
    /// When a store doesn't answer, or another process runs as this node.
    pub async fn start(parts: Parts) -> Result<Arc<Self>, StartError> {
        let Parts {
            node,
            incarnation,
            clock,
            placement,
            accounts,
            messages,
            directory,
            bus,
            cluster,
            protection,
            settings,
        } = parts;
        let lease = NodeLease { node, incarnation };
        if cluster.is_some() {
            shards::join(&*directory, lease).await?;
        }
        let epoch = messages.epoch().await?;
        let ids = Arc::new(reserve(&*accounts, node, clock.unix_ms()).await?);
        let shards = shard_table(cluster.is_some(), &*accounts, &clock).await?;

        let started_at_ms = clock.unix_ms();
        let runtime = Runtime::start(clock, placement);
        let workers = runtime.placement().workers();
        let key = Arc::as_ptr(&runtime) as usize;
        let relays: Arc<[Mailbox<RelayMessage>]> =
            (0..workers).map(|worker| runtime.spawn::<Relay>(worker, move || sockets(key, node, worker))).collect();
        let (account_breaker, message_breaker) = (Arc::<BreakerGauge>::default(), Arc::<BreakerGauge>::default());
        let (account_metrics, message_metrics) = (Arc::<StorageMetrics>::default(), Arc::<StorageMetrics>::default());
        let reserve_store = accounts.clone();
        let accounts = Accounts::start(&runtime, 0, accounts, account_breaker.clone(), account_metrics.clone());
        let last = workers - 1;
        let messages = Messages::start(&runtime, last, messages, message_breaker.clone(), message_metrics.clone());
        let conversations = Arc::<Router>::default();
        let counters = Arc::<Counters>::default();
        let authenticator = Arc::<std::sync::OnceLock<Arc<dyn Authenticator>>>::default();

        let cluster = Arc::new(Cluster::new(lease, bus.clone(), cluster));
        let relays_there = relays.clone();
        let refuse = move |parked: Parked| refuse_parked(parked.1, &relays_there);
        let park = Arc::new(Park::passing(refuse, |parked: &Parked| parked.1.must_arrive()));
        keep_expiring(&park, runtime.placement());
        let keep = PresenceKeep {
            accounts: accounts.clone(),
            cluster: cluster.clone(),
            port: directory.clone(),
            relays: relays.clone(),
            grace: settings.presence_grace,
            known: Known::default(),
        };
        let presence = runtime.spawn::<Presence>(0, move || keep);
        let keep = DirectoryKeep {
            node: lease,
            cluster: cluster.clone(),
            accounts: accounts.clone(),
            port: directory.clone(),
            router: conversations.clone(),
            presence: presence.clone(),
            relays: relays.clone(),
            shards: shards.clone(),
            ids: ids.clone(),
            sockets_per_user_max: settings.sockets_per_user_max,
            authenticator: authenticator.clone(),
            counters: counters.clone(),
            here: Here::default(),
        };
        let port = directory;
        let directory = runtime.spawn::<Directory>(last, move || keep);
        let keep = ServerMailboxKeep {
            node: lease,
            bus,
            cluster: cluster.clone(),
            directory: directory.clone(),
            presence: presence.clone(),
        };
        let server_mailbox = runtime.spawn::<ServerMailbox>(0, move || keep);

        let engine = Arc::new(Self {
            id: node,
            incarnation,
            cluster,
            park,
            keeper: OnceLock::new(),
            displaced: Notify::new(),
            epoch,
            runtime,
            closed_rooms: ClosedRooms::default(),
            board: RoomBoard::new(i64::try_from(settings.empty_room_grace.as_millis()).unwrap_or(i64::MAX)),
            settings,
            ids: ids.clone(),
            accounts,
            messages,
            account_breaker,
            message_breaker,
            account_metrics,
            message_metrics,
            conversations,
            directory,
            presence,
            server_mailbox,
            relays,
            shards,
            protection,
            counters,
            created_groups: CreatedGroups::default(),
            started_at_ms,
            draining: AtomicBool::new(false),
            authenticator,
        });
        engine.conversations.attach(&engine);
        engine.cluster.attach(&engine);
        keep_reserving(&engine, reserve_store);
        if engine.cluster.is_clustered() {
            // The first and only call.
            let _ = engine.keeper.set(keeping::start(&engine, port));
        }
        Ok(engine)
    }

    /// Says who checks credentials; once, before the first socket.
    pub fn set_authenticator(&self, authenticator: Arc<dyn Authenticator>) {
        // A second call would be a defect of bootstrap; the first stays.
        let _ = self.authenticator.set(authenticator);
    }

    /// Returns who checks credentials.
    pub fn authenticator(&self) -> &Arc<dyn Authenticator> {
        self.authenticator.get().expect("bootstrap sets it before the first socket")
    }

    /// Asks how users stand; the answer has their order. A user whose client has heard anything from us counts as online: the
    /// question takes the way that the news of its socket took. `None` when the directory has too much to do; no answer when
    /// presence has.
    pub fn ask_presence(&self, users: Vec<UserId>) -> Option<oneshot::Receiver<Vec<Status>>> {
        let (reply, answer) = oneshot::channel();
        self.directory.tell(DirectoryMessage::AskPresence { users, reply }).ok().map(|()| answer)
    }

    /// Says whether the node is about to stop and takes no new sockets.
    pub fn draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Stops taking new sockets.
    pub fn begin_drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Opens a session for a socket that lives on the calling worker thread.
    ///
    /// `identity` is known from the upgrade in the messenger dialect; others authenticate by a frame.
    pub fn open_session(
        self: &Arc<Self>,
        dialect: Dialect,
        outbox: Rc<Outbox>,
        address: Arc<str>,
        identity: Option<Identity>,
    ) -> OpenSession {
        let worker = Placement::current_worker().unwrap_or(0);
        let sockets = sockets(Arc::as_ptr(&self.runtime) as usize, self.id, usize::from(worker));
        let conn = match dialect {
            Dialect::Native => Conn::Native(Box::<NativeSession>::default()),
            Dialect::Rooms => Conn::Rooms(Box::<RoomsSession>::default()),
            Dialect::Messenger => Conn::Messenger(Box::new(MessengerSession::new(identity))),
            Dialect::Presence => Conn::Presence(Box::new(PresenceSession::new(identity))),
        };
        self.counters.sockets[dialect as usize].fetch_add(1, Relaxed);
        self.counters.opened[dialect as usize].fetch_add(1, Relaxed);
        let gate = Rc::<ReaderGate>::default();
        let (session, start) = self.runtime.prepare::<Session>();
        let slot = sockets.open(dialect, outbox.clone(), session.clone());
        start(SessionKeep::new(self.clone(), sockets, outbox, slot, dialect, address, conn, gate.clone()));
        OpenSession { slot, session, gate }
    }

    /// Counts the end of a session that lasted `lasted_ms`.
    pub fn session_ended(&self, dialect: Dialect, authenticated: bool, lasted_ms: i64) {
        self.counters.sockets[dialect as usize].fetch_sub(1, Relaxed);
        self.counters.ended.fetch_add(1, Relaxed);
        self.counters.session_ms.fetch_add(u64::try_from(lasted_ms).unwrap_or(0), Relaxed);
        if authenticated {
            self.counters.authenticated.fetch_sub(1, Relaxed);
        }
    }

    /// Says whether this node owns the conversation now, with a lease that runs.
    pub fn owns(&self, conversation: ConversationId) -> bool {
        matches!(self.shards.state(conversation.shard()), ShardState::Ours(_))
    }

    /// Returns the socket table of the calling worker thread (heartbeat, drain).
    pub fn local_sockets(&self) -> Rc<Sockets> {
        let worker = Placement::current_worker().unwrap_or(0);
        sockets(Arc::as_ptr(&self.runtime) as usize, self.id, usize::from(worker))
    }

    /// Closes a socket by slot, from any thread.
    pub fn close_socket(&self, slot: Slot, code: CloseCode, reason: &'static str) {
        // Past the bound: operators' closes are few.
        let _ = self.relays[usize::from(slot.worker)].tell_always(RelayMessage::Close { slot, code, reason });
    }
}

fn sockets(runtime: usize, node: NodeId, worker: usize) -> Rc<Sockets> {
    let worker = u16::try_from(worker).expect("fewer than 65,536 workers");
    SOCKETS.with_borrow_mut(|all| all.entry((runtime, worker)).or_insert_with(|| Sockets::new(node, worker)).clone())
}

/// Answers a message whose conversation had no owner for too long. A socket whose place could not be told to anybody comes back and
/// resumes: it would miss events without knowing it.
fn refuse_parked(message: ConversationMessage, relays: &[Mailbox<RelayMessage>]) {
    match message {
        ConversationMessage::Attach { from, .. } | ConversationMessage::Relisten { from, .. } => {
            let (slot, code) = (from.slot, CloseCode::OVERLOADED);
            if let Some(relay) = relays.get(usize::from(slot.worker)) {
                let reason = "a conversation can't be reached, reconnect";
                let _ = relay.tell_always(RelayMessage::Close { slot, code, reason });
            }
        }
        message => message.refuse(ClientError::unavailable("the conversation's node")),
    }
}

/// Makes the table of shards: a lone node has all from the start and for ever, one of several gets its share from the keeper.
async fn shard_table(
    clustered: bool,
    accounts: &dyn AccountStore,
    clock: &Arc<dyn Clock>,
) -> StoreResult<Arc<ShardTable>> {
    if clustered {
        return Ok(Arc::new(ShardTable::leased(Arc::new(clock.clone()))));
    }
    let table = Arc::new(ShardTable::default());
    let all: Vec<Shard> = shards::all().collect();
    let terms = accounts.next_terms(&all).await?;
    all.into_iter().zip(terms).for_each(|(shard, term)| table.own(shard, term));
    Ok(table)
}

async fn reserve(accounts: &dyn AccountStore, node: NodeId, now_ms: i64) -> StoreResult<Snowflakes> {
    let ahead = i64::try_from(RESERVE_AHEAD.as_millis()).expect("seconds");
    let used = accounts.reserve_ids(node.0, now_ms + ahead).await?;
    let ids = Snowflakes::starting_after(node, used);
    // A clock that went back far: the reservation stored before is the later one, so reserve beyond that.
    let until = if used >= now_ms {
        accounts.reserve_ids(node.0, used + ahead).await?;
        used + ahead
    } else {
        now_ms + ahead
    };
    ids.reserve_until(until);
    Ok(ids)
}

/// Extends the reservation while the node lives.
fn keep_reserving(engine: &Arc<Node>, store: Arc<dyn AccountStore>) {
    let (ids, node, clock) = (engine.ids.clone(), engine.id, engine.runtime.clock().clone());
    let alive = Arc::downgrade(engine);
    engine.runtime.placement().spawn_on(0, move || async move {
        let ahead = i64::try_from(RESERVE_AHEAD.as_millis()).expect("seconds");
        while alive.strong_count() > 0 {
            tokio::time::sleep(RESERVE_EVERY).await;
            let until = clock.unix_ms().max(ids.used_until_ms()) + ahead;
            match store.reserve_ids(node.0, until).await {
                Ok(_) => ids.reserve_until(until),
                Err(error) => tracing::warn!(%error, "identifiers could not be reserved ahead"),
            }
        }
    });
}
