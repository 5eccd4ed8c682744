//! A profile of the vendor's command line tool, `~/.aliyun/config.json`. Pure.
//!
//! Source: the documentation of Alibaba Cloud CLI ("Configure identity credentials") and the vendor's SDKs, which
//! read the same file. Modes that need a browser or run a command are refused: this program is not interactive, and a
//! settings file must not run other programs.

use std::time::Duration;

use serde::Deserialize;

use super::access_key::AccessKey;
use super::fetch_error::FetchError;
use super::plan::{OidcRole, Provider, Role, Services};
use crate::core::printable::excerpt;
use crate::core::secret::Secret;

/// Maximum length of a chain of `source_profile`.
const MAX_SOURCES: usize = 8;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    current: String,
    #[serde(default)]
    profiles: Vec<Profile>,
}

/// An unused field is absent, empty or null.
#[derive(Deserialize)]
struct Profile {
    name: String,
    mode: Option<String>,
    access_key_id: Option<String>,
    access_key_secret: Option<String>,
    sts_token: Option<String>,
    ram_role_name: Option<String>,
    ram_role_arn: Option<String>,
    ram_session_name: Option<String>,
    external_id: Option<String>,
    expired_seconds: Option<u64>,
    policy: Option<String>,
    sts_region: Option<String>,
    enable_vpc: Option<bool>,
    source_profile: Option<String>,
    oidc_token_file: Option<String>,
    oidc_provider_arn: Option<String>,
}

/// The provider that a profile describes (the current profile if none is named), with its name and mode for messages.
///
/// # Errors
/// There is no such profile, or its mode is not supported.
pub(super) fn read(text: &[u8], name: Option<&str>, services: &Services) -> Result<(String, Provider), FetchError> {
    let file: File = serde_json::from_slice(text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        FetchError::refused(format!("it is not the JSON of profiles: {place}"), Some("aliyun configure writes it"))
    })?;
    let name = name.unwrap_or(&file.current);
    if name.is_empty() {
        return Err(FetchError::refused("it names no current profile", Some("name one: sls.profile")).absent());
    }
    let profile = file.find(name)?;
    let mode = excerpt(profile.mode.as_deref().unwrap_or_default());
    let provider = file.provider(profile, services, MAX_SOURCES)?;
    Ok((format!("profile {} ({mode})", excerpt(name)), provider))
}

impl File {
    fn find(&self, name: &str) -> Result<&Profile, FetchError> {
        self.profiles.iter().find(|profile| profile.name == name).ok_or_else(|| {
            let names: Vec<String> = self.profiles.iter().map(|profile| excerpt(&profile.name)).collect();
            let what = format!("there is no profile {}; there are: {}", excerpt(name), names.join(", "));
            FetchError::refused(what, Some("name one of them: sls.profile")).absent()
        })
    }

    fn provider(&self, profile: &Profile, services: &Services, depth: usize) -> Result<Provider, FetchError> {
        match profile.mode.as_deref().unwrap_or_default() {
            "AK" | "StsToken" => profile.key(),
            "RamRoleArn" => Ok(Provider::Role(Box::new(profile.key()?), profile.role(services)?)),
            "EcsRamRole" => Ok(Provider::Ecs { role: given(profile.ram_role_name.as_deref()).map(str::to_owned) }),
            "OIDC" => Ok(Provider::Oidc(OidcRole {
                role: profile.role(services)?,
                provider_arn: profile.demand("oidc_provider_arn", profile.oidc_provider_arn.as_deref())?,
                token_file: profile.demand("oidc_token_file", profile.oidc_token_file.as_deref())?.into(),
            })),
            "ChainableRamRoleArn" => {
                let source = self.find(&profile.demand("source_profile", profile.source_profile.as_deref())?)?;
                let Some(depth) = depth.checked_sub(1) else {
                    let what = format!("more than {MAX_SOURCES} profiles lead to {}", excerpt(&profile.name));
                    return Err(FetchError::refused(what, Some("correct source_profile: it may be circular")));
                };
                let base = self.provider(source, services, depth)?;
                Ok(Provider::Role(Box::new(base), profile.role(services)?))
            }
            mode => {
                let what = format!("profile {} has the mode {:?}", excerpt(&profile.name), excerpt(mode));
                Err(FetchError::refused(what, Some(instead_of(mode))))
            }
        }
    }
}

