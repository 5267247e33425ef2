//! Cases, and their comparison with a file.

use std::{env, fmt::Write, fs, path::Path};

use serde::Serialize;
use serde_json::value::RawValue;

/// When every frame of these tests is sent: 2026-11-22T06:00:00.000Z.
pub const NOW_MS: i64 = 1_795_327_200_000;

/// What a client's text means.
#[derive(Serialize)]
pub struct Read {
    pub case: String,
    /// The text of the client's frame. What is repeated very often is written `<n × text>`.
    #[serde(rename = "in")]
    pub input: String,
    /// A command, or what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meaning: Option<Box<RawValue>>,
    /// The server's whole answer to what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Box<RawValue>>,
}

/// How something is written; `out` is `null` when the dialect doesn't tell it.
#[derive(Serialize)]
pub struct Written {
    pub case: String,
    /// The exact text.
    pub out: Option<String>,
}

/// Makes a case of writing.
pub fn written(case: &str, out: Option<Vec<u8>>) -> Written {
    Written { case: case.to_owned(), out: out.map(|out| String::from_utf8(out).expect("frames are UTF-8")) }
}

/// Compares cases with their golden file (or rewrites it).
pub fn compare<T: Serialize>(file: &str, cases: &[T]) {
    assert!(!cases.is_empty());
    // One case a line: a difference shows which.
    let mut text = String::from("[\n");
    for (index, case) in cases.iter().enumerate() {
        let comma = if index + 1 < cases.len() { "," } else { "" };
        let mut line = serde_json::to_string(case).unwrap();
        // Nobody sees these in a difference.
        for hidden in ['\u{202e}', '\u{2028}', '\u{feff}'] {
            line = line.replace(hidden, &format!("\\u{:04x}", hidden as u32));
        }
        writeln!(text, "{line}{comma}").unwrap();
    }
    text.push_str("]\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(file);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (number, (was, is)) in golden.lines().zip(text.lines()).enumerate() {
        assert_eq!(was, is, "{file}, line {}", number + 1);
    }
    assert_eq!(golden.lines().count(), text.lines().count(), "{file} has another number of cases");
}

/// Keeps the server's text as it is, long runs shortened.
pub fn json(text: &[u8]) -> Box<RawValue> {
    let text = std::str::from_utf8(text).expect("frames are UTF-8");
    RawValue::from_string(shown(text)).expect("the server writes JSON")
}

/// Writes a Rust value's `Debug` as a JSON string.
pub fn debug(value: &impl std::fmt::Debug) -> Box<RawValue> {
    serde_json::value::to_raw_value(&shown(&format!("{value:?}"))).unwrap()
}

/// Shortens an input for the golden file: long runs are named instead of written.
pub fn shown(input: &str) -> String {
    if input.len() <= 600 {
        return input.to_owned();
    }
    let mut shown = String::new();
    let mut rest = input;
    while let Some(first) = rest.chars().next() {
        let run = rest.chars().take_while(|&c| c == first).count();
        if run > 40 {
            write!(shown, "<{run} × {first}>").unwrap();
        } else {
            shown.extend(std::iter::repeat_n(first, run));
        }
        rest = &rest[run * first.len_utf8()..];
    }
    if shown.len() > 600 {
        let (start, end) = (shown.floor_char_boundary(300), shown.floor_char_boundary(shown.len() - 100));
        shown = format!("{}<… {} bytes …>{}", &shown[..start], end - start, &shown[end..]);
    }
    shown
}
