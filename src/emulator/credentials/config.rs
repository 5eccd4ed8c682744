//! What to emulate, and where.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::core::secret::Secret;

/// What to emulate, and where.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub address: SocketAddr,
    /// The AccessKey that may assume roles besides temporary keys. `None`: signatures are checked of temporary keys alone.
    pub keys: Option<(String, Secret)>,
    /// The token that the identity provider gives. `None`: any will do.
    pub oidc_token: Option<Secret>,
    /// The role of the instance; `None`: it has none.
    pub role: Option<String>,
    /// How long a key is valid; roles can be assumed for less.
    pub life: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            keys: None,
            oidc_token: None,
            role: Some("demo-role".to_owned()),
            life: Duration::from_secs(3600),
        }
    }
}
