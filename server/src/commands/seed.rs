//! `chinwag seed`: sample users, rooms, a group, chats and messages for a demonstration.
//!
//! Goes through the ports, as a server does. What exists already is left alone, so that a second run (or one after a crash) adds only
//! what is missing.

use std::{collections::HashMap, io::Write, sync::Arc};

use anyhow::{Context as _, bail};
use chinwag_actors::{
    ports::{
        account_store::MemberRow,
        message_store::{Append, Appended, NewBody, NewEvent},
    },
    runtime::{Clock as _, clock::SystemClock},
};
use chinwag_schema::{
    error::ErrorCode,
    event::LogEvent,
    ids::{ConversationId, Seq, Term, UserId},
    model::{Conversation, ConversationKind, Cursor, Mark, Member, MemberState, Name, Role, User},
};

use super::Opened;
use crate::hex;

/// Account and display names.
const USERS: [(&str, &str); 6] = [
    ("ann", "Ann Archer"),
    ("bob", "Bob"),
    ("cleo", "Cleo Brandt"),
    ("dmitri", "Dmitri"),
    ("eva", "Eva Lindqvist"),
    ("finn", "Finn"),
];

/// A conversation of the demonstration: who takes part (the first made it), and what was said: minutes ago, who, what.
struct Sample {
    kind: ConversationKind,
    name: Option<&'static str>,
    members: &'static [&'static str],
    lines: &'static [(i64, &'static str, &'static str)],
}

const SAMPLES: [Sample; 6] = [
    Sample {
        kind: ConversationKind::Room,
        name: Some("Lobby"),
        members: &["ann", "bob", "cleo", "dmitri", "eva", "finn"],
        lines: &[
            (1460, "ann", "Morning everyone. Coffee machine is fixed, third time lucky ☕"),
            (1457, "bob", "You are a hero."),
            (1456, "dmitri", "Third floor or second?"),
            (1455, "ann", "Second. The third one is a lost cause."),
            (1390, "eva", "Who is coming to the climbing hall tonight?"),
            (1388, "finn", "Me! Can somebody lend me shoes, 43?"),
            (1385, "eva", "I have 42 and a half, that should do."),
            (240, "cleo", "Reminder: the demo is at three, bring questions."),
            (236, "bob", "Is there cake?"),
            (235, "cleo", "There is always cake."),
            (34, "dmitri", "The demo went really well. Thanks all!"),
            (31, "finn", "The cake too."),
        ],
    },
    Sample {
        kind: ConversationKind::Room,
        name: Some("Book Club"),
        members: &["cleo", "ann", "eva"],
        lines: &[
            (2880, "cleo", "Next month: 'The Left Hand of Darkness'. Any objections?"),
            (2871, "eva", "None, I have wanted a reason to read it again."),
            (2860, "ann", "Fine with me. Do we meet on the first Thursday?"),
            (2858, "cleo", "Yes, half past seven, my place."),
            (700, "ann", "I'm at chapter nine. Nobody told me about the hearth tales!"),
            (690, "eva", "Those are the best part. No spoilers."),
        ],
    },
    Sample {
        kind: ConversationKind::Group,
        name: Some("Trip to the lakes"),
        members: &["bob", "ann", "dmitri", "finn"],
        lines: &[
            (4300, "bob", "So: Friday to Sunday, two tents, one car?"),
            (4295, "finn", "My tent sleeps three if everyone likes each other."),
            (4290, "dmitri", "I can drive. Leaving at four would beat the traffic."),
            (1100, "ann", "I'll bring the stove and the big pot."),
            (1095, "bob", "Then I do the shopping. Anything you don't eat?"),
            (1090, "finn", "Olives."),
            (55, "dmitri", "Forecast says sun on Saturday, showers on Sunday."),
            (52, "ann", "Swimming on Saturday then!"),
        ],
    },
    Sample {
        kind: ConversationKind::Direct,
        name: None,
        members: &["ann", "bob"],
        lines: &[
            (320, "bob", "Do you still have my cable?"),
            (318, "ann", "The grey one? On your desk since Monday."),
            (317, "bob", "Oh. So it is. Thanks 😅"),
            (12, "bob", "Lunch tomorrow?"),
        ],
    },
    Sample {
        kind: ConversationKind::Direct,
        name: None,
        members: &["eva", "finn"],
        lines: &[
            (1200, "eva", "The shoes fit?"),
            (1199, "finn", "Perfectly, I owe you one."),
            (90, "eva", "Same time next week?"),
            (88, "finn", "Gladly."),
        ],
    },
    Sample {
        kind: ConversationKind::Direct,
        name: None,
        members: &["cleo", "ann"],
        lines: &[
            (500, "cleo", "Can you look over my slides before three?"),
            (495, "ann", "Sure, send them over."),
            (430, "ann", "They're good! On slide four I'd swap the two charts."),
            (428, "cleo", "Done. You're the best."),
        ],
    },
];

