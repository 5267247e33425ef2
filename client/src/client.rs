//! The handle of a program on its connection.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use chinwag_schema::{
    error::ErrorCode,
    ids::{ConversationId, EventId, Seq},
    wire::native::{ChangeResult, Command, Created, Joined, Listening, RoomRef, ServerFrame},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
};
use uuid::Uuid;

use crate::{
    account::Login,
    driver::Driver,
    error::Error,
    model::{Connection, Model, Resume},
    outbox::{Destination, Outbox, Pending},
    server::{Server, Trust},
    session::{Event, Session},
};

/// Events handed over but not yet taken; as many again wait behind them before the socket isn't read any more.
const EVENTS_QUEUE: usize = 256;

/// What to connect to, and as whom.
#[derive(Debug)]
pub struct Config {
    pub server: Server,
    pub trust: Trust,
    pub login: Login,
    /// What was written and not acknowledged yet.
    pub outbox: Outbox,
    /// Where an earlier run was; what came since is heard as [`Event::Logged`].
    pub resume: Resume,
    /// Who was away for more events than this hears [`Event::Restarted`] instead, and can page the history. The default is 1,000.
    pub fill_max: u64,
}

impl Config {
    /// Makes one with an outbox in memory and no positions.
    pub fn new(server: Server, trust: Trust, login: Login) -> Self {
        Self { server, trust, login, outbox: Outbox::in_memory(), resume: Resume::default(), fill_max: 1000 }
    }
}

/// What clients and their driver share.
pub(crate) struct Shared {
    session: Mutex<Session>,
    /// The session has something to say.
    pub(crate) changed: Notify,
    stop: Notify,
    is_stopped: AtomicBool,
    pub(crate) hurry: AtomicBool,
}

impl Shared {
    pub(crate) fn session(&self) -> MutexGuard<'_, Session> {
        // A panic inside would be a defect, and leaves what can be read.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn stopped(&self) {
        while !self.is_stopped.load(SeqCst) {
            self.stop.notified().await;
        }
    }
}

