//! What keys and the mouse do.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::app::{App, Pane};
use crate::slash::{self, Slash};

/// Lines that a turn of the wheel moves.
const WHEEL: isize = 3;

/// What the keys are, for the help.
pub const KEYS: &[&str] = &[
    "Enter sends · Alt+Enter or Ctrl+J begins a new line · Tab completes a command, else goes to the list and back",
    "PgUp, PgDn scroll · End goes to the newest · Alt+↑, Alt+↓ or Ctrl+P, Ctrl+N change the conversation · Alt+A: next unread",
    "↑, ↓ call back what you wrote · Ctrl+W, U, K delete a word, to the start, to the end · Ctrl+C twice or Ctrl+D quits",
];

/// Takes what the terminal says.
pub fn take(app: &mut App, event: Event) {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => press(app, key),
        Event::Paste(pasted) => {
            app.pane = Pane::Thread;
            app.editor.insert(&pasted);
            app.typed();
        }
        Event::Mouse(mouse) => point(app, mouse),
        Event::FocusGained => app.focused = true,
        Event::FocusLost => app.focused = false,
        _ => {}
    }
}

fn press(app: &mut App, key: KeyEvent) {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    let page = isize::try_from(app.drawn.thread.height.saturating_sub(2).max(1)).unwrap_or(1);
    // For both panes.
    match key.code {
        KeyCode::Char('c') if control => {
            if app.editor.is_empty() {
                let warned = app.word.as_ref().is_some_and(|(word, ..)| word == "Ctrl+C again quits");
                if warned {
                    app.quit = Some(true);
                } else {
                    app.say("Ctrl+C again quits", false);
                }
            } else {
                app.editor.set("");
                app.typed();
            }
            return;
        }
        KeyCode::Char('n') if control => return app.step(true),
        KeyCode::Char('p') if control => return app.step(false),
        KeyCode::Down if alt => return app.step(true),
        KeyCode::Up if alt => return app.step(false),
        KeyCode::Char('a') if alt => return app.next_unread(),
        KeyCode::PageUp => return app.scroll(-page),
        KeyCode::PageDown => return app.scroll(page),
        KeyCode::F(1) => return app.perform(Slash::Help),
        _ => {}
    }
    match app.pane {
        Pane::List => in_list(app, key.code),
        Pane::Thread => in_thread(app, key.code, control, alt),
    }
}

fn in_list(app: &mut App, code: KeyCode) {
    match code {
        KeyCode::Up | KeyCode::Char('k') => app.step(false),
        KeyCode::Down | KeyCode::Char('j') => app.step(true),
        KeyCode::Enter | KeyCode::Right => match app.selected {
            Some(id) => app.go_to(id),
            None => app.pane = Pane::Thread,
        },
        KeyCode::Tab | KeyCode::Esc | KeyCode::BackTab => app.pane = Pane::Thread,
        // Whoever types wants to write.
        KeyCode::Char(c) => {
            app.pane = Pane::Thread;
            app.editor.insert(c.encode_utf8(&mut [0; 4]));
            app.typed();
        }
        _ => {}
    }
}

fn in_thread(app: &mut App, code: KeyCode, control: bool, alt: bool) {
    let editor = &mut app.editor;
    match code {
        KeyCode::Enter if alt => editor.insert("\n"),
        KeyCode::Char('j') if control => editor.insert("\n"),
        KeyCode::Enter => return app.enter(),
        KeyCode::Tab | KeyCode::BackTab => {
            if let Some(completed) = slash::complete(editor.text()) {
                editor.set(&completed);
            } else if editor.is_empty() || !editor.text().starts_with('/') {
                app.pane = Pane::List;
                app.selected = app.open.or(app.drawn.rows.first().copied());
            }
            return;
        }
        KeyCode::Esc if app.anchor.is_some() => {
            app.anchor = None;
            return;
        }
        KeyCode::Esc => {
            app.pane = Pane::List;
            app.selected = app.open.or(app.drawn.rows.first().copied());
            return;
        }
        KeyCode::Char('d') if control && editor.is_empty() => {
            app.quit = Some(true);
            return;
        }
        KeyCode::Char('a') if control => editor.home(),
        KeyCode::Char('e') if control => editor.end(),
        KeyCode::Char('b') if control => editor.left(),
        KeyCode::Char('f') if control => editor.right(),
        KeyCode::Char('d') if control => editor.delete(),
        KeyCode::Char('w') if control => editor.delete_word(),
        KeyCode::Char('u') if control => editor.delete_to_start(),
        KeyCode::Char('k') if control => editor.delete_to_end(),
        KeyCode::Char('b') if alt => editor.word_left(),
        KeyCode::Char('f') if alt => editor.word_right(),
        KeyCode::Left if control || alt => editor.word_left(),
        KeyCode::Right if control || alt => editor.word_right(),
        KeyCode::Left => editor.left(),
        KeyCode::Right => editor.right(),
        KeyCode::Home => editor.home(),
        KeyCode::End if editor.is_empty() => app.anchor = None,
        KeyCode::End => editor.end(),
        KeyCode::Up => editor.recall(false),
        KeyCode::Down => editor.recall(true),
        KeyCode::Backspace if control || alt => editor.delete_word(),
        KeyCode::Backspace => editor.backspace(),
        KeyCode::Delete => editor.delete(),
        KeyCode::Char(c) if !control && !alt => editor.insert(c.encode_utf8(&mut [0; 4])),
        _ => return,
    }
    app.typed();
}

fn point(app: &mut App, mouse: MouseEvent) {
    let at = Position { x: mouse.column, y: mouse.row };
    let in_list = app.drawn.list.contains(at);
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) if in_list => {
            let row = usize::from(at.y - app.drawn.list.y) + app.drawn.first_row;
            if let Some(&id) = app.drawn.rows.get(row) {
                app.go_to(id);
            }
        }
        MouseEventKind::Down(MouseButton::Left) => app.pane = Pane::Thread,
        MouseEventKind::ScrollUp if in_list => app.step(false),
        MouseEventKind::ScrollDown if in_list => app.step(true),
        MouseEventKind::ScrollUp => app.scroll(-WHEEL),
        MouseEventKind::ScrollDown => app.scroll(WHEEL),
        _ => {}
    }
}
