//! The settings of syslog: `[syslog]`.

use std::path::PathBuf;
use std::time::Duration;

use super::choices::{DeliveryMode, MessageFormat, Protocol};
use super::key::{Key, MIB, SECOND};
use super::row::Row;
use crate::destination::syslog::{Framing, Oversize};
use crate::pipeline::OnReject;

/// In the order of the documentation.
pub(super) const KEYS: &[&Row] = &[
    &HOST.row,
    &PORT.row,
    &PROTOCOL.row,
    &FORMAT.row,
    &FRAMING.row,
    &SEPARATOR.row,
    &FACILITY.row,
    &SEVERITY.row,
    &HOSTNAME.row,
    &PROGRAM.row,
    &STRUCTURED_DATA.row,
    &BOM.row,
    &FULL_TIME.row,
    &ZONE.row,
    &MAX_MESSAGE.row,
    &OVERSIZE.row,
    &COMPAT.row,
    &TIMEOUT.row,
    &CONNECT_TIMEOUT.row,
    &VERIFY.row,
    &CA_FILE.row,
    &CLIENT_CERT.row,
    &CLIENT_KEY.row,
    &SERVER_NAME.row,
    &DELIVERY.row,
    &CONFIRM_INTERVAL.row,
    &CONFIRM_LAG.row,
    &RATE.row,
    &ON_REJECT.row,
    &ISOLATE.row,
];

pub const HOST: Key<String> =
    Key::list("syslog.host").flag("syslog-host").known_as(&["hosts", "server", "address"]).means(
        "syslog receiver; or several, separated by commas, of which the first one that works is used, each with its \
         own port if needed: siem-1, siem-2:1514, [2001:db8::1]:514",
    );

pub const PORT: Key<u16> = Key::count("syslog.port", 1, 65535)
    .computed("514; tls 6514, relp 2514, relp+tls 20514")
    .means("port of receivers without a port of their own");

pub const PROTOCOL: Key<Protocol> = Key::choice("syslog.protocol")
    .default("tcp")
    .known_as(&["proto", "transport", "mode"])
    .means("transport; udp loses messages without notice, tcp and relp send them in plain text");

pub const FORMAT: Key<MessageFormat> =
    Key::choice("syslog.format").default("rfc5424").known_as(&["rfc"]).means("message format");

pub const FRAMING: Key<Framing> =
    Key::choice("syslog.framing").computed("octet for tls, lf for tcp").known_as(&["octet_counting"]).means(
        "how messages are separated: by a byte count before each, or by a line feed after each, in which \
         case control characters inside are escaped",
    );

pub const SEPARATOR: Key<String> = Key::text("syslog.separator")
    .default("||")
    .known_as(&["sep"])
    .means("text before each key=value pair when the message is the log itself");

pub const FACILITY: Key<String> = Key::text("syslog.facility")
    .default("user")
    .means("facility of events that name none, by name or number: user, local0, 16");

pub const SEVERITY: Key<String> = Key::text("syslog.severity")
    .default("info")
    .means("severity of events that name none, by name or number: info, warning, 4");

pub const HOSTNAME: Key<String> = Key::text("syslog.hostname")
    .computed("the machine's name")
    .known_as(&["clientname"])
    .means("HOSTNAME of events that name none");

pub const PROGRAM: Key<String> = Key::text("syslog.program")
    .known_as(&["tag", "app_name", "appname"])
    .means("APP-NAME (or TAG in rfc3164) of events that name none");

pub const STRUCTURED_DATA: Key<String> = Key::text("syslog.structured_data")
    .known_as(&["sdata"])
    .means("structured data of events that name none, as in RFC 5424: [id@32473 name=\"value\"]");

pub const BOM: Key<bool> = Key::switch("syslog.bom")
    .default("false")
    .means("start messages with a UTF-8 byte order mark; many receivers keep it in the text");

pub const FULL_TIME: Key<bool> = Key::switch("syslog.full_time")
    .default("false")
    .means("rfc3164: write the time with year and offset, as in rfc5424");

pub const ZONE: Key<String> = Key::text("syslog.zone")
    .default("local")
    .known_as(&["timezone", "time_zone", "tz"])
    .means("time zone for rfc3164 and compat: local, utc, or a name such as Asia/Shanghai; rfc5424 is in UTC");

pub const MAX_MESSAGE: Key<usize> = Key::size("syslog.max_message", 480, 64 * MIB)
    .computed("8KB; udp 1232B")
    .known_as(&["max_size", "max_message_size", "max_datagram"])
    .means(
        "maximum size of a message, header included; set it to what the receiver allows, or the receiver \
         cuts or splits messages itself",
    );

pub const OVERSIZE: Key<Oversize> = Key::choice("syslog.oversize").default("split").means(
    "what to do with a longer message: split it into numbered parts, cut it and append its length and \
         digest, or write it as a dead letter",
);

pub const COMPAT: Key<bool> = Key::switch("syslog.compat")
    .default("false")
    .means("rfc5424: send the same bytes as the vendor's Python script where those are valid");

pub const TIMEOUT: Key<Duration> = Key::seconds("syslog.timeout", SECOND)
    .default("120s")
    .means("how long to wait for the receiver to accept a write or to answer");

pub const CONNECT_TIMEOUT: Key<Duration> = Key::duration("syslog.connect_timeout", Duration::from_millis(100))
    .default("10s")
    .means("time limit for connecting to a receiver, over all its addresses, including TLS");

pub const VERIFY: Key<bool> =
    Key::switch("syslog.verify").default("true").means("verify the receiver's certificate and name");

pub const CA_FILE: Key<PathBuf> = Key::path("syslog.ca_file")
    .known_as(&["cert_path"])
    .means("certificates (PEM) to trust for the receiver in addition to the system's");

pub const CLIENT_CERT: Key<PathBuf> =
    Key::path("syslog.client_cert").means("client certificate (PEM) for mutual TLS, with syslog.client_key");

pub const CLIENT_KEY: Key<PathBuf> =
    Key::path("syslog.client_key").means("private key (PEM, PKCS #8) of syslog.client_cert");

pub const SERVER_NAME: Key<String> = Key::text("syslog.server_name")
    .computed("syslog.host")
    .known_as(&["sni"])
    .means("name to send (SNI) and to verify in the receiver's certificate");

pub const DELIVERY: Key<DeliveryMode> = Key::choice("syslog.delivery").computed("confirmed; udp sent").means(
    "when a message counts as delivered: when the receiver is proven to have read it, or when the \
         operating system has accepted it",
);

pub const CONFIRM_INTERVAL: Key<Duration> =
    Key::duration("syslog.confirm_interval", Duration::from_millis(100)).default("1s").means(
        "longest time between two proofs of delivery while messages flow; 20 MB, a quiet time, or half of run.memory \
         in use bring one sooner",
    );

pub const CONFIRM_LAG: Key<Duration> = Key::duration("syslog.confirm_lag", Duration::ZERO)
    .default("200ms")
    .means("how long a receiver must stay connected after it read the last byte before that byte counts as read");

pub const RATE: Key<u32> = Key::count("syslog.rate", 1, 10_000_000)
    .default("5000")
    .means("udp: maximum number of messages per second; at full speed many are lost before the receiver reads them");

pub const ON_REJECT: Key<OnReject> = Key::choice("syslog.on_reject").default("dead_letter").means(
    "what to do with an event that the receiver refuses because of its content: write it as a dead \
         letter, or halt its shard",
);

pub const ISOLATE: Key<bool> = Key::switch("syslog.isolate").default("false").means(
    "let the other destinations continue while this one is down: missed events are written as dead letters and replayed when it is back",
);