impl Profile {
    fn key(&self) -> Result<Provider, FetchError> {
        let token = match self.mode.as_deref() {
            Some("StsToken") => Some(self.demand("sts_token", self.sts_token.as_deref())?),
            _ => given(self.sts_token.as_deref()).map(str::to_owned),
        };
        let key = AccessKey {
            id: self.demand("access_key_id", self.access_key_id.as_deref())?,
            secret: Secret::new(self.demand("access_key_secret", self.access_key_secret.as_deref())?),
            token: token.map(Secret::new),
        };
        let bad = |error| FetchError::refused(format!("profile {}: {error}", excerpt(&self.name)), None);
        Ok(Provider::Key(key.checked().map_err(bad)?))
    }

    fn role(&self, services: &Services) -> Result<Role, FetchError> {
        let seconds = self.expired_seconds.filter(|seconds| *seconds > 0);
        Ok(Role {
            arn: self.demand("ram_role_arn", self.ram_role_arn.as_deref())?,
            session_name: given(self.ram_session_name.as_deref()).unwrap_or(&services.session_name).to_owned(),
            external_id: given(self.external_id.as_deref()).map(str::to_owned),
            duration: seconds.map_or(services.duration, Duration::from_secs),
            policy: given(self.policy.as_deref()).map(str::to_owned),
            sts: services.sts(given(self.sts_region.as_deref()), self.enable_vpc.unwrap_or_default()),
        })
    }

    /// A field that the mode requires. The vendor's tool creates profiles without values.
    fn demand(&self, what: &str, field: Option<&str>) -> Result<String, FetchError> {
        given(field).map(str::to_owned).ok_or_else(|| {
            let (name, mode) = (excerpt(&self.name), excerpt(self.mode.as_deref().unwrap_or_default()));
            let what = format!("profile {name} has the mode {mode} but no {what}");
            FetchError::refused(what, Some("complete it with aliyun configure, or name another: sls.profile")).absent()
        })
    }
}

fn given(field: Option<&str>) -> Option<&str> {
    field.filter(|text| !text.is_empty())
}

