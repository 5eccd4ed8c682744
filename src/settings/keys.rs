//! Every setting there is: its names, what it takes, its default and what it means.
//!
//! The settings file, the environment, the flags, the help, the suggestions for typos and `docs/settings.md` all come
//! from this one table.

use std::time::Duration;

/// The one prefix of environment variables that belong to us.
pub const PREFIX: &str = "FORWARDER_";

/// The variable that names the settings file; the one `FORWARDER_*` variable that is not a setting.
pub const CONFIG: &str = "FORWARDER_CONFIG";

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Table and name in the settings file: `hec.timeout`.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds when nobody gives it.
    pub default: Default,
    /// Its flag, without the dashes, when it has one.
    pub flag: Option<&'static str>,
    /// Environment variables that give it besides its own.
    pub also: &'static [&'static str],
    /// Names that people know it by from the vendor's scripts and SDK, for suggestions.
    pub known_as: &'static [&'static str],
    /// What it means, as a phrase without a full stop.
    pub meaning: &'static str,
}

/// What a setting takes.
#[derive(Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// A path; in the settings file relative to that file's directory.
    Path,
    /// `true` or `false`.
    Switch,
    /// A whole number within bounds.
    Count(u64, u64),
    /// A number with a unit of time, at least this much.
    Duration(Duration),
    /// As [`Kind::Duration`], and a bare number means seconds, as in the vendor's scripts.
    Seconds(Duration),
    /// A number with a unit of size, within bounds in bytes.
    Size(u64, u64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A start position: [`super::start::StartPosition`].
    Start,
    /// A credential that the settings file may hold.
    Secret,
    /// A credential that may come from the environment only.
    EnvironmentSecret,
    /// A table of the user's own; in the settings file only.
    Table,
}

/// What holds when nobody gives a setting.
#[derive(Debug)]
pub enum Default {
    /// This, as one would type it.
    Is(&'static str),
    /// Worked out from other things, in these words.
    Computed(&'static str),
    /// Nothing: the thing is not used, or another setting takes its place.
    Nothing,
    /// There is none: somebody has to give it.
    Required,
}

impl Key {
    /// Its own environment variable: `FORWARDER_HEC_TIMEOUT`. Tables have none.
    #[must_use]
    pub fn variable(&self) -> Option<String> {
        match self.kind {
            Kind::Table => None,
            _ => Some(format!("{PREFIX}{}", self.name.replace('.', "_").to_uppercase())),
        }
    }

    /// Its table in the settings file, and its name there.
    #[must_use]
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').expect("every key of the table has a dot")
    }

    /// Whether its text must not be shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::EnvironmentSecret)
    }
}

/// The setting with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Where each row starts from.
const PLAIN: Key =
    Key { name: "", kind: Kind::Text, default: Default::Nothing, flag: None, also: &[], known_as: &[], meaning: "" };

