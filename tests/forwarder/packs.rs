//! The ready scripts make of their sample logs what stands beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forwarder::event::{Body, BodyError, Format, Head};
use forwarder::model::{Cursor, Page, ShardId};
use forwarder::script::{Config, Hook, Meta, Script};
use forwarder::sls::proto;
use prost::Message as _;
use serde_json::{Map, Value, json};

/// The event as the script returned it, in JSON.
struct AsReturned;

impl Format for AsReturned {
    fn write(&self, head: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        let mut event = Map::new();
        if let Some(time) = &head.time {
            let time = match time.nanos {
                Some(nanos) => json!(format!("{}.{nanos:09}", time.digits)),
                None => json!(time.digits.parse::<i64>().expect("whole seconds")),
            };
            event.insert("time".to_owned(), time);
        }
        let texts =
            [("host", &head.host), ("source", &head.source), ("sourcetype", &head.sourcetype), ("index", &head.index)];
        for (name, text) in texts {
            if let Some(text) = text {
                event.insert(name.to_owned(), json!(String::from_utf8_lossy(text)));
            }
        }
        let mut json = Vec::new();
        body.json(&mut json)?;
        event.insert("event".to_owned(), serde_json::from_slice(&json).expect("JSON"));
        out.extend_from_slice(Value::Object(event).to_string().as_bytes());
        Ok(())
    }
}

fn page(log: &Map<String, Value>) -> Page {
    let text = |name: &str| log.get(name).map(|text| text.as_str().expect("a log holds texts").as_bytes().to_vec());
    let pair = |key: &str, name: &str| proto::Pair { key: key.as_bytes().to_vec(), value: text(name).unwrap() };
    let known = ["__time__", "__topic__", "__source__", "__time_ns_part__"];
    let fields = log.keys().filter(|name| !known.contains(&name.as_str()));
    let (tags, contents): (Vec<_>, Vec<_>) = fields.partition(|name| name.starts_with("__tag__:"));
    let number = |name: &str| text(name).map(|digits| String::from_utf8(digits).unwrap().parse().unwrap());
    let group = proto::LogGroup {
        logs: vec![proto::Log {
            time: number("__time__").expect("a log has a time"),
            contents: contents.iter().map(|name| pair(name, name)).collect(),
            time_ns: number("__time_ns_part__"),
        }],
        topic: text("__topic__"),
        source: text("__source__"),
        machine_uuid: None,
        tags: tags.iter().map(|name| pair(&name["__tag__:".len()..], name)).collect(),
    };
    let body = proto::LogGroupList { groups: vec![group] }.encode_to_vec();
    Page {
        shard: ShardId(0),
        cursor: Cursor::from_number(1),
        next: Cursor::from_number(2),
        scanned_bytes: body.len() as u64,
        body: body.into(),
        groups: 1,
        last_group: Some(1),
        first_log: 0,
        at_end: None,
        received_at: None,
    }
}

/// What the script makes of the log of a case, as the keys of a case say it.
fn outcome(script: &Script, case: &Value) -> (&'static str, Value) {
    let vars = case.get("settings").map_or_else(toml::Table::new, |vars| toml::Table::try_from(vars).unwrap());
    let config = Config { timeout: Duration::from_secs(5), memory: 64 << 20, vars };
    let meta = Meta { project: "p".to_owned(), logstore: "l".to_owned(), shard: ShardId(0) };
    let mut hook = Hook::load(script, &config, Arc::new(AsReturned), meta).unwrap_or_else(|error| panic!("{error}"));
    let made = hook.run(&page(case["log"].as_object().expect("a log"))).unwrap();
    if let Some(failed) = made.failed.first() {
        return ("error", json!(failed.error.fault.to_string()));
    }
    let event = |event| serde_json::from_slice(made.events.get(event)).expect("JSON");
    let events: Vec<Value> = (0..made.events.len()).map(event).collect();
    if events.is_empty() { ("dropped", json!(true)) } else { ("events", json!(events)) }
}

fn packs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/packs");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut packs: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "lua")).collect();
    packs.sort();
    packs
}

#[test]
fn every_pack_makes_what_its_cases_say() {
    let packs = packs();
    assert_eq!(packs.len(), 6, "{packs:?}");
    let mut wrong = Vec::new();
    for pack in packs {
        let script = Script::read(&pack).unwrap();
        let cases = fs::read_to_string(pack.with_extension("test.jsonl")).unwrap();
        assert!(cases.lines().count() >= 3, "{}", pack.display());
        for line in cases.lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let (kind, got) = outcome(&script, &case);
            if case.get(kind) != Some(&got) {
                wrong.push(format!("{}: {}: {}", pack.display(), case["name"], json!({ kind: got })));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_list_of_packs_has_each_of_them() {
    let list = include_str!("../../scripts/packs/README.md");
    for pack in packs() {
        let name = pack.file_name().unwrap().to_str().unwrap();
        assert!(list.contains(&format!("[`{name}`]({name})")), "{name}");
    }
}