/// Messages at the end of each conversation that those who didn't write last haven't read yet.
const UNREAD: usize = 2;

/// Fills the store.
///
/// # Errors
/// When the store refuses.
pub async fn run(opened: &Opened, output: &mut impl Write) -> anyhow::Result<()> {
    let users = add_users(opened, output).await?;
    let seeder = Seeder { opened, users, now_ms: SystemClock.unix_ms() };
    for sample in &SAMPLES {
        let conversation = seeder.conversation(sample).await?;
        let title = sample.name.map_or_else(|| sample.members.join(" and "), str::to_owned);
        let kind = match sample.kind {
            ConversationKind::Room => "room",
            ConversationKind::Group => "group",
            ConversationKind::Direct => "chat",
        };
        match seeder.fill(&conversation, sample).await? {
            0 => writeln!(output, "{kind} {title}: exists already, left alone")?,
            lines => writeln!(output, "{kind} {title}: {lines} messages")?,
        }
    }
    Ok(())
}

/// Creates the accounts that are missing, all with one new random password, which is printed.
async fn add_users(opened: &Opened, output: &mut impl Write) -> anyhow::Result<HashMap<&'static str, User>> {
    let password = hex::encode(&hex::random_32()[..6]);
    let (mut users, mut added) = (HashMap::new(), Vec::new());
    for (name, display_name) in USERS {
        let user = match opened.accounts.add_user(name, Some(display_name), &password).await {
            Ok(user) => {
                added.push(name);
                user
            }
            Err(error) if error.code == ErrorCode::AlreadyExists => {
                writeln!(output, "user {name}: exists already, the password stays what it is")?;
                opened.backends.accounts.user_by_name(name).await?.context("an account vanished")?
            }
            Err(error) => return Err(error.into()),
        };
        users.insert(name, user);
    }
    if !added.is_empty() {
        writeln!(output, "users {}: password {password} (shown only now)", added.join(", "))?;
    }
    Ok(users)
}

struct Seeder<'a> {
    opened: &'a Opened,
    users: HashMap<&'static str, User>,
    now_ms: i64,
}

