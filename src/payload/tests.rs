//! What is parsed, what is refused, and where the fault is said to be.

mod compact;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::error::ErrorKind::{self, Schema, Syntax};

const GOOD: &str = r#"{"pool_id":"p","replica_id":"r","url":"http://h"}"#;

/// A document with the required fields, each on a line of its own, and more on line 4 from column 1 on.
fn with(more: &str) -> String {
    format!("{{\"pool_id\":\"p\",\n\"replica_id\":\"r\",\n\"url\":\"http://h\",\n{more}}}")
}

fn refusal(document: impl AsRef<[u8]>) -> Error {
    let document = document.as_ref();
    let shown = || crate::error::excerpt(&String::from_utf8_lossy(document));
    let error = HandoffPayload::parse(document).err().unwrap_or_else(|| panic!("accepted: {}", shown()));
    assert_eq!(Handoff::of(document).unwrap_err(), error);
    assert!(error.message().len() < 400, "{error}");
    assert!(error.field().is_none_or(|field| field.len() < 60), "{error}");
    assert!(!error.message().contains(" at line "), "{error}");
    assert!(!error.message().contains('\n'), "{error}");
    error
}

type Case<'a> = (&'a str, ErrorKind, Option<&'a str>, Option<(usize, usize)>, &'a str);

