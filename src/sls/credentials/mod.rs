//! The signing key: fixed, read from files that may change, or fetched from a cloud service and renewed before it
//! expires.
//!
//! ```text
//! plan        the plan of the settings: a key, files, or a lookup of providers in order, and an optional role
//!   fetch     requests a session from one provider: sts, ecs, uri over http; profile and ini name another provider
//!   renewal   renews the session in the background; refresh, which is pure, decides when
//!   keys      gives the current key to the signers
//! ```
//!
//! No request waits for a renewal: it is signed with the current key. An outage of STS has no effect as long as that
//! key is valid.
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
