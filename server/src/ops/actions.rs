//! What an operator does: kick, ban, close a room, broadcast, drain, and what undoes it. Each is confirmed by its target's name and written to the audit log,
//! before and after.

use std::{
    future::Future,
    sync::{Arc, PoisonError},
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, Data, Payload, ServiceConfig},
};
use chinwag_actors::{
    conversation::messages::ConversationMessage,
    directory::DirectoryMessage,
    engine::Node,
    ports::account_store::AccountStore,
    server_mailbox::{ServerMailboxMessage, To},
};
use chinwag_schema::{
    envelope::Body,
    error::{ClientError, CloseCode, ErrorCode},
    ids::{ConversationId, NodeId, Slot, UserId},
    names,
};
use serde_json::json;
use tokio::sync::oneshot;

use super::{
    OpsState, closed_rooms,
    operator::{Operator, confirmed, read_action},
    overview::node_name,
};
use crate::{
    auth::service::Ban,
    http::{ApiError, body::Fields},
};

/// How long the answer to a drain may take to get away.
const DRAIN_AFTER: Duration = Duration::from_millis(500);
/// What confirms a broadcast.
const EVERYBODY: &str = "everybody";
/// Longest name of a target, bytes: no name that exists is longer.
const TARGET_MAX_BYTES: usize = 512;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/admin/kick", web::post().to(kick))
        .route("/admin/ban", web::post().to(ban))
        .route("/admin/unban", web::post().to(unban))
        .route("/admin/room/close", web::post().to(close_room))
        .route("/admin/room/open", web::post().to(open_room))
        .route("/admin/broadcast", web::post().to(broadcast))
        .route("/admin/drain", web::post().to(drain))
        .route("/admin/audit", web::get().to(audit));
}

async fn audit(state: Data<OpsState>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "entries": state.audit.newest() }))
}

/// Does something that `work` describes when it is done, between two lines of the audit log.
///
/// # Errors
/// `work`'s; 503 when the log can't be written: nothing was done then.
pub(super) async fn audited<F>(
    state: &Data<OpsState>,
    request: &HttpRequest,
    action: &'static str,
    target: &str,
    work: F,
) -> Result<String, ApiError>
where
    F: Future<Output = Result<String, ClientError>> + 'static,
{
    let operator = Operator::of(request, &state.config);
    let (state, target) = (state.clone().into_inner(), target.to_owned());
    // A task of its own: a browser that goes away drops the request, and must not leave the work half done and half written.
    let done = actix_rt::spawn(async move {
        let (log, at_ms, named) = (state.audit.clone(), state.node.runtime.unix_ms(), target.clone());
        let begun = on_disk(move || log.begin(at_ms, operator, action, &named)).await?;
        let result = work.await;
        let (outcome, detail) = match &result {
            Ok(text) => ("done", text.clone()),
            Err(error) => ("refused", error.message.to_string()),
        };
        tracing::info!(action, outcome, "an operator acted");
        let log = state.audit.clone();
        // It is done: that the second line is missing can only be said in the log.
        let _ = on_disk(move || log.end(begun, outcome, detail)).await;
        result
    });
    let lost = |_| ClientError::new(ErrorCode::Internal, "the action was interrupted; see the audit log");
    Ok(done.await.map_err(lost)??)
}

async fn on_disk<T: Send + 'static>(
    write: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ClientError> {
    let unwritten = |error: String| {
        tracing::error!(error, "the audit log can't be written");
        ClientError::unavailable("the audit log")
    };
    match web::block(write).await {
        Ok(written) => written.map_err(|error| unwritten(error.to_string())),
        Err(error) => Err(unwritten(error.to_string())),
    }
}

fn done(text: String) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "done": text }))
}

/// Returns a field that names a target, confirmed.
fn target<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, ApiError> {
    let target = fields.required(name)?;
    if target.len() > TARGET_MAX_BYTES {
        let error = ClientError::new(ErrorCode::TooLarge, format!("'{name}' is too long"));
        return Err(error.field(name).limit(TARGET_MAX_BYTES as u64).into());
    }
    confirmed(fields, target)?;
    Ok(target)
}

// ---- users and sockets

