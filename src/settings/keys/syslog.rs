//! The settings of syslog: `[syslog]`.

use std::path::PathBuf;
use std::time::Duration;

use super::key::{Key, MIB, SECOND};
use super::row::Row;

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
];

pub const HOST: Key<String> =
    Key::text("syslog.host").flag("syslog-host").known_as(&["hosts", "server", "address"]).means(
        "syslog receiver; several, of which the first that works is used, are separated by commas, each with a port \
                  if it has another: siem-1, siem-2:1514, [2001:db8::1]:514",
    );

pub const PORT: Key<u16> = Key::count("syslog.port", 1, 65535)
    .computed("514; tls 6514, relp 2514, relp+tls 20514")
    .means("port of the receivers that name none");

pub const PROTOCOL: Key<&'static str> = Key::one_of("syslog.protocol", &["tcp", "tls", "udp", "relp", "relp+tls"])
    .default("tcp")
    .known_as(&["proto", "transport", "mode"])
    .means("how messages travel; udp loses them without a word, tcp and relp send them in plain text");

pub const FORMAT: Key<&'static str> = Key::one_of("syslog.format", &["rfc5424", "rfc3164"])
    .default("rfc5424")
    .known_as(&["rfc"])
    .means("standard that messages follow");

pub const FRAMING: Key<&'static str> = Key::one_of("syslog.framing", &["octet", "lf"])
    .computed("octet for tls, lf for tcp")
    .known_as(&["octet_counting"])
    .means(
        "how messages are told apart: by a count in front, or by a line feed behind, where control characters \
                  within are escaped",
    );

pub const SEPARATOR: Key<String> = Key::text("syslog.separator")
    .default("||")
    .known_as(&["sep"])
    .means("what goes before each key=value when the message is the log itself");

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
    .means("structured data of events that name none, as in the RFC: [id@32473 name=\"value\"]");

pub const BOM: Key<bool> = Key::switch("syslog.bom")
    .default("false")
    .means("mark messages as UTF-8 by a byte order mark; many receivers keep it in the text");

pub const FULL_TIME: Key<bool> = Key::switch("syslog.full_time")
    .default("false")
    .means("rfc3164: write the time with year and offset, as rfc5424 does");

pub const ZONE: Key<String> = Key::text("syslog.zone")
    .default("local")
    .known_as(&["timezone", "time_zone", "tz"])
    .means("zone of the time in rfc3164 and with compat: local, utc, or a name as Asia/Shanghai; rfc5424 is in UTC");

pub const MAX_MESSAGE: Key<usize> = Key::size("syslog.max_message", 480, 64 * MIB)
    .computed("8KB; udp 1232B")
    .known_as(&["max_size", "max_message_size", "max_datagram"])
    .means("most bytes of a message, header included; what a receiver allows, or it cuts or splits messages itself");

pub const OVERSIZE: Key<&'static str> =
    Key::one_of("syslog.oversize", &["split", "truncate", "dead_letter"]).default("split").means(
        "what becomes of a longer message: parts that name each other, a cut that tells length and digest, or a \
                  dead letter",
    );

pub const COMPAT: Key<bool> = Key::switch("syslog.compat")
    .default("false")
    .means("rfc5424: send the bytes of the vendor's Python script as far as they are valid");

pub const TIMEOUT: Key<Duration> = Key::seconds("syslog.timeout", SECOND)
    .default("120s")
    .means("how long the receiver may leave us waiting, for a write to be taken or for an answer");

pub const CONNECT_TIMEOUT: Key<Duration> = Key::duration("syslog.connect_timeout", Duration::from_millis(100))
    .default("10s")
    .means("longest time for connecting, over all addresses of a receiver, TLS included");

pub const VERIFY: Key<bool> =
    Key::switch("syslog.verify").default("true").means("verify the receiver's certificate and name");

pub const CA_FILE: Key<PathBuf> = Key::path("syslog.ca_file")
    .known_as(&["cert_path"])
    .means("certificates (PEM) to trust for the receiver besides the system's");

pub const CLIENT_CERT: Key<PathBuf> =
    Key::path("syslog.client_cert").means("our certificate (PEM) for mutual TLS, with syslog.client_key");

pub const CLIENT_KEY: Key<PathBuf> =
    Key::path("syslog.client_key").means("the PKCS #8 key (PEM) of syslog.client_cert");

pub const SERVER_NAME: Key<String> = Key::text("syslog.server_name")
    .computed("syslog.host")
    .known_as(&["sni"])
    .means("name to ask for (SNI) and to verify in the receiver's certificate");

pub const DELIVERY: Key<&'static str> = Key::one_of("syslog.delivery", &["confirmed", "sent"])
    .computed("confirmed; udp sent")
    .means("what counts as delivered: what the receiver is proven to have read, or what the operating system took");

pub const CONFIRM_INTERVAL: Key<Duration> =
    Key::duration("syslog.confirm_interval", Duration::from_millis(100)).default("1s").means("time between two proofs");

pub const CONFIRM_LAG: Key<Duration> = Key::duration("syslog.confirm_lag", Duration::ZERO)
    .default("200ms")
    .means("how long the receiver must have lived on after it read the last byte");

pub const RATE: Key<u32> = Key::count("syslog.rate", 1, 10_000_000)
    .default("5000")
    .means("udp: most messages a second; at full speed many are lost before the receiver reads them");

pub const ON_REJECT: Key<&'static str> =
    Key::one_of("syslog.on_reject", &["dead_letter", "halt"]).default("dead_letter").means(
        "what to do with an event that the receiver refuses for what it is: keep it as a dead letter and go on, or \
                  halt its shard",
    );
