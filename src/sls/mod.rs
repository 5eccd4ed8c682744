//! Alibaba Cloud Simple Log Service, as a [`crate::core::source::Source`].
//!
//! [`Sls`] sends what [`api`] builds, signed by [`sign`] with the keys of [`credentials`], to an [`endpoint`].
//! Replies are parsed by [`api`] and [`unpack`]; [`error`] classifies refusals. Only the client and the credentials
//! do I/O: everything else is pure.

pub mod api;
mod call_errors;
mod client;
pub mod credentials;
pub mod endpoint;
pub mod error;
pub mod group_signs;
pub mod group_start;
pub mod http_date;
pub mod message;
mod percent;
pub mod permissions;
mod probe_log;
pub mod project;
pub mod shard_state;
pub mod sign;
#[cfg(test)]
pub(crate) mod test_config;
pub mod unpack;

pub use call_errors::{CallError, CallErrors};
pub use client::{ConfigError, Connections, InspectError, Sls, is_label};
pub use credentials::{AccessKey, Credentials, KeyStatus};

use std::path::PathBuf;
use std::time::Duration;

/// How to reach the logstore; all fields are validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// `https://cn-hangzhou.log.aliyuncs.com`, or `http://127.0.0.1:8200`: no scheme means http, as in every SDK. For
    /// a literal address, the client connects there with `Host: <project>.<address>`.
    pub endpoint: String,
    /// Project.
    pub project: String,
    /// Logstore.
    pub logstore: String,
    /// Consumer group.
    pub group: String,
    /// Our name in the group; two live processes must not share it.
    pub consumer: String,
    /// The origin of the signing key.
    pub credentials: credentials::Credentials,
    /// The signature version.
    pub signature: Signature,
    /// The compression of pulls.
    pub compression: Compression,
    /// Maximum number of log groups of a pull, 1..=1000.
    pub page_groups: u32,
    /// SPL that filters at the source.
    pub query: Option<String>,
    /// Name of a stored consume processor.
    pub processor: Option<String>,
    /// Time without a heartbeat after which the server reassigns our shards; written to the server when the group is
    /// created.
    pub group_timeout: Duration,
    /// Consume split or merged children only after their parents; written to the server when the group is created.
    pub in_order: bool,
    /// Update timeout and order of an existing group if they differ.
    pub manage_group: bool,
    /// Write probe logs.
    pub probe: bool,
    /// Certificates to trust in addition to the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Time limit of a call.
    pub timeout: Duration,
}

/// Signature version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// Version 1, and version 4 once the server refuses version 1.
    Auto {
        /// Region id for version 4; without one, version 1 is kept.
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
