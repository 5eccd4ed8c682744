//! The settings with a fixed set of words: their types, and the words.

use tracing::Level;

use super::setting::Choice;
use crate::destination::hec::Partial;
use crate::destination::syslog::{Framing, Oversize};
use crate::pipeline::{OnError, OnReject};
use crate::sls::Compression;

/// `syslog.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Tls,
    Udp,
    Relp,
    RelpTls,
}

/// `syslog.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFormat {
    Rfc5424,
    Rfc3164,
}

/// `syslog.delivery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryMode {
    Confirmed,
    Sent,
}

/// `sls.signature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureVersion {
    Auto,
    V1,
    V4,
}

/// `sls.credentials`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialSource {
    /// A given key, else the vendor's default chain.
    Auto,
    Static,
    Oidc,
    Profile,
    Ini,
    Ecs,
    Uri,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable text.
    Text,
    /// One JSON object a line.
    Json,
}

impl Choice for Protocol {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("tcp", Self::Tcp),
        ("tls", Self::Tls),
        ("udp", Self::Udp),
        ("relp", Self::Relp),
        ("relp+tls", Self::RelpTls),
    ];
}

impl Choice for MessageFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("rfc5424", Self::Rfc5424), ("rfc3164", Self::Rfc3164)];
}

impl Choice for Framing {
    const WORDS: &'static [(&'static str, Self)] = &[("octet", Self::Octet), ("lf", Self::Lf)];
}

impl Choice for Oversize {
    const WORDS: &'static [(&'static str, Self)] =
        &[("split", Self::Split), ("truncate", Self::Truncate), ("dead_letter", Self::DeadLetter)];
}

impl Choice for DeliveryMode {
    const WORDS: &'static [(&'static str, Self)] = &[("confirmed", Self::Confirmed), ("sent", Self::Sent)];
}

impl Choice for Partial {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("kept", Self::Kept), ("refused", Self::Refused)];
}

impl Choice for OnReject {
    const WORDS: &'static [(&'static str, Self)] = &[("dead_letter", Self::DeadLetter), ("halt", Self::Halt)];
}

impl Choice for OnError {
    const WORDS: &'static [(&'static str, Self)] =
        &[("dead_letter", Self::DeadLetter), ("halt", Self::Halt), ("pass", Self::Pass), ("drop", Self::Drop)];
}

impl Choice for Compression {
    const WORDS: &'static [(&'static str, Self)] = &[("lz4", Self::Lz4), ("zstd", Self::Zstd), ("none", Self::Plain)];
}

impl Choice for SignatureVersion {
    const WORDS: &'static [(&'static str, Self)] = &[("auto", Self::Auto), ("v1", Self::V1), ("v4", Self::V4)];
}

impl Choice for CredentialSource {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("static", Self::Static),
        ("oidc", Self::Oidc),
        ("profile", Self::Profile),
        ("ini", Self::Ini),
        ("ecs", Self::Ecs),
        ("uri", Self::Uri),
    ];
}

impl Choice for Level {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::ERROR),
        ("warn", Self::WARN),
        ("info", Self::INFO),
        ("debug", Self::DEBUG),
        ("trace", Self::TRACE),
    ];
}

impl Choice for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}
