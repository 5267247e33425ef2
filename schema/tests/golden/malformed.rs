//! Texts that are no frame of any dialect.

/// Returns (case, text) of what every decoder must refuse without harm. `good` is a frame's inside that would be a fine frame.
pub fn texts(good: &str) -> Vec<(&'static str, String)> {
    let deep = |count: usize| format!("{}{}", "[".repeat(count), "]".repeat(count));
    vec![
        ("nothing", String::new()),
        ("blanks", " \n".to_owned()),
        ("a word", "hello".to_owned()),
        ("an open brace", "{".to_owned()),
        ("cut off", format!("{{{good}")),
        ("something behind it", format!("{{{good}}} {{}}")),
        ("a trailing comma", format!("{{{good},}}")),
        ("single quotes", "{'type':'x'}".to_owned()),
        ("a comment", format!("{{/* */{good}}}")),
        ("a byte order mark", format!("\u{feff}{{{good}}}")),
        ("not a number", format!("{{{good},\"content\":NaN}}")),
        ("a raw line break in a string", format!("{{{good},\"content\":\"a\nb\"}}")),
        ("an unknown escape", format!("{{{good},\"content\":\"\\x41\"}}")),
        ("a lone high surrogate", format!("{{{good},\"content\":\"\\ud800\"}}")),
        ("a lone low surrogate", format!("{{{good},\"content\":\"\\udc00\"}}")),
        ("a number beyond all doubles", format!("{{{good},\"content\":1e999}}")),
        ("a known field twice", format!("{{{good},\"content\":\"a\",\"content\":\"b\"}}")),
        ("the type twice", format!("{{{good},\"type\":\"x\"}}")),
        ("deep nesting", format!("{{{good},\"content\":{}}}", deep(200))),
        ("very deep nesting", format!("{{{good},\"content\":{}}}", deep(30_000))),
        ("an array", "[]".to_owned()),
        ("an array of strings", "[\"x\",\"y\"]".to_owned()),
        ("a deep array", deep(1000)),
        ("null", "null".to_owned()),
        ("true", "true".to_owned()),
        ("a number", "42".to_owned()),
        ("a string", "\"text\"".to_owned()),
    ]
}

/// Returns (case, `type` field) of types that no dialect has.
pub fn types() -> Vec<(&'static str, String)> {
    vec![
        ("type null", "null".to_owned()),
        ("type a number", "5".to_owned()),
        ("type a list", "[\"x\"]".to_owned()),
        ("type an object", "{}".to_owned()),
        ("type empty", "\"\"".to_owned()),
        ("type unknown", "\"nonsense\"".to_owned()),
        ("type unknown and long", format!("\"{}\"", "é".repeat(5000))),
        ("type with a blank", "\" ping\"".to_owned()),
        ("type in the wrong case", "\"Auth\"".to_owned()),
        ("type of the prototype", "\"__proto__\"".to_owned()),
    ]
}
