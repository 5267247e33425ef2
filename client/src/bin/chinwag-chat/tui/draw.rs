//! Draws the list, the messages, and the line that is written. On fewer than 60 columns there is one pane: the list or the messages.

use std::time::Instant;

use chinwag_client::{Connection, Conversation, ConversationKind, Model};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Block, Borders, Paragraph},
};

use super::{
    app::{App, Pane},
    keys,
    look::Look,
    thread::{self, Sight},
};
use crate::{perform, text};

/// Narrower terminals show one pane.
pub const WIDE_MIN: u16 = 60;
const LIST_MIN: u16 = 18;
const LIST_MAX: u16 = 30;
/// Lines of the editor that are shown.
const EDITOR_MAX: usize = 6;

/// Draws everything; returns whether there is more above the messages that are shown.
pub fn draw(frame: &mut Frame<'_>, app: &mut App) -> bool {
    let area = frame.area();
    if area.width < 10 || area.height < 4 {
        frame.render_widget(Paragraph::new("too small"), area);
        return true;
    }
    let wide = area.width >= WIDE_MIN;
    app.drawn.wide = wide;
    let client = app.client.clone();
    client.view(|model| {
        let (list, main) = if wide {
            let width = (area.width / 4).clamp(LIST_MIN, LIST_MAX);
            let [list, main] = Layout::horizontal([Constraint::Length(width), Constraint::Min(20)]).areas(area);
            (Some(list), Some(main))
        } else if app.pane == Pane::List {
            (Some(area), None)
        } else {
            (None, Some(area))
        };
        app.drawn.rows = model.conversations().iter().map(|one| one.id).collect();
        app.drawn.list = Rect::default();
        if let Some(list) = list {
            draw_list(frame, list, wide, model, app);
        }
        main.is_none_or(|main| draw_main(frame, main, model, app))
    })
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, wide: bool, model: &Model, app: &mut App) {
    let block = if wide { Block::new().borders(Borders::RIGHT).border_style(app.look.dim()) } else { Block::new() };
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [head, rows, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)]).areas(inner);
    let me = model.me.as_ref().map_or("…".into(), |me| text::line(me.display_name.as_deref().unwrap_or(&me.name)));
    let guest = if model.me.as_ref().is_some_and(|me| me.guest) { " (guest)" } else { "" };
    let columns = usize::from(inner.width);
    let title = text::fit(&format!(" {me}{guest}"), columns);
    frame.render_widget(Line::styled(title, app.look.heading()), head);
    app.drawn.list = rows;
    let marked = if app.pane == Pane::List { app.selected } else { app.open };
    let at = marked.and_then(|id| app.drawn.rows.iter().position(|row| *row == id)).unwrap_or(0);
    let height = usize::from(rows.height);
    // The marked row is always in sight.
    app.drawn.first_row = app.drawn.first_row.min(at).max((at + 1).saturating_sub(height));
    let all = model.conversations();
    for (row, one) in all.iter().skip(app.drawn.first_row).take(height).enumerate() {
        let area = Rect { y: rows.y + row as u16, height: 1, ..rows };
        let line = list_line(one, columns, &app.look);
        let style = if marked == Some(one.id) { app.look.selected() } else { Style::default() };
        frame.render_widget(Paragraph::new(line).style(style), area);
    }
    if all.is_empty() {
        let lines = ["", " /join ROOM", " /msg USER", " /rooms", " /help"];
        frame.render_widget(Paragraph::new(lines.map(Line::from).to_vec()).style(app.look.dim()), rows);
    }
    let hint = if app.pane == Pane::List { " ↑↓ Enter · Tab back" } else { " Tab: here" };
    frame.render_widget(Line::styled(text::fit(hint, columns), app.look.dim()), foot);
}

