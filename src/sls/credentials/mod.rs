//! The key that signs: given once, kept up to date from files, or fetched from the cloud and renewed ahead of its end.
//!
//! ```text
//! plan        what the settings say: a key, files, or a lookup: providers in order, and a role on top
//!   fetch     asks one provider for a session: sts, ecs, uri over http; profile and ini name another provider
//!   renewal   keeps the session fresh in the background; what is due when is decided by refresh, which is pure
//!   keys      hands the key that is held to whoever signs
//! ```
//!
//! Nothing on the way of logs waits for a renewal: a request signs with what is held. An outage of STS is survived for as long
//! as that is valid.
//!
//! Source: the default chain and the providers of Alibaba Cloud's credentials-python and credentials-go, and the API
//! reference of STS (version 2015-04-01) and of ECS instance metadata.

mod access_key;
mod ecs;
mod fetch;
mod fetch_error;
mod http;
mod ini;
mod key_files;
mod keys;
mod plan;
mod profile;
mod refresh;
mod renewal;
mod session;
mod sts;
mod uri;

pub use access_key::{AccessKey, KeyError};
pub use keys::{KeyStatus, Keys};
pub use plan::{Candidate, Credentials, KeyFiles, Lookup, OidcRole, Provider, Role, Services};
