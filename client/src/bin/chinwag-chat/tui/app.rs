//! What the full-screen face knows, and what it does with keys, events and the results of commands.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use chinwag_client::{Client, Connection, ConversationId, Event, Seq};
use tokio::sync::mpsc;

use super::{
    editor::Editor,
    look::Look,
    thread::{self, Key, Note, Sight},
};
use crate::{
    Chat,
    perform::{self, Done, Then},
    slash::{self, Line, Slash},
    store::State,
    text,
    times::Times,
};

/// Notes kept of each conversation.
const NOTES_MAX: usize = 100;
/// How long a word at the bottom stays.
const WORD_SHOWN: Duration = Duration::from_secs(8);

/// Which part has the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pane {
    List,
    Thread,
}

/// A command's end.
pub type Performed = Result<Done, chinwag_client::Error>;

/// Where things were drawn, for the mouse and for scrolling.
#[derive(Debug, Default)]
pub struct Drawn {
    pub list: ratatui::layout::Rect,
    pub thread: ratatui::layout::Rect,
    pub rows: Vec<ConversationId>,
    pub first_row: usize,
    /// Whether there is room for both panes.
    pub wide: bool,
}

/// The face's state.
pub struct App {
    pub client: Client,
    pub chat: Chat,
    pub look: Look,
    pub times: Times,
    pub editor: Editor,
    pub pane: Pane,
    pub open: Option<ConversationId>,
    /// The row that has the cursor in the list.
    pub selected: Option<ConversationId>,
    /// Which line is at the bottom; `None`: the newest.
    pub anchor: Option<(Key, usize)>,
    pub new_from: Option<Seq>,
    pub word: Option<(String, bool, Instant)>,
    pub drawn: Drawn,
    /// Whether the window has the keys, as far as the terminal says.
    pub focused: bool,
    pub quit: Option<bool>,
    /// To be done before the next look: a new title, a bell.
    pub bell: bool,
    notes: HashMap<ConversationId, Vec<Note>>,
    cleared: HashMap<ConversationId, Seq>,
    drafts: HashMap<ConversationId, String>,
    notes_made: u64,
    wanted_older: usize,
    done: mpsc::Sender<Performed>,
    kept: State,
}

impl App {
    /// Makes one, and the stream of what its commands come to.
    pub fn new(chat: Chat) -> (Self, mpsc::Receiver<Performed>) {
        let (done, performed) = mpsc::channel(32);
        let app = Self {
            client: chat.client.clone(),
            look: Look::of_environment(),
            times: Times::local(),
            editor: Editor::default(),
            pane: Pane::Thread,
            open: chat.state.open.as_ref().map(|(id, _)| *id),
            selected: None,
            anchor: None,
            new_from: None,
            word: None,
            drawn: Drawn::default(),
            focused: true,
            quit: None,
            bell: false,
            notes: HashMap::new(),
            cleared: HashMap::new(),
            drafts: HashMap::new(),
            notes_made: 0,
            wanted_older: 0,
            done,
            kept: chat.state.clone(),
            chat,
        };
        (app, performed)
    }

    /// Goes where the command line says.
    pub fn begin(&mut self) {
        if let Some(room) = self.chat.options.room.clone() {
            self.perform(Slash::Join(room));
        } else if let Some(user) = self.chat.options.to.clone() {
            self.perform(Slash::Msg(user, None));
        }
    }