fn check_table(cases: &[Case<'_>], document: impl Fn(&str) -> String) {
    for (text, kind, field, place, message) in cases {
        let error = refusal(document(text));
        assert_eq!(error.message(), *message, "{text}");
        assert_eq!((error.kind(), error.field()), (*kind, *field), "{text}");
        assert_eq!(error.line().zip(error.column()), *place, "{text}");
    }
}

#[test]
fn what_is_no_document_is_refused_as_syntax() {
    let at = |line, column| Some((line, column));
    check_table(
        &[
            ("", Syntax, None, None, "the file is empty: expected one JSON object"),
            (" \r\n\t", Syntax, None, None, "the file holds nothing but white space: expected one JSON object"),
            ("\0\0\0", Syntax, None, None, "the file holds nothing but NUL bytes: expected one JSON object"),
            ("\u{feff}{}", Syntax, None, at(1, 1), "expected one JSON object, found a byte order mark"),
            ("x", Syntax, None, at(1, 1), "not JSON: expected value"),
            ("{", Syntax, None, at(1, 1), "the file ends too early, within an object"),
            ("{\"pool_id\":\"p", Syntax, None, at(1, 13), "the file ends too early, within a string"),
            ("{\"pool_id\":7,", Syntax, None, at(1, 13), "the file ends too early, within an object"),
            ("{\"slots\":1,}", Syntax, None, at(1, 12), "not JSON: trailing comma"),
            ("{'pool_id':1}", Syntax, None, at(1, 2), "not JSON: key must be a string"),
            ("{\"slots\":01}", Syntax, None, at(1, 11), "not JSON: invalid number"),
            ("{\"slots\":NaN}", Syntax, None, at(1, 10), "not JSON: expected value"),
            (
                "{\"pool_id\":\"a\nb\"}",
                Syntax,
                None,
                at(2, 0),
                "not JSON: control character (\\u0000-\\u001F) found while parsing a string",
            ),
            ("{\"pool_id\":\"\\ud800\"}", Syntax, None, at(1, 19), "not JSON: unexpected end of hex escape"),
            ("{}\n{}", Syntax, None, at(2, 1), "expected nothing after the JSON document, found \"{}\""),
        ],
        str::to_owned,
    );
    let error = refusal(format!("{GOOD}\nmore\n"));
    assert_eq!(error.to_string(), "line 2, column 1: expected nothing after the JSON document, found \"more\"");
}

#[test]
fn bytes_that_are_not_utf8_are_located() {
    let error = refusal(b"{\"pool_id\":\n\"p\xff\"}");
    assert_eq!(error.to_string(), "line 2, column 3: not UTF-8: byte 0xFF at byte offset 14");
    let error = refusal(b"{\"pool_id\":\"gr\xc3");
    assert_eq!(error.to_string(), "line 1, column 15: not UTF-8: the file ends within the character at byte offset 14");
}

#[test]
fn what_is_json_but_no_handoff_is_refused_as_schema() {
    let at = |line, column| Some((line, column));
    check_table(
        &[
            ("[1]", Schema, None, at(1, 1), "expected one JSON object, found an array"),
            (" null", Schema, None, at(1, 2), "expected one JSON object, found null"),
            ("\"a\\n\"", Schema, None, at(1, 1), "expected one JSON object, found \"a\\n\""),
            ("1e999", Schema, None, at(1, 1), "expected one JSON object, found 1e999"),
            (
                "{}",
                Schema,
                Some("pool_id"),
                at(1, 2),
                "field `pool_id`: required, but missing; so is `replica_id`, and so is `url`",
            ),
            (
                "{\"pool_id\":\"p\",\"replica_id\":\"r\"\n}\n",
                Schema,
                Some("url"),
                at(2, 1),
                "field `url`: required, but missing",
            ),
            ("{\"url\":null}", Schema, Some("url"), at(1, 8), "field `url`: expected a string, found null"),
            (
                "{\"http_endpoint\": [\"http://h\"]}",
                Schema,
                Some("http_endpoint"),
                at(1, 19),
                "field `http_endpoint`: expected a string, found an array",
            ),
            (
                "{\"pool_id\":\"p\",\"replica_id\":\"\",\"url\":\"http://h\"}",
                Schema,
                Some("replica_id"),
                at(1, 29),
                "field `replica_id`: expected a name, found \"\"",
            ),
            (
                "{\"pool_id\":\"p\\u0000\",\"replica_id\":\"r\",\"url\":\"http://h\"}",
                Schema,
                Some("pool_id"),
                at(1, 12),
                "field `pool_id`: expected a name without control characters, found \"p\\0\"",
            ),
        ],
        str::to_owned,
    );
}

#[test]
fn wrong_values_are_located_where_they_begin() {
    let at = |column| Some((4, column));
    const WHOLE: &str = "expected a whole number from 0 to 4294967295, found";
    for (value, found) in [
        ("-1", "-1"),
        ("4294967296", "4294967296"),
        ("99999999999999999999", "99999999999999999999"),
        ("1.5", "1.5"),
        ("4.0", "4.0"),
        ("1e999", "1e999"),
        ("\"4\"", "\"4\""),
        ("[4]", "an array"),
        ("{\"a\":[{}]}", "an object"),
        ("true", "true"),
    ] {
        for name in ["slots", "slots_total", "slots_free"] {
            let error = refusal(with(&format!("\"{name}\":\t{value} ,\n\"z\":1")));
            assert_eq!(error.message(), format!("field `{name}`: {WHOLE} {found}"));
            assert_eq!((error.kind(), error.field(), error.line()), (Schema, Some(name), Some(4)));
            assert_eq!(error.column(), Some(name.len() + 5));
        }
    }
    check_table(
        &[
            (
                "\"pid\":0",
                Schema,
                Some("pid"),
                at(7),
                "field `pid`: expected a whole number from 1 to 4294967295, found 0",
            ),
            ("\"engine\":7", Schema, Some("engine"), at(10), "field `engine`: expected a string, found 7"),
            ("\"ready\":\"yes\"", Schema, Some("ready"), at(9), "field `ready`: expected true or false, found \"yes\""),
            ("\"ready\":1", Schema, Some("ready"), at(9), "field `ready`: expected true or false, found 1"),
            ("\"model\":\"m\"", Schema, Some("model"), at(9), "field `model`: expected an object, found \"m\""),
            (
                "\"model\":{\"x\":{\"path\":2},\"path\":7}",
                Schema,
                Some("model.path"),
                at(32),
                "field `model.path`: expected a string, found 7",
            ),
            (
                "\"model\":{\"id\":null,\"id\":null}",
                Schema,
                Some("model.id"),
                at(20),
                "field `model.id`: expected once, found twice",
            ),
            (
                "\"model\":{\"a\":1,\"a\":1}",
                Schema,
                Some("model.a"),
                at(16),
                "field `model.a`: expected once, found twice",
            ),
            (
                "\"flags\":{}",
                Schema,
                Some("flags"),
                at(9),
                "field `flags`: expected an array of strings, found an object",
            ),
            (
                "\"flags\":[\"a\\\"]\" , \"b\", 99]",
                Schema,
                Some("flags[2]"),
                at(24),
                "field `flags[2]`: expected a string, found 99",
            ),
            ("\"flags\":[null]", Schema, Some("flags[0]"), at(10), "field `flags[0]`: expected a string, found null"),
            ("\"pool_id\":\"q\"", Schema, Some("pool_id"), at(1), "field `pool_id`: expected once, found twice"),
            ("\"p\\u006fol_id\":\"q\"", Schema, Some("pool_id"), at(1), "field `pool_id`: expected once, found twice"),
            ("\"pid\":null,\"pid\":7", Schema, Some("pid"), at(12), "field `pid`: expected once, found twice"),
            (
                "\"http_endpoint\":\"http://h\"",
                Schema,
                Some("url"),
                at(1),
                "field `url`: expected once, found again as `http_endpoint`",
            ),
            (
                "\"slots_total\":1,\"slots\":1",
                Schema,
                Some("slots_total"),
                at(17),
                "field `slots_total`: expected once, found again as `slots`",
            ),
            ("\"zone\":1,\"zone\":1", Schema, Some("zone"), at(10), "field `zone`: expected once, found twice"),
            (
                "\"cost\":[0,1e999]",
                Schema,
                Some("cost"),
                at(8),
                "field `cost`: expected numbers that fit into a 64-bit float",
            ),
        ],
        with,
    );
}

#[test]
fn a_fault_in_half_a_document_is_still_half_a_document() {
    let whole = with("\"slots\":-1,\"flags\":[1]");
    for end in 1..whole.len() {
        assert_eq!(refusal(&whole[..end]).kind(), Syntax, "{}", &whole[..end]);
    }
}

#[test]
fn urls() {
    let parse = |url: &str| HandoffPayload::new("p", "r", url);
    for good in [
        "http://localhost:8080",
        "HTTPS://h",
        "https://gpu-node-1.example.internal:8443/v1?a=b#c",
        "http://user:pass@h:1/",
        "http://user@name@h",
        "http://[::1]:65535/x",
        "http://[::ffff:10.0.0.1]",
        "http://größe.example",
        "http://h?x=http://y:99999",
        "http://h/[1]:x@y",
        "http://h:00080",
    ] {
        parse(good).unwrap();
    }
    for (bad, expected) in [
        ("", "an absolute http or https URL"),
        ("localhost:8080", "an absolute http or https URL"),
        ("ftp://h", "an absolute http or https URL"),
        ("http:/h", "an absolute http or https URL"),
        ("//h", "an absolute http or https URL"),
        (" http://h", "a URL without white space and control characters"),
        ("http://h/a b", "a URL without white space and control characters"),
        ("http://h/\u{a0}", "a URL without white space and control characters"),
        ("http://h/\u{7f}", "a URL without white space and control characters"),
        ("http://", "a URL with a host"),
        ("http:///path", "a URL with a host"),
        ("http://:80", "a URL with a host"),
        ("http://user@/x", "a URL with a host"),
        ("http://?h", "a URL with a host"),
        ("http://h\\@evil", "a host without \\ < > \" ^ ` { | }"),
        ("http://evil\\.h", "a host without \\ < > \" ^ ` { | }"),
        ("http://::1", "a URL with a host"),
        ("http://fe80::1", "an IPv6 address in brackets, or a port after one colon"),
        ("http://a[::1]", "an IPv6 address in the brackets"),
        ("http://[::1", "an IPv6 address in the brackets"),
        ("http://[::g]", "an IPv6 address in the brackets"),
        ("http://[127.0.0.1]", "an IPv6 address in the brackets"),
        ("http://[::1]80", "a port from 1 to 65535"),
        ("http://h:", "a port from 1 to 65535"),
        ("http://h:0", "a port from 1 to 65535"),
        ("http://h:65536", "a port from 1 to 65535"),
        ("http://h:+80", "a port from 1 to 65535"),
        ("http://h:8080a", "a port from 1 to 65535"),
    ] {
        match parse(bad) {
            Ok(payload) => panic!("{payload:?}"),
            Err(error) => {
                let found = crate::error::excerpt(bad);
                assert_eq!(error.message(), format!("field `url`: expected {expected}, found {found}"));
                assert_eq!((error.kind(), error.field(), error.line()), (Schema, Some("url"), None));
            }
        }
    }
}

#[test]
fn lengths_end_where_they_are_said_to() {
    let id = "ä".repeat(128);
    let url = |bytes: usize| format!("http://{}", "h".repeat(bytes - 7));
    let payload = HandoffPayload::new(&*id, &*id, url(2048)).unwrap();
    let handoff = Handoff::of(&serde_json::to_vec(&payload).unwrap()).unwrap();
    assert_eq!((handoff.pool_id(), handoff.replica_id()), (&*id, &*id));
    assert_eq!(handoff.payload(), payload);
    let error = HandoffPayload::new("p", format!("{id}r"), url(9)).unwrap_err();
    assert_eq!((error.field(), error.message().contains("at most 256 bytes, found \"ä")), (Some("replica_id"), true));
    let error = HandoffPayload::new("p", "r", url(2049)).unwrap_err();
    assert!(
        error.message().ends_with("\" + \"\" (2049 bytes)") || error.message().ends_with("(2049 bytes)"),
        "{error}"
    );
}

#[test]
fn nesting_ends_where_it_is_said_to() {
    let nested = |levels: usize| with(&format!("\"x\":{}{}", "[".repeat(levels), "]".repeat(levels)));
    let payload = HandoffPayload::parse(nested(126).as_bytes()).unwrap();
    payload.validate().unwrap();
    let error = refusal(nested(127));
    assert_eq!((error.kind(), error.line()), (Syntax, Some(4)));
    assert_eq!(error.message(), "nested too deep: expected at most 127 levels");

    let mut deeper = payload.clone();
    deeper.extra["x"] = json!([payload.extra["x"]]);
    let error = deeper.validate().unwrap_err();
    assert_eq!(error.message(), "field `x`: expected at most 127 levels of nesting, found more");
    let mut model = Model::default();
    model.extra.insert(String::from("x"), payload.extra["x"].clone());
    let mut deeper = payload;
    deeper.model = Some(model);
    assert_eq!(deeper.validate().unwrap_err().field(), Some("model.x"));
}

#[test]
fn hostile_input_gets_a_short_answer() {
    let long = "\u{1F4A3}\u{202e}".repeat(100_000);
    let key = serde_json::to_string(&long).unwrap();
    let error = refusal(with(&format!("{key}:1,{key}:1")));
    assert_eq!((error.kind(), error.line(), error.column()), (Schema, Some(4), Some(key.len() + 4)));
    refusal(with(&format!("\"slots\":{key}")));
    refusal(with(&format!("\"slots\":1{}", "0".repeat(100_000))));
    refusal(with(&format!("\"slots\":1.{}", "0".repeat(100_000))));
    refusal(with(&format!("\"model\":{{{key}:1e999}}")));
    refusal(with(&format!("\"model\":{{{key}:1,{key}:1}}")));
    refusal(format!("{GOOD}{long}"));
    refusal(&long);
    refusal(with("\"a\\nb\":1,\"a\\nb\":2"));
    refusal("[".repeat(1 << 20));
    refusal(with(&format!("\"flags\":{}", "[".repeat(1 << 20))));
}

#[test]
fn null_counts_as_absent() {
    let names = "engine engine_version provisioning_mode device_mask slots slots_free pid model flags ready";
    let nulls: Vec<_> = names.split(' ').map(|name| format!("\"{name}\":null")).collect();
    let payload = HandoffPayload::parse(with(&nulls.join(",")).as_bytes()).unwrap();
    assert_eq!(payload, GOOD.parse().unwrap());
    assert_eq!(serde_json::to_string(&payload).unwrap(), GOOD);
    let payload: HandoffPayload = with("\"model\":{\"id\":null,\"path\":null,\"x\":null},\"y\":null").parse().unwrap();
    let model = payload.model.unwrap();
    assert_eq!(
        (model.id, model.path, &model.extra["x"], &payload.extra["y"]),
        (None, None, &json!(null), &json!(null))
    );
}

#[test]
fn prints_canonical_names_in_a_fixed_order() {
    let text = r#"{"zone":"b","slots_total":8,"http_endpoint":"http://h","replica_id":"r","pool_id":"p","ready":false,
        "flags":["-x"],"model":{"size":1,"path":"/m","id":"m"},"pid":7,"slots_free":6}"#;
    let payload: HandoffPayload = text.parse().unwrap();
    assert!(!payload.is_ready());
    let printed = concat!(
        r#"{"pool_id":"p","replica_id":"r","url":"http://h","slots":8,"slots_free":6,"pid":7,"#,
        r#""model":{"id":"m","path":"/m","size":1},"flags":["-x"],"ready":false,"zone":"b"}"#,
    );
    assert_eq!(serde_json::to_string(&payload).unwrap(), printed);
    let found = include_str!("../../tests/handoffs/accept/pool-0-r0.json");
    assert_eq!(serde_json::to_string(&found.parse::<HandoffPayload>().unwrap()).unwrap(), found.trim_end());
}

