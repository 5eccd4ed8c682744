//! The configuration of the emulator.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::core::secret::Secret;

/// The configuration of the emulator.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on; port 0 chooses a free one.
    pub address: SocketAddr,
    /// The AccessKey that may assume roles besides temporary keys. `None`: only signatures of temporary keys are
    /// checked.
    pub keys: Option<(String, Secret)>,
    /// The token of the identity provider. `None`: any token is accepted.
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
