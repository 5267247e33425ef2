//! The line that is being written: several lines, in fact, by graphemes. Pure.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use crate::text;

/// What is written at most, bytes: what a message may have at most.
const TEXT_MAX_BYTES: usize = 32 * 1024;
/// Lines that can be called back.
const PAST_MAX: usize = 100;

/// The text and the cursor.
#[derive(Debug, Default)]
pub struct Editor {
    text: String,
    /// Byte offset, on a boundary of graphemes.
    cursor: usize,
    past: Vec<String>,
    /// Which of the past is shown, and what was written before.
    recalled: Option<(usize, String)>,
}

impl Editor {
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Replaces what is written.
    pub fn set(&mut self, text: &str) {
        self.text = text.to_owned();
        self.cursor = self.text.len();
        self.recalled = None;
    }

    /// Writes at the cursor; what would be too much is left out.
    pub fn insert(&mut self, written: &str) {
        let written = written.replace("\r\n", "\n").replace('\r', "\n");
        // What can't be seen can't be meant.
        let harmless = |c: &char| *c == '\n' || *c == '\t' || !c.is_control();
        let written: String = written.chars().filter(harmless).collect();
        if self.text.len() + written.len() <= TEXT_MAX_BYTES {
            self.text.insert_str(self.cursor, &written);
            self.cursor += written.len();
        }
    }

