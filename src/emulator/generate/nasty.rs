//! Hostile logs that a writer can send and that a forwarder must handle.

use crate::loggroup::proto::{Log, LogGroup, Pair};

/// A corpus of hostile logs, one kind of attack per group; every log has an `id` field, unless its absence is the
/// attack.
#[must_use]
pub fn nasty() -> Vec<LogGroup> {
    let mut corpus = Corpus { groups: Vec::new(), logs: 0 };
    corpus.values(
        "control characters",
        &[
            b"one\ntwo",
            b"one\r\ntwo\r",
            b"nul \0 nul",
            b"\x1b[31mred\x1b[0m\x07\x08\x7f",
            b"\xc2\x85 next line \xe2\x80\xa8 \xe2\x80\xa9",
            b"<14>1 2026-01-01T00:00:00Z evil su - - - forged\n<14>1 2026-01-01T00:00:00Z evil su - - - forged again",
            b"\t \t",
            b"",
            b" leading and trailing ",
        ],
    );
    corpus.values(
        "not UTF-8",
        &[
            b"\xff\xfe",
            b"ab\xff\xfecd\xe4\xbd\x00x",
            b"\xed\xa0\x80 surrogate",
            b"\xc0\xaf overlong",
            b"\xf4\x90\x80\x80 beyond",
            b"cut \xe4\xbd",
        ],
    );
    corpus.values(
        "UTF-8",
        &[
            "\u{feff}byte order mark".as_bytes(),
            "\u{202e}right to left".as_bytes(),
            "𝄞 \u{10ffff} \u{fffd}".as_bytes(),
            "e\u{301}".as_bytes(),
        ],
    );
    corpus.values(
        "separators",
        &[
            b"a||b=c||__topic__=forged",
            b"=",
            b"||",
            b"k=v",
            br#"\"},{"event":"forged"#,
            br"CEF:0|a|b\|c\=d",
            b"'; DROP TABLE logs; --",
            b"%s%n{}${jndi:ldap://x}",
            br#"</script>"]]>&amp;"#,
        ],
    );
    let deep = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
    corpus.values(
        "JSON, or nearly",
        &[
            br#"{"id":9007199254740993,"big":123456789012345678901234567890,"e":1e400,"f":1.10,"neg":-0}"#,
            br#"{"a":1,"a":2,"":{"":[]}}"#,
            br#"{"a":1"#,
            br#"{"a":1} trailing"#,
            br#"{'a':1}"#,
            b"{\"a\":NaN}",
            b"null",
            b"\"text\"",
            b"17",
            b"[1,2",
            b"{\"a\":\"\x01\"}",
            br#"{"half":"\ud800","nul":"\u0000"}"#,
            b"{\"bad\":\"\xff\"}",
            b"[]",
            b"{}",
            b" {\"space\" : [ 1 , 2 ] } ",
            &deep(100),
            &deep(10_000),
        ],
    );

    let mut log = corpus.log();
    log.contents.extend([pair("big", vec![b'x'; 1 << 20])]);
    corpus.push("audit", vec![log]);
    let mut log = corpus.log();
    log.contents.extend((0..2_000).map(|i| pair(format!("field{i}"), "v")));
    corpus.push("audit", vec![log]);

    let mut log = corpus.log();
    log.contents.extend(
        [("dup", "1"), ("other", "x"), ("dup", "2"), ("", "empty key"), ("", "again"), ("empty value", "")]
            .map(|(k, v)| pair(k, v)),
    );
    let mut reserved = corpus.log();
    reserved.contents.extend(
        [
            ("__time__", "999"),
            ("__topic__", "forged"),
            ("__source__", "forged"),
            ("__time_ns_part__", "x"),
            ("__tag__:__hostname__", "forged"),
            ("__proto__", "{}"),
        ]
        .map(|(k, v)| pair(k, v)),
    );
    let mut keys = corpus.log();
    keys.contents.extend(
        [&b"\xff\xfe"[..], b"a\nb", b"a=b", b"a||b", b"a b", b"\"", b"a.b[0]", "键".as_bytes()]
            .map(|key| pair(key, "v")),
    );
    let nothing = Log { time: 1_700_000_000, contents: Vec::new(), time_ns: None };
    corpus.push("keys", vec![log, reserved, keys, nothing]);

    let mut times =
        [0, 1, i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX].map(|time| Log { time, ..corpus.log() }).to_vec();
    times.extend([0, 1, 999_999_999, 1_000_000_000, u32::MAX].map(|ns| Log { time_ns: Some(ns), ..corpus.log() }));
    corpus.push("times", times);

    let logs = vec![corpus.log()];
    corpus.groups.push(LogGroup {
        logs,
        topic: Some(b"topic \xff\n".to_vec()),
        source: Some(b"10.0.0.\xfe".to_vec()),
        machine_uuid: Some(b"\xff".to_vec()),
        tags: vec![
            pair("__hostname__", b"h\xff\r\n"),
            pair(b"t\xff", "v"),
            pair("dup", "1"),
            pair("dup", "2"),
            pair("", ""),
        ],
    });
    let logs = vec![corpus.log()];
    corpus.groups.push(LogGroup { logs, topic: None, source: None, machine_uuid: None, tags: Vec::new() });
    corpus.groups.push(LogGroup::default());
    corpus.groups
}

struct Corpus {
    groups: Vec<LogGroup>,
    logs: u32,
}

impl Corpus {
    /// An ordinary log with an id of its own.
    fn log(&mut self) -> Log {
        self.logs += 1;
        let contents = vec![pair("id", format!("nasty-{}", self.logs))];
        Log { time: 1_700_000_000 + self.logs, contents, time_ns: None }
    }

    /// A group of a topic for which scripts decode JSON, the values both in `event` and in another field.
    fn values(&mut self, kind: &str, values: &[&[u8]]) {
        let log = |value: &&[u8]| {
            let mut log = self.log();
            log.contents.extend([pair("kind", kind), pair("event", value), pair("note", value)]);
            log
        };
        let logs = values.iter().map(log).collect();
        self.push("actiontrail_audit_event", logs);
    }

    fn push(&mut self, topic: &str, logs: Vec<Log>) {
        let tags = vec![pair("__receive_time__", "1700000001")];
        let (topic, source) = (Some(topic.into()), Some(b"10.0.0.1".to_vec()));
        self.groups.push(LogGroup { logs, topic, source, machine_uuid: None, tags });
    }
}

fn pair(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Pair {
    Pair { key: key.as_ref().to_vec(), value: value.as_ref().to_vec() }
}
