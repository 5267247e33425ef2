//! Decides about every WebSocket upgrade: which dialect a path means, whether the origin, the address and the token may come in.

use std::{
    collections::HashMap,
    net::IpAddr,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use actix_http::{StatusCode, header};
use chinwag_actors::{
    engine::Node,
    session::{authenticator::Identity, outbox::OutboxStats},
};
use chinwag_schema::wire::{Dialect, native::SUBPROTOCOL};
use tokio::time::Instant;

use crate::{
    auth::{Accounts, tokens},
    config::Config,
    credentials,
    http::ClientAddr,
    net::ListenerKind,
    ops,
    ws::{
        Accept, Decision, Gate, Refusal, UpgradeRequest, WsLimits, echo,
        session_socket::{SessionSocket, SocketSettings},
    },
};

/// What the gate needs; one for all threads.
pub struct GateState {
    pub node: Arc<Node>,
    pub accounts: Arc<Accounts>,
    pub config: Arc<Config>,
    pub addresses: Arc<AddressCounts>,
}

/// Makes the gate of one worker thread. `stats` count its outboxes.
pub fn gate(state: Arc<GateState>, stats: Rc<OutboxStats>) -> Gate {
    Rc::new(move |request| {
        let (state, stats) = (state.clone(), stats.clone());
        Box::pin(async move { decide(&state, &stats, &request) })
    })
}

/// Which dialect a listener and path mean; `None`: not a socket of ours.
fn dialect_of(listener: ListenerKind, path: &str) -> Option<Dialect> {
    let path = path.strip_suffix('/').unwrap_or(path);
    match (listener, path) {
        (ListenerKind::Http, "") => Some(Dialect::Rooms),
        (ListenerKind::Http, "/ws") => Some(Dialect::Native),
        (ListenerKind::Http | ListenerKind::Messenger, "/ws/chat") | (ListenerKind::Messenger, "") => {
            Some(Dialect::Messenger)
        }
        (ListenerKind::Http | ListenerKind::Presence, "/ws/presence") | (ListenerKind::Presence, "") => {
            Some(Dialect::Presence)
        }
        _ => None,
    }
}

fn decide(state: &GateState, stats: &Rc<OutboxStats>, request: &UpgradeRequest) -> Decision {
    if !request.origin_allowed(&state.config.allowed_origins) {
        let text = "connections from pages of this origin are not allowed";
        return Decision::Refuse(Refusal::new(StatusCode::FORBIDDEN, "forbidden", text));
    }
    let client = ClientAddr::find(request.peer.ip(), &request.headers, &state.config.trusted_proxies);
    if request.listener == ListenerKind::Ops {
        return decide_ops(state, stats, request, client);
    }
    let Some(dialect) = dialect_of(request.listener, request.path()) else { return Decision::Pass };
    if state.node.draining() {
        return refuse_later("draining", "the server is about to stop", 5);
    }
    if dialect == Dialect::Rooms
        && let Err(wait) = state.accounts.throttle().connect(client, Instant::now())
    {
        let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many connections");
        refusal.retry_after_s = Some(wait.as_s());
        return Decision::Refuse(refusal);
    }
    let proven = match dialect {
        Dialect::Messenger | Dialect::Presence => match proven_by(state, request) {
            Some(proven) => Some(proven),
            None => {
                let refusal = Refusal {
                    status: StatusCode::UNAUTHORIZED,
                    body: r#"{"error":"Invalid token"}"#.into(),
                    retry_after_s: None,
                };
                return Decision::Refuse(refusal);
            }
        },
        Dialect::Native | Dialect::Rooms => None,
    };
    let limit = state.config.max_sockets_per_address;
    let Some(place) = state.addresses.clone().take(client, limit) else {
        return refuse_later("limit_reached", "too many sockets of this address", 30);
    };
    let subprotocol = (dialect == Dialect::Native && offers(request, SUBPROTOCOL)).then_some(SUBPROTOCOL);
    let settings = SocketSettings {
        node: state.node.clone(),
        dialect,
        deflate: request.deflate,
        address: client.told().to_string().into(),
        identity: None,
        stats: stats.clone(),
        place,
    };
    let accounts = state.accounts.clone();
    let open = Box::new(move || {
        let identity = proven.and_then(|proven| still_proven(&accounts, proven));
        SessionSocket::open(SocketSettings { identity, ..settings })
    });
    Decision::Accept(Accept { subprotocol, limits: WsLimits::CHAT, open })
}

fn decide_ops(state: &GateState, stats: &Rc<OutboxStats>, request: &UpgradeRequest, client: ClientAddr) -> Decision {
    let bearer = bearer(request);
    if !ops::allowed(state.config.ops_token.as_ref(), bearer, client) {
        return Decision::Refuse(Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "operators only"));
    }
    match request.path() {
        echo::ECHO_PATH => Decision::Accept(echo::accept(request.deflate, stats.clone())),
        _ => Decision::Pass,
    }
}