/// Closes one socket of this node (`socket`), or all sockets of a user on all nodes (`user`, an account or a guest).
async fn kick(request: HttpRequest, state: Data<OpsState>, payload: Payload) -> Result<HttpResponse, ApiError> {
    let fields = read_action(&request, payload).await?;
    let node = state.node.clone();
    if fields.has("socket") {
        let target = target(&fields, "socket")?;
        let slot = slot(target, &node).ok_or_else(|| {
            ClientError::new(ErrorCode::NotFound, "no socket of this node has this name").field("socket")
        })?;
        let work = async move {
            node.close_socket(slot, CloseCode::REVOKED, "closed by an operator");
            Ok(format!("the socket {slot} is being closed"))
        };
        return Ok(done(audited(&state, &request, "kick", target, work).await?));
    }
    let target = target(&fields, "user")?;
    let name = target.to_owned();
    let work = async move {
        let user = user_named(&node, &name).await?;
        // As a revocation, on all nodes; the user may log in again.
        let forward = ServerMailboxMessage::Forward { to: To::All, body: Body::UserRevoked { user } };
        node.server_mailbox.tell(forward).map_err(|_| ClientError::unavailable("the server"))?;
        Ok(format!("all sockets of {name} are being closed; logging in again is allowed"))
    };
    Ok(done(audited(&state, &request, "kick", target, work).await?))
}

/// Reads the name of a socket as [`Slot`] writes it.
fn slot(text: &str, node: &Node) -> Option<Slot> {
    let mut parts = text.split('-');
    let slot = Slot {
        node: NodeId(parts.next()?.parse().ok()?),
        worker: parts.next()?.parse().ok()?,
        index: parts.next()?.parse().ok()?,
        generation: parts.next()?.parse().ok()?,
    };
    let ours = slot.node == node.id && usize::from(slot.worker) < node.relays.len();
    (parts.next().is_none() && ours && slot.to_string() == text).then_some(slot)
}

/// Finds an account, or a guest who is here now.
async fn user_named(node: &Node, name: &str) -> Result<UserId, ClientError> {
    let unknown = || ClientError::new(ErrorCode::NotFound, format!("User {name} does not exist.")).field("user");
    if let Ok(account) = names::account_name(name) {
        let account = account.to_owned();
        let look = move |store: Arc<dyn AccountStore>| async move { store.user_by_name(&account).await };
        let found = node.accounts.call("user_by_name", look).await;
        if let Some(user) = found.map_err(|_| ClientError::unavailable("storage"))? {
            return Ok(user.id);
        }
    }
    let busy = || ClientError::unavailable("the directory");
    let (reply, answer) = oneshot::channel();
    let question = DirectoryMessage::IsGuestName { name: name.into(), reply };
    node.directory.tell(question).map_err(|_| busy())?;
    if !answer.await.map_err(|_| busy())? {
        return Err(unknown());
    }
    let (reply, answer) = oneshot::channel();
    node.directory.tell(DirectoryMessage::Guest { name: name.into(), reply }).map_err(|_| busy())?;
    answer.await.map_err(|_| busy())?
}

async fn ban(request: HttpRequest, state: Data<OpsState>, payload: Payload) -> Result<HttpResponse, ApiError> {
    set_banned(request, state, payload, "ban", Ban::Set).await
}

async fn unban(request: HttpRequest, state: Data<OpsState>, payload: Payload) -> Result<HttpResponse, ApiError> {
    set_banned(request, state, payload, "unban", Ban::Lift).await
}

async fn set_banned(
    request: HttpRequest,
    state: Data<OpsState>,
    payload: Payload,
    action: &'static str,
    ban: Ban,
) -> Result<HttpResponse, ApiError> {
    let fields = read_action(&request, payload).await?;
    let target = target(&fields, "user")?;
    let (accounts, name) = (state.facts.accounts.clone(), target.to_owned());
    let work = async move {
        let user = accounts.set_banned(&name, ban).await?;
        Ok(match ban {
            Ban::Set => format!("{} is banned; its sessions are over", user.name),
            Ban::Lift => format!("the ban of {} is lifted", user.name),
        })
    };
    Ok(done(audited(&state, &request, action, target, work).await?))
}

// ---- rooms

