//! Splits the text of a statement where its parameters go, for the `statement!` of each SQL backend.

/// Splits a statement at its placeholders (`?`), when the program is compiled.
pub(super) const fn parts<const N: usize>(sql: &'static str) -> [&'static str; N] {
    let mut parts = [""; N];
    let (mut rest, mut at, mut part) = (sql, 0, 0);
    while at < rest.len() {
        if rest.as_bytes()[at] == b'?' {
            let (before, after) = rest.split_at(at);
            parts[part] = before;
            rest = after.split_at(1).1;
            (at, part) = (0, part + 1);
        } else {
            at += 1;
        }
    }
    assert!(part + 1 == N, "as many placeholders as fields");
    parts[part] = rest;
    parts
}
