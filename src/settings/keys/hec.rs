//! The settings of Splunk: `[hec]`.

use std::path::PathBuf;
use std::time::Duration;

use super::key::{Key, MIB, SECOND};
use super::row::Row;
use crate::core::secret::Secret;
use crate::destination::hec::Partial;
use crate::pipeline::OnReject;

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[
    &URL.row,
    &HOST.row,
    &PORT.row,
    &HTTPS.row,
    &TOKEN.row,
    &TOKEN_FILE.row,
    &NEXT_TOKEN_FILE.row,
    &INDEX.row,
    &FALLBACK_INDEX.row,
    &SOURCE.row,
    &SOURCETYPE.row,
    &EVENT_HOST.row,
    &TIMEOUT.row,
    &CONNECT_TIMEOUT.row,
    &VERIFY.row,
    &CA_FILE.row,
    &CLIENT_CERT.row,
    &CLIENT_KEY.row,
    &PROXY.row,
    &GZIP.row,
    &MAX_BODY.row,
    &MAX_REQUESTS.row,
    &ACK.row,
    &ACK_TIMEOUT.row,
    &PARTIAL.row,
    &COMPAT.row,
    &ON_REJECT.row,
    &ISOLATE.row,
];

pub const URL: Key<String> = Key::list("hec.url").flag("hec-url").known_as(&["urls"]).means(
    "Splunk HTTP Event Collector, such as https://splunk.example:8088; several are separated by commas, with \
     weight=2 after a URL that gets twice the load; either this or hec.host",
);

pub const HOST: Key<String> = Key::text("hec.host").means("host of the collector, instead of hec.url");

pub const PORT: Key<u16> =
    Key::count("hec.port", 1, 65535).default("8088").means("port of the collector, with hec.host");

pub const HTTPS: Key<bool> = Key::switch("hec.https").default("false").means("use TLS to the collector, with hec.host");

pub const TOKEN: Key<Secret> = Key::secret("hec.token").means("HEC token; prefer the environment or a file");

pub const TOKEN_FILE: Key<PathBuf> = Key::path("hec.token_file")
    .flag("hec-token-file")
    .known_as(&["token_files"])
    .means("file with the HEC token; read again when it changes");

pub const NEXT_TOKEN_FILE: Key<PathBuf> = Key::path("hec.next_token_file")
    .known_as(&["token_files"])
    .means("file with a second HEC token, used when the first one is refused, so that a token can be replaced without refused requests");

pub const INDEX: Key<String> = Key::text("hec.index")
    .flag("hec-index")
    .means("index of events that name none; without it, the default index of the token");

pub const FALLBACK_INDEX: Key<String> = Key::text("hec.fallback_index")
    .means("index for events whose own index Splunk refuses; without it, these events are refused for good");

pub const SOURCE: Key<String> = Key::text("hec.source").flag("hec-source").means("source of events that name none");

pub const SOURCETYPE: Key<String> =
    Key::text("hec.sourcetype").flag("hec-sourcetype").means("sourcetype of events that name none");

pub const EVENT_HOST: Key<String> = Key::text("hec.event_host").means("host of events that name none");

pub const TIMEOUT: Key<Duration> =
    Key::seconds("hec.timeout", SECOND).default("120s").means("time limit for one request, including its reply");

pub const CONNECT_TIMEOUT: Key<Duration> = Key::duration("hec.connect_timeout", Duration::from_millis(100))
    .default("10s")
    .means("time limit for connecting, including TLS");

pub const VERIFY: Key<bool> = Key::switch("hec.verify")
    .default("true")
    .known_as(&["ssl_verify"])
    .means("verify the collector's certificate and name");

pub const CA_FILE: Key<PathBuf> =
    Key::path("hec.ca_file").means("certificates (PEM) to trust for the collector in addition to the system's");

pub const CLIENT_CERT: Key<PathBuf> =
    Key::path("hec.client_cert").means("client certificate (PEM) for mutual TLS, with hec.client_key");

pub const CLIENT_KEY: Key<PathBuf> = Key::path("hec.client_key").means("private key (PEM, PKCS #8) of hec.client_cert");

pub const PROXY: Key<String> = Key::text("hec.proxy")
    .computed("https_proxy, http_proxy and no_proxy of the environment")
    .means("proxy for the collector, such as http://proxy.example:3128");

pub const GZIP: Key<bool> = Key::switch("hec.gzip")
    .computed("true; false when all collectors are on the loopback address")
    .means("compress requests");

pub const MAX_BODY: Key<usize> = Key::size("hec.max_body", 10_000, 64 * MIB)
    .default("1MB")
    .means("maximum size of one request before compression; Splunk Cloud advises 1 MB");

pub const MAX_REQUESTS: Key<u16> =
    Key::count("hec.max_requests", 1, 1024).default("32").means("maximum number of requests in flight at once");

pub const ACK: Key<bool> = Key::switch("hec.ack").default("false").means(
    "wait until the indexers acknowledge events, so that delivered means indexed; the token needs indexer acknowledgement",
);

pub const ACK_TIMEOUT: Key<Duration> = Key::duration("hec.ack_timeout", SECOND)
    .default("5m")
    .means("with hec.ack, how long to wait for an acknowledgement before events are sent again");

pub const PARTIAL: Key<Partial> = Key::choice("hec.partial").default("auto").means(
    "what the collector does with the events of a request before a bad one: kept (they are delivered), refused (they \
     are sent again), or auto (kept if the collector identifies itself as Splunk, else refused)",
);

pub const COMPAT: Key<bool> = Key::switch("hec.compat")
    .default("false")
    .means("send event as the vendor's Python script does: JSON text inside a JSON string");

pub const ON_REJECT: Key<OnReject> = Key::choice("hec.on_reject").default("dead_letter").means(
    "what to do with an event that Splunk refuses because of its content: write it as a dead letter, or \
         halt its shard",
);

pub const ISOLATE: Key<bool> = Key::switch("hec.isolate").default("false").means(
    "let the other destinations continue while this one is down: missed events are written as dead letters and replayed when it is back",
);
