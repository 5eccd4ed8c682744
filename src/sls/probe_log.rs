//! The log that `[probe]` writes, and the call that writes it.
//!
//! Source: Alibaba Cloud SLS API reference, "PutLogs". The body is a `LogGroup`, compressed with LZ4; the parameter
//! `route` with a hash key sends it to the shard with that key.

use prost::Message as _;

use super::Config;
use super::message::{API_VERSION, Call, Method, Request};
use super::percent::percent_encode;
use crate::loggroup::proto::{Log, LogGroup, Pair};

/// Topic of the log.
const TOPIC: &str = "forwarder-probe";

/// The field by which it is recognized.
const FIELD: &str = "probe_id";

/// "PutLogs" of one probe log into the shard that takes this hash key. `now` is unix seconds.
#[must_use]
pub fn build_probe(config: &Config, hash_key: &str, id: &str, now: u32) -> Request {
    let pair = |key: &str, value: &str| Pair { key: key.into(), value: value.into() };
    let contents = vec![pair(FIELD, id), pair("consumer", &config.consumer)];
    let group = LogGroup {
        logs: vec![Log { time: now, contents, time_ns: None }],
        topic: Some(TOPIC.into()),
        source: None,
        machine_uuid: None,
        tags: Vec::new(),
    };
    let raw = group.encode_to_vec();
    Request {
        call: Call::Put,
        method: Method::Post,
        path: format!("/logstores/{}/shards/route", percent_encode(&config.logstore)),
        query: vec![("key", hash_key.to_owned())],
        headers: vec![
            ("x-log-apiversion", API_VERSION.to_owned()),
            ("x-log-bodyrawsize", raw.len().to_string()),
            ("x-log-compresstype", "lz4".to_owned()),
            ("content-type", "application/x-protobuf".to_owned()),
        ],
        body: lz4::block::compress(&raw, None, false).expect("a small log can be compressed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sls::api::tests::config;

    #[test]
    fn the_probe_log_is_a_packed_log_group_with_its_id() {
        let request = build_probe(&config(), "00", "0123456789abcdef", 1_700_000_000);
        assert!(request.target().ends_with("/shards/route?key=00"), "{}", request.target());
        let size = request.header("x-log-bodyrawsize").unwrap().parse().unwrap();
        let raw = lz4::block::decompress(&request.body, Some(size)).unwrap();
        let group = LogGroup::decode(raw.as_slice()).unwrap();
        assert_eq!(group.topic.as_deref(), Some(TOPIC.as_bytes()));
        assert_eq!(
            (group.logs[0].time, group.logs[0].contents[0].value.as_slice()),
            (1_700_000_000, &b"0123456789abcdef"[..])
        );
    }
}