impl Seeder<'_> {
    fn member(&self, name: &str) -> Member {
        let user = &self.users[name];
        Member { user: user.id, name: user.name.clone() }
    }

    /// Finds or makes the conversation of a sample.
    async fn conversation(&self, sample: &Sample) -> anyhow::Result<Conversation> {
        let accounts = &self.opened.backends.accounts;
        let creator = self.member(sample.members[0]);
        let minutes_ago = sample.lines.first().map_or(0, |line| line.0);
        let mut new = Conversation {
            id: ConversationId(0),
            kind: sample.kind,
            name: sample.name.map(Name::from),
            created_by: creator.user,
            created_at_ms: self.now_ms - (minutes_ago + 1) * 60_000,
            pair: None,
        };
        let found = match sample.kind {
            ConversationKind::Room => accounts.room_by_name(sample.name.unwrap_or_default()).await?,
            ConversationKind::Group => self.group_of(creator.user, sample.name.unwrap_or_default()).await?,
            ConversationKind::Direct => {
                let mut pair = [creator.clone(), self.member(sample.members[1])];
                pair.sort_by_key(|member| member.user);
                new.pair = Some(pair);
                None
            }
        };
        if let Some(found) = found {
            return Ok(found);
        }
        new.id = self.opened.ids.conversation(self.now_ms, sample.kind)?;
        if sample.kind == ConversationKind::Direct {
            return Ok(accounts.open_direct(&new).await?.0);
        }
        accounts.create_conversation(&new).await?;
        // At once: a group is found again by its members.
        let role = if sample.kind == ConversationKind::Group { Role::Admin } else { Role::Member };
        let row = MemberRow { member: creator, role, state: MemberState::Settled };
        accounts.put_member(new.id, &row).await?;
        Ok(new)
    }

    /// Finds a group by name among those that `user` made and is a member of.
    async fn group_of(&self, user: UserId, name: &str) -> anyhow::Result<Option<Conversation>> {
        const PAGE: usize = 500;
        let mut after = ConversationId(0);
        loop {
            let page = self.opened.backends.accounts.memberships(user, after, PAGE).await?;
            let last = page.last().map(|membership| membership.conversation.id);
            let full = page.len() == PAGE;
            let wanted = |found: &Conversation| {
                found.kind == ConversationKind::Group && found.created_by == user && found.name.as_deref() == Some(name)
            };
            let found = page.into_iter().map(|membership| membership.conversation).find(wanted);
            match last {
                Some(last) if found.is_none() && full => after = last,
                _ => return Ok(found),
            }
        }
    }

    /// Writes members and messages into a conversation that nobody has written to; returns how many messages.
    async fn fill(&self, conversation: &Conversation, sample: &Sample) -> anyhow::Result<usize> {
        let messages = &self.opened.backends.messages;
        let term = Term(self.opened.backends.accounts.next_term(conversation.id.shard().0).await?);
        let head = messages.claim(conversation.id, term).await?;
        // Of another's making, or of an earlier run.
        if head.seq != Seq::ZERO || conversation.created_by != self.users[sample.members[0]].id {
            return Ok(0);
        }
        let mut events = Vec::new();
        if sample.kind != ConversationKind::Direct {
            for name in sample.members {
                events.push(self.event(conversation.created_at_ms, name, NewBody::Joined)?);
            }
        }
        for (minutes_ago, name, text) in sample.lines {
            let body = NewBody::Message { client_id: None, content: Arc::from(*text) };
            events.push(self.event(self.now_ms - minutes_ago * 60_000, name, body)?);
        }
        self.put_members(conversation, sample).await?;
        let group = Append { conversation: conversation.id, term, head: head.seq, events };
        let appended = messages.append(vec![group]).await?.pop().context("the store gave no answer")??;
        let mut log = Vec::new();
        for one in appended {
            match one {
                Appended::New { event, .. } => log.push(event),
                other => bail!("the store took no new event: {other:?}"),
            }
        }
        self.put_cursors(conversation.id, sample, &log).await?;
        Ok(sample.lines.len())
    }

    fn event(&self, at_ms: i64, name: &str, body: NewBody) -> anyhow::Result<NewEvent> {
        let Member { user: sender, name: sender_name } = self.member(name);
        let id = self.opened.ids.event(self.now_ms)?;
        Ok(NewEvent { id, at_ms, sender, sender_name, body })
    }

    async fn put_members(&self, conversation: &Conversation, sample: &Sample) -> anyhow::Result<()> {
        if sample.kind == ConversationKind::Direct {
            return Ok(());
        }
        // The creator is one already.
        for name in &sample.members[1..] {
            let row = MemberRow { member: self.member(name), role: Role::Member, state: MemberState::Settled };
            self.opened.backends.accounts.put_member(conversation.id, &row).await?;
        }
        Ok(())
    }

    /// Everybody has read everything but the last messages; who wrote last has read all.
    async fn put_cursors(&self, conversation: ConversationId, sample: &Sample, log: &[LogEvent]) -> anyhow::Result<()> {
        let Some(last) = log.last() else { return Ok(()) };
        let mut cursors = Vec::new();
        for name in sample.members {
            let user = self.users[name].id;
            let read = if user == last.sender { log.len() } else { log.len().saturating_sub(UNREAD) };
            let cursor = Cursor { delivered: mark(log, user), read: mark(&log[..read], user) };
            cursors.push((conversation, user, cursor));
        }
        Ok(self.opened.backends.accounts.put_cursors(&cursors).await?)
    }
}

/// Where the end of this log is for a user.
fn mark(log: &[LogEvent], user: UserId) -> Mark {
    let own = log.iter().filter(|event| event.sender == user && event.body.is_message()).count();
    log.last().map_or_else(Mark::default, |event| Mark { seq: event.seq, messages: event.messages, own: own as u64 })
}
