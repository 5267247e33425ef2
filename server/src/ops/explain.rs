//! `GET /admin/explain?message=ID&user=NAME`: accepted → stored → routed → queued → written → acknowledged, or where it stopped and why.
//!
//! Told from what is durable (the event's row, the membership, the user's pointers) and from what is so at this moment (who owns the
//! conversation, the user's sockets here and their outboxes). Nothing is recorded per delivery, so what a socket that is gone was written
//! isn't known, and is said not to be.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    web::{self, Data, Query, ServiceConfig},
};
use chinwag_actors::{
    cluster::shards::ShardState,
    directory::DirectoryMessage,
    engine::Node,
    session::outbox::{Waiting, Waits},
};
use chinwag_schema::{
    error::{ClientError, ErrorCode},
    event::{EventBody, LogEvent},
    ids::{ConversationId, EventId, Seq, Slot, UserId},
    model::{Conversation, Cursor, Membership, User},
    names,
    wire::Dialect,
};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{sync::oneshot, time::timeout};

use super::OpsState;
use crate::http::{ApiError, iso_time};

/// Memberships read at once, and heads asked for.
const PAGE: usize = 200;
/// Conversations that are searched for a message.
const SEARCHED_MAX: usize = 1000;
/// The directory and the workers answer within this time, or their part is unknown.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) fn routes(config: &mut ServiceConfig) {
    config.route("/admin/explain", web::get().to(explain));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    message: String,
    user: String,
    conversation: Option<String>,
}

/// How far a step got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Got {
    Yes,
    /// Not yet, and it will.
    Waits,
    No,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Step {
    step: &'static str,
    state: Got,
    text: String,
}

/// A socket of the user on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SocketHere {
    slot: Slot,
    dialect: Dialect,
    attached: bool,
    waits: Waits,
    waiting: Waiting,
}

/// All that is known of a message and a user.
struct Known {
    user: User,
    conversation: Conversation,
    event: LogEvent,
    /// `None`: not a member now.
    cursor: Option<Cursor>,
    owner: ShardState,
    /// `None`: nobody answered.
    sockets: Option<Vec<SocketHere>>,
}

async fn explain(
    state: Data<OpsState>,
    asked: Result<Query<Asked>, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let asked = asked.map_err(|error| ClientError::new(ErrorCode::BadRequest, error.to_string()))?;
    let bad = |field: &'static str| {
        ClientError::new(ErrorCode::BadRequest, format!("'{field}' is a decimal id")).field(field)
    };
    let message: EventId = asked.message.parse().map_err(|_| bad("message"))?;
    let within = asked.conversation.as_ref().map(|id| id.parse().map_err(|_| bad("conversation"))).transpose()?;
    let node = &state.node;
    let user = account(node, &asked.user).await?;
    let (event, conversation, member) = find(node, &user, message, within).await?;
    let sockets = sockets(node, user.id, conversation.id, event.seq).await;
    let owner = node.shards.state(conversation.id.shard());
    let known = Known { user, conversation, event, cursor: member.map(|member| member.cursor), owner, sockets };
    let (steps, verdict) = told(&known);
    Ok(HttpResponse::Ok().json(json!({
        "message": message,
        "user": known.user.name,
        "conversation": {"id": known.conversation.id, "kind": known.conversation.kind, "name": known.conversation.name},
        "steps": steps,
        "verdict": verdict,
    })))
}

async fn account(node: &Node, name: &str) -> Result<User, ClientError> {
    let unknown = || ClientError::new(ErrorCode::NotFound, format!("User {name} does not exist.")).field("user");
    let wanted = names::account_name(name).map_err(|_| unknown())?.to_owned();
    let found = node.accounts.call("user_by_name", move |store| async move { store.user_by_name(&wanted).await }).await;
    found.map_err(|_| ClientError::unavailable("storage"))?.ok_or_else(unknown)
}