#[test]
fn what_is_built_by_hand_is_checked_as_strictly() {
    let good: HandoffPayload = GOOD.parse().unwrap();
    assert_eq!(HandoffPayload::new("p", "r", "http://h").unwrap(), good);
    type Spoil = fn(&mut HandoffPayload);
    let spoil: [(&str, Spoil); 7] = [
        ("pool_id", |p| p.pool_id.clear()),
        ("replica_id", |p| p.replica_id.push('\u{85}')),
        ("url", |p| p.url.push(' ')),
        ("pid", |p| p.pid = Some(0)),
        ("slots", |p| drop(p.extra.insert("slots".into(), json!(1)))),
        ("http_endpoint", |p| drop(p.extra.insert("http_endpoint".into(), json!(1)))),
        ("model.path", |p| p.model.get_or_insert_default().extra = [("path".into(), json!(1))].into_iter().collect()),
    ];
    for (field, spoil) in spoil {
        let mut payload = good.clone();
        payload.validate().unwrap();
        spoil(&mut payload);
        let error = payload.validate().unwrap_err();
        assert_eq!((error.kind(), error.field()), (Schema, Some(field)), "{error}");
    }
}

#[test]
fn hosts_may_decode_it_with_serde() {
    let text =
        with("\"slots_total\":4,\"model\":{\"path\":\"/m\"},\"flags\":[\"a\"],\"ready\":true,\"pid\":1,\"x\":[1.5]");
    let payload: HandoffPayload = text.parse().unwrap();
    assert_eq!(serde_json::from_str::<HandoffPayload>(&text).unwrap(), payload);
    assert_eq!(serde_json::from_reader::<_, HandoffPayload>(text.as_bytes()).unwrap(), payload);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::from_value::<HandoffPayload>(value).unwrap(), payload);
    assert_eq!(serde_json::from_str::<Model>(r#"{"path":"/m"}"#).unwrap(), payload.model.unwrap());
    for (bad, message) in [
        (
            with("\"slots\":-1"),
            "invalid value: integer `-1`, expected a whole number from 0 to 4294967295 in field `slots`",
        ),
        (with("\"url\":\"http://h\""), "field `url`: expected once, found twice"),
        (GOOD.replace("http", "ftp"), "field `url`: expected an absolute http or https URL, found \"ftp://h\""),
        (String::from("{}"), "field `pool_id`: required, but missing; so is `replica_id`, and so is `url`"),
    ] {
        let error = serde_json::from_str::<HandoffPayload>(&bad).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