/// What to use instead of a mode.
fn instead_of(mode: &str) -> &'static str {
    match mode {
        "CloudSSO" | "OAuth" => {
            "it needs a login in a browser: for a service use the mode RamRoleArn, EcsRamRole or OIDC, or set \
             sls.credentials"
        }
        "External" | "CredentialsURI" => {
            "forwarder runs no command: let it write its key into files (sls.access_key_id_file and so on), or serve \
             it at a URL (sls.credentials_uri)"
        }
        "RsaKeyPair" => "such keys are no longer issued: use the mode AK, RamRoleArn or EcsRamRole",
        _ => "modes that can be used are AK, StsToken, RamRoleArn, EcsRamRole, OIDC, ChainableRamRoleArn",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn services() -> Services {
        Services {
            sts: None,
            sts_region: None,
            sts_vpc: false,
            metadata: "http://127.0.0.1:1".to_owned(),
            metadata_v1: false,
            session_name: "forwarder-host".to_owned(),
            duration: Duration::from_secs(3600),
            ca_file: None,
        }
    }

    const FILE: &str = r#"{"current":"ak","profiles":[
        {"name":"ak","mode":"AK","access_key_id":"ID","access_key_secret":"hush","sts_token":"","ram_role_name":null},
        {"name":"sts","mode":"StsToken","access_key_id":"ID","access_key_secret":"hush","sts_token":"T"},
        {"name":"role","mode":"RamRoleArn","access_key_id":"ID","access_key_secret":"hush","ram_role_arn":"acs:ram::1:role/r",
         "ram_session_name":"me","expired_seconds":900,"external_id":"x","sts_region":"cn-beijing","enable_vpc":true},
        {"name":"ecs","mode":"EcsRamRole","ram_role_name":"worker"},
        {"name":"oidc","mode":"OIDC","ram_role_arn":"acs:ram::1:role/o","oidc_provider_arn":"acs:ram::1:oidc-provider/p",
         "oidc_token_file":"/token"},
        {"name":"chain","mode":"ChainableRamRoleArn","source_profile":"role","ram_role_arn":"acs:ram::2:role/far"},
        {"name":"circle","mode":"ChainableRamRoleArn","source_profile":"circle","ram_role_arn":"acs:ram::2:role/far"},
        {"name":"empty","mode":"AK","access_key_id":"","access_key_secret":""},
        {"name":"sso","mode":"CloudSSO"},{"name":"oauth","mode":"OAuth"},{"name":"ext","mode":"External"},
        {"name":"odd","mode":"Odd"}]}"#;

    fn provider(name: &str) -> Result<Provider, FetchError> {
        read(FILE.as_bytes(), Some(name), &services()).map(|(_, provider)| provider)
    }

    #[test]
    fn the_current_profile_is_used_unless_one_is_named() {
        let (label, found) = read(FILE.as_bytes(), None, &services()).unwrap();
        assert_eq!(label, "profile ak (AK)");
        assert!(matches!(found, Provider::Key(key) if key.id == "ID" && key.token.is_none()));
        assert!(matches!(provider("sts").unwrap(), Provider::Key(key) if key.token.is_some()));
    }

    #[test]
    fn every_mode_without_a_browser_or_a_command_gives_its_provider() {
        let Provider::Role(base, role) = provider("role").unwrap() else { panic!() };
        assert!(matches!(*base, Provider::Key(_)));
        assert_eq!((role.arn.as_str(), role.session_name.as_str()), ("acs:ram::1:role/r", "me"));
        assert_eq!((role.duration, role.external_id.as_deref()), (Duration::from_secs(900), Some("x")));
        assert_eq!(role.sts, "https://sts-vpc.cn-beijing.aliyuncs.com");

        assert!(matches!(provider("ecs").unwrap(), Provider::Ecs { role: Some(role) } if role == "worker"));
        let Provider::Oidc(oidc) = provider("oidc").unwrap() else { panic!() };
        assert_eq!(
            (oidc.role.session_name.as_str(), oidc.role.duration),
            ("forwarder-host", Duration::from_secs(3600))
        );
        let Provider::Role(base, role) = provider("chain").unwrap() else { panic!() };
        assert!(matches!(&*base, Provider::Role(_, first) if first.arn == "acs:ram::1:role/r"));
        assert_eq!(role.arn, "acs:ram::2:role/far");
    }

    #[test]
    fn an_endpoint_of_the_settings_overrides_the_profiles_region() {
        let services = Services { sts: Some("http://127.0.0.1:9".to_owned()), ..services() };
        let (_, found) = read(FILE.as_bytes(), Some("role"), &services).unwrap();
        assert!(matches!(found, Provider::Role(_, role) if role.sts == "http://127.0.0.1:9"));
    }

    #[test]
    fn an_unusable_mode_says_what_to_use_instead() {
        let check = |name: &str, is_absent: bool, words: &str| {
            let error = provider(name).unwrap_err();
            let shown = error.cause.to_string();
            assert!(shown.contains(words) && !shown.contains("hush"), "{shown}");
            assert_eq!(error.is_absent, is_absent, "{name}");
        };
        check("sso", false, "the mode \"CloudSSO\" (it needs a login in a browser");
        check("oauth", false, "RamRoleArn, EcsRamRole or OIDC");
        check("ext", false, "forwarder runs no command");
        check("odd", false, "modes that can be used are AK");
        check("circle", false, "it may be circular");
        check("empty", true, "profile empty has the mode AK but no access_key_id");
        check("none", true, "there is no profile none; there are: ak, sts, role");
    }

    #[test]
    fn a_malformed_file_is_refused_without_its_text() {
        let error = read(b"{\"current\": hush", None, &services()).unwrap_err();
        assert!(!error.is_absent && !error.cause.to_string().contains("hush"), "{error:?}");
        let error = read(b"{}", None, &services()).unwrap_err();
        assert!(error.is_absent, "{error:?}");
    }
}