/// Every setting, in the order of the documentation.
pub static KEYS: &[Key] = &[
    Key {
        name: "script.file",
        kind: Kind::Path,
        default: Default::Required,
        flag: Some("script"),
        also: &["FORWARDER_SCRIPT"],
        meaning: "the Lua script whose process(log) turns each log into events; `script = \"…\"` at the top of the file \
                  says the same",
        ..PLAIN
    },
    Key {
        name: "script.timeout",
        kind: Kind::Duration(MILLISECOND),
        default: Default::Is("100ms"),
        meaning: "longest time for one log; a log that takes longer is set aside and its neighbours go on",
        ..PLAIN
    },
    Key {
        name: "script.memory",
        kind: Kind::Size(MIB, 4 * GIB),
        default: Default::Is("64MiB"),
        meaning: "most memory for one Lua VM; each shard has one",
        ..PLAIN
    },
    Key {
        name: "script.on_error",
        kind: Kind::OneOf(&["dead_letter", "halt", "pass", "drop"]),
        default: Default::Is("dead_letter"),
        meaning: "what to do with a log that the script fails on: keep it as a dead letter and go on, halt its shard, pass \
                  it on as it is, or drop it",
        ..PLAIN
    },
    Key {
        name: "script.force_reload",
        kind: Kind::Switch,
        default: Default::Is("false"),
        flag: Some("force-reload"),
        meaning: "put a changed script in force even if it drops or fails many more of the last logs than the version \
                  before",
        ..PLAIN
    },
    Key {
        name: "script.rollback_share",
        kind: Kind::Count(0, 100),
        default: Default::Is("20"),
        meaning: "percent of the logs: a changed script that fails on more than these, where the version before did not, \
                  is taken back; 100 is never",
        ..PLAIN
    },
    Key {
        name: "script.rollback_within",
        kind: Kind::Duration(SECOND),
        default: Default::Is("5m"),
        meaning: "how long after a change of the script it is looked at that way",
        ..PLAIN
    },
    Key {
        name: "script.vars",
        kind: Kind::Table,
        meaning: "the script's own settings: the global `settings` in Lua",
        ..PLAIN
    },
    Key {
        name: "sls.endpoint",
        default: Default::Required,
        flag: Some("endpoint"),
        also: &["SLS_ENDPOINT"],
        meaning: "SLS endpoint of the region, as https://cn-hangzhou.log.aliyuncs.com; without a scheme it is http",
        ..PLAIN
    },
    Key {
        name: "sls.project",
        default: Default::Required,
        flag: Some("project"),
        also: &["SLS_PROJECT"],
        meaning: "SLS project",
        ..PLAIN
    },
    Key {
        name: "sls.logstore",
        default: Default::Required,
        flag: Some("logstore"),
        also: &["SLS_LOGSTORE"],
        meaning: "logstore to read",
        ..PLAIN
    },
    Key {
        name: "sls.group",
        default: Default::Required,
        flag: Some("group"),
        also: &["SLS_CG"],
        known_as: &["consumer_group", "consumer_group_name"],
        meaning: "consumer group: processes with the same group share the shards; it is created when absent",
        ..PLAIN
    },
    Key {
        name: "sls.consumer",
        default: Default::Computed("{group}-{hostname}-{pid}, and a nonce when the pid is 1"),
        flag: Some("consumer"),
        known_as: &["consumer_name"],
        meaning: "our name in the group; no two live processes may share it",
        ..PLAIN
    },
    Key {
        name: "sls.access_key_id",
        also: &["SLS_AK_ID", "ALIBABA_CLOUD_ACCESS_KEY_ID"],
        known_as: &["accessKeyId", "access_id"],
        meaning: "AccessKey ID",
        ..PLAIN
    },
    Key {
        name: "sls.access_key_secret",
        kind: Kind::EnvironmentSecret,
        also: &["SLS_AK_KEY", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        known_as: &["accessKey", "access_key"],
        meaning: "AccessKey secret; from the environment only",
        ..PLAIN
    },
    Key {
        name: "sls.security_token",
        kind: Kind::EnvironmentSecret,
        also: &["ALIBABA_CLOUD_SECURITY_TOKEN"],
        known_as: &["sts_token"],
        meaning: "STS token of a temporary AccessKey; from the environment only",
        ..PLAIN
    },
    Key {
        name: "sls.access_key_id_file",
        kind: Kind::Path,
        meaning: "file with the AccessKey ID, read again when it changes",
        ..PLAIN
    },
    Key {
        name: "sls.access_key_secret_file",
        kind: Kind::Path,
        meaning: "file with the AccessKey secret, read again when it changes",
        ..PLAIN
    },
    Key {
        name: "sls.security_token_file",
        kind: Kind::Path,
        meaning: "file with the STS token, read again when it changes",
        ..PLAIN
    },
    Key {
        name: "sls.start",
        kind: Kind::Start,
        default: Default::Is("begin"),
        flag: Some("start"),
        known_as: &["cursor_start_time", "cursor_position"],
        meaning: "where shards without a checkpoint start: begin, end, unix seconds, or a time such as \
                  2026-01-31 8:00:00+08:00 (without an offset: in the local time zone); a shard that comes of a split or \
                  merge while we run starts with its oldest log, also with end",
        ..PLAIN
    },
    Key {
        name: "sls.query",
        flag: Some("query"),
        meaning: "SPL that filters or trims at the source, as * | where status = '500'",
        ..PLAIN
    },
    Key {
        name: "sls.processor",
        meaning: "stored consume processor that filters at the source, in place of a query",
        ..PLAIN
    },
    Key {
        name: "sls.fetch_interval",
        kind: Kind::Seconds(Duration::from_millis(100)),
        default: Default::Is("1s"),
        known_as: &["data_fetch_interval"],
        meaning: "pause between two looks at a shard that has nothing new",
        ..PLAIN
    },
    Key {
        name: "sls.heartbeat_interval",
        kind: Kind::Seconds(SECOND),
        default: Default::Is("20s"),
        meaning: "time between two heartbeats to the group; at most a third of its timeout",
        ..PLAIN
    },
    Key {
        name: "sls.group_timeout",
        kind: Kind::Seconds(Duration::from_secs(2)),
        default: Default::Computed("three times sls.heartbeat_interval"),
        meaning: "silence after which SLS gives our shards to others; at least two heartbeats; written when the group is \
                  created",
        ..PLAIN
    },
    Key {
        name: "sls.save_interval",
        kind: Kind::Duration(Duration::from_millis(100)),
        default: Default::Is("1s"),
        known_as: &["checkpoint_timeout"],
        meaning: "least time between two saves of a shard's checkpoint",
        ..PLAIN
    },
    Key {
        name: "sls.in_order",
        kind: Kind::Switch,
        default: Default::Is("false"),
        meaning: "read the children of a split or merged shard only after their parents; written when the group is created",
        ..PLAIN
    },
    Key {
        name: "sls.manage_group",
        kind: Kind::Switch,
        default: Default::Is("false"),
        meaning: "change timeout and order of an existing group that has others",
        ..PLAIN
    },
    Key {
        name: "sls.page_groups",
        kind: Kind::Count(1, 1000),
        default: Default::Is("1000"),
        known_as: &["max_fetch_log_group_size"],
        meaning: "most log groups in one pull",
        ..PLAIN
    },
    Key {
        name: "sls.compression",
        kind: Kind::OneOf(&["lz4", "zstd", "none"]),
        default: Default::Is("lz4"),
        known_as: &["accept_compress_type"],
        meaning: "compression of what is pulled",
        ..PLAIN
    },
    Key {
        name: "sls.signature",
        kind: Kind::OneOf(&["v1", "v4"]),
        default: Default::Is("v1"),
        known_as: &["auth_version"],
        meaning: "signature version; v4 needs sls.region",
        ..PLAIN
    },
    Key { name: "sls.region", meaning: "region id for signature v4, as cn-hangzhou", ..PLAIN },
    Key {
        name: "sls.ca_file",
        kind: Kind::Path,
        meaning: "certificates (PEM) to trust for SLS besides the system's",
        ..PLAIN
    },
    Key {
        name: "sls.timeout",
        kind: Kind::Duration(SECOND),
        default: Default::Is("60s"),
        meaning: "longest time for one call to SLS",
        ..PLAIN
    },
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
    Key {
        name: "dead_letters.dir",
        kind: Kind::Path,
        default: Default::Is("dead-letters"),
        known_as: &["dlq"],
        meaning: "directory of the dead letters, created when absent; the default is in the directory that the program is \
                  started in",
        ..PLAIN
    },
    Key {
        name: "dead_letters.max_size",
        kind: Kind::Size(MIB, 1024 * GIB),
        default: Default::Is("1GB"),
        meaning: "most bytes of dead letters; when there is no room left, shards wait and nothing is lost",
        ..PLAIN
    },
    Key {
        name: "dead_letters.max_share",
        kind: Kind::Count(1, 100),
        default: Default::Is("20"),
        meaning: "a shard is held when more than so many percent of at least 200 logs within a minute would become dead \
                  letters, or more than 100 logs in a row; 100 never holds",
        ..PLAIN
    },
    Key {
        name: "run.drain_timeout",
        kind: Kind::Duration(Duration::ZERO),
        default: Default::Is("25s"),
        meaning: "how long a stop, or giving a shard to another consumer, may take to deliver and save what is under way",
        ..PLAIN
    },
    Key {
        name: "run.memory",
        kind: Kind::Size(64 * MIB, 1024 * GIB),
        default: Default::Is("256MiB"),
        meaning: "most bytes of logs and events under way, over all shards; Lua VMs are extra",
        ..PLAIN
    },
    Key {
        name: "run.hook_threads",
        kind: Kind::Count(1, 256),
        default: Default::Computed("one per core"),
        meaning: "threads that run the script",
        ..PLAIN
    },
    Key {
        name: "log.level",
        kind: Kind::OneOf(&["error", "warn", "info", "debug", "trace"]),
        default: Default::Is("info"),
        flag: Some("log-level"),
        meaning: "how much to tell",
        ..PLAIN
    },
    Key {
        name: "log.format",
        kind: Kind::OneOf(&["text", "json"]),
        default: Default::Is("text"),
        flag: Some("log-format"),
        meaning: "form of the log lines",
        ..PLAIN
    },
    Key {
        name: "log.file",
        kind: Kind::Path,
        flag: Some("log-file"),
        meaning: "write the log to this file too; at 100 MB it becomes FILE.1, and five old ones are kept",
        ..PLAIN
    },
    Key {
        name: "admin.listen",
        kind: Kind::Text,
        flag: Some("admin-listen"),
        meaning: "address and port for /live, /ready, /status and /metrics, such as 127.0.0.1:9464; without it there are none",
        ..PLAIN
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_variable_and_flag_is_taken_once() {
        let mut seen = BTreeSet::new();
        for key in KEYS {
            let names = [Some(key.name.to_owned()), key.variable(), key.flag.map(|flag| format!("--{flag}"))];
            for name in names.into_iter().flatten().chain(key.also.iter().map(ToString::to_string)) {
                assert!(seen.insert(name.clone()), "{name} is taken twice");
            }
        }
        assert!(seen.len() > KEYS.len());
    }

    #[test]
    fn no_secret_has_a_flag() {
        let secrets: Vec<_> = KEYS.iter().filter(|key| key.is_secret()).collect();
        assert_eq!(secrets.len(), 3);
        assert!(secrets.iter().all(|key| key.flag.is_none()));
    }
}