/// Looks the message up where it may be: in `within`, or in every conversation of the user that goes on since.
async fn find(
    node: &Node,
    user: &User,
    message: EventId,
    within: Option<ConversationId>,
) -> Result<(LogEvent, Conversation, Option<Membership>), ClientError> {
    let unavailable = |_| ClientError::unavailable("storage");
    let (mut after, mut searched) = (ConversationId(0), 0);
    let mut member = None;
    loop {
        let page = node.accounts.memberships(user.id, after, PAGE).await.map_err(unavailable)?;
        let more = page.len() == PAGE;
        let Some(last) = page.last() else { break };
        after = last.conversation.id;
        if let Some(within) = within {
            member = member.or(page.into_iter().find(|member| member.conversation.id == within));
        } else {
            let ids: Vec<_> = page.iter().map(|member| member.conversation.id).collect();
            let heads = node.messages.call("heads", move |store| async move { store.heads(&ids).await }).await;
            for (member, head) in page.into_iter().zip(heads.map_err(unavailable)?) {
                // Ids grow within a conversation.
                if head.last_id < message {
                    continue;
                }
                searched += 1;
                if searched > SEARCHED_MAX {
                    let text = "this user has very many conversations: name the one that is meant ('conversation')";
                    return Err(ClientError::new(ErrorCode::LimitReached, text).limit(SEARCHED_MAX as u64));
                }
                if let Some(event) = event_in(node, member.conversation.id, message).await? {
                    return Ok((event, member.conversation.clone(), Some(member)));
                }
            }
        }
        if !more || member.is_some() {
            break;
        }
    }
    let unknown = || {
        let text = "no conversation of this user has this message: it was never accepted, is older than what is kept, or is in a room that \
                    the user isn't a member of (name that: 'conversation')";
        ClientError::new(ErrorCode::NotFound, text).field("message")
    };
    let within = within.ok_or_else(unknown)?;
    let there = node.accounts.call("conversation", move |store| async move { store.conversation(within).await }).await;
    let no_such = || ClientError::new(ErrorCode::NotFound, "no such conversation").field("conversation");
    let conversation = there.map_err(unavailable)?.ok_or_else(no_such)?;
    let gone = || {
        let text = "this conversation has no such message: it was never accepted, or is older than what is kept";
        ClientError::new(ErrorCode::NotFound, text).field("message")
    };
    let event = event_in(node, within, message).await?.ok_or_else(gone)?;
    Ok((event, conversation, member))
}

async fn event_in(node: &Node, id: ConversationId, message: EventId) -> Result<Option<LogEvent>, ClientError> {
    let found = node.messages.call("find", move |store| async move { store.find(id, message).await }).await;
    found.map_err(|_| ClientError::unavailable("storage"))
}

/// Asks which sockets the user has here, and their workers what waits for them.
async fn sockets(node: &std::sync::Arc<Node>, user: UserId, id: ConversationId, seq: Seq) -> Option<Vec<SocketHere>> {
    let (reply, answer) = oneshot::channel();
    node.directory.tell(DirectoryMessage::SocketsOf { user, reply }).ok()?;
    let slots = timeout(PATIENCE, answer).await.ok()?.ok()?;
    let workers: std::collections::BTreeSet<_> = slots.iter().map(|slot| slot.worker).collect();
    let looks = workers.into_iter().map(|worker| {
        let (reply, answer) = oneshot::channel();
        let (there, slots) = (node.clone(), slots.clone());
        node.runtime.placement().run_on(usize::from(worker), move || {
            let sockets = there.local_sockets();
            let mut seen = Vec::new();
            sockets.for_each(|slot, socket| {
                if slots.contains(&slot) {
                    let (attached, waits) = (sockets.is_attached(id, slot), socket.outbox.waits_for(id, seq));
                    let (dialect, waiting) = (socket.dialect, socket.outbox.waiting());
                    seen.push(SocketHere { slot, dialect, attached, waits, waiting });
                }
            });
            // Whoever asked may have gone.
            let _ = reply.send(seen);
        });
        timeout(PATIENCE, answer)
    });
    let seen: Option<Vec<_>> = join_all(looks).await.into_iter().map(|look| look.ok()?.ok()).collect();
    Some(seen?.into_iter().flatten().collect())
}

