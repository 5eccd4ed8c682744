//! Pages: decoded as prost decodes them, whatever the bytes, and unpacked only if they match the headers.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use forwarder::core::budget::Buffers;
use forwarder::core::cursor::{Cursor, ShardId};
use forwarder::core::page::Page;
use forwarder::core::secret::Secret;
use forwarder::loggroup::proto;
use forwarder::loggroup::{Logs, PageError};
use forwarder::sls::message::Reply;
use forwarder::sls::{AccessKey, Compression, Config, Credentials, Signature, api};
use prost::Message as _;

use super::input::Input;

type Dict = Vec<(Vec<u8>, Vec<u8>)>;

/// First byte even: the rest is an unpacked page. Odd: a compressed reply with its headers.
pub fn pull_body(input: &[u8]) {
    let mut input = Input::new(input);
    if input.byte().is_multiple_of(2) {
        let body = input.rest();
        agree(&Page { body: Bytes::copy_from_slice(body), ..page() });
    } else {
        packed(&mut input);
    }
}

fn page() -> Page {
    Page {
        shard: ShardId(3),
        cursor: Cursor::new("c"),
        next: Cursor::new("d"),
        body: Bytes::new(),
        groups: 1,
        last_group: None,
        first_log: 0,
        at_end: None,
        received_at: None,
        scanned_bytes: 0,
        packed: None,
        wire_bytes: 0,
    }
}

/// Both decoders accept it and decode the same, or both refuse it.
fn agree(page: &Page) {
    let mut logs = Logs::default();
    let ours = read(&mut logs, page);
    match proto::LogGroupList::decode(page.body.clone()) {
        Ok(list) => assert_eq!(ours.as_ref(), Ok(&flatten(&list))),
        Err(error) => assert!(ours.is_err(), "prost refuses it: {error}"),
    }
    assert_eq!(read(&mut logs, page), ours, "a reader that was used before reads something else");
}

fn read(logs: &mut Logs, page: &Page) -> Result<Vec<Dict>, PageError> {
    logs.open(page.body.clone())?;
    let mut all = Vec::new();
    let mut places = BTreeSet::new();
    while let Some(log) = logs.read()? {
        let dict: Dict = log.fields().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        let keys: BTreeSet<&[u8]> = dict.iter().map(|(key, _)| key.as_slice()).collect();
        assert_eq!(keys.len(), dict.len(), "a key twice");
        assert!(places.insert(log.place(page).to_string()), "two logs at one place");
        all.push(dict);
    }
    Ok(all)
}

/// A decoded page in the form of the vendor's SDK, with a list in place of its dict.
fn flatten(list: &proto::LogGroupList) -> Vec<Dict> {
    fn set(dict: &mut Dict, key: &[u8], value: &[u8]) {
        match dict.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value.to_vec(),
            None => dict.push((key.to_vec(), value.to_vec())),
        }
    }
    let mut all = Vec::new();
    for group in &list.groups {
        for log in &group.logs {
            let mut dict = Dict::new();
            set(&mut dict, b"__time__", log.time.to_string().as_bytes());
            set(&mut dict, b"__topic__", group.topic.as_deref().unwrap_or_default());
            set(&mut dict, b"__source__", group.source.as_deref().unwrap_or_default());
            if let Some(nanos) = log.time_ns.filter(|nanos| *nanos != 0) {
                set(&mut dict, b"__time_ns_part__", nanos.to_string().as_bytes());
            }
            for tag in &group.tags {
                set(&mut dict, &[b"__tag__:", tag.key.as_slice()].concat(), &tag.value);
            }
            for content in &log.contents {
                set(&mut dict, &content.key, &content.value);
            }
            all.push(dict);
        }
    }
    all
}

fn packed(input: &mut Input<'_>) {
    let named = input.pick(&[None, Some(""), Some("lz4"), Some("LZ4"), Some("zstd"), Some("deflate")]);
    let kind = input.byte();
    let (groups, announced) = (input.number(), input.number());
    let numbers = [input.text(), input.text()];
    let rest = input.rest();

    let honest = kind & 1 == 1;
    let body = match named.map(str::to_ascii_lowercase).as_deref() {
        Some("lz4") if honest => lz4::block::compress(rest, None, false).expect("memory can be compressed into"),
        Some("zstd") if honest => zstd::bulk::compress(rest, 1).expect("memory can be compressed into"),
        _ => rest.to_vec(),
    };
    let raw_size = match kind >> 1 & 3 {
        0 | 1 if honest => rest.len().to_string(),
        0 => announced.to_string(),
        1 => (announced % 4096).to_string(),
        2 => rest.len().to_string(),
        _ => numbers[0].clone(),
    };
    let mut headers = vec![
        ("x-log-cursor", "next".to_owned()),
        ("x-log-count", if kind & 8 == 0 { (groups % 4).to_string() } else { groups.to_string() }),
        ("x-log-bodyrawsize", raw_size.clone()),
        ("x-log-read-last-cursor", numbers[0].clone()),
        ("x-log-cursor-time", numbers[1].clone()),
        ("x-log-rawdatasize", numbers[1].clone()),
        ("x-log-end-of-cursor", numbers[0].clone()),
    ];
    headers.extend(named.map(|name| ("x-log-compresstype", name.to_owned())));
    let headers =
        headers.into_iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?))).collect();
    let reply = Reply { status: 200, headers, body: body.into() };

    // As if it had been requested, if possible.
    let compression = if named == Some("zstd") { Compression::Zstd } else { Compression::Lz4 };
    match api::read_pull(&Config { compression, ..config() }, ShardId(3), &Cursor::new("c"), reply, &Buffers::none()) {
        Ok(page) => {
            assert_eq!(Ok(page.body.len()), raw_size.trim().parse(), "not of the size announced");
            assert!(page.groups == 0 || !page.body.is_empty(), "log groups without a body");
            if honest && raw_size == rest.len().to_string() {
                assert_eq!(page.body, rest);
            }
            agree(&page);
        }
        Err(error) => {
            let known = named != Some("deflate");
            let sound = honest && known && kind >> 1 & 3 < 2 && !rest.is_empty();
            assert!(!sound, "an honest reply is refused: {error}");
        }
    }
}

pub(super) fn config() -> Config {
    Config {
        endpoint: "http://127.0.0.1:1".to_owned(),
        project: "p".to_owned(),
        logstore: "l".to_owned(),
        group: "g".to_owned(),
        consumer: "c".to_owned(),
        credentials: Credentials::Fixed(AccessKey { id: "id".to_owned(), secret: Secret::new("s"), token: None }),
        signature: Signature::V1,
        compression: Compression::Lz4,
        page_groups: 100,
        query: None,
        processor: None,
        group_timeout: Duration::from_secs(60),
        in_order: true,
        manage_group: true,
        probe: false,
        ca_file: None,
        timeout: Duration::from_secs(30),
    }
}
