//! The origin of the signing key, as far as the settings define it.

use std::path::PathBuf;
use std::time::Duration;

use super::access_key::AccessKey;
use super::session::{shown_url, sts_host};
use crate::core::secret::Secret;

/// The origin of the signing key.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Given in the environment or the settings.
    Fixed(AccessKey),
    /// Read from files, and read again when their content changes.
    Files(KeyFiles),
    /// Requested while the program runs, and renewed.
    Lookup(Box<Lookup>),
}

/// The providers to request a key from.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// In this order. The first that is set up is used permanently: if it refuses, the next is not tried.
    pub candidates: Vec<Candidate>,
    /// A role to assume with its key.
    pub role: Option<Role>,
    /// Addresses of the services.
    pub services: Services,
}

/// A candidate.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its name in the setting `sls.credentials`.
    pub name: &'static str,
    /// The provider, or why it is not set up.
    pub provider: Result<Provider, String>,
}

/// A provider of a key.
#[derive(Debug, Clone)]
pub enum Provider {
    /// This key.
    Key(AccessKey),
    /// The files of the settings.
    Files(KeyFiles),
    /// STS, for a token of an identity provider (RRSA in Kubernetes).
    Oidc(OidcRole),
    /// A profile of the vendor's command line tool, `config.json`. Without a name it is the current one.
    Profile {
        /// The file.
        file: PathBuf,
        /// Name of the profile.
        name: Option<String>,
    },
    /// A section of the file that the vendor's SDKs share, `credentials.ini`.
    Ini {
        /// The file.
        file: PathBuf,
        /// Name of the section.
        name: String,
    },
    /// The metadata service of an ECS instance, for the role of that name or for the only one that it has.
    Ecs {
        /// Name of the role.
        role: Option<String>,
    },
    /// A service that returns a session at this URL, which may contain a secret.
    Uri(Secret),
    /// STS, which assumes the role with the key of another provider.
    Role(Box<Provider>, Role),
}

/// Files with the parts of a key.
#[derive(Debug, Clone)]
pub struct KeyFiles {
    /// File with the AccessKey ID.
    pub id: PathBuf,
    /// File with the AccessKey secret.
    pub secret: PathBuf,
    /// File with the STS token.
    pub token: Option<PathBuf>,
}

/// A role to assume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// `acs:ram::1234:role/name`.
    pub arn: String,
    /// The session name that ActionTrail shows.
    pub session_name: String,
    /// The external ID that the role's trust policy may require.
    pub external_id: Option<String>,
    /// Lifetime of a session.
    pub duration: Duration,
    /// A policy that narrows the permissions of the session.
    pub policy: Option<String>,
    /// Base URL of STS.
    pub sts: String,
}

/// A role that is assumed with an identity provider's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcRole {
    /// The role.
    pub role: Role,
    /// `acs:ram::1234:oidc-provider/name`.
    pub provider_arn: String,
    /// File with the token, read for every session.
    pub token_file: PathBuf,
}

/// Addresses of the services, and defaults of sessions.
#[derive(Debug, Clone)]
pub struct Services {
    /// Base URL of STS, if given.
    pub sts: Option<String>,
    /// Region of STS, if given instead.
    pub sts_region: Option<String>,
    /// Whether STS is reached inside a VPC.
    pub sts_vpc: bool,
    /// Base URL of the metadata service.
    pub metadata: String,
    /// Whether version 1 of the metadata service, which needs no token, is allowed.
    pub metadata_v1: bool,
    /// Name of sessions.
    pub session_name: String,
    /// How long sessions last.
    pub duration: Duration,
    /// Certificates to trust in addition to the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

impl Services {
    /// Base URL of STS for a profile with or without a region. The settings take precedence.
    #[must_use]
    pub fn sts(&self, region: Option<&str>, vpc: bool) -> String {
        match &self.sts {
            Some(given) => given.clone(),
            None => sts_host(region.or(self.sts_region.as_deref()), vpc || self.sts_vpc),
        }
    }
}

impl Provider {
    /// Describes the provider for messages. Details that only the provider knows are added to its session.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Key(_) => "AccessKey".to_owned(),
            Self::Files(_) => "AccessKey files".to_owned(),
            Self::Oidc(OidcRole { role, .. }) => format!("OIDC role {}", role.arn),
            Self::Profile { file, name: Some(name) } => format!("profile {name} of {}", file.display()),
            Self::Profile { file, name: None } => format!("current profile of {}", file.display()),
            Self::Ini { file, name } => format!("section {name} of {}", file.display()),
            Self::Ecs { role: Some(role) } => format!("ECS role {role}"),
            Self::Ecs { role: None } => "ECS role".to_owned(),
            Self::Uri(url) => format!("URI {}", shown_url(url.expose())),
            Self::Role(base, role) => format!("role {} assumed by {}", role.arn, base.describe()),
        }
    }
}
