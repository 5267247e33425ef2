//! Texts for a terminal: others' words can't send it commands, and everything has a width.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// Columns between tab stops.
const TAB: usize = 4;

/// Says whether a character does something else than show itself: control characters (C0, DEL, C1: escape sequences begin with one) and those that
/// reorder what surrounds them (bidirectional overrides and isolates), with which a text can look like another's.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Says whether a character is shown as a blank or breaks a line; some blanks are hostile, and shown as `�`.
pub fn is_blank(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\t') || (c.is_whitespace() && !is_hostile(c))
}

/// Makes a text of one line harmless: what would act is replaced by `�`, line ends by `⏎`.
pub fn line(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars()
        .map(|c| match c {
            '\n' => '⏎',
            '\t' => ' ',
            c if is_hostile(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Returns the columns that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Shortens a text of one line to so many columns, with `…` if something is left out.
pub fn fit(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut fitted = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        if used + grapheme.width() > columns.saturating_sub(1) {
            break;
        }
        used += grapheme.width();
        fitted.push_str(grapheme);
    }
    if columns > 0 {
        fitted.push('…');
    }
    fitted
}

/// Breaks a message into harmless lines of at most so many columns, at blanks where that goes.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = Vec::new();
    for paragraph in text.replace("\r\n", "\n").split(['\n', '\r']) {
        let mut current = String::new();
        let mut used = 0;
        for word in runs(paragraph) {
            let word = line(&word.replace('\t', &" ".repeat(TAB)));
            let wide = word.width();
            if used + wide <= columns {
                current.push_str(&word);
                used += wide;
                continue;
            }
            if word.chars().all(char::is_whitespace) {
                // The end of the line stands for it.
                lines.push(std::mem::take(&mut current));
                used = 0;
                continue;
            }
            if used > 0 && wide <= columns {
                lines.push(std::mem::take(&mut current).trim_end().to_owned());
                used = 0;
            }
            for grapheme in word.graphemes(true) {
                if used + grapheme.width() > columns {
                    lines.push(std::mem::take(&mut current));
                    used = 0;
                }
                current.push_str(grapheme);
                used += grapheme.width();
            }
        }
        lines.push(current);
    }
    lines
}

/// Splits a text into runs of blanks and of what isn't blank.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let blank = rest.chars().next()?.is_whitespace();
        let end = rest.find(|c: char| c.is_whitespace() != blank).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        Some(run)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_sequences_and_reordering_are_shown_and_not_done() {
        assert_eq!(line("a\u{1b}[31mred\u{7}"), "a\u{fffd}[31mred\u{fffd}");
        assert_eq!(line("\u{9b}2J"), "\u{fffd}2J");
        assert_eq!(line("abc\u{202e}fdp.exe"), "abc\u{fffd}fdp.exe");
        assert_eq!(line("two\r\nlines\tand"), "two⏎lines and");
        assert_eq!(wrap("x\u{1b}]0;title\u{7}y", 40), ["x\u{fffd}]0;title\u{fffd}y"]);
        assert_eq!(line("Zoë 👩‍👩‍👧 مرحبا"), "Zoë 👩‍👩‍👧 مرحبا");
    }

    #[test]
    fn lines_break_at_blanks_and_long_words_anywhere() {
        assert_eq!(wrap("the quick brown fox", 10), ["the quick", "brown fox"]);
        assert_eq!(wrap("the program; yes", 11), ["the", "program;", "yes"]);
        assert_eq!(wrap("abcdefghijkl", 5), ["abcde", "fghij", "kl"]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
        assert_eq!(wrap("日本語テキスト", 6), ["日本語", "テキス", "ト"]);
        assert_eq!(wrap("", 9), [""]);
    }

    #[test]
    fn what_is_too_long_is_shortened_by_width() {
        assert_eq!(fit("hello", 5), "hello");
        assert_eq!(fit("hello!", 5), "hell…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("x", 0), "");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked_or_can_act(text in "\\PC*|.*", columns in 2..60usize) {
            for line in wrap(&text, columns) {
                prop_assert!(!line.chars().any(is_hostile), "{line:?}");
                // One grapheme can be wider than any width that was asked for.
                prop_assert!(line.width() <= columns || line.graphemes(true).count() == 1, "{line:?}");
            }
            prop_assert!(fit(&line(&text), columns).width() <= columns);
        }
    }
}
