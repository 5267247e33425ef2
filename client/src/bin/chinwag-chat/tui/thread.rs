//! The messages of a conversation as lines: what is shown of each, and which lines fit when one of them is at the bottom. Pure.

use std::collections::VecDeque;

use chinwag_client::{
    Conversation, Delivery, Model, Pending, PendingState, Seq,
    wire::{LoggedEvent, LoggedKind},
};
use ratatui::{
    style::Style,
    text::{Line, Span},
};
use uuid::Uuid;

use super::look::Look;
use crate::{text, times::Times};

/// Columns of what is said of a message beside it.
const MARK_MAX: usize = 12;

/// What the program has said, in a conversation.
#[derive(Debug, Clone)]
pub struct Note {
    pub number: u64,
    /// It stands behind this event.
    pub after: Seq,
    pub lines: Vec<String>,
    pub is_error: bool,
}

/// Names an item, also when others come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Beginning,
    Event(Seq),
    Note(u64),
    Pending(Uuid),
}

/// Something that is shown.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// Nothing older exists.
    Beginning,
    Event(&'a LoggedEvent),
    Note(&'a Note),
    Pending(&'a Pending),
}

impl Item<'_> {
    pub fn key(&self) -> Key {
        match self {
            Self::Beginning => Key::Beginning,
            Self::Event(event) => Key::Event(event.seq),
            Self::Note(note) => Key::Note(note.number),
            Self::Pending(item) => Key::Pending(item.message_id),
        }
    }

    fn at_ms(&self) -> Option<i64> {
        match self {
            Self::Event(event) => Some(event.timestamp),
            Self::Beginning | Self::Note(_) => None,
            Self::Pending(item) => Some(item.written_at),
        }
    }
}

/// Returns everything of a conversation, oldest first.
pub fn items<'a>(model: &'a Model, conversation: &'a Conversation, notes: &'a [Note], cleared: Seq) -> Vec<Item<'a>> {
    let mut items = Vec::with_capacity(conversation.entries.len() + notes.len());
    if conversation.complete && cleared == Seq::ZERO {
        items.push(Item::Beginning);
    }
    let mut notes = notes.iter().peekable();
    for entry in conversation.entries.iter().filter(|entry| entry.seq > cleared) {
        while let Some(note) = notes.next_if(|note| note.after < entry.seq) {
            items.push(Item::Note(note));
        }
        items.push(Item::Event(entry));
    }
    items.extend(notes.map(Item::Note));
    // What is stored already comes with the log in a moment; until then it must not vanish.
    items.extend(model.pending(conversation.id).map(Item::Pending));
    items
}

/// How to show it.
pub struct Sight<'a> {
    pub model: &'a Model,
    pub times: &'a Times,
    pub look: &'a Look,
    pub columns: usize,
    /// The first event that was new when the conversation was opened.
    pub new_from: Option<Seq>,
}