/// Tells what is known as steps, and in one sentence. Pure.
fn told(known: &Known) -> (Vec<Step>, String) {
    let Known { user, conversation, event, cursor, owner, sockets } = known;
    let name = &user.name;
    let own = event.sender == user.id;
    let place = match &conversation.name {
        Some(called) => format!("the {} {called}", kind(conversation)),
        None => "a chat".to_owned(),
    };
    let mut steps = Vec::new();
    let mut add = |step, state, text: String| steps.push(Step { step, state, text });
    add("accepted", Got::Yes, format!("at {}, from {}", iso_time(event.at_ms), event.sender_name));
    let changed = match &event.body {
        EventBody::Message(message) if message.deleted => ", deleted since",
        EventBody::Message(message) if message.edited_at_ms.is_some() => ", edited since",
        EventBody::Message(_) => "",
        _ => ", an event that is no message",
    };
    add(
        "stored",
        Got::Yes,
        format!("position {} of {place}{changed}; on the disk before anybody heard of it", event.seq.0),
    );
    let read = cursor.is_some_and(|cursor| cursor.read.seq >= event.seq);
    let delivered = read || cursor.is_some_and(|cursor| cursor.delivered.seq >= event.seq);
    let here = sockets.as_deref().unwrap_or_default();
    let attached: Vec<_> = here.iter().filter(|socket| socket.attached).collect();
    let owned = match owner {
        ShardState::Ours(_) => "its conversation is owned by this node",
        ShardState::HandingOver(_) => "its conversation is moving to another node at this moment",
        ShardState::Anothers(_) => "its conversation is owned by another node",
        ShardState::Nobodys => "its conversation has no owner at this moment",
    };
    match (cursor, attached.len()) {
        (Some(_), count) => add(
            "routed",
            Got::Yes,
            format!("{name} is a member; {owned}; {count} of {} sockets here hear it", here.len()),
        ),
        (None, 0) => {
            add("routed", Got::No, format!("{name} is no member of {place}, and no socket here listens to it; {owned}"))
        }
        (None, count) => {
            add("routed", Got::Yes, format!("{name} is no member, but {count} sockets here listen to {place}; {owned}"))
        }
    }
    let (mut waiting, mut left_out) = (Vec::new(), Vec::new());
    for socket in &attached {
        match socket.waits {
            Waits::Behind(frames) => {
                waiting.push(format!("{} ({}, behind {frames} frames)", socket.slot, socket.dialect.as_str()))
            }
            Waits::InGap => left_out.push(socket.slot.to_string()),
            Waits::No => {}
        }
    }
    let (queued, written) = match (sockets, attached.is_empty()) {
        (None, _) => (Got::Unknown, Got::Unknown),
        (Some(_), true) => {
            (if delivered { Got::Yes } else { Got::Waits }, if delivered { Got::Yes } else { Got::Waits })
        }
        (Some(_), false) if !left_out.is_empty() => (Got::No, Got::No),
        (Some(_), false) if !waiting.is_empty() => (Got::Yes, Got::Waits),
        (Some(_), false) => (Got::Yes, Got::Yes),
    };
    let queued_text = match (sockets, attached.is_empty()) {
        (None, _) => "the directory or a worker didn't answer in time".to_owned(),
        (Some(_), true) if delivered => "for a socket that is gone, or by a page of the history".to_owned(),
        (Some(_), true) => format!(
            "{name} has no socket on this node that hears it: nothing is kept for who is absent; it comes with the next connection"
        ),
        (Some(_), false) if !left_out.is_empty() => {
            format!("left out for {}, which read too slowly: told as a gap, to be paged", left_out.join(", "))
        }
        (Some(_), false) if own => {
            "the socket that sent it has the answer instead; others of the sender got it".to_owned()
        }
        (Some(_), false) => format!("for {} sockets, unless they opened later", attached.len()),
    };
    add("queued", queued, queued_text);
    let written_text = match written {
        Got::Waits if !waiting.is_empty() => format!("it waits for {}", waiting.join(", ")),
        Got::Waits => "nobody to write to".to_owned(),
        Got::No => "only that something is missing will be written".to_owned(),
        Got::Unknown => "not known".to_owned(),
        Got::Yes => "nothing of it waits here; what each socket was written, and when, isn't recorded".to_owned(),
    };
    add("written", written, written_text);
    let (acknowledged, text) = match cursor {
        None => (Got::Unknown, "only members have pointers".to_owned()),
        Some(_) if own => (Got::Yes, format!("{name} wrote it")),
        Some(cursor) if read => (Got::Yes, format!("read: up to position {}", cursor.read.seq.0)),
        Some(cursor) if delivered => {
            (Got::Yes, format!("delivered up to position {}, read up to {}", cursor.delivered.seq.0, cursor.read.seq.0))
        }
        Some(cursor) => (
            Got::Waits,
            format!(
                "delivered up to position {}, {} before it (pointers are stored within 2 s)",
                cursor.delivered.seq.0,
                event.seq.0 - cursor.delivered.seq.0
            ),
        ),
    };
    add("acknowledged", acknowledged, text);
    let verdict = verdict(&steps, name, read, own);
    (steps, verdict)
}

fn verdict(steps: &[Step], name: &str, read: bool, own: bool) -> String {
    if own {
        return format!("{name} wrote it; it is stored.");
    }
    let acknowledged = steps.last().is_some_and(|last| last.state == Got::Yes);
    match (acknowledged, read, steps.iter().find(|step| step.state != Got::Yes)) {
        (true, true, _) => format!("{name} has read it."),
        (true, false, _) => format!("It reached a client of {name}, and wasn't read yet."),
        (false, _, Some(stopped)) => format!("It stopped at '{}': {}.", stopped.step, stopped.text),
        (false, _, None) => format!("All is done that is known of; {name} hasn't acknowledged it."),
    }
}

fn kind(conversation: &Conversation) -> &'static str {
    match conversation.kind {
        chinwag_schema::model::ConversationKind::Room => "room",
        chinwag_schema::model::ConversationKind::Group => "group",
        chinwag_schema::model::ConversationKind::Direct => "chat",
    }
}