fn refuse_later(code: &str, text: &str, retry_after_s: u64) -> Decision {
    let mut refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, code, text);
    refusal.retry_after_s = Some(retry_after_s);
    Decision::Refuse(refusal)
}

fn bearer(request: &UpgradeRequest) -> Option<&str> {
    let value = request.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn offers(request: &UpgradeRequest, subprotocol: &str) -> bool {
    let offered = request.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| one.trim() == subprotocol)
}

/// Finds and checks the token of the messenger dialect: `Authorization: Bearer`, or `authToken` in the query.
fn proven_by(state: &GateState, request: &UpgradeRequest) -> Option<tokens::Identity> {
    match bearer(request) {
        Some(token) => state.accounts.verify_token(token).ok(),
        None => {
            let in_query = actix_web::web::Query::<HashMap<String, String>>::from_query(request.query()).ok()?;
            state.accounts.verify_token(in_query.get("authToken")?).ok()
        }
    }
}

/// Returns the identity if its token still counts when the socket opens: one revoked since it was verified must not open it, for
/// the revocation found no socket to close.
fn still_proven(accounts: &Accounts, proven: tokens::Identity) -> Option<Identity> {
    accounts.still_valid(&proven).then(|| credentials::identity(proven))
}

/// How many sockets each address has. Loopback isn't counted: it is this machine's owner, or a proxy without forwarding headers.
#[derive(Default)]
pub struct AddressCounts(Mutex<HashMap<IpAddr, usize>>);

impl AddressCounts {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a socket of this client, if it has fewer than `limit`.
    pub fn take(self: Arc<Self>, client: ClientAddr, limit: usize) -> Option<AddressPlace> {
        if client.is_loopback() {
            return Some(AddressPlace(None));
        }
        let network = client.network();
        {
            let mut counts = self.lock();
            let count = counts.entry(network).or_default();
            if *count >= limit {
                return None;
            }
            *count += 1;
        }
        Some(AddressPlace(Some((self, network))))
    }
}

/// A socket's place among those of its address; given back when dropped.
pub struct AddressPlace(Option<(Arc<AddressCounts>, IpAddr)>);

impl Drop for AddressPlace {
    fn drop(&mut self) {
        if let Some((counts, network)) = self.0.take() {
            let mut counts = counts.lock();
            if let Some(count) = counts.get_mut(&network) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&network);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_and_paths_choose_the_dialect() {
        use ListenerKind as L;
        let cases = [
            (L::Http, "/", Some(Dialect::Rooms)),
            (L::Http, "/ws", Some(Dialect::Native)),
            (L::Http, "/ws/chat/", Some(Dialect::Messenger)),
            (L::Http, "/ws/chat", Some(Dialect::Messenger)),
            (L::Http, "/ws/presence/", Some(Dialect::Presence)),
            (L::Messenger, "/", Some(Dialect::Messenger)),
            (L::Presence, "/", Some(Dialect::Presence)),
            (L::Http, "/ws/echo", None),
            (L::Http, "/admin/live", None),
        ];
        for (listener, path, dialect) in cases {
            assert_eq!(dialect_of(listener, path), dialect, "{listener:?} {path}");
        }
    }

    #[actix_rt::test]
    async fn a_token_that_was_revoked_while_the_socket_opened_opens_none() {
        let fixture = crate::auth::service::testing::Fixture::new().await;
        fixture.register("ann", "secret1").await;
        let proven = fixture.login("ann", "secret1").await.unwrap().identity;
        assert_eq!(still_proven(&fixture.accounts, proven.clone()).map(|identity| identity.user), Some(proven.user));
        fixture.accounts.logout(&proven).await.unwrap();
        assert_eq!(still_proven(&fixture.accounts, proven), None);
    }

    #[test]
    fn sockets_of_an_address_are_capped_and_given_back() {
        let counts = Arc::<AddressCounts>::default();
        let client = ClientAddr::direct("203.0.113.7".parse().unwrap());
        let first = counts.clone().take(client, 2).unwrap();
        let _second = counts.clone().take(client, 2).unwrap();
        assert!(counts.clone().take(client, 2).is_none());
        drop(first);
        assert!(counts.clone().take(client, 2).is_some());
        let local = ClientAddr::direct("127.0.0.1".parse().unwrap());
        assert!((0..100).all(|_| counts.clone().take(local, 2).is_some()));
    }
}