/// Returns the lines that fit into so many rows, and whether there was something left above.
pub fn fill(
    items: &[Item<'_>],
    anchor: Option<(Key, usize)>,
    rows: usize,
    sight: &Sight<'_>,
) -> (Vec<Line<'static>>, bool) {
    let mut shown: VecDeque<Line<'static>> = VecDeque::new();
    let (mut index, mut hidden) = match anchor.and_then(|(key, line)| Some((position(items, key)?, line))) {
        Some((index, line)) => (index + 1, Some(line)),
        None => (items.len(), None),
    };
    while index > 0 && shown.len() < rows {
        index -= 1;
        let mut lines = lines(items, index, sight);
        if let Some(last) = hidden.take() {
            lines.truncate(last + 1);
        }
        for line in lines.into_iter().rev() {
            shown.push_front(line);
        }
    }
    let more = index > 0 || shown.len() > rows;
    while shown.len() > rows {
        shown.pop_front();
    }
    (shown.into(), more)
}

/// Moves the line at the bottom by so many lines up (negative) or down; `None`: the bottom is the newest line again.
pub fn scroll(
    items: &[Item<'_>],
    anchor: Option<(Key, usize)>,
    by: isize,
    rows: usize,
    sight: &Sight<'_>,
) -> Option<(Key, usize)> {
    let last = items.len().checked_sub(1)?;
    let count = |index: usize| lines(items, index, sight).len();
    let found = anchor.and_then(|(key, line)| Some((position(items, key)?, line)));
    let (mut index, mut line) = found.unwrap_or_else(|| (last, count(last).saturating_sub(1)));
    if by < 0 {
        let mut left = by.unsigned_abs();
        while left > line {
            if index == 0 {
                break;
            }
            left -= line + 1;
            index -= 1;
            line = count(index).saturating_sub(1);
        }
        line = line.saturating_sub(left.min(line));
        // The first screen is a whole one.
        let mut above = line + 1 + (0..index).rev().take(rows).map(count).sum::<usize>();
        while above < rows {
            if line + 1 < count(index) {
                line += 1;
            } else if index < last {
                index += 1;
                line = 0;
            } else {
                return None;
            }
            above += 1;
        }
    } else {
        let mut left = by.unsigned_abs();
        loop {
            let rest = count(index).saturating_sub(1).saturating_sub(line);
            if left <= rest {
                line += left;
                break;
            }
            if index == last {
                return None;
            }
            left -= rest + 1;
            (index, line) = (index + 1, 0);
        }
        if index == last && line + 1 >= count(last) {
            return None;
        }
    }
    Some((items[index].key(), line))
}

fn position(items: &[Item<'_>], key: Key) -> Option<usize> {
    match key {
        // What was anchored may be gone (trimmed, sent): the nearest that is left.
        Key::Event(seq) => {
            let after = items.iter().rposition(|item| matches!(item, Item::Event(event) if event.seq <= seq));
            after.or_else(|| (!items.is_empty()).then_some(0))
        }
        key => items.iter().position(|item| item.key() == key),
    }
}

/// Returns the lines of an item, with what separates it from the one before.
fn lines(items: &[Item<'_>], index: usize, sight: &Sight<'_>) -> Vec<Line<'static>> {
    let item = &items[index];
    let mut lines = Vec::new();
    let before = items[..index].iter().rev().find_map(Item::at_ms);
    if let Some(at) = item.at_ms()
        && before.is_none_or(|before| !sight.times.same_day(before, at))
    {
        lines.push(rule(&sight.times.day(at), sight.look.dim(), sight.columns));
    }
    if let (Item::Event(event), Some(new_from)) = (item, sight.new_from) {
        let before = items[..index].iter().rev().find_map(|item| match item {
            Item::Event(event) => Some(event.seq),
            _ => None,
        });
        if event.seq >= new_from && before.is_none_or(|before| before < new_from) {
            lines.push(rule("new", sight.look.accent(), sight.columns));
        }
    }
    match item {
        Item::Beginning => {
            lines.push(Line::styled(text::fit("This is the beginning.", sight.columns), sight.look.dim()));
        }
        Item::Event(event) => lines.extend(event_lines(event, sight)),
        Item::Note(note) => {
            let style = if note.is_error { sight.look.error() } else { sight.look.dim() };
            for line in note.lines.iter().flat_map(|line| text::wrap(line, sight.columns.saturating_sub(2))) {
                lines.push(Line::from(vec![Span::styled("  ", style), Span::styled(line, style)]));
            }
        }
        Item::Pending(item) => {
            let name = sight.model.me.as_ref().map_or("me".into(), |me| text::line(&me.name));
            let mark = match &item.state {
                PendingState::Waiting | PendingState::Stored => Span::styled(" …", sight.look.dim()),
                PendingState::Failed(why) => {
                    Span::styled(format!(" ✗ {}: /retry or /discard", text::line(why)), sight.look.error())
                }
            };
            lines.extend(message(item.written_at, &name, true, &item.content, sight.look.dim(), Some(mark), sight));
        }
    }
    lines
}

fn rule(text: &str, style: Style, columns: usize) -> Line<'static> {
    let text = text::fit(&format!(" {text} "), columns);
    let rest = columns.saturating_sub(text::width(&text));
    let left = rest.min(2);
    Line::styled(format!("{}{text}{}", "─".repeat(left), "─".repeat(rest - left)), style)
}

fn event_lines(event: &LoggedEvent, sight: &Sight<'_>) -> Vec<Line<'static>> {
    let name = text::line(&event.sender.name);
    let own = sight.model.is_own(event);
    let plain = Style::default();
    match event.event {
        LoggedKind::Message if event.deleted => message(
            event.timestamp,
            &name,
            own,
            "deleted",
            sight.look.dim().add_modifier(ratatui::style::Modifier::ITALIC),
            None,
            sight,
        ),
        LoggedKind::Message => {
            let mark = match sight.model.delivery(event) {
                Some(Delivery::Read) => Some(Span::styled(" ✓✓", sight.look.accent())),
                Some(Delivery::Delivered) => Some(Span::styled(" ✓✓", sight.look.dim())),
                Some(Delivery::Stored) => Some(Span::styled(" ✓", sight.look.dim())),
                _ => None,
            };
            let edited = event.edited_at.map(|_| Span::styled(" (edited)", sight.look.dim()));
            let content = event.content.as_deref().unwrap_or_default();
            let mut lines = message(event.timestamp, &name, own, content, plain, edited, sight);
            if let (Some(mark), Some(last)) = (mark, lines.last_mut()) {
                last.push_span(mark);
            }
            lines
        }
        LoggedKind::MemberJoined | LoggedKind::MemberLeft => {
            let what = if event.event == LoggedKind::MemberJoined { "joined" } else { "left" };
            let line = text::fit(&format!("{} {name} {what}", sight.times.clock(event.timestamp)), sight.columns);
            vec![Line::styled(line, sight.look.dim())]
        }
        _ => Vec::new(),
    }
}

/// `14:05 name  text`, the text's further lines below its first.
fn message(
    at_ms: i64,
    name: &str,
    own: bool,
    content: &str,
    style: Style,
    mark: Option<Span<'static>>,
    sight: &Sight<'_>,
) -> Vec<Line<'static>> {
    let look = sight.look;
    let name = text::fit(name, (sight.columns / 3).clamp(4, 20));
    let clock = sight.times.clock(at_ms);
    // On narrow terminals the text begins below the clock, so that words fit.
    let lead = text::width(&clock) + 1 + text::width(&name) + 2;
    let indent = if sight.columns < 50 { 2 } else { 6 };
    // Room for how far it is, and for what is said of it; what is long gets a line of its own.
    let beside = mark.as_ref().map(Span::width).filter(|&wide| wide <= MARK_MAX).unwrap_or_default();
    let columns = sight.columns.saturating_sub(4 + beside);
    let mut wrapped = text::wrap(content, columns.saturating_sub(indent).max(8));
    // The first line has less room; wrap it on its own, then the rest.
    let room = columns.saturating_sub(lead);
    let first = if room >= 10 {
        let all = text::wrap(content, room);
        let first = all.first().cloned().unwrap_or_default();
        let rest = rest_of(content, &first);
        wrapped = if rest.is_empty() { Vec::new() } else { text::wrap(rest, columns.saturating_sub(indent).max(8)) };
        first
    } else {
        String::new()
    };
    let who = if own { look.own() } else { look.name() };
    let mut lines = vec![Line::from(vec![
        Span::styled(format!("{clock} "), look.dim()),
        Span::styled(name, who),
        Span::raw("  "),
        Span::styled(first, style),
    ])];
    for line in wrapped {
        lines.push(Line::from(vec![Span::raw(" ".repeat(indent)), Span::styled(line, style)]));
    }
    if let (Some(mark), Some(last)) = (mark, lines.last_mut()) {
        if beside > 0 {
            last.push_span(mark);
        } else {
            for line in text::wrap(mark.content.trim(), columns.saturating_sub(indent).max(8)) {
                lines.push(Line::from(vec![Span::raw(" ".repeat(indent)), Span::styled(line, mark.style)]));
            }
        }
    }
    lines
}

/// Returns what of a text isn't in its first line yet.
fn rest_of<'a>(content: &'a str, first: &str) -> &'a str {
    // `wrap` replaces characters one by one (a tab by four blanks), so lines are found again by counting what isn't blank.
    let mut solid = first.chars().filter(|&c| !text::is_blank(c)).count();
    for (at, c) in content.char_indices() {
        if solid == 0 {
            let rest = &content[at..];
            // Blanks at which the line was broken, and one line end.
            let blanks = rest.trim_start_matches([' ', '\t', '\r']);
            return match blanks.strip_prefix('\n') {
                Some(below) => below,
                None if rest.starts_with([' ', '\t']) => blanks,
                None => rest,
            };
        }
        if !text::is_blank(c) {
            solid -= 1;
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_follows_the_first_line_is_found_again() {
        assert_eq!(rest_of("one two three", "one two"), "three");
        assert_eq!(rest_of("one\ntwo", "one"), "two");
        assert_eq!(rest_of("one\r\n\r\ntwo", "one"), "\r\ntwo");
        assert_eq!(rest_of("abcdef", "abc"), "def");
        assert_eq!(rest_of("abc", "abc"), "");
        assert_eq!(rest_of("a\u{1b}b c", "a\u{fffd}b"), "c");
        assert_eq!(rest_of("\ntwo", ""), "two");
        for separator in ['\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'] {
            assert_eq!(rest_of(&format!("a{separator}b cd ef"), "a\u{fffd}b cd"), "ef");
        }
    }

    /// Words between all kinds of blanks, and anything.
    const CONTENT: &str = "[a-z \t\r\n\u{b}\u{85}\u{a0}\u{2028}\u{3000}\u{1b}日]{0,80}|.*";

    proptest! {
        #[test]
        fn the_first_line_and_the_rest_are_the_whole(content in CONTENT, columns in 2..40usize) {
            let solid = |lines: &[String]| lines.concat().chars().filter(|c| !c.is_whitespace()).collect::<String>();
            let whole = text::wrap(&content, columns);
            let rest = text::wrap(rest_of(&content, &whole[0]), columns);
            prop_assert_eq!(solid(&whole[..1]) + &solid(&rest), solid(&whole));
        }
    }
}
