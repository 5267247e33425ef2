//! One-to-one chats opened before they are needed, so that a run measures messages and not the making of chats.

use anyhow::Context as _;
use chinwag_schema::{
    ids::ConversationId,
    wire::{
        json::Secret,
        native::{Command, Created, Credentials},
    },
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::stage::Stage;
use crate::{client::Client, peer::Login};

/// Chats opened at once.
const OPENING_AT_ONCE: usize = 16;

/// Opens the chats of users with others, by name; nothing happens where one is open. Returns their ids, in order. The `n`th is opened at
/// the `n`th node, and over the native protocol, whatever the run's: a chat is the same over each.
pub async fn open(stage: &Stage, chats: impl Iterator<Item = (&Login, &str)>) -> anyhow::Result<Vec<ConversationId>> {
    let open = |(n, (who, with)): (usize, (&Login, &str))| {
        let (http, who, with) = (stage.run.node(n).http.clone(), who.clone(), with.to_owned());
        async move {
            let opened = open_one(&http, &who, &with).await;
            opened.with_context(|| format!("can't open the chat of {} with {with}", who.name))
        }
    };
    stream::iter(chats.enumerate().map(open)).buffered(OPENING_AT_ONCE).try_collect().await
}

async fn open_one(http: &str, who: &Login, with: &str) -> anyhow::Result<ConversationId> {
    let token = who.token.clone().context("a guest has no chats")?;
    let mut client = Client::connect(http, Credentials::Token(Secret(token))).await?;
    let chat: Created = client.request(Command::ChatOpen { with: with.to_owned() }).await?;
    Ok(chat.conversation.id)
}
