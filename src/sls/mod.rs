//! Alibaba Cloud Simple Log Service, as a [`crate::core::source::Source`].
//!
//! [`Sls`] sends what [`api`] builds, signed by [`sign`] with the keys of [`credentials`], to an [`endpoint`]. What comes
//! back is read by [`api`] and [`unpack`]; [`error`] says what a refusal means. Only the client and the credentials touch
//! the world: everything else is pure.

pub mod api;
mod call_errors;
mod client;
pub mod credentials;
pub mod endpoint;
pub mod error;
pub mod group_start;
pub mod message;
mod percent;
mod probe_log;
pub mod project;
pub mod rights;
pub mod sign;
pub mod unpack;

pub use call_errors::{CallError, CallErrors};
pub use client::{ConfigError, Connections, LookError, Sls, is_label};
pub use credentials::{AccessKey, Credentials, KeyStatus};

use std::path::PathBuf;
use std::time::Duration;

/// How to reach the logstore, checked: every field means something.
#[derive(Debug, Clone)]
pub struct Config {
    /// `https://cn-hangzhou.log.aliyuncs.com`, or `http://127.0.0.1:8200`: no scheme means http, as in every SDK. A literal
    /// address means "connect there, `Host: <project>.<address>`".
    pub endpoint: String,
    /// Project.
    pub project: String,
    /// Logstore.
    pub logstore: String,
    /// Consumer group.
    pub group: String,
    /// Our name in the group; two live processes must not share it.
    pub consumer: String,
    /// Who signs.
    pub credentials: credentials::Credentials,
    /// How it is signed.
    pub signature: Signature,
    /// What pulls ask for.
    pub compression: Compression,
    /// Log groups a pull may bring, 1..=1000.
    pub page_groups: u32,
    /// SPL that filters at the source.
    pub query: Option<String>,
    /// Name of a stored consume processor.
    pub processor: Option<String>,
    /// Silence after which the server gives our shards away; written to the server when the group is created.
    pub group_timeout: Duration,
    /// Consume split or merged children only after their parents; written to the server when the group is created.
    pub in_order: bool,
    /// Change timeout and order of an existing group that has others.
    pub manage_group: bool,
    /// Write probe logs.
    pub probe: bool,
    /// Certificates to trust besides the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// How long a call may take.
    pub timeout: Duration,
}

/// Signature version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// Version 1, and version 4 from the moment on that the server refuses version 1.
    Auto {
        /// Region id for version 4; without one version 1 stays.
        region: Option<String>,
    },
    /// `LOG`, HMAC-SHA1.
    V1,
    /// `SLS4-HMAC-SHA256`, bound to a region such as `cn-hangzhou`.
    V4 {
        /// Region id.
        region: String,
    },
}

/// Compression of pulled pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Raw LZ4 block: the default of every SDK.
    Lz4,
    /// Zstandard frame.
    Zstd,
    /// None.
    Plain,
}
