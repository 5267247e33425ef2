//! Questions to all nodes, whose answers make one list: who is connected, which rooms are active.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::{sync::oneshot, time::timeout};

use super::peer::PeerMessage;
use crate::{
    conversation::board::{RoomLine, in_order},
    directory::{DirectoryMessage, LISTED_USERS_MAX, ListedUser},
    engine::Node,
};

/// Nodes that don't answer in this time are left out: a list without some is better than none.
const DEADLINE: Duration = Duration::from_secs(1);

/// What a node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Its active rooms, this many at most.
    Rooms(usize),
    /// Who is connected there.
    Users,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    Rooms(Vec<RoomLine>),
    Users(Vec<ListedUser>),
}

async fn ask(node: &Node, question: Question) -> Vec<Told> {
    let mut answers = Vec::new();
    node.cluster.everyone(|peer| {
        let (reply, answer) = oneshot::channel();
        // Full: as if it didn't answer in time.
        if peer.tell(PeerMessage::Ask { question, reply }).is_ok() {
            answers.push(timeout(DEADLINE, answer));
        }
    });
    join_all(answers).await.into_iter().filter_map(|answer| answer.ok()?.ok()).collect()
}

/// Lists the active rooms of all nodes, the busiest first.
pub async fn rooms(node: Arc<Node>, limit: usize) -> Vec<RoomLine> {
    let mut rooms = node.board.list(limit, node.runtime.unix_ms());
    for told in ask(&node, Question::Rooms(limit)).await {
        if let Told::Rooms(more) = told {
            rooms.extend(more);
        }
    }
    in_order(&mut rooms);
    // In the moment of a move two nodes may show the same room.
    let mut seen = rustc_hash::FxHashSet::default();
    rooms.retain(|room| seen.insert(room.id));
    rooms.truncate(limit);
    rooms
}

/// Lists who is connected to any node; a user that is connected to several once. `None` when this node's directory doesn't answer.
pub async fn users(node: Arc<Node>) -> Option<Vec<ListedUser>> {
    let mut users = here(&node).await?;
    for told in ask(&node, Question::Users).await {
        if let Told::Users(more) = told {
            users.extend(more);
        }
    }
    // Those in a room first, so that a user is shown with one.
    users.sort_by_key(|user| (user.user, user.room.is_none()));
    users.dedup_by_key(|user| user.user);
    users.truncate(LISTED_USERS_MAX);
    Some(users)
}

/// Lists who is connected to this node.
pub async fn here(node: &Node) -> Option<Vec<ListedUser>> {
    let (reply, answer) = oneshot::channel();
    node.directory.tell(DirectoryMessage::ListUsers { reply }).ok()?;
    timeout(DEADLINE, answer).await.ok()?.ok()
}