/// `● bob           3`
fn list_line(one: &Conversation, columns: usize, look: &Look) -> Line<'static> {
    let online = one.with.as_ref().is_some_and(|with| with.online == Some(true));
    let (sign, sign_style) = match one.kind {
        ConversationKind::Room => ("#", look.dim()),
        ConversationKind::Group => ("&", look.dim()),
        ConversationKind::Direct if online => ("●", look.online()),
        ConversationKind::Direct => ("○", look.dim()),
    };
    let unread = match one.unread {
        0 => String::new(),
        1..1000 => format!(" {}", one.unread),
        _ => " 999+".to_owned(),
    };
    let typing = if one.typists.is_empty() { "" } else { " …" };
    let room = columns.saturating_sub(4 + text::width(&unread) + text::width(typing));
    let title = text::fit(&text::line(&one.title()), room);
    let gap = room.saturating_sub(text::width(&title));
    let style = if one.unread > 0 { look.heading() } else { Style::default() };
    Line::from(vec![
        Span::raw(" "),
        Span::styled(sign, sign_style),
        Span::raw(" "),
        Span::styled(title, style),
        Span::styled(typing, look.dim()),
        Span::raw(" ".repeat(gap)),
        Span::styled(unread, look.unread()),
        Span::raw(" "),
    ])
}

fn draw_main(frame: &mut Frame<'_>, area: Rect, model: &Model, app: &mut App) -> bool {
    let banner = banner(&model.connection, model.outbox().waiting());
    let prompt = 2;
    let (lines, cursor) = app.editor.layout(usize::from(area.width).saturating_sub(prompt + 1));
    let editor_rows = lines.len().min(EDITOR_MAX).min(usize::from(area.height) / 2).max(1);
    let [head, alarm, thread, status, editor] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(u16::from(banner.is_some())),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(editor_rows as u16),
    ])
    .areas(area);
    let columns = usize::from(area.width);
    let open = app.open.and_then(|id| model.conversation(id));
    frame.render_widget(header(open, columns, app), head);
    if let Some(banner) = banner {
        let text = text::fit(&format!(" {banner}"), columns);
        let rest = " ".repeat(columns.saturating_sub(text::width(&text)));
        frame.render_widget(Line::styled(text + &rest, app.look.banner()), alarm);
    }
    // A column of air on each side.
    let thread = Rect { x: thread.x + 1, width: thread.width.saturating_sub(2), ..thread };
    app.drawn.thread = thread;
    let more = match open {
        Some(one) => draw_thread(frame, thread, one, model, app),
        None => {
            let mut help = vec![
                "",
                "Nothing is open. Begin with",
                "",
                "/join ROOM    a public room",
                "/msg USER     a chat",
                "/group NAME   a group of your own",
                "/rooms        the active rooms",
                "/help         all commands",
                "",
            ];
            help.extend(keys::KEYS);
            let lines: Vec<Line<'static>> =
                help.iter().flat_map(|line| text::wrap(line, usize::from(thread.width))).map(Line::from).collect();
            frame.render_widget(Paragraph::new(lines).style(app.look.dim()), thread);
            true
        }
    };
    frame.render_widget(status_line(open, model, columns, app), status);
    draw_editor(frame, editor, &lines, cursor, app);
    more
}

fn draw_thread(frame: &mut Frame<'_>, area: Rect, one: &Conversation, model: &Model, app: &App) -> bool {
    let items = thread::items(model, one, app.notes_of(one.id), app.cleared_of(one.id));
    let (columns, rows) = (usize::from(area.width), usize::from(area.height));
    let sight = Sight { model, times: &app.times, look: &app.look, columns, new_from: app.new_from };
    let (lines, more) = thread::fill(&items, app.anchor, rows, &sight);
    // What there is stands at the bottom, next to where one writes.
    let height = lines.len().min(rows) as u16;
    let below = Rect { y: area.y + area.height - height, height, ..area };
    frame.render_widget(Paragraph::new(lines), below);
    more
}

/// `#lobby · 3 here`
fn header(open: Option<&Conversation>, columns: usize, app: &App) -> Line<'static> {
    let Some(one) = open else { return Line::styled(" Chinwag", app.look.heading()) };
    let detail = match one.kind {
        ConversationKind::Room => format!("{} here", one.listeners),
        ConversationKind::Group if one.members == 1 => "1 member".to_owned(),
        ConversationKind::Group => format!("{} members", one.members),
        ConversationKind::Direct => match &one.with {
            Some(with) if with.online == Some(true) => "online".to_owned(),
            Some(with) => with.last_seen.map_or("offline".into(), |at| format!("last seen {}", app.times.short(at))),
            None => String::new(),
        },
    };
    let name = text::fit(&perform::label(one), columns.saturating_sub(2));
    let room = columns.saturating_sub(text::width(&name) + 2);
    let detail = if detail.is_empty() { detail } else { format!(" · {detail}") };
    Line::from(vec![
        Span::raw(" "),
        Span::styled(name, app.look.heading()),
        Span::styled(text::fit(&detail, room), app.look.dim()),
    ])
}

