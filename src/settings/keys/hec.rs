//! The settings of Splunk: `[hec]`.

use std::time::Duration;

use super::key::{Default, Key, Kind, MIB, PLAIN, SECOND};

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "hec.url",
        flag: Some("hec-url"),
        meaning: "Splunk HTTP Event Collector, as https://splunk.example:8088; this or hec.host",
        ..PLAIN
    },
    Key { name: "hec.host", meaning: "host of the collector, in place of hec.url", ..PLAIN },
    Key {
        name: "hec.port",
        kind: Kind::Count(1, 65535),
        default: Default::Is("8088"),
        meaning: "port of the collector, with hec.host",
        ..PLAIN
    },
    Key {
        name: "hec.https",
        kind: Kind::Switch,
        default: Default::Is("false"),
        meaning: "speak TLS to the collector, with hec.host",
        ..PLAIN
    },
    Key { name: "hec.token", kind: Kind::Secret, meaning: "HEC token; better from the environment or a file", ..PLAIN },
    Key {
        name: "hec.token_file",
        kind: Kind::Path,
        flag: Some("hec-token-file"),
        meaning: "file with the HEC token, read again when it changes",
        ..PLAIN
    },
    Key {
        name: "hec.index",
        flag: Some("hec-index"),
        meaning: "index of events that name none; the token's own when absent",
        ..PLAIN
    },
    Key { name: "hec.source", flag: Some("hec-source"), meaning: "source of events that name none", ..PLAIN },
    Key {
        name: "hec.sourcetype",
        flag: Some("hec-sourcetype"),
        meaning: "sourcetype of events that name none",
        ..PLAIN
    },
    Key { name: "hec.event_host", meaning: "host of events that name none", ..PLAIN },
    Key {
        name: "hec.timeout",
        kind: Kind::Seconds(SECOND),
        default: Default::Is("120s"),
        meaning: "longest time for one request, reply included",
        ..PLAIN
    },
    Key {
        name: "hec.connect_timeout",
        kind: Kind::Duration(Duration::from_millis(100)),
        default: Default::Is("10s"),
        meaning: "longest time for connecting, TLS included",
        ..PLAIN
    },
    Key {
        name: "hec.verify",
        kind: Kind::Switch,
        default: Default::Is("true"),
        known_as: &["ssl_verify"],
        meaning: "verify the collector's certificate and name",
        ..PLAIN
    },
    Key {
        name: "hec.ca_file",
        kind: Kind::Path,
        meaning: "certificates (PEM) to trust for the collector besides the system's",
        ..PLAIN
    },
    Key {
        name: "hec.client_cert",
        kind: Kind::Path,
        meaning: "our certificate (PEM) for mutual TLS, with hec.client_key",
        ..PLAIN
    },
    Key { name: "hec.client_key", kind: Kind::Path, meaning: "the PKCS #8 key (PEM) of hec.client_cert", ..PLAIN },
    Key {
        name: "hec.proxy",
        default: Default::Computed("https_proxy, http_proxy and no_proxy of the environment"),
        meaning: "proxy for the collector, as http://proxy.example:3128",
        ..PLAIN
    },
    Key { name: "hec.gzip", kind: Kind::Switch, default: Default::Is("false"), meaning: "compress requests", ..PLAIN },
    Key {
        name: "hec.max_body",
        kind: Kind::Size(10_000, 64 * MIB),
        default: Default::Is("1MB"),
        meaning: "most bytes in one request, before compression; Splunk Cloud advises 1 MB",
        ..PLAIN
    },
    Key {
        name: "hec.max_requests",
        kind: Kind::Count(1, 1024),
        default: Default::Is("32"),
        meaning: "most requests in flight at once",
        ..PLAIN
    },
    Key {
        name: "hec.compat",
        kind: Kind::Switch,
        default: Default::Is("false"),
        meaning: "send event as the vendor's Python script does: JSON text inside a JSON string",
        ..PLAIN
    },
    Key {
        name: "hec.on_reject",
        kind: Kind::OneOf(&["dead_letter", "halt"]),
        default: Default::Is("dead_letter"),
        meaning: "what to do with an event that Splunk refuses for what it is: keep it as a dead letter and go on, or halt \
                  its shard",
        ..PLAIN
    },
];
