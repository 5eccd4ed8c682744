//! Where the key that signs comes from, as far as the settings can say.

use std::path::PathBuf;
use std::time::Duration;

use super::access_key::AccessKey;
use super::session::{shown_url, sts_host};
use crate::core::secret::Secret;

/// Who signs.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Given in the environment or the settings.
    Fixed(AccessKey),
    /// Read from files, again whenever their content changes.
    Files(KeyFiles),
    /// Asked for while the program runs, and renewed.
    Lookup(Box<Lookup>),
}

/// Who is asked for a key.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// In this order. The first that is set up is used, for good: what it refuses is not asked of the next.
    pub candidates: Vec<Candidate>,
    /// The role that is assumed with the key that it gives.
    pub role: Option<Role>,
    /// Where the services are.
    pub services: Services,
}

/// One of those who may be asked.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its name in the setting that picks one.
    pub name: &'static str,
    /// How to ask it, or why it is not set up.
    pub provider: Result<Provider, String>,
}

/// Who gives a key.
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
    /// A service that gives a session at this URL, which may have a secret in it.
    Uri(Secret),
    /// STS, for the key of another.
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
    /// What ActionTrail shows of who uses the role.
    pub session_name: String,
    /// What the role's trust policy may ask for.
    pub external_id: Option<String>,
    /// How long a session lasts.
    pub duration: Duration,
    /// A policy that narrows the rights of the session.
    pub policy: Option<String>,
    /// Base URL of STS.
    pub sts: String,
}

/// A role that an identity provider's token opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcRole {
    /// The role.
    pub role: Role,
    /// `acs:ram::1234:oidc-provider/name`.
    pub provider_arn: String,
    /// File with the token, read for every session.
    pub token_file: PathBuf,
}

/// Where the services are, and what sessions are like that nobody describes further.
#[derive(Debug, Clone)]
pub struct Services {
    /// Base URL of STS, when it is given.
    pub sts: Option<String>,
    /// Region of the STS to ask, when that is given instead.
    pub sts_region: Option<String>,
    /// Whether STS is reached inside a VPC.
    pub sts_vpc: bool,
    /// Base URL of the metadata service.
    pub metadata: String,
    /// Whether version 1 of the metadata service will do, which needs no token.
    pub metadata_v1: bool,
    /// Name of sessions.
    pub session_name: String,
    /// How long sessions last.
    pub duration: Duration,
    /// Certificates to trust besides the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

impl Services {
    /// Base URL of STS for a profile that names its region, or that does not. What the settings say goes first.
    #[must_use]
    pub fn sts(&self, region: Option<&str>, vpc: bool) -> String {
        match &self.sts {
            Some(given) => given.clone(),
            None => sts_host(region.or(self.sts_region.as_deref()), vpc || self.sts_vpc),
        }
    }
}

impl Provider {
    /// Who it is, for people. What only the provider itself knows, it adds to its session.
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