    // ---- what comes
    pub fn hear(&mut self, event: Event) {
        match event {
            Event::Welcome => {
                // A room that was listened to is known a moment later.
                let expected = self.client.view(|model| self.open.is_some_and(|id| model.expects(id)));
                if !expected {
                    self.open = None;
                    let first = self.client.view(|model| model.conversations().first().map(|one| one.id));
                    let goes = self.chat.options.room.is_some() || self.chat.options.to.is_some();
                    if let Some(first) = first.filter(|_| !goes) {
                        self.go_to(first);
                    }
                } else if let Some(open) = self.open {
                    self.arrive(open);
                }
            }
            Event::Added(id) if self.open == Some(id) => self.arrive(id),
            Event::Connection(Connection::Ended(reason)) => {
                self.say(&reason.to_string(), true);
                self.quit = Some(false);
            }
            Event::Logged { event, own } => {
                let here = self.focused && self.open == Some(event.conversation);
                let message = event.event == chinwag_client::wire::LoggedKind::Message;
                self.bell |= message && !own && !here;
            }
            Event::Failed { error, .. } => self.say(&format!("Not sent: {error}"), true),
            Event::Removed(id) if self.open == Some(id) => {
                self.open = None;
                self.anchor = None;
                let first = self.client.view(|model| model.conversations().first().map(|one| one.id));
                if let Some(first) = first {
                    self.go_to(first);
                }
            }
            Event::Restarted { conversation, .. } if self.open == Some(conversation) => self.anchor = None,
            Event::Notification { message, .. } => {
                self.note(vec![format!("The operator says: {message}")], false);
                self.bell = true;
            }
            _ => {}
        }
    }

    pub fn performed(&mut self, performed: Performed) {
        match performed {
            Ok(Done { lines, then }) => {
                match then {
                    Then::Open(id) => {
                        self.go_to(id);
                        // A room that is listened to is known nowhere else.
                        self.keep();
                    }
                    Then::Older(count) => self.older(count),
                    Then::Clear => self.clear(),
                    Then::Quit => self.quit = Some(true),
                    Then::Stay => {}
                }
                if !lines.is_empty() {
                    self.note(lines, false);
                }
            }
            Err(error) => self.note(vec![error.to_string()], true),
        }
    }

    /// Begins a command; what comes of it is told by [`performed`](Self::performed).
    pub fn perform(&mut self, command: Slash) {
        let (client, account, current) = (self.client.clone(), self.chat.account.clone(), self.open);
        let done = self.done.clone();
        tokio::spawn(async move {
            let performed = perform::perform(&client, account.as_ref(), current, command).await;
            let _ = done.send(performed).await;
        });
    }

    // ---- what is done
    /// Does what is written.
    pub fn enter(&mut self) {
        match slash::read(self.editor.text()) {
            Line::Nothing => {}
            Line::Wrong(wrong) => self.say(&wrong, true),
            Line::Command(command) => {
                self.editor.take();
                self.perform(command);
            }
            Line::Text(words) => match self.open {
                None => self.say("You must join a room first: /join ROOM, /msg USER", true),
                Some(open) => match self.client.send(open, words.trim_end()) {
                    Ok(_) => {
                        self.client.hurry();
                        self.editor.take();
                        self.anchor = None;
                        self.new_from = None;
                        self.client.seen(open);
                    }
                    Err(error) => self.say(&error.to_string(), true),
                },
            },
        }
    }

    /// Says that something is being written, unless it is a command.
    pub fn typed(&mut self) {
        if let Some(open) = self.open {
            let text = self.editor.text();
            self.client.typing(open, !text.trim().is_empty() && !text.starts_with('/'));
        }
    }

    /// Opens a conversation.
    pub fn go_to(&mut self, id: ConversationId) {
        if self.open != Some(id) {
            if let Some(before) = self.open {
                self.client.typing(before, false);
                self.client.trim(before);
                self.drafts.insert(before, self.editor.text().to_owned());
            }
            let draft = self.drafts.remove(&id).unwrap_or_default();
            self.editor.set(&draft);
            self.open = Some(id);
            self.anchor = None;
            self.wanted_older = 0;
        }
        self.pane = Pane::Thread;
        self.arrive(id);
    }

    fn arrive(&mut self, id: ConversationId) {
        self.selected = Some(id);
        self.new_from = self.client.view(|model| {
            let one = model.conversation(id)?;
            (one.unread > 0).then(|| one.own.read.next())
        });
        self.client.ask_members(id);
    }

    /// Goes up or down in the list.
    pub fn step(&mut self, down: bool) {
        let from = if self.pane == Pane::List { self.selected } else { self.open };
        let rows = &self.drawn.rows;
        let at = from.and_then(|id| rows.iter().position(|row| *row == id));
        let next = match (at, down) {
            (None, _) => 0,
            (Some(at), true) => (at + 1).min(rows.len().saturating_sub(1)),
            (Some(at), false) => at.saturating_sub(1),
        };
        let Some(&id) = rows.get(next) else { return };
        if self.pane == Pane::List {
            self.selected = Some(id);
        } else {
            self.go_to(id);
        }
    }