    /// Takes what is written, to be called back later.
    pub fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        self.cursor = 0;
        self.recalled = None;
        if self.past.last() != Some(&text) && !text.trim().is_empty() {
            self.past.push(text.clone());
        }
        if self.past.len() > PAST_MAX {
            self.past.remove(0);
        }
        text
    }

    /// Calls an older line back, or (`later`) a newer one.
    pub fn recall(&mut self, later: bool) {
        let (at, before) = match self.recalled.take() {
            None if later || self.past.is_empty() => return,
            None => (self.past.len() - 1, self.text.clone()),
            Some((at, before)) if !later => (at.saturating_sub(1), before),
            Some((at, before)) if at + 1 < self.past.len() => (at + 1, before),
            Some((_, before)) => return self.set(&before),
        };
        self.text.clone_from(&self.past[at]);
        self.cursor = self.text.len();
        self.recalled = Some((at, before));
    }

    fn before(&self) -> Option<usize> {
        self.text[..self.cursor].grapheme_indices(true).next_back().map(|(at, _)| at)
    }

    fn after(&self) -> Option<usize> {
        self.text[self.cursor..].graphemes(true).next().map(|grapheme| self.cursor + grapheme.len())
    }

    pub fn left(&mut self) {
        self.cursor = self.before().unwrap_or(0);
    }

    pub fn right(&mut self) {
        self.cursor = self.after().unwrap_or(self.text.len());
    }

    pub fn home(&mut self) {
        self.cursor = self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1);
    }

    pub fn end(&mut self) {
        self.cursor = self.text[self.cursor..].find('\n').map_or(self.text.len(), |at| self.cursor + at);
    }

    pub fn word_left(&mut self) {
        self.cursor = self.word_start();
    }

    pub fn word_right(&mut self) {
        let rest = &self.text[self.cursor..];
        let mut ends = rest.unicode_word_indices().map(|(at, word)| self.cursor + at + word.len());
        self.cursor = ends.next().unwrap_or(self.text.len());
    }

    fn word_start(&self) -> usize {
        self.text[..self.cursor].unicode_word_indices().next_back().map_or(0, |(at, _)| at)
    }

    pub fn backspace(&mut self) {
        if let Some(at) = self.before() {
            self.text.replace_range(at..self.cursor, "");
            self.cursor = at;
        }
    }

    pub fn delete(&mut self) {
        if let Some(end) = self.after() {
            self.text.replace_range(self.cursor..end, "");
        }
    }

    pub fn delete_word(&mut self) {
        let at = self.word_start();
        self.text.replace_range(at..self.cursor, "");
        self.cursor = at;
    }

    pub fn delete_to_start(&mut self) {
        let end = self.cursor;
        self.home();
        self.text.replace_range(self.cursor..end, "");
    }

    pub fn delete_to_end(&mut self) {
        let start = self.cursor;
        self.end();
        self.text.replace_range(start..self.cursor, "");
        self.cursor = start;
    }

    /// Lays the text out in so many columns; returns the lines and where the cursor is (row, column).
    pub fn layout(&self, columns: usize) -> (Vec<String>, (usize, usize)) {
        let columns = columns.max(2);
        let mut lines = vec![String::new()];
        let mut used = 0;
        let mut cursor = (0, 0);
        for (at, grapheme) in self.text.grapheme_indices(true) {
            if at == self.cursor {
                cursor = (lines.len() - 1, used);
            }
            if grapheme == "\n" {
                lines.push(String::new());
                used = 0;
                continue;
            }
            let shown = text::line(grapheme);
            let wide = shown.width();
            if used + wide > columns {
                lines.push(String::new());
                used = 0;
                if at == self.cursor {
                    cursor = (lines.len() - 1, 0);
                }
            }
            lines.last_mut().expect("begins with one").push_str(&shown);
            used += wide;
        }
        if self.cursor == self.text.len() {
            if used >= columns {
                lines.push(String::new());
                used = 0;
            }
            cursor = (lines.len() - 1, used);
        }
        (lines, cursor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn graphemes_are_moved_over_and_deleted_whole() {
        let mut editor = Editor::default();
        editor.insert("ae\u{301}👩‍👩‍👧");
        editor.left();
        editor.backspace();
        assert_eq!(editor.text(), "a👩‍👩‍👧");
        editor.right();
        editor.backspace();
        assert_eq!(editor.text(), "a");
        editor.delete();
        assert_eq!(editor.text(), "a");
    }

    #[test]
    fn words_and_lines_are_edited() {
        let mut editor = Editor::default();
        editor.insert("one two\r\nthree four");
        editor.delete_word();
        assert_eq!(editor.text(), "one two\nthree ");
        editor.home();
        editor.delete_to_end();
        editor.insert("x");
        assert_eq!(editor.text(), "one two\nx");
        editor.delete_to_start();
        editor.backspace();
        editor.word_left();
        editor.insert("and ");
        assert_eq!(editor.text(), "one and two");
    }

    #[test]
    fn control_characters_of_a_paste_are_left_out_and_too_much_is_not_taken() {
        let mut editor = Editor::default();
        editor.insert("a\u{1b}[2Jb\u{7}");
        assert_eq!(editor.text(), "a[2Jb");
        editor.insert(&"x".repeat(TEXT_MAX_BYTES));
        assert_eq!(editor.text(), "a[2Jb");
    }

    #[test]
    fn lines_are_called_back() {
        let mut editor = Editor::default();
        for line in ["one", "two"] {
            editor.insert(line);
            assert_eq!(editor.take(), line);
        }
        editor.insert("begun");
        editor.recall(false);
        editor.recall(false);
        assert_eq!(editor.text(), "one");
        editor.recall(true);
        editor.recall(true);
        assert_eq!(editor.text(), "begun");
    }

    proptest! {
        #[test]
        fn no_key_breaks_the_text_and_the_cursor_stays_inside(keys in prop::collection::vec((0..12u8, "[a é日👍🏽\n]{0,3}"), 0..60), columns in 2..20usize) {
            let mut editor = Editor::default();
            for (key, written) in keys {
                match key {
                    0 => editor.left(),
                    1 => editor.right(),
                    2 => editor.home(),
                    3 => editor.end(),
                    4 => editor.backspace(),
                    5 => editor.delete(),
                    6 => editor.delete_word(),
                    7 => editor.word_left(),
                    8 => editor.word_right(),
                    9 => editor.delete_to_end(),
                    _ => editor.insert(&written),
                }
                let (lines, (row, column)) = editor.layout(columns);
                prop_assert!(row < lines.len());
                // One grapheme can be wider than any width that was asked for.
                let fits = |line: &String| line.width() <= columns || line.graphemes(true).count() == 1;
                prop_assert!(lines.iter().all(fits) && (column <= columns || lines[row].graphemes(true).count() == 1));
            }
        }
    }
}
