//! The plain face: lines in, lines out. `[#room] name: text` is a message, `* …` is about the program.

mod lines;
mod printed;

use std::{collections::HashSet, io::BufRead as _, time::Duration};

use chinwag_client::{
    Client, Connection, ConversationId, ConversationKind, Error, Event, PendingState, Position,
    wire::{LoggedEvent, LoggedKind},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Instant, timeout},
};
use uuid::Uuid;

use crate::{
    Chat,
    perform::{self, Done, Then},
    slash::{self, Line},
    store::State,
};
use lines::{line_of, say, unread_line};
use printed::{Printed, before_window};

/// Lines read ahead.
const LINES_AHEAD: usize = 64;
/// After the end of the input, messages are sent until none is stored for this long.
const FLUSH: Duration = Duration::from_secs(10);
/// Where the program was is kept this often, while it changes.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// Lines wait for a connection for this long.
const ARRIVING: Duration = Duration::from_secs(3);
/// A command waits for a connection for this long.
const ONLINE: Duration = Duration::from_secs(10);
/// Waiting for a page of the history.
const PAGE: Duration = Duration::from_secs(20);

struct Plain {
    chat: Chat,
    current: Option<ConversationId>,
    /// Messages written here, which needn't be printed.
    written: HashSet<Uuid>,
    printed: Printed,
    /// Conversations that came to be known in this run, of whose unread messages nothing was said yet.
    fresh: HashSet<ConversationId>,
    kept: State,
}

/// Runs until the input ends or somebody says so. `false`: messages are left in the outbox, or the session is over.
pub async fn run(chat: Chat, mut events: mpsc::Receiver<Event>) -> anyhow::Result<bool> {
    let kept = chat.state.clone();
    let printed = Printed::after(&kept.resume);
    let mut plain = Plain { current: None, written: HashSet::new(), printed, fresh: HashSet::new(), kept, chat };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut lines = read_lines();
    // Where to go is found out as soon as there is a connection; lines wait for it.
    let goal = plain.goal();
    let mut arriving = goal.map(|goal| tokio::spawn(go(plain.chat.client.clone(), goal)));
    let mut input_ended = false;
    // Without a server, lines for a place that is known go into the outbox.
    let impatient_at = Instant::now() + ARRIVING;
    let mut impatient = false;
    let mut keep_at = Instant::now() + KEEP_EVERY;
    let client = plain.chat.client.clone();
    loop {
        let reads = !input_ended && (arriving.is_none() || (impatient && plain.current.is_some()));
        let arrived = async {
            match &mut arriving {
                Some(arriving) => arriving.await.unwrap_or(Err(Error::Timeout)),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => {
                    if let Some(clean) = plain.hear(event) {
                        plain.keep();
                        return Ok(clean);
                    }
                }
                None => return Ok(false),
            },
            arrived = arrived => {
                arriving = None;
                match arrived {
                    Ok(done) => plain.done(done).await,
                    Err(error @ Error::Ended(_)) => return Err(error.into()),
                    Err(error) => {
                        say(&format!("* {error}"));
                        if plain.current.is_none() && !plain.chat.options.follow {
                            client.close().await;
                            return Ok(false);
                        }
                    }
                }
            }
            line = lines.recv(), if reads => match line {
                Some(line) => {
                    if !plain.take(&line).await {
                        break;
                    }
                }
                None => {
                    input_ended = true;
                    if !plain.chat.options.follow {
                        break;
                    }
                }
            },
            _ = terminate.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
            () = tokio::time::sleep_until(impatient_at), if !impatient => impatient = true,
            () = tokio::time::sleep_until(keep_at) => {
                plain.keep();
                keep_at = Instant::now() + KEEP_EVERY;
            }
        }
    }
    Ok(plain.finish(&mut events).await)
}

/// Where to go at first.
#[derive(Debug, Clone)]
enum Goal {
    Room(String),
    User(String),
}

async fn go(client: Client, goal: Goal) -> Result<Done, Error> {
    client.online().await?;
    let command = match goal {
        Goal::Room(name) => slash::Slash::Join(name),
        Goal::User(name) => slash::Slash::Msg(name, None),
    };
    perform::perform(&client, None, None, command).await
}