    /// Opens the next conversation with something unread.
    pub fn next_unread(&mut self) {
        let next = self.client.view(|model| {
            model.conversations().into_iter().find(|one| one.unread > 0 && Some(one.id) != self.open).map(|one| one.id)
        });
        match next {
            Some(id) => self.go_to(id),
            None => self.say("Nothing unread", false),
        }
    }

    /// Moves the messages by so many lines.
    pub fn scroll(&mut self, by: isize) {
        let Some(open) = self.open else { return };
        let (rows, columns) = (usize::from(self.drawn.thread.height), usize::from(self.drawn.thread.width));
        self.anchor = self.client.view(|model| {
            let one = model.conversation(open)?;
            let items = thread::items(model, one, self.notes_of(open), self.cleared_of(open));
            let sight = Sight { model, times: &self.times, look: &self.look, columns, new_from: self.new_from };
            thread::scroll(&items, self.anchor, by, rows, &sight)
        });
    }

    fn older(&mut self, count: usize) {
        let Some(open) = self.open else { return };
        self.cleared.remove(&open);
        let have = self.client.view(|model| model.conversation(open).map_or(0, |one| one.entries.len()));
        self.wanted_older = have + count;
        self.page();
    }

    /// Pages older messages while there are fewer than wanted, or than fit.
    pub fn page(&mut self) {
        let Some(open) = self.open else { return };
        let have = self.client.view(|model| model.conversation(open).map_or(0, |one| one.entries.len()));
        if have < self.wanted_older
            && self.client.view(|model| model.conversation(open).is_some_and(|one| !one.complete))
        {
            self.client.load_older(open);
        }
    }

    /// Looks after what the screen showed: more is paged if there was room, and what is seen is seen.
    pub fn shown(&mut self, more_above: bool) {
        let Some(open) = self.open else { return };
        if !more_above && !self.cleared.contains_key(&open) {
            self.client.load_older(open);
        }
        let visible = self.focused && self.anchor.is_none() && (self.drawn.wide || self.pane == Pane::Thread);
        if visible {
            self.client.seen(open);
        }
    }

    fn clear(&mut self) {
        if let Some(open) = self.open {
            let position = self.client.position(open).unwrap_or_default();
            self.cleared.insert(open, position);
            self.notes.remove(&open);
            self.anchor = None;
        }
    }

    /// Shows lines of the program's among the messages.
    pub fn note(&mut self, lines: Vec<String>, is_error: bool) {
        let Some(open) = self.open else {
            return self.say(&lines.join(" · "), is_error);
        };
        self.notes_made += 1;
        let after = self.client.position(open).unwrap_or_default();
        let lines = lines.iter().map(|line| text::line(line)).collect();
        let notes = self.notes.entry(open).or_default();
        notes.push(Note { number: self.notes_made, after, lines, is_error });
        if notes.len() > NOTES_MAX {
            notes.remove(0);
        }
        self.anchor = None;
    }

    /// Shows a word at the bottom for a while.
    pub fn say(&mut self, word: &str, is_error: bool) {
        self.word = Some((text::line(word), is_error, Instant::now() + WORD_SHOWN));
    }

    pub fn notes_of(&self, id: ConversationId) -> &[Note] {
        self.notes.get(&id).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn cleared_of(&self, id: ConversationId) -> Seq {
        self.cleared.get(&id).copied().unwrap_or_default()
    }

    /// Keeps where the program is, for the next run.
    pub fn keep(&mut self) {
        if self.word.as_ref().is_some_and(|(_, _, until)| Instant::now() >= *until) {
            self.word = None;
        }
        let label = |id| self.client.view(|model| model.conversation(id).map_or(String::new(), perform::label));
        let open = self.open.map(|id| (id, label(id)));
        let state = State { resume: self.client.resume(), open };
        if state != self.kept {
            match self.chat.store.keep(&state) {
                Ok(()) => self.kept = state,
                Err(error) => self.say(&format!("{error:#}"), true),
            }
        }
    }
}
