//! Any bytes: the parser never panics, its errors are short single lines, and what it accepts is the same when it is
//! printed and parsed again.

#![no_main]

use handoff_watcher::HandoffPayload;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match HandoffPayload::parse(bytes) {
        Ok(payload) => {
            payload.validate().expect("what is parsed is valid");
            let printed = serde_json::to_vec(&payload).expect("it can be printed");
            let again = HandoffPayload::parse(&printed).expect("what is printed can be parsed");
            assert_eq!(again, payload);
            assert_eq!(serde_json::to_vec(&again).expect("it can be printed"), printed);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 1000 && !text.contains(['\n', '\r', '\u{1b}']), "{text:?}");
        }
    }
});