/// Says that there is no connection.
fn banner(connection: &Connection, waiting: usize) -> Option<String> {
    let unsent = match waiting {
        0 => String::new(),
        count => format!(" · unsent: {count}"),
    };
    match connection {
        Connection::Online => None,
        Connection::Connecting => Some(format!("Connecting…{unsent}")),
        Connection::Waiting { until, why } => {
            let seconds = until.saturating_duration_since(Instant::now()).as_secs() + 1;
            Some(format!("Not connected, next try in {seconds} s{unsent} · {}", text::line(why)))
        }
        Connection::Ended(reason) => Some(format!("{}{unsent}", text::line(&reason.to_string()))),
    }
}

/// Who types, what went wrong, what lies below.
fn status_line(open: Option<&Conversation>, model: &Model, columns: usize, app: &App) -> Line<'static> {
    let typists: Vec<String> = open.into_iter().flat_map(|one| &one.typists).map(|name| text::line(name)).collect();
    let below = open.filter(|_| app.anchor.is_some()).map(|one| match one.unread {
        0 => "── End: to the newest ".to_owned(),
        unread => format!("── {unread} new below, End: to the newest "),
    });
    let (words, style) = match (&app.word, typists.as_slice(), below) {
        (Some((word, true, _)), ..) => (word.clone(), app.look.error()),
        (Some((word, false, _)), ..) => (word.clone(), app.look.dim()),
        (None, _, Some(below)) => (below, app.look.accent()),
        (None, [], None) => (String::new(), app.look.dim()),
        (None, [one], None) => (format!("{one} is typing…"), app.look.dim()),
        (None, [one, two], None) => (format!("{one} and {two} are typing…"), app.look.dim()),
        (None, [one, others @ ..], None) => (format!("{one} and {} others are typing…", others.len()), app.look.dim()),
    };
    let elsewhere = model.conversations().iter().filter(|one| one.unread > 0 && Some(one.id) != app.open).count();
    let right = if elsewhere > 0 && !app.drawn.wide { format!("unread in {elsewhere}: Alt+A ") } else { String::new() };
    let room = columns.saturating_sub(text::width(&right) + 2);
    let words = text::fit(&words, room);
    let gap = room.saturating_sub(text::width(&words));
    Line::from(vec![
        Span::raw(" "),
        Span::styled(words, style),
        Span::raw(" ".repeat(gap + 1)),
        Span::styled(right, app.look.accent()),
    ])
}

fn draw_editor(frame: &mut Frame<'_>, area: Rect, lines: &[String], (row, column): (usize, usize), app: &App) {
    let height = usize::from(area.height);
    let first = (row + 1).saturating_sub(height);
    let prompt = if app.pane == Pane::Thread { app.look.own() } else { app.look.dim() };
    let shown: Vec<Line<'static>> = lines
        .iter()
        .enumerate()
        .skip(first)
        .take(height)
        .map(|(at, line)| {
            let lead = if at == 0 { Span::styled("> ", prompt) } else { Span::raw("  ") };
            Line::from(vec![lead, Span::raw(line.clone())])
        })
        .collect();
    frame.render_widget(Paragraph::new(shown), area);
    if app.pane == Pane::Thread {
        let at = (area.x + 2 + column as u16, area.y + (row - first) as u16);
        frame.set_cursor_position((at.0.min(area.right().saturating_sub(1)), at.1));
    }
}

#[cfg(test)]
mod tests {
    use chinwag_client::EndReason;

    use super::*;

    #[test]
    fn why_it_ended_is_shown_and_not_done() {
        let ended = Connection::Ended(EndReason::Refused("no\u{1b}]0;x\u{7}".into()));
        assert_eq!(banner(&ended, 2).unwrap(), "no\u{fffd}]0;x\u{fffd} · unsent: 2");
        assert_eq!(banner(&Connection::Online, 2), None);
    }
}
