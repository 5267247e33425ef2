//! What the commands do, for both faces.

use chinwag_client::{
    Account, Client, Conversation, ConversationId, ConversationKind, Error, PendingState,
    wire::{Command, LoggedEvent, LoggedKind, Members, Profile, Rooms, Stats, UserInfo},
};

use crate::{
    slash::{self, Slash},
    text,
    times::{Times, span},
};

/// Names that are listed.
const NAMES_MAX: usize = 200;

/// What is to be done when a command is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    Stay,
    Open(ConversationId),
    /// Shows so many older messages.
    Older(usize),
    Clear,
    Quit,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// To be shown; harmless, one line each.
    pub lines: Vec<String>,
    pub then: Then,
}

impl Done {
    fn says(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let lines = lines.into_iter().map(|line| text::line(line.as_ref())).collect();
        Self { lines, then: Then::Stay }
    }

    fn then(then: Then) -> Self {
        Self { lines: Vec::new(), then }
    }

    fn opens(id: ConversationId) -> Self {
        Self::then(Then::Open(id))
    }
}

/// Does what a command asks for.
pub async fn perform(
    client: &Client,
    account: Option<&Account>,
    current: Option<ConversationId>,
    command: Slash,
) -> Result<Done, Error> {
    let here = || current.ok_or(()).map_err(|()| Wrong("You must join a room first"));
    let performed = async {
        Ok::<Done, Problem>(match command {
            Slash::Join(name) => match slash::group_id(&name) {
                Some(id) => Done::opens(client.join_group(id).await?),
                None => Done::opens(client.listen_or_create(chinwag_client::names::room_name(&name)?).await?),
            },
            Slash::Open(name) => {
                let found = client.view(|model| model.find(&name).map(|one| one.id));
                Done::opens(found.ok_or_else(|| Problem::Text(format!("no conversation here is called {name}")))?)
            }
            Slash::Msg(name, words) => {
                let chat = client.chat(&name).await?;
                if let Some(words) = words {
                    client.send(chat, &words)?;
                }
                Done::opens(chat)
            }
            Slash::Group(name) => {
                let id = client.create_group(&name).await?;
                let text = format!("Others come in by: /join #{id}");
                Done { then: Then::Open(id), ..Done::says([text]) }
            }
            Slash::Leave => {
                let id = here()?;
                if client.view(|model| model.conversation(id).is_some_and(|one| one.kind == ConversationKind::Direct)) {
                    return Err(Wrong("chats can't be left").into());
                }
                client.leave(id).await?;
                Done::says(["You have left"])
            }
            Slash::Rooms(limit) => rooms(client, limit).await?,
            Slash::Users => users(client, here()?).await?,
            Slash::Stats => stats(client).await?,
            Slash::Me => me(client, current),
            Slash::Help => Done::says(slash::help()),
            Slash::Clear => Done::then(Then::Clear),
            Slash::Quit => Done::then(Then::Quit),
            Slash::Logout => {
                if let Some(account) = account {
                    account.logout().await?;
                }
                Done::then(Then::Quit)
            }
            Slash::Edit(words) => {
                let id = here()?;
                let message = newest_own(client, id)?;
                client.edit(id, message.id, &words).await?;
                Done::then(Then::Stay)
            }
            Slash::Delete => {
                let id = here()?;
                let message = newest_own(client, id)?;
                client.delete(id, message.id).await?;
                Done::then(Then::Stay)
            }
            Slash::History(count) => {
                here()?;
                Done::then(Then::Older(count))
            }
            Slash::Retry => {
                let failed = failed(client);
                for id in &failed {
                    client.send_again(*id)?;
                }
                Done::says([format!("Messages sent again: {}", failed.len())])
            }
            Slash::Discard => discard(client),
            Slash::Nick(name) => {
                let display_name = match &name {
                    Some(name) => Some(chinwag_client::names::display_name(name)?.to_owned()),
                    None => None,
                };
                let profile: Profile = client.request(Command::ProfileSet { display_name }).await?;
                Done::says([format!("Others see you as {}", shown(&profile.user))])
            }
            Slash::Id => {
                let id = here()?;
                let kind = client.view(|model| model.conversation(id).map(|one| one.kind));
                Done::says([match kind {
                    Some(ConversationKind::Group) => format!("This group is #{id}; others come in by /join #{id}"),
                    _ => format!("This conversation is #{id}"),
                }])
            }
        })
    };
    match performed.await {
        Ok(done) => Ok(done),
        Err(Problem::Text(text)) => Ok(Done::says([text])),
        Err(Problem::Error(error)) => Err(error),
    }
}