impl Plain {
    fn goal(&mut self) -> Option<Goal> {
        let options = &self.chat.options;
        let goal = options.room.clone().map(Goal::Room).or(options.to.clone().map(Goal::User));
        // The last run was there: writing needn't wait for the server.
        if let Some((id, name)) = &self.chat.state.open {
            let same = match &goal {
                None => true,
                Some(Goal::Room(room)) => *name == format!("#{room}"),
                Some(Goal::User(user)) => *name == format!("@{user}"),
            };
            self.current = same.then_some(*id);
        }
        goal
    }

    /// Takes an event; `Some`: it was the last one.
    fn hear(&mut self, event: Event) -> Option<bool> {
        match event {
            Event::Logged { event, own } => {
                self.print(&event, own);
                self.printed.to(event.conversation, Position { epoch: event.epoch, seq: event.seq });
            }
            Event::Connection(Connection::Online) => say("* connected"),
            Event::Connection(Connection::Waiting { why, .. }) => {
                say(&format!("* not connected: {why}"));
            }
            Event::Connection(Connection::Ended(reason)) => {
                say(&format!("* {reason}"));
                return Some(false);
            }
            Event::Failed { message_id, error } => {
                self.written.remove(&message_id);
                say(&format!("* not sent: {error} (/retry or /discard)"));
            }
            Event::Restarted { conversation, position } => {
                self.printed.to(conversation, position);
                say(&format!("* {}: more was said than is shown here; /history shows it", self.label(conversation)));
            }
            Event::Added(id) => self.added(id),
            Event::Changed(id) => self.tell_unread(id),
            Event::Removed(id) => {
                self.printed.forget(id);
                self.fresh.remove(&id);
                if self.current == Some(id) {
                    self.current = None;
                }
            }
            Event::Notification { message, .. } => say(&format!("* the operator says: {message}")),
            _ => {}
        }
        None
    }

    fn print(&mut self, event: &LoggedEvent, own: bool) {
        if own && event.message_id.is_some_and(|id| self.written.remove(&id)) {
            return;
        }
        if let Some(line) = line_of(event) {
            say(&format!("[{}] {line}", self.label(event.conversation)));
        }
        self.chat.client.seen(event.conversation);
    }

    /// What is new in a conversation of an earlier run comes by itself; of another one only its number is known.
    fn added(&mut self, id: ConversationId) {
        if self.printed.is_of_earlier_run(id) {
            return;
        }
        if let Some(began) = self.chat.client.view(|model| model.conversation(id).map(before_window)) {
            self.printed.begin(id, began);
            self.fresh.insert(id);
            self.tell_unread(id);
        }
    }

    /// Says once that messages came before this run, which aren't printed by themselves.
    fn tell_unread(&mut self, id: ConversationId) {
        if !self.fresh.contains(&id) {
            return;
        }
        let unread = self.chat.client.view(|model| {
            let one = model.conversation(id)?;
            let others = one.entries.iter().filter(|entry| entry.event == LoggedKind::Message && !model.is_own(entry));
            // What is in the window is printed.
            let unread = one.unread.saturating_sub(others.count() as u64);
            (unread > 0).then(|| unread_line(unread, &perform::label(one), &one.name))
        });
        if let Some(unread) = unread {
            self.fresh.remove(&id);
            say(&unread);
        }
    }

    fn label(&self, id: ConversationId) -> String {
        self.chat.client.view(|model| model.conversation(id).map_or(format!("#{id}"), perform::label))
    }