/// Closes a public room by name: its listeners' sockets are closed and nobody may come back, read or write, until it is opened again.
async fn close_room(request: HttpRequest, state: Data<OpsState>, payload: Payload) -> Result<HttpResponse, ApiError> {
    let fields = read_action(&request, payload).await?;
    let target = target(&fields, "room")?;
    let (there, name) = (state.clone(), target.to_owned());
    let work = async move {
        let room = room_named(&there.node, &name).await?;
        if !there.node.owns(room) {
            let text = "another node owns this room now: close it in that node's console";
            return Err(ClientError::new(ErrorCode::Forbidden, text));
        }
        let new = there.node.closed_rooms.close(room)?;
        if let Err(error) = keep_closed(&there).await {
            if new {
                there.node.closed_rooms.open(room);
            }
            return Err(error);
        }
        there.node.conversations.tell_active(room, ConversationMessage::Touch);
        Ok(format!("the room {name} {}", if new { "is closed" } else { "was closed already" }))
    };
    Ok(done(audited(&state, &request, "close room", target, work).await?))
}

async fn open_room(request: HttpRequest, state: Data<OpsState>, payload: Payload) -> Result<HttpResponse, ApiError> {
    let fields = read_action(&request, payload).await?;
    let target = target(&fields, "room")?;
    let (there, name) = (state.clone(), target.to_owned());
    let work = async move {
        let room = room_named(&there.node, &name).await?;
        let known = there.node.closed_rooms.open(room);
        if let Err(error) = keep_closed(&there).await {
            if known {
                // It was in the list a moment ago, so there is room for it.
                let _ = there.node.closed_rooms.close(room);
            }
            return Err(error);
        }
        Ok(format!("the room {name} {}", if known { "is open again" } else { "was open already" }))
    };
    Ok(done(audited(&state, &request, "open room", target, work).await?))
}

async fn room_named(node: &Node, name: &str) -> Result<ConversationId, ClientError> {
    let unknown = || ClientError::new(ErrorCode::NotFound, format!("There is no room {name}.")).field("room");
    let wanted = name.to_owned();
    let look = move |store: Arc<dyn AccountStore>| async move { store.room_by_name(&wanted).await };
    let found = node.accounts.call("room_by_name", look).await;
    Ok(found.map_err(|_| ClientError::unavailable("storage"))?.ok_or_else(unknown)?.id)
}

async fn keep_closed(state: &OpsState) -> Result<(), ClientError> {
    let (path, node, one) = (state.config.data.join(closed_rooms::FILE), state.node.clone(), state.closing.clone());
    on_disk(move || {
        // One at a time, each with the newest list, also when whoever asked has gone.
        let _one = one.lock().unwrap_or_else(PoisonError::into_inner);
        closed_rooms::write(&path, &node.closed_rooms.all())
    })
    .await
}

// ---- everybody

async fn broadcast(request: HttpRequest, state: Data<OpsState>, payload: Payload) -> Result<HttpResponse, ApiError> {
    let fields = read_action(&request, payload).await?;
    let message = fields.required("message")?;
    names::content(message).map_err(|bad| ClientError::new(ErrorCode::BadRequest, bad.to_string()).field("message"))?;
    confirmed(&fields, EVERYBODY)?;
    let (node, body) = (state.node.clone(), Body::Notification { message: message.to_owned() });
    let work = async move { notify(&node, body) };
    Ok(done(audited(&state, &request, "broadcast", EVERYBODY, work).await?))
}

/// Sends an operator's broadcast to everybody who is connected, on all nodes.
pub(super) fn notify(node: &Node, body: Body) -> Result<String, ClientError> {
    let told = node.server_mailbox.tell(ServerMailboxMessage::Forward { to: To::All, body });
    told.map_err(|_| ClientError::unavailable("the server"))?;
    Ok("the notification goes out to everybody who is connected".to_owned())
}

/// Stops the node as SIGTERM does.
async fn drain(request: HttpRequest, state: Data<OpsState>, payload: Payload) -> Result<HttpResponse, ApiError> {
    let fields = read_action(&request, payload).await?;
    let name = node_name(&state.node);
    confirmed(&fields, &name)?;
    let drain = state.drain.clone();
    let window_s = state.config.drain_window.as_secs_f64();
    let work = async move {
        actix_rt::spawn(async move {
            // A node without sockets ends at once, and whoever asked is to hear that it does.
            tokio::time::sleep(DRAIN_AFTER).await;
            drain.notify_one();
        });
        Ok(format!("the node drains: its sockets are told to go elsewhere within {window_s} s, then it stops"))
    };
    Ok(done(audited(&state, &request, "drain", &name, work).await?))
}
