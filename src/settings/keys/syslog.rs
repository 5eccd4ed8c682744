//! The settings of syslog: `[syslog]`.

use std::time::Duration;

use super::key::{Default, Key, Kind, MIB, PLAIN, SECOND};

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "syslog.host",
        flag: Some("syslog-host"),
        known_as: &["hosts", "server", "address"],
        meaning: "syslog receiver; several, of which the first that works is used, are separated by commas, each with a port \
                  if it has another: siem-1, siem-2:1514, [2001:db8::1]:514",
        ..PLAIN
    },
    Key {
        name: "syslog.port",
        kind: Kind::Count(1, 65535),
        default: Default::Computed("514; tls 6514, relp 2514, relp+tls 20514"),
        meaning: "port of the receivers that name none",
        ..PLAIN
    },
    Key {
        name: "syslog.protocol",
        kind: Kind::OneOf(&["tcp", "tls", "udp", "relp", "relp+tls"]),
        default: Default::Is("tcp"),
        known_as: &["proto", "transport", "mode"],
        meaning: "how messages travel; udp loses them without a word, tcp and relp send them in plain text",
        ..PLAIN
    },
    Key {
        name: "syslog.format",
        kind: Kind::OneOf(&["rfc5424", "rfc3164"]),
        default: Default::Is("rfc5424"),
        known_as: &["rfc"],
        meaning: "standard that messages follow",
        ..PLAIN
    },
    Key {
        name: "syslog.framing",
        kind: Kind::OneOf(&["octet", "lf"]),
        default: Default::Computed("octet for tls, lf for tcp"),
        known_as: &["octet_counting"],
        meaning: "how messages are told apart: by a count in front, or by a line feed behind, where control characters \
                  within are escaped",
        ..PLAIN
    },
    Key {
        name: "syslog.separator",
        default: Default::Is("||"),
        known_as: &["sep"],
        meaning: "what goes before each key=value when the message is the log itself",
        ..PLAIN
    },
    Key {
        name: "syslog.facility",
        default: Default::Is("user"),
        meaning: "facility of events that name none, by name or number: user, local0, 16",
        ..PLAIN
    },
    Key {
        name: "syslog.severity",
        default: Default::Is("info"),
        meaning: "severity of events that name none, by name or number: info, warning, 4",
        ..PLAIN
    },
    Key {
        name: "syslog.hostname",
        default: Default::Computed("the machine's name"),
        known_as: &["clientname"],
        meaning: "HOSTNAME of events that name none",
        ..PLAIN
    },
    Key {
        name: "syslog.program",
        known_as: &["tag", "app_name", "appname"],
        meaning: "APP-NAME (or TAG in rfc3164) of events that name none",
        ..PLAIN
    },
    Key {
        name: "syslog.structured_data",
        known_as: &["sdata"],
        meaning: "structured data of events that name none, as in the RFC: [id@32473 name=\"value\"]",
        ..PLAIN
    },
    Key {
        name: "syslog.bom",
        kind: Kind::Switch,
        default: Default::Is("false"),
        meaning: "mark messages as UTF-8 by a byte order mark; many receivers keep it in the text",
        ..PLAIN
    },
    Key {
        name: "syslog.full_time",
        kind: Kind::Switch,
        default: Default::Is("false"),
        meaning: "rfc3164: write the time with year and offset, as rfc5424 does",
        ..PLAIN
    },
    Key {
        name: "syslog.zone",
        default: Default::Is("local"),
        known_as: &["timezone", "time_zone", "tz"],
        meaning: "zone of the time in rfc3164 and with compat: local, utc, or a name as Asia/Shanghai; rfc5424 is in UTC",
        ..PLAIN
    },
    Key {
        name: "syslog.max_message",
        kind: Kind::Size(480, 64 * MIB),
        default: Default::Computed("8KB; udp 1232B"),
        known_as: &["max_size", "max_message_size", "max_datagram"],
        meaning: "most bytes of a message, header included; what a receiver allows, or it cuts or splits messages itself",
        ..PLAIN
    },
    Key {
        name: "syslog.oversize",
        kind: Kind::OneOf(&["split", "truncate", "dead_letter"]),
        default: Default::Is("split"),
        meaning: "what becomes of a longer message: parts that name each other, a cut that tells length and digest, or a \
                  dead letter",
        ..PLAIN
    },
    Key {
        name: "syslog.compat",
        kind: Kind::Switch,
        default: Default::Is("false"),
        meaning: "rfc5424: send the bytes of the vendor's Python script as far as they are valid",
        ..PLAIN
    },
    Key {
        name: "syslog.timeout",
        kind: Kind::Seconds(SECOND),
        default: Default::Is("120s"),
        meaning: "how long the receiver may leave us waiting, for a write to be taken or for an answer",
        ..PLAIN
    },
    Key {
        name: "syslog.connect_timeout",
        kind: Kind::Duration(Duration::from_millis(100)),
        default: Default::Is("10s"),
        meaning: "longest time for connecting, over all addresses of a receiver, TLS included",
        ..PLAIN
    },
    Key {
        name: "syslog.verify",
        kind: Kind::Switch,
        default: Default::Is("true"),
        meaning: "verify the receiver's certificate and name",
        ..PLAIN
    },
    Key {
        name: "syslog.ca_file",
        kind: Kind::Path,
        known_as: &["cert_path"],
        meaning: "certificates (PEM) to trust for the receiver besides the system's",
        ..PLAIN
    },
    Key {
        name: "syslog.client_cert",
        kind: Kind::Path,
        meaning: "our certificate (PEM) for mutual TLS, with syslog.client_key",
        ..PLAIN
    },
    Key {
        name: "syslog.client_key",
        kind: Kind::Path,
        meaning: "the PKCS #8 key (PEM) of syslog.client_cert",
        ..PLAIN
    },
    Key {
        name: "syslog.server_name",
        default: Default::Computed("syslog.host"),
        known_as: &["sni"],
        meaning: "name to ask for (SNI) and to verify in the receiver's certificate",
        ..PLAIN
    },
    Key {
        name: "syslog.delivery",
        kind: Kind::OneOf(&["confirmed", "sent"]),
        default: Default::Computed("confirmed; udp sent"),
        meaning: "what counts as delivered: what the receiver is proven to have read, or what the operating system took",
        ..PLAIN
    },
    Key {
        name: "syslog.confirm_interval",
        kind: Kind::Duration(Duration::from_millis(100)),
        default: Default::Is("1s"),
        meaning: "time between two proofs",
        ..PLAIN
    },
    Key {
        name: "syslog.confirm_lag",
        kind: Kind::Duration(Duration::ZERO),
        default: Default::Is("200ms"),
        meaning: "how long the receiver must have lived on after it read the last byte",
        ..PLAIN
    },
    Key {
        name: "syslog.rate",
        kind: Kind::Count(1, 10_000_000),
        default: Default::Is("5000"),
        meaning: "udp: most messages a second; at full speed many are lost before the receiver reads them",
        ..PLAIN
    },
    Key {
        name: "syslog.on_reject",
        kind: Kind::OneOf(&["dead_letter", "halt"]),
        default: Default::Is("dead_letter"),
        meaning: "what to do with an event that the receiver refuses for what it is: keep it as a dead letter and go on, or \
                  halt its shard",
        ..PLAIN
    },
];