    /// Does what a line says; `false`: that was the last.
    async fn take(&mut self, line: &str) -> bool {
        match slash::read(line) {
            Line::Nothing => {}
            Line::Wrong(wrong) => say(&format!("* {wrong}")),
            Line::Text(words) => match self.current {
                None => say("* You must join a room first"),
                Some(current) => match self.chat.client.send(current, &words) {
                    Ok(id) => {
                        self.chat.client.hurry();
                        self.written.insert(id);
                    }
                    Err(error) => say(&format!("* not sent: {error}")),
                },
            },
            Line::Command(command) => {
                // What there is to talk about comes with the connection; without one the command says so itself.
                let _ = timeout(ONLINE, self.chat.client.online()).await;
                let account = self.chat.account.as_ref();
                match perform::perform(&self.chat.client, account, self.current, command).await {
                    Ok(Done { then: Then::Quit, .. }) => return false,
                    Ok(done) => self.done(done).await,
                    Err(error) => say(&format!("* {error}")),
                }
            }
        }
        true
    }

    async fn done(&mut self, done: Done) {
        for line in &done.lines {
            say(&format!("* {line}"));
        }
        match done.then {
            Then::Open(id) => {
                self.current = Some(id);
                let (members, kind) = self.chat.client.view(|model| {
                    model
                        .conversation(id)
                        .map_or((0, ConversationKind::Direct), |one| (one.listeners.max(one.members), one.kind))
                });
                let here = if kind == ConversationKind::Direct { String::new() } else { format!(", {members} here") };
                say(&format!("* you are in {}{here}", self.label(id)));
                // A room that is listened to is known nowhere else.
                self.keep();
            }
            Then::Older(count) => self.history(count).await,
            Then::Stay | Then::Clear | Then::Quit => {}
        }
    }

    /// Prints the newest messages, paging as far as need be.
    async fn history(&mut self, count: usize) {
        let Some(id) = self.current else { return };
        let client = &self.chat.client;
        let have = || client.view(|model| model.conversation(id).map(|one| (one.entries.len(), one.complete)));
        let until = Instant::now() + PAGE;
        while have().is_some_and(|(entries, complete)| entries < count && !complete) && Instant::now() < until {
            client.load_older(id);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let shown: Vec<String> = client.view(|model| {
            let entries = model.conversation(id).map(|one| &*one.entries).unwrap_or_default();
            entries[entries.len().saturating_sub(count)..].iter().filter_map(line_of).collect()
        });
        let label = self.label(id);
        shown.iter().for_each(|line| say(&format!("[{label}] {line}")));
        say(&format!("* that is the history, {} lines", shown.len()));
        client.seen(id);
    }

    /// Keeps where the program is, for the next run.
    fn keep(&mut self) {
        let open = self.current.map(|id| (id, self.label(id)));
        let client = &self.chat.client;
        let began = |id| client.view(|model| model.conversation(id).map(before_window));
        let state = State { resume: self.printed.resume(client.resume(), began), open };
        if state != self.kept {
            if let Err(error) = self.chat.store.keep(&state) {
                say(&format!("* {error:#}"));
            }
            self.kept = state;
        }
    }

    /// Sends what is left, and ends the connection.
    async fn finish(&mut self, events: &mut mpsc::Receiver<Event>) -> bool {
        let client = self.chat.client.clone();
        let mut flushed = false;
        let mut waiting = usize::MAX;
        while !flushed && client.view(|model| model.outbox().waiting()) < waiting {
            waiting = client.view(|model| model.outbox().waiting());
            let mut flushing = std::pin::pin!(client.flushed(FLUSH));
            flushed = loop {
                tokio::select! {
                    done = &mut flushing => break done.is_ok(),
                    event = events.recv() => match event {
                        Some(event) => drop(self.hear(event)),
                        None => break false,
                    },
                }
            };
        }
        while let Ok(event) = events.try_recv() {
            self.hear(event);
        }
        // What the driver still holds comes with its end, and is printed before it is noted where this run was.
        client.close().await;
        while let Ok(event) = events.try_recv() {
            if !matches!(event, Event::Connection(_)) {
                self.hear(event);
            }
        }
        self.keep();
        let left = client.view(|model| model.outbox().iter().filter(|item| item.state != PendingState::Stored).count());
        if left > 0 {
            say(&format!("* messages that wait for the next run: {left}"));
        }
        flushed && left == 0
    }
}

/// Reads lines on a thread of its own: reading from a terminal or pipe can't be interrupted.
fn read_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
