//! The compact form in memory, and what is printed of it: the same as the document says.

use super::*;

#[test]
fn the_capacity_is_that_of_the_payload() {
    for text in [
        r#""slots":4"#,
        r#""slots_free":0,"engine":"vllm","engine_version":"1""#,
        r#""device_mask":"é","slots":4294967295,"slots_free":300,"provisioning_mode":"","flags":["a"],"x":[1.5]"#,
        r#""engine":"","model":{"id":"m"}"#,
    ] {
        let handoff = Handoff::of(with(text).as_bytes()).unwrap();
        let payload = handoff.payload();
        assert_eq!(handoff.capacity(), (payload.engine.as_deref(), payload.slots, payload.slots_free), "{text}");
    }
}

#[test]
fn the_compact_form_says_the_same_in_little_memory() {
    let text = include_bytes!("../../../tests/handoffs/accept/pool-0-r0.json");
    let handoff = Handoff::of(text).unwrap();
    assert_eq!((handoff.pool_id(), handoff.replica_id(), handoff.pid()), ("pool-0", "r0", Some(12345)));
    assert!(handoff.is_ready());
    assert_eq!(handoff.payload(), HandoffPayload::parse(text).unwrap());
    // What an `Arc` allocates for its counts comes on top.
    let heap = 2 * size_of::<usize>() + size_of::<Handoff>() + handoff.heap_bytes();
    assert!(heap < 220, "{heap}");

    let spread = br#"{ "http_endpoint": "http://localhost:8080", "slots_total": 4, "engine": "llamacpp", "ready": null,
        "replica_id": "r0", "pool_id": "pool-0", "pid": 12345, "device_mask": "0", "engine_version": "b\u0031234" }"#;
    let same = Handoff::of(spread).unwrap();
    assert_eq!(same, handoff);
    assert!(same.heap_bytes() <= handoff.heap_bytes());
    let other = Handoff::of(br#"{"pool_id":"pool-0","replica_id":"r0","url":"http://localhost:8081"}"#).unwrap();
    assert_ne!(other, handoff);
    assert_eq!(format!("{other:?}").matches("localhost:8081").count(), 1);
    let withdrawn = Handoff::of(include_bytes!("../../../tests/handoffs/withdraw/ready-false.json")).unwrap();
    assert_eq!((withdrawn.is_ready(), withdrawn.pid()), (false, None));
}

fn id() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,60}".prop_filter("at most 256 bytes", |id| id.len() <= 256)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn extra() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("x.{0,8}", value(), 0..4).prop_map(|map| map.into_iter().collect())
}

fn maybe<T: std::fmt::Debug>(inner: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(inner)
}

fn payload() -> impl Strategy<Value = HandoffPayload> {
    let text = || maybe(any::<String>());
    let model =
        maybe((text(), text(), extra())).prop_map(|model| model.map(|(id, path, extra)| Model { id, path, extra }));
    let numbers = (maybe(any::<u32>()), maybe(any::<u32>()), maybe(1..u32::MAX), maybe(any::<bool>()));
    let flags = maybe(prop::collection::vec(any::<String>(), 0..4));
    ((id(), id()), (text(), text(), text(), text()), numbers, model, flags, extra()).prop_map(
        |((pool_id, replica_id), texts, numbers, model, flags, extra)| HandoffPayload {
            pool_id,
            replica_id,
            url: String::from("http://h:1"),
            engine: texts.0,
            engine_version: texts.1,
            provisioning_mode: texts.2,
            device_mask: texts.3,
            slots: numbers.0,
            slots_free: numbers.1,
            pid: numbers.2,
            model,
            flags,
            ready: numbers.3,
            extra,
        },
    )
}

proptest! {
    #[test]
    fn what_is_printed_is_parsed_to_the_same(payload in payload()) {
        payload.validate().unwrap();
        for text in [serde_json::to_string(&payload).unwrap(), serde_json::to_string_pretty(&payload).unwrap()] {
            prop_assert_eq!(&HandoffPayload::parse(text.as_bytes()).unwrap(), &payload);
            prop_assert_eq!(&serde_json::from_str::<HandoffPayload>(&text).unwrap(), &payload);
            let handoff = Handoff::of(text.as_bytes()).unwrap();
            prop_assert_eq!(&handoff.payload(), &payload);
            prop_assert_eq!(handoff.pool_id(), &payload.pool_id);
            prop_assert_eq!(handoff.replica_id(), &payload.replica_id);
        }
    }

    #[test]
    fn random_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if HandoffPayload::parse(&bytes).is_err() {
            refusal(&bytes);
        }
    }

    #[test]
    fn mutations_are_answered(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..13_usize), 1..5)
    ) {
        const PIECES: [&str; 13] =
            ["", "\"", "{", "}", "[", "]", ",", ":", "\\", "-1e999", "\"url\":", "\u{e9}", "null"];
        let mut text = include_bytes!("../../../tests/handoffs/accept/llamacpp.json").to_vec();
        for (from, to, piece) in cuts {
            let from = from.index(text.len() + 1);
            let to = (from + to.index(8)).min(text.len());
            text.splice(from..to, PIECES[piece].bytes());
        }
        match HandoffPayload::parse(&text) {
            Ok(payload) => prop_assert_eq!(Handoff::of(&text).unwrap().payload(), payload),
            Err(error) => {
                refusal(&text);
                // One grammar: what is called JSON here is JSON to serde_json, and the other way round.
                let is_json = serde_json::from_slice::<Value>(&text).is_ok();
                prop_assert!(error.kind() == Schema || !is_json, "{}", error);
            }
        }
    }
}