/// A connection that stays connected: it reconnects by itself, resumes, and sends what waits. Clones are handles on the same one; it ends by
/// [`close`](Self::close), or when it can't go on ([`Connection::Ended`]).
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    driver: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Begins to connect, and returns the stream of events, which ends after [`Connection::Ended`]. Needs a Tokio runtime.
    ///
    /// The stream is bounded: who doesn't read it hears no replies either, once some thousand events wait; who lets it go needs it no more.
    pub fn connect(config: Config) -> (Self, mpsc::Receiver<Event>) {
        let Config { server, trust, login, outbox, resume, fill_max } = config;
        let (events, stream) = mpsc::channel(EVENTS_QUEUE);
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        let session = Session::new(Model::new(outbox, &resume), fill_max, Instant::now(), unix_ms);
        let shared = Arc::new(Shared {
            session: Mutex::new(session),
            changed: Notify::new(),
            stop: Notify::new(),
            is_stopped: AtomicBool::new(false),
            hurry: AtomicBool::new(false),
        });
        let driver = tokio::spawn(Driver::new(shared.clone(), events, server, trust, login).run());
        (Self { shared, driver: Arc::new(Mutex::new(Some(driver))) }, stream)
    }

    /// Reads what is known. Nothing changes meanwhile: be quick, and don't call the client from inside.
    pub fn view<R>(&self, read: impl FnOnce(&Model) -> R) -> R {
        read(&self.shared.session().model)
    }

    /// Waits until the server has welcomed this client.
    ///
    /// # Errors
    /// [`Error::Ended`] when it can't any more.
    pub async fn online(&self) -> Result<(), Error> {
        loop {
            let connection = self.view(|model| model.connection.clone());
            match connection {
                Connection::Online => return Ok(()),
                Connection::Ended(reason) => return Err(Error::Ended(reason)),
                // Rare and short: a look now and then will do.
                Connection::Connecting | Connection::Waiting { .. } => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// Says a command and waits for its result, whose type follows from the command (`ops/protocol/native.md`, section 3). It is said again,
    /// under the same id, when the connection is lost or the server is busy.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::Timeout`] after 20 s; [`Error::Busy`]; [`Error::Ended`].
    pub async fn request<T: DeserializeOwned>(&self, command: Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        {
            let mut session = self.shared.session();
            if let Connection::Ended(reason) = &session.model.connection {
                return Err(Error::Ended(reason.clone()));
            }
            session.command(command, reply, Instant::now());
        }
        self.shared.changed.notify_one();
        let result = answer.await.map_err(|_| Error::Timeout)??;
        ServerFrame::result(&result).map_err(|error| Error::Strange(error.to_string()))
    }

    fn change<R>(&self, change: impl FnOnce(&mut Session, Instant) -> R) -> R {
        let changed = change(&mut self.shared.session(), Instant::now());
        self.shared.changed.notify_one();
        changed
    }

    /// Tries to connect now instead of after the wait, though not twice in a second.
    pub fn hurry(&self) {
        self.shared.hurry.store(true, SeqCst);
        self.shared.changed.notify_one();
    }

    // ---- messages
    /// Puts a message into the outbox, from which it is sent once, now or when there is a connection again, after what was written to the same
    /// conversation before. When this returns it is on the disk, if the outbox is. What becomes of it: [`Event::Stored`], [`Event::Failed`].
    ///
    /// # Errors
    /// [`Error::Text`]: it is empty or has more than 4,096 characters; [`Error::OutboxFull`]; [`Error::Disk`].
    pub fn send(&self, to: impl Into<Destination>, content: &str) -> Result<Uuid, Error> {
        let to = to.into();
        self.change(|session, now| session.send(to, content, now))
    }

    /// Tries a message again that the server has refused; returns its new id. `None`: there is no such message.
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub fn send_again(&self, message_id: Uuid) -> Result<Option<Uuid>, Error> {
        self.change(|session, now| session.send_again(message_id, now))
    }

    /// Gives up a message of the outbox. `None`: there is none, or it is on its way.
    pub fn discard(&self, message_id: Uuid) -> Option<Pending> {
        self.change(|session, _| session.discard(message_id))
    }

    /// Changes an own message.
    ///
    /// # Errors
    /// As of [`request`](Self::request).
    pub async fn edit(
        &self,
        conversation: ConversationId,
        message: EventId,
        content: &str,
    ) -> Result<ChangeResult, Error> {
        let content = chinwag_schema::names::content(content)?.to_owned();
        self.request(Command::Edit { conversation, message, content }).await
    }

    /// Deletes an own message.
    ///
    /// # Errors
    /// As of [`request`](Self::request).
    pub async fn delete(&self, conversation: ConversationId, message: EventId) -> Result<ChangeResult, Error> {
        self.request(Command::Delete { conversation, message }).await
    }

    /// Asks for the page before the window; [`Event::Changed`] says that it is there. `false`: there is none, it is under way already, or there
    /// is no connection.
    pub fn load_older(&self, conversation: ConversationId) -> bool {
        self.change(|session, now| session.load_older(conversation, now))
    }

    /// Forgets the older part of a long window that nobody looks at.
    pub fn trim(&self, conversation: ConversationId) {
        self.change(|session, _| {
            if let Some(one) = session.model.conversations.get_mut(&conversation) {
                one.trim();
            }
        });
    }

    /// Says that everything that came was on the screen.
    pub fn seen(&self, conversation: ConversationId) {
        self.change(|session, now| session.seen(conversation, now));
    }

    /// Says whether the user types; call it at each key, it is said every 2 s at most.
    pub fn typing(&self, conversation: ConversationId, active: bool) {
        self.change(|session, now| session.typing(conversation, active, now));
    }

    /// Asks how far the members have got; [`Event::Changed`] says that it is known.
    pub fn ask_members(&self, conversation: ConversationId) {
        self.change(|session, now| session.ask_members(conversation, now));
    }

    // ---- conversations
    /// Listens in a public room, now and after each reconnect, until [`leave`](Self::leave).
    ///
    /// # Errors
    /// As of [`request`](Self::request); `not_found` if there is no such room.
    pub async fn listen(&self, name: &str) -> Result<ConversationId, Error> {
        let room = RoomRef::Name(name.to_owned());
        let listening: Listening = self.request(Command::RoomListen { room, position: None }).await?;
        Ok(listening.conversation.id)
    }

    /// Listens in a public room, which is made if there is none of this name; then the user is a member of it.
    ///
    /// # Errors
    /// As of [`request`](Self::request); guests can't make rooms.
    pub async fn listen_or_create(&self, name: &str) -> Result<ConversationId, Error> {
        match self.listen(name).await {
            Err(Error::Refused(error)) if error.code == ErrorCode::NotFound => {
                let made: Result<Created, Error> = self.request(Command::RoomCreate { name: name.to_owned() }).await;
                match made {
                    // Somebody else was quicker.
                    Err(Error::Refused(error)) if error.code == ErrorCode::AlreadyExists => {}
                    other => drop(other?),
                }
                // A member hears the room anyway; this says who else does.
                self.listen(name).await
            }
            other => other,
        }
    }

    /// Opens the one-to-one chat with a user.
    ///
    /// # Errors
    /// As of [`request`](Self::request); `not_found` if there is no such user.
    pub async fn chat(&self, name: &str) -> Result<ConversationId, Error> {
        let chat: Created = self.request(Command::ChatOpen { with: name.to_owned() }).await?;
        Ok(chat.conversation.id)
    }

    /// Makes a group.
    ///
    /// # Errors
    /// As of [`request`](Self::request).
    pub async fn create_group(&self, name: &str) -> Result<ConversationId, Error> {
        let name = chinwag_schema::names::group_name(name)?.to_owned();
        let made: Created = self.request(Command::GroupCreate { name }).await?;
        Ok(made.conversation.id)
    }

    /// Joins a group.
    ///
    /// # Errors
    /// As of [`request`](Self::request); `not_found` if there is no such group.
    pub async fn join_group(&self, conversation: ConversationId) -> Result<ConversationId, Error> {
        let joined: Joined = self.request(Command::GroupJoin { conversation }).await?;
        Ok(joined.conversation.id)
    }

    /// Leaves a group, or a room for good. Chats can't be left.
    ///
    /// # Errors
    /// As of [`request`](Self::request).
    pub async fn leave(&self, conversation: ConversationId) -> Result<(), Error> {
        use chinwag_schema::{
            model::ConversationKind,
            wire::native::{Empty, Left},
        };
        let (kind, member, listening) = self.view(|model| {
            model
                .conversation(conversation)
                .map_or((ConversationKind::Room, false, false), |one| (one.kind, one.member, one.listening))
        });
        if listening {
            let _: Empty = self.request(Command::RoomUnlisten { conversation }).await?;
        }
        match kind {
            ConversationKind::Room if member => {
                let _: Left = self.request(Command::RoomLeave { conversation }).await?;
            }
            ConversationKind::Group => {
                let _: Left = self.request(Command::GroupLeave { conversation }).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Waits until no message waits to be sent: each is stored, or refused ([`PendingState`](crate::PendingState)).
    ///
    /// # Errors
    /// [`Error::Timeout`]: not within this time; what waits stays in the outbox. [`Error::Ended`].
    pub async fn flushed(&self, within: std::time::Duration) -> Result<(), Error> {
        let until = Instant::now() + within;
        loop {
            let (waiting, connection) = self.view(|model| (model.outbox.waiting(), model.connection.clone()));
            match connection {
                _ if waiting == 0 => return Ok(()),
                Connection::Ended(reason) => return Err(Error::Ended(reason)),
                _ if Instant::now() >= until => return Err(Error::Timeout),
                _ => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    }

    /// Returns what the next run needs to go on from here: [`Config::resume`]. It is ahead of the stream of events, by those that wait to be
    /// taken: a program that must hear each one, also when it is killed, keeps the positions of the [`Event::Logged`] and
    /// [`Event::Restarted`] that it has dealt with in place of these.
    pub fn resume(&self) -> Resume {
        self.view(Model::resume)
    }

    /// Returns the position of a conversation.
    pub fn position(&self, conversation: ConversationId) -> Option<Seq> {
        self.view(|model| model.conversation(conversation).map(|one| one.position().seq))
    }

    /// Closes the connection and waits for its end, two seconds at most. What is in the outbox stays there.
    pub async fn close(&self) {
        self.shared.is_stopped.store(true, SeqCst);
        self.shared.stop.notify_one();
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(driver) = driver {
            let _ = tokio::time::timeout(std::time::Duration::from_secs(2), driver).await;
        }
    }
}
