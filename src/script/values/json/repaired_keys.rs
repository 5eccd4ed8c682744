//! Finds keys that a repair has made equal.

use std::collections::BTreeSet;

use super::scan;

/// Whether an object of this JSON text has a key with U+FFFD twice. Two keys that were different may then be the same, and
/// readers would keep only one of their values.
pub(super) fn is_any_twice(json: &[u8]) -> bool {
    // For each open container, the repaired keys; none for an array.
    let mut open: Vec<Option<BTreeSet<Vec<u8>>>> = Vec::new();
    let (mut at, mut is_key) = (0, false);
    while let Some(byte) = json.get(at) {
        match byte {
            b'{' => open.push(Some(BTreeSet::new())),
            b'[' => open.push(None),
            b'}' | b']' => drop(open.pop()),
            _ => {}
        }
        let keys = open.last_mut().and_then(Option::as_mut);
        match byte {
            b'"' => {
                let length = scan::string_len(&json[at..]);
                if let Some(keys) = keys.filter(|_| is_key) {
                    let mut key = Vec::new();
                    scan::unescape(&json[at + 1..at + length - 1], &mut key);
                    let is_repaired = memchr::memmem::find(&key, "\u{fffd}".as_bytes()).is_some();
                    if is_repaired && !keys.insert(key) {
                        return true;
                    }
                }
                (at, is_key) = (at + length, false);
                continue;
            }
            b'{' | b',' => is_key = keys.is_some(),
            _ => {}
        }
        at += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_repaired_keys_of_one_object_are_compared() {
        for twice in [
            r#"{"\ufffd":1,"\uFFFD":2}"#,
            "{\"\u{fffd}\":1,\"a\":[{}],\"\\ufffd\":2}",
            r#"[1,{"a":{"x\ufffd":"}","b":["\ufffd"],"x\ufffd":{}}}]"#,
        ] {
            assert!(is_any_twice(twice.as_bytes()), "{twice}");
        }
        for once in [
            r#"{"a":1,"a":2,"b":"\ufffd","c":"\ufffd"}"#,
            r#"[{"\ufffd":1},{"\ufffd":{"\ufffd":["\ufffd","\ufffd"]}}]"#,
            r#""\ufffd""#,
            r#"{"\ufffd":1,"\\ufffd":2,"x":[]}"#,
        ] {
            assert!(!is_any_twice(once.as_bytes()), "{once}");
        }
    }
}
