//! Requests of the native protocol: text → canonical command, or the whole error reply.

use chinwag_schema::wire::native::{decode, reply_error};

use crate::{
    harness::{Read, compare, json, shown},
    malformed,
};

const ID: &str = "019adb4e-2f00-7abc-8def-0123456789ab";

fn read(case: &str, input: String) -> Read {
    let (meaning, answer) = match decode(&input) {
        Ok(request) => {
            let canonical = request.encode();
            let text = std::str::from_utf8(&canonical).unwrap();
            assert_eq!(decode(text).as_ref(), Ok(&request), "what a client of ours writes means the same: {text}");
            assert!(text.contains(&format!(r#""type":"{}""#, request.command.name())), "{text}");
            (Some(json(&canonical)), None)
        }
        Err((id, error)) => (None, Some(json(&reply_error(id.as_deref(), &error)))),
    };
    Read { case: case.to_owned(), input: shown(&input), meaning, answer }
}

pub fn good() -> Vec<(&'static str, String)> {
    let plain = [
        ("hello with a token", r#"{"id":"1","type":"hello","protocol":1,"token":"eyJ.x.y"}"#),
        (
            "hello with a ticket",
            r#"{"id":"1","type":"hello","protocol":1,"ticket":"t-1","client":"web/1.0","features":[]}"#,
        ),
        (
            "hello of a guest",
            r#"{"id":"1","type":"hello","protocol":1,"guest":"ann","token":null,"features":["a","b"]}"#,
        ),
        (
            "hello with positions",
            r#"{"positions":{"7352":{"epoch":"00c0ffee00c0ffee","seq":42,"more":1},"7360":{"seq":0,"epoch":"0000000000000001"}},"protocol":1,"token":"t","type":"hello","id":"1"}"#,
        ),
        ("ping", r#"{"id":"r-1","type":"ping"}"#),
        ("unknown fields are ignored", r#"{"id":"r-1","type":"ping","color":{"deep":[1,2,{"a":null}]},"x":1e5}"#),
        ("blanks between", " {\n\t\"id\" : \"r-1\" ,\r\n \"type\" : \"ping\" } \n"),
        ("escapes", r#"{"\u0069d":"\u0031\"","type":"\u0070ing"}"#),
        (
            "a field of another command may be anything",
            r#"{"id":"1","type":"ping","content":[1],"seq":-1,"limit":"x"}"#,
        ),
        ("bye", r#"{"id":"1","type":"bye"}"#),
        ("conversations", r#"{"id":"1","type":"conversations"}"#),
        ("conversations, next page", r#"{"id":"1","type":"conversations","after":"7352","limit":200}"#),
        (
            "resume",
            r#"{"id":"1","type":"resume","positions":{"7352":{"epoch":"00C0FFEE00c0ffee","seq":9007199254740991}}}"#,
        ),
        ("resume nothing", r#"{"id":"1","type":"resume","positions":{}}"#),
        (
            "send",
            r#"{"id":"1","type":"send","conversation":"9007199254740993","message_id":"019adb4e-2f00-7abc-8def-0123456789ab","content":" hi \n"}"#,
        ),
        (
            "send to a user",
            r#"{"id":"1","type":"send","to":"bob","message_id":"019adb4e-2f00-7abc-8def-0123456789ab","content":"hi"}"#,
        ),
        (
            "send to a user, name composed",
            "{\"id\":\"1\",\"type\":\"send\",\"to\":\"zoe\\u0308\",\"message_id\":\"019adb4e-2f00-7abc-8def-0123456789ab\",\"content\":\"hi\"}",
        ),
        (
            "send markup and controls",
            r#"{"id":"1","type":"send","conversation":"1","message_id":"019adb4e-2f00-7abc-8def-0123456789ab","content":"<b>\u0000\u202e\ud83d\ude00</b>"}"#,
        ),
        ("edit", r#"{"id":"1","type":"edit","conversation":"7352","message":"7401","content":"hi!"}"#),
        ("delete", r#"{"id":"1","type":"delete","conversation":"7352","message":"7401"}"#),
        ("history, newest", r#"{"id":"1","type":"history","conversation":"7352"}"#),
        ("history before", r#"{"id":"1","type":"history","conversation":"7352","before":43,"limit":1}"#),
        (
            "history after",
            r#"{"id":"1","type":"history","conversation":"7352","after":0,"limit":200,"epoch":"00c0ffee00c0ffee"}"#,
        ),
        ("delivered", r#"{"id":"1","type":"delivered","conversation":"7352","seq":44}"#),
        ("read", r#"{"id":"1","type":"read","conversation":"7352","seq":0}"#),
        ("typing", r#"{"id":"1","type":"typing","conversation":"7352","active":true}"#),
        ("typing ended", r#"{"id":"1","type":"typing","conversation":"7352","active":false}"#),
        ("chat.open", r#"{"id":"1","type":"chat.open","with":"bob"}"#),
        ("group.create", r#"{"id":"1","type":"group.create","name":"  Chess \"club\" "}"#),
        ("group.join", r#"{"id":"1","type":"group.join","conversation":"8001"}"#),
        ("group.leave", r#"{"id":"1","type":"group.leave","conversation":"8001"}"#),
        ("room.create", r#"{"id":"1","type":"room.create","name":" Lobby 1 "}"#),
        ("room.join by id", r#"{"id":"1","type":"room.join","conversation":"8000"}"#),
        ("room.join by name", r#"{"id":"1","type":"room.join","name":"Lobby 1"}"#),
        ("room.leave", r#"{"id":"1","type":"room.leave","conversation":"8000"}"#),
        ("room.listen", r#"{"id":"1","type":"room.listen","name":"Lobby 1"}"#),
        (
            "room.listen again",
            r#"{"id":"1","type":"room.listen","conversation":"8000","position":{"epoch":"00c0ffee00c0ffee","seq":3}}"#,
        ),
        ("room.unlisten", r#"{"id":"1","type":"room.unlisten","conversation":"8000"}"#),
        ("rooms", r#"{"id":"1","type":"rooms"}"#),
        ("members", r#"{"id":"1","type":"members","conversation":"8001","after":"7350","limit":10}"#),
        ("conversation", r#"{"id":"1","type":"conversation","conversation":"8001"}"#),
        ("conversation by a room's name", r#"{"id":"1","type":"conversation","name":"Lobby 1"}"#),
        ("users by id", r#"{"id":"1","type":"users","ids":["7350","7351"]}"#),
        ("users by name", r#"{"id":"1","type":"users","names":["bob","al"]}"#),
        ("presence.watch", r#"{"id":"1","type":"presence.watch","users":["7350"]}"#),
        ("presence.unwatch", r#"{"id":"1","type":"presence.unwatch","users":["7350"]}"#),
        ("profile.get", r#"{"id":"1","type":"profile.get"}"#),
        ("profile.set", r#"{"id":"1","type":"profile.set","display_name":" Ann B. "}"#),
        ("profile.set to nothing", r#"{"id":"1","type":"profile.set","display_name":null}"#),
        ("stats", r#"{"id":"1","type":"stats"}"#),
    ];
    let mut cases: Vec<_> = plain.into_iter().map(|(case, text)| (case, text.to_owned())).collect();
    cases.push(("the longest request id", format!(r#"{{"id":"{}","type":"ping"}}"#, "i".repeat(64))));
    cases.push(("the longest text", send("conversation", "\"1\"", ID, &format!("  {}  ", "é".repeat(4096)))));
    cases
}

fn send(to: &str, whom: &str, message_id: &str, content: &str) -> String {
    format!(r#"{{"id":"1","type":"send","{to}":{whom},"message_id":"{message_id}","content":"{content}"}}"#)
}

fn bad() -> Vec<(&'static str, String)> {
    // (case, fields behind `"id":"1"`)
    let fields = [
        ("hello without a protocol", r#""type":"hello","token":"t""#),
        ("hello with protocol 2", r#""type":"hello","protocol":2,"token":"t""#),
        ("hello with a protocol as text", r#""type":"hello","protocol":"1","token":"t""#),
        ("hello without credentials", r#""type":"hello","protocol":1"#),
        ("hello with two credentials", r#""type":"hello","protocol":1,"token":"t","guest":"ann""#),
        ("hello with an empty token", r#""type":"hello","protocol":1,"token":"""#),
        ("hello with a token of another type", r#""type":"hello","protocol":1,"token":{"a":1}"#),
        ("hello of a guest with a bad name", r#""type":"hello","protocol":1,"guest":"a b""#),
        ("hello of a guest with a short name", r#""type":"hello","protocol":1,"guest":"a""#),
        (
            "hello of a guest with a long name",
            r#""type":"hello","protocol":1,"guest":"aaaaaaaaaabbbbbbbbbbccccccccccd""#,
        ),
        ("hello with a bad feature", r#""type":"hello","protocol":1,"token":"t","features":[1]"#),
        ("hello with features of another type", r#""type":"hello","protocol":1,"token":"t","features":"a""#),
        ("positions as a list", r#""type":"resume","positions":[]"#),
        ("positions missing", r#""type":"resume""#),
        ("positions with a bad key", r#""type":"resume","positions":{"x":{"epoch":"00c0ffee00c0ffee","seq":1}}"#),
        ("positions with a leading zero", r#""type":"resume","positions":{"07":{"epoch":"00c0ffee00c0ffee","seq":1}}"#),
        (
            "positions with a conversation twice",
            r#""type":"resume","positions":{"7":{"epoch":"00c0ffee00c0ffee","seq":1},"7":{"epoch":"00c0ffee00c0ffee","seq":2}}"#,
        ),
        ("a position that is a number", r#""type":"resume","positions":{"7":4}"#),
        ("a position without an epoch", r#""type":"resume","positions":{"7":{"seq":4}}"#),
        ("a position with a short epoch", r#""type":"resume","positions":{"7":{"epoch":"c0ffee","seq":4}}"#),
        (
            "a position with a negative seq",
            r#""type":"resume","positions":{"7":{"epoch":"00c0ffee00c0ffee","seq":-1}}"#,
        ),
        (
            "send without a target",
            r#""type":"send","message_id":"019adb4e-2f00-7abc-8def-0123456789ab","content":"hi""#,
        ),
        (
            "send with two targets",
            r#""type":"send","conversation":"1","to":"bob","message_id":"019adb4e-2f00-7abc-8def-0123456789ab","content":"hi""#,
        ),
        (
            "send to a number",
            r#""type":"send","conversation":1,"message_id":"019adb4e-2f00-7abc-8def-0123456789ab","content":"hi""#,
        ),
        (
            "send to an id beyond 64 bits",
            r#""type":"send","conversation":"9223372036854775808","message_id":"019adb4e-2f00-7abc-8def-0123456789ab","content":"hi""#,
        ),
        (
            "send to an id with a sign",
            r#""type":"send","conversation":"-1","message_id":"019adb4e-2f00-7abc-8def-0123456789ab","content":"hi""#,
        ),
        (
            "send to a name that none can have",
            r#""type":"send","to":" ","message_id":"019adb4e-2f00-7abc-8def-0123456789ab","content":"hi""#,
        ),
        ("send without a message id", r#""type":"send","conversation":"1","content":"hi""#),
        (
            "send with a message id that is no UUID",
            r#""type":"send","conversation":"1","message_id":"1","content":"hi""#,
        ),
        (
            "send with a UUIDv4",
            r#""type":"send","conversation":"1","message_id":"9b2d0c5a-7f0c-4f5e-9d3e-0123456789ab","content":"hi""#,
        ),
        (
            "send with a UUID in capitals",
            r#""type":"send","conversation":"1","message_id":"019ADB4E-2F00-7ABC-8DEF-0123456789AB","content":"hi""#,
        ),
        (
            "send with a UUID without hyphens",
            r#""type":"send","conversation":"1","message_id":"019adb4e2f007abc8def0123456789ab","content":"hi""#,
        ),
        (
            "send without content",
            r#""type":"send","conversation":"1","message_id":"019adb4e-2f00-7abc-8def-0123456789ab""#,
        ),
        (
            "send with content null",
            r#""type":"send","conversation":"1","message_id":"019adb4e-2f00-7abc-8def-0123456789ab","content":null"#,
        ),
        (
            "send with content a number",
            r#""type":"send","conversation":"1","message_id":"019adb4e-2f00-7abc-8def-0123456789ab","content":7"#,
        ),
        (
            "send with blank content",
            r#""type":"send","conversation":"1","message_id":"019adb4e-2f00-7abc-8def-0123456789ab","content":" \n\t""#,
        ),
        ("edit without a message", r#""type":"edit","conversation":"1","content":"hi""#),
        ("edit of what is no id", r#""type":"edit","conversation":"1","message":"019adb4e","content":"hi""#),
        ("edit to nothing", r#""type":"edit","conversation":"1","message":"7401","content":"""#),
        ("delete without a conversation", r#""type":"delete","message":"7401""#),
        ("history both ways", r#""type":"history","conversation":"1","before":5,"after":5"#),
        ("history before 0", r#""type":"history","conversation":"1","before":0"#),
        ("history with a cursor as text", r#""type":"history","conversation":"1","before":"5""#),
        ("history with a fraction", r#""type":"history","conversation":"1","after":1.5"#),
        ("history with a seq beyond 2^53", r#""type":"history","conversation":"1","after":9007199254740992"#),
        ("history with limit 0", r#""type":"history","conversation":"1","limit":0"#),
        ("history with limit 201", r#""type":"history","conversation":"1","limit":201"#),
        ("history with limit as text", r#""type":"history","conversation":"1","limit":"50""#),
        ("history with a bad epoch", r#""type":"history","conversation":"1","epoch":"xyz""#),
        ("read without a seq", r#""type":"read","conversation":"1""#),
        ("delivered with a huge seq", r#""type":"delivered","conversation":"1","seq":123456789012345678901234567890"#),
        ("typing with active as text", r#""type":"typing","conversation":"1","active":"yes""#),
        ("typing without active", r#""type":"typing","conversation":"1""#),
        ("chat.open without a name", r#""type":"chat.open""#),
        ("group.create with a blank name", r#""type":"group.create","name":" ""#),
        ("group.create with a control character", r#""type":"group.create","name":"a\u0007b""#),
        ("room.create without a name", r#""type":"room.create""#),
        ("room.create with a short name", r#""type":"room.create","name":"ab""#),
        ("room.create with other characters", r#""type":"room.create","name":"Lobby!""#),
        (
            "room.create with a long name",
            r#""type":"room.create","name":"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeef""#,
        ),
        ("room.join with nothing", r#""type":"room.join""#),
        ("room.join with both", r#""type":"room.join","conversation":"8000","name":"Lobby 1""#),
        ("room.listen with a bad position", r#""type":"room.listen","conversation":"8000","position":"3""#),
        ("rooms with limit 201", r#""type":"rooms","limit":201"#),
        ("members after a name", r#""type":"members","conversation":"8001","after":"bob""#),
        ("users by nothing", r#""type":"users""#),
        ("users by no ids", r#""type":"users","ids":[]"#),
        ("users by ids that are none", r#""type":"users","ids":["7350",null]"#),
        ("users by both", r#""type":"users","ids":["1"],"names":["bob"]"#),
        ("presence.watch of a text", r#""type":"presence.watch","users":"7350""#),
        ("profile.set without a name", r#""type":"profile.set""#),
        ("profile.set to blanks", r#""type":"profile.set","display_name":"  ""#),
        ("no type", r#""content":"hi""#),
    ];
    let mut cases: Vec<_> = fields.into_iter().map(|(case, rest)| (case, format!("{{\"id\":\"1\",{rest}}}"))).collect();
    cases.push(("send of 4,097 characters", send("conversation", "\"1\"", ID, &"é".repeat(4097))));
    cases.push((
        "send of a short text in a sea of blanks",
        send("conversation", "\"1\"", ID, &format!("x{}", " ".repeat(40_000))),
    ));
    cases.push(("send to a name of 65 characters", send("to", &format!("\"{}\"", "n".repeat(65)), ID, "hi")));
    cases.push((
        "profile.set to 65 characters",
        format!(r#"{{"id":"1","type":"profile.set","display_name":"{}"}}"#, "n".repeat(65)),
    ));
    cases.push((
        "group.create with 101 characters",
        format!(r#"{{"id":"1","type":"group.create","name":"{}"}}"#, "n".repeat(101)),
    ));
    cases.push((
        "hello with a token of more than 8 KiB",
        format!(r#"{{"id":"1","type":"hello","protocol":1,"token":"{}"}}"#, "t".repeat(8193)),
    ));
    cases.push((
        "hello with a long client",
        format!(r#"{{"id":"1","type":"hello","protocol":1,"token":"t","client":"{}"}}"#, "c".repeat(65)),
    ));
    cases.push((
        "hello with 33 features",
        format!(r#"{{"id":"1","type":"hello","protocol":1,"token":"t","features":[{}"f"]}}"#, "\"f\",".repeat(32)),
    ));
    let ids: Vec<_> = (0..101).map(|id| format!("\"{id}\"")).collect();
    cases.push(("users by 101 ids", format!(r#"{{"id":"1","type":"users","ids":[{}]}}"#, ids.join(","))));
    let positions: Vec<_> = (0..501).map(|id| format!(r#""{id}":{{"epoch":"00c0ffee00c0ffee","seq":1}}"#)).collect();
    cases.push((
        "resume of 501 positions",
        format!(r#"{{"id":"1","type":"resume","positions":{{{}}}}}"#, positions.join(",")),
    ));
    for (case, id) in [
        ("no id", ""),
        ("id null", "\"id\":null,"),
        ("id a number", "\"id\":1,"),
        ("id empty", "\"id\":\"\","),
        ("id a list", "\"id\":[\"1\"],"),
    ] {
        cases.push((case, format!("{{{id}\"type\":\"ping\"}}")));
    }
    cases.push(("id of 65 bytes", format!(r#"{{"id":"{}","type":"ping"}}"#, "i".repeat(65))));
    cases.push(("an empty object", "{}".to_owned()));
    cases.extend(malformed::types().into_iter().map(|(case, kind)| (case, format!(r#"{{"id":"1","type":{kind}}}"#))));
    cases.extend(malformed::texts(r#""id":"1","type":"send""#));
    cases
}

#[test]
fn requests_mean_what_the_reference_says() {
    let cases: Vec<_> = good().into_iter().map(|(case, text)| read(case, text)).collect();
    for case in &cases {
        assert!(case.meaning.is_some(), "{}: {:?}", case.case, case.answer);
    }
    compare("native/requests.json", &cases);
}

#[test]
fn bad_requests_are_answered_with_what_is_wrong() {
    let cases: Vec<_> = bad().into_iter().map(|(case, text)| read(case, text)).collect();
    for case in &cases {
        let answer = case.answer.as_ref().unwrap_or_else(|| panic!("{} was taken", case.case));
        assert!(answer.get().contains(r#""retryable":false"#), "{}", case.case);
    }
    compare("native/bad_requests.json", &cases);
}

#[test]
fn every_command_has_a_golden_case() {
    let mut seen: Vec<_> = good().iter().map(|(_, text)| decode(text).unwrap().command.name()).collect();
    seen.sort_unstable();
    seen.dedup();
    // One more command in `Command::name` and none here fails: keep both.
    assert_eq!(seen.len(), 30, "{seen:?}");
}

#[test]
fn a_token_is_not_in_the_debug_text() {
    let request = decode(r#"{"id":"1","type":"hello","protocol":1,"token":"hunter2"}"#).unwrap();
    assert!(!format!("{request:?}").contains("hunter2"));
}
