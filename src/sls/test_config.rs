//! The configuration of a client in tests.

use std::time::Duration;

use super::{AccessKey, Compression, Config, Credentials, Signature};
use crate::core::secret::Secret;

/// A client of a server at this port of the loopback interface.
pub(crate) fn test_config(port: u16) -> Config {
    Config {
        endpoint: format!("http://127.0.0.1:{port}"),
        project: "my-project".into(),
        logstore: "my-logstore".into(),
        group: "cg1".into(),
        consumer: "cg1-123".into(),
        credentials: Credentials::Fixed(AccessKey { id: "AKID".into(), secret: Secret::new("SECRET"), token: None }),
        signature: Signature::V1,
        compression: Compression::Lz4,
        page_groups: 1000,
        query: None,
        processor: None,
        group_timeout: Duration::from_secs(40),
        in_order: false,
        manage_group: false,
        probe: false,
        ca_file: None,
        timeout: Duration::from_secs(10),
    }
}