/// Why a command isn't done.
enum Problem {
    Error(Error),
    Text(String),
}

struct Wrong(&'static str);

impl From<Wrong> for Problem {
    fn from(Wrong(text): Wrong) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Returns how a conversation is called: `#room`, `&group`, `@user`.
pub fn label(conversation: &Conversation) -> String {
    let sign = match conversation.kind {
        ConversationKind::Room => '#',
        ConversationKind::Group => '&',
        ConversationKind::Direct => '@',
    };
    text::line(&format!("{sign}{}", conversation.title()))
}

fn shown(user: &UserInfo) -> String {
    match &user.display_name {
        Some(display) => format!("{display} ({})", user.name),
        None => user.name.to_string(),
    }
}

fn newest_own(client: &Client, id: ConversationId) -> Result<LoggedEvent, Problem> {
    let newest = client.view(|model| {
        let own = |entry: &&LoggedEvent| entry.event == LoggedKind::Message && !entry.deleted && model.is_own(entry);
        model.conversation(id)?.entries.iter().rev().find(own).cloned()
    });
    newest.ok_or_else(|| Problem::Text("there is no message of yours here".to_owned()))
}

fn failed(client: &Client) -> Vec<uuid::Uuid> {
    let failed = |state: &PendingState| matches!(state, PendingState::Failed(_));
    client.view(|model| model.outbox().iter().filter(|item| failed(&item.state)).map(|item| item.message_id).collect())
}

fn discard(client: &Client) -> Done {
    let all: Vec<_> = client.view(|model| model.outbox().iter().map(|item| item.message_id).collect());
    let given_up = all.into_iter().filter_map(|id| client.discard(id)).count();
    Done::says([format!("Messages given up: {given_up}")])
}

async fn rooms(client: &Client, limit: usize) -> Result<Done, Error> {
    let Rooms { rooms } = client.request(Command::Rooms { limit }).await?;
    if rooms.is_empty() {
        return Ok(Done::says(["No room is active; /join NAME makes one"]));
    }
    let row = |room: &chinwag_client::wire::RoomInfo| {
        format!("#{:<30} {:>5} here {:>9} messages", room.name, room.listeners, room.messages)
    };
    Ok(Done::says(rooms.iter().map(row)))
}

async fn users(client: &Client, id: ConversationId) -> Result<Done, Error> {
    let (kind, listeners, mut names) = client.view(|model| {
        model.conversation(id).map_or((ConversationKind::Group, 0, Vec::new()), |one| {
            (one.kind, one.listeners, one.listener_names.iter().map(|name| name.to_string()).collect())
        })
    });
    if kind == ConversationKind::Room && !names.is_empty() {
        names.sort();
        return Ok(Done::says([format!("Here: {listeners}"), names.join(", ")]));
    }
    let command = Command::Members { conversation: id, after: None, limit: NAMES_MAX };
    let Members { members, next } = client.request(command).await?;
    let one = |member: &chinwag_client::wire::MemberInfo| {
        let online = if member.online == Some(true) { "●" } else { "○" };
        let display = member.display_name.as_ref().map_or(String::new(), |display| format!(" ({display})"));
        format!("{online} {}{display}", member.name)
    };
    let more = next.map(|_| "… and more".to_owned());
    Ok(Done::says(members.iter().map(one).chain(more)))
}

async fn stats(client: &Client) -> Result<Done, Error> {
    let Stats { server, user } = client.request(Command::Stats).await?;
    let times = Times::local();
    Ok(Done::says([
        format!("Server: {} connections of {} users, up for {}", server.sockets, server.users, span(server.uptime_ms)),
        format!("You: {} messages since {}", user.messages, times.short(user.connected_at)),
    ]))
}

fn me(client: &Client, current: Option<ConversationId>) -> Done {
    client.view(|model| {
        let who = model.me.as_ref().map_or("not welcomed yet".to_owned(), |me| {
            let guest = if me.guest { ", a guest" } else { "" };
            format!("{}, user #{}{guest}", shown(me), me.id)
        });
        let here = current.and_then(|id| model.conversation(id)).map_or("None".to_owned(), label);
        let unsent = model.outbox().waiting();
        Done::says([format!("You: {who}"), format!("Current conversation: {here}"), format!("Not sent yet: {unsent}")])
    })
}
