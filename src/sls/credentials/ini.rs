//! A section of the file that the vendor's SDKs share, `~/.alibabacloud/credentials.ini`. Pure.
//!
//! Source: "Manage access credentials" in the documentation of the vendor's SDKs, and their code.

use std::collections::BTreeMap;

use super::access_key::AccessKey;
use super::fetch_error::FetchError;
use super::plan::{OidcRole, Provider, Role, Services};
use crate::core::printable::excerpt;
use crate::core::secret::Secret;

/// The provider that a section describes, with its name and type for messages.
///
/// # Errors
/// There is no such section, or its type is not supported.
pub(super) fn read(text: &str, name: &str, services: &Services) -> Result<(String, Provider), FetchError> {
    let entries = section(text, name).ok_or_else(|| {
        FetchError::refused(format!("there is no section [{}]", excerpt(name)), Some("name one: sls.profile")).absent()
    })?;
    let section = Section { name, entries };
    let kind = section.demand("type")?;
    let provider = match kind {
        "access_key" | "sts" => section.key()?,
        "ram_role_arn" => Provider::Role(Box::new(section.key()?), section.role(services)?),
        "ecs_ram_role" => Provider::Ecs { role: section.get("role_name").map(str::to_owned) },
        "oidc_role_arn" => Provider::Oidc(OidcRole {
            role: section.role(services)?,
            provider_arn: section.demand("oidc_provider_arn")?.to_owned(),
            token_file: section.demand("oidc_token_file_path")?.into(),
        }),
        other => {
            let what = format!("section [{}] has the type {:?}", excerpt(name), excerpt(other));
            let hint = "types that can be used are access_key, sts, ram_role_arn, ecs_ram_role, oidc_role_arn";
            return Err(FetchError::refused(what, Some(hint)));
        }
    };
    Ok((format!("section {} ({kind})", excerpt(name)), provider))
}

/// The entries of a section.
fn section<'a>(text: &'a str, name: &str) -> Option<BTreeMap<&'a str, &'a str>> {
    let mut found: Option<BTreeMap<&str, &str>> = None;
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            is_inside = header.0.trim() == name;
            if is_inside {
                found.get_or_insert_default();
            }
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_inside) {
            found.get_or_insert_default().insert(key.trim(), value.trim());
        }
    }
    found
}

struct Section<'a> {
    name: &'a str,
    entries: BTreeMap<&'a str, &'a str>,
}

impl Section<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).copied().filter(|value| !value.is_empty())
    }

    fn demand(&self, key: &str) -> Result<&str, FetchError> {
        self.get(key).ok_or_else(|| {
            let what = format!("section [{}] has no {key}", excerpt(self.name));
            FetchError::refused(what, Some("complete it, or name another: sls.profile")).absent()
        })
    }

    fn key(&self) -> Result<Provider, FetchError> {
        let key = AccessKey {
            id: self.demand("access_key_id")?.to_owned(),
            secret: Secret::new(self.demand("access_key_secret")?),
            token: self.get("security_token").map(Secret::new),
        };
        let bad = |error| FetchError::refused(format!("section [{}]: {error}", excerpt(self.name)), None);
        Ok(Provider::Key(key.checked().map_err(bad)?))
    }

    fn role(&self, services: &Services) -> Result<Role, FetchError> {
        Ok(Role {
            arn: self.demand("role_arn")?.to_owned(),
            session_name: self.get("role_session_name").unwrap_or(&services.session_name).to_owned(),
            external_id: self.get("external_id").map(str::to_owned),
            duration: services.duration,
            policy: self.get("policy").map(str::to_owned),
            sts: services.sts(None, false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::tests::services;
    use super::*;

    const FILE: &str = "
# comment = 1
[default]                          ; the one that counts
type = access_key
access_key_id = ID
access_key_secret=hush==

[role]
type = ram_role_arn
access_key_id = ID
access_key_secret = hush
role_arn = acs:ram::1:role/r
role_session_name = me
[ecs]
type = ecs_ram_role
role_name = worker
[oidc]
type = oidc_role_arn
role_arn = acs:ram::1:role/o
oidc_provider_arn = acs:ram::1:oidc-provider/p
oidc_token_file_path = /token
[rsa]
type = rsa_key_pair
[half]
type = access_key
access_key_id = ID
";

    fn provider(name: &str) -> Result<Provider, FetchError> {
        read(FILE, name, &services()).map(|(_, provider)| provider)
    }

    #[test]
    fn each_type_of_section_gives_its_provider() {
        assert!(matches!(provider("default").unwrap(), Provider::Key(key) if key.secret.expose() == "hush=="));
        let Provider::Role(_, role) = provider("role").unwrap() else { panic!() };
        assert_eq!((role.session_name.as_str(), role.sts.as_str()), ("me", "https://sts.aliyuncs.com"));
        assert!(matches!(provider("ecs").unwrap(), Provider::Ecs { role: Some(role) } if role == "worker"));
        let Provider::Oidc(oidc) = provider("oidc").unwrap() else { panic!() };
        assert_eq!(oidc.role.session_name, "forwarder-host");
    }

    #[test]
    fn an_unusable_section_says_why() {
        let check = |name: &str, is_absent: bool, words: &str| {
            let error = provider(name).unwrap_err();
            assert!(error.cause.to_string().contains(words), "{}", error.cause);
            assert_eq!(error.is_absent, is_absent);
        };
        check("none", true, "there is no section [none]");
        check("half", true, "section [half] has no access_key_secret");
        check("rsa", false, "section [rsa] has the type \"rsa_key_pair\" (types that can be used are access_key");
    }
}
