//! `hello`: who is it, and everything it must know to begin.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use chinwag_schema::{
    error::{ClientError, CloseCode, ErrorCode},
    ids::{ConversationId, UserId},
    limits::{storage::DEADLINE, user::WELCOME_PAGE},
    model::{Name, Position},
    wire::native::{Credentials, Hello, Limits, UserInfo, VERSION, Welcome},
};
use tokio::sync::oneshot;

use super::{
    Io, NativeSession, Phase,
    listing::{self, Listed, Wanted},
    refuse,
    resume::Gathering,
};
use crate::{
    conversation::messages::Caller,
    directory::{DirectoryMessage, OpenedSocket},
    engine::Node,
    ports::StoreResult,
    session::{authenticator::Identity, dialect::store_error},
};

type Positions = std::collections::BTreeMap<ConversationId, Position>;

impl NativeSession {
    pub(super) fn hello(&mut self, id: Box<str>, hello: Hello, io: &mut Io<'_, '_>) {
        if io.node.draining() {
            let error = ClientError::new(ErrorCode::Draining, "this node is about to stop: reconnect");
            refuse(&*id, &error.retry_after_ms(1000), io);
            return self.close(CloseCode::GOING_AWAY, "draining", io);
        }
        let Hello { credentials, positions, .. } = hello;
        let identity = match credentials {
            Credentials::Token(token) => io.node.authenticator().verify(&token.0),
            Credentials::Ticket(ticket) => io.node.authenticator().redeem(&ticket.0),
            Credentials::Guest(name) if io.node.settings.guests => {
                self.phase = Phase::Entering;
                let guest = guest(io.node.clone(), name.into());
                return self.then(
                    id,
                    guest,
                    move |guest, id, session, io| {
                        session.identified(id, guest, positions, io);
                    },
                    io,
                );
            }
            Credentials::Guest(_) => Err(ClientError::new(ErrorCode::Unauthorized, "no guests here: log in")),
        };
        self.identified(id, identity, positions, io);
    }

    fn identified(
        &mut self,
        id: Box<str>,
        identity: Result<Identity, ClientError>,
        positions: Positions,
        io: &mut Io<'_, '_>,
    ) {
        match identity {
            Ok(identity) => self.enter(id, identity, positions, io),
            Err(error) => {
                refuse(&*id, &error, io);
                let (code, reason) = match error.code.retryable() {
                    true => (CloseCode::OVERLOADED, "try again later"),
                    false => (CloseCode::UNAUTHORIZED, "credentials refused"),
                };
                self.close(code, reason, io);
            }
        }
    }

    fn enter(&mut self, id: Box<str>, identity: Identity, positions: Positions, io: &mut Io<'_, '_>) {
        let Identity { user, name, display_name, guest, token_id, expires_at_ms } = identity;
        let (slot, dialect) = (io.slot, io.dialect);
        // From here on, active conversations send wakes; they wait until their heads are known and shown.
        self.cork(io);
        self.round = self.round.wrapping_add(1);
        self.phase = Phase::Entering;
        self.gathering = Some(Box::new(Gathering::listing(self.round)));
        let socket = OpenedSocket { slot, user, name: name.clone(), dialect, guest, token_id, expires_at_ms };
        if io.node.directory.tell(DirectoryMessage::Opened(socket)).is_err() {
            refuse(&*id, &ClientError::unavailable("the server"), io);
            return self.close(CloseCode::OVERLOADED, "overloaded", io);
        }
        *io.caller = Some(Arc::new(Caller { slot, user, name: name.clone(), dialect, guest }));
        io.node.counters.authenticated.fetch_add(1, Relaxed);

        let wanted = Wanted {
            slot,
            session: io.tools.mailbox(),
            user,
            account: !guest,
            after: ConversationId(0),
            limit: WELCOME_PAGE,
            also: positions.keys().copied().collect(),
        };
        let list = listing::list(io.node.clone(), wanted);
        let who = UserInfo { display_name, guest, ..UserInfo::guest(user, name) };
        self.then(id, list, move |listed, id, session, io| session.listed(id, who, listed, positions, io), io);
    }

    fn listed(
        &mut self,
        id: Box<str>,
        user: UserInfo,
        listed: StoreResult<Listed>,
        positions: Positions,
        io: &mut Io<'_, '_>,
    ) {
        let Listed { display_name, conversations, known, next, heads } = match listed {
            Ok(listed) => listed,
            Err(error) => {
                refuse(&*id, &store_error(&error), io);
                return self.close(CloseCode::OVERLOADED, "storage does not answer", io);
            }
        };
        self.known.reserve(known.len());
        self.known.extend(known);
        let welcome = Welcome {
            user: UserInfo { display_name, ..user },
            session: io.slot.to_string(),
            protocol: VERSION,
            features: Vec::new(),
            server_time: io.now_ms(),
            epoch: io.node.epoch,
            limits: Limits::default(),
            conversations,
            next,
            resumed: Vec::new(),
        };
        self.gather_welcome(id, welcome, positions, &heads, io);
    }
}

/// Lets a guest in under a name that no account has.
async fn guest(node: Arc<Node>, name: Name) -> Result<Identity, ClientError> {
    let wanted = name.clone();
    let taken = node.accounts.call("user_by_name", move |store| async move { store.user_by_name(&wanted).await });
    if taken.await.map_err(|error| store_error(&error))?.is_some() {
        let text = "this name belongs to an account: log in or take another";
        return Err(ClientError::new(ErrorCode::Unauthorized, text).field("guest"));
    }
    let (reply, user) = oneshot::channel();
    let busy = || ClientError::unavailable("the server");
    let ask = DirectoryMessage::Guest { name: name.clone(), reply };
    node.directory.tell(ask).map_err(|_| busy())?;
    let user: UserId = tokio::time::timeout(DEADLINE, user).await.map_err(|_| busy())?.map_err(|_| busy())??;
    Ok(Identity { user, name, display_name: None, guest: true, token_id: None, expires_at_ms: None })
}
