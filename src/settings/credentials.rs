//! The origin of the signing key for SLS: a given key, or providers.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use super::checked::Machine;
use super::keys;
use super::keys::{Choice as _, CredentialSource, Key, Row};
use super::problem::Complaint;
use super::read::Reader;
use super::typed::{Layer, SHARED_PREFIX};
use super::url::BaseUrl;
use crate::core::duration::in_words;
use crate::core::secret::Secret;
use crate::sls::credentials::{Candidate, KeyFiles, Lookup, OidcRole, Provider, Role, Services};
use crate::sls::{AccessKey, Credentials, is_label};

/// Maximum length of a session name in STS.
const MAX_SESSION_NAME_LEN: usize = 64;

/// The order of the vendor's default chain.
const CHAIN: [CredentialSource; 5] = [
    CredentialSource::Oidc,
    CredentialSource::Profile,
    CredentialSource::Ini,
    CredentialSource::Ecs,
    CredentialSource::Uri,
];

/// A given key takes precedence, and no provider is used then. `ca_file` has certificates to trust in addition to the
/// system's.
pub(super) fn read_credentials(
    reader: &mut Reader<'_>,
    ca_file: Option<PathBuf>,
    machine: &Machine,
) -> Option<Credentials> {
    let given = ACCESS_KEY.iter().chain(&ACCESS_KEY_FILES).filter_map(|row| reader.layer(row)).min();
    let picked = reader.layer(&keys::credentials::SOURCE.row);
    let has_role = reader.layer(&keys::credentials::ROLE_ARN.row).is_some();
    let source = match reader.get(&keys::credentials::SOURCE)? {
        CredentialSource::Auto if given.is_some() => CredentialSource::Static,
        // A provider for all sources does not apply to a source with its own key.
        _ if given == Some(Layer::Item) && picked != Some(Layer::Item) => CredentialSource::Static,
        source => source,
    };
    let given = if source == CredentialSource::Static { Some(read_given(reader)?) } else { None };
    let given = match given {
        Some(key) if !has_role => return Some(key),
        given => given,
    };
    let services = read_services(reader, ca_file, machine);
    let role = if has_role { Some(read_role(reader, services.as_ref()?)) } else { None };
    let services = services?;
    let candidates = match (given, source) {
        (Some(Credentials::Fixed(key)), _) => vec![candidate(source, Ok(Provider::Key(key)))],
        (Some(Credentials::Files(files)), _) => vec![candidate(source, Ok(Provider::Files(files)))],
        (_, CredentialSource::Auto) => {
            let nothing = format!("neither {} nor {} is given", ACCESS_KEY[0].name, ACCESS_KEY_FILES[0].name);
            let chain = CHAIN.map(|source| Some(candidate(source, read_provider(reader, source, &services, machine)?)));
            let chain: Option<Vec<_>> = chain.into_iter().collect();
            [candidate(CredentialSource::Static, Err(nothing))].into_iter().chain(chain?).collect()
        }
        (_, source) => match read_provider(reader, source, &services, machine)? {
            Ok(provider) => vec![candidate(source, Ok(provider))],
            Err(why) => {
                let complaint = Complaint::new(
                    format!("sls.credentials is {}, but that provider is not set up: {why}", source.word()),
                    "give what is missing, or leave sls.credentials out",
                );
                reader.complain(&keys::credentials::SOURCE.row, complaint);
                return None;
            }
        },
    };
    let role = match role {
        Some(role) => Some(role?),
        None => None,
    };
    Some(Credentials::Lookup(Box::new(Lookup { candidates, role, services })))
}

fn candidate(source: CredentialSource, provider: Result<Provider, String>) -> Candidate {
    Candidate { name: source.word(), provider }
}

/// A provider according to the settings, or why it is not set up. `None`: one of its settings is wrong.
fn read_provider(
    reader: &mut Reader<'_>,
    source: CredentialSource,
    services: &Services,
    machine: &Machine,
) -> Option<Result<Provider, String>> {
    let profile = reader.get(&keys::credentials::PROFILE);
    let in_home = |path: &str| machine.home.as_ref().map(|home| home.join(path));
    let homeless = |row: &Row| Err(format!("this user has no home directory, and {} is not given", row.name));
    Some(match source {
        CredentialSource::Auto | CredentialSource::Static => Err("it is not looked up".to_owned()),
        CredentialSource::Oidc => return read_oidc(reader, services),
        CredentialSource::Profile => {
            let key = &keys::credentials::PROFILE_FILE;
            let file = reader.get(key).or_else(|| in_home(".aliyun/config.json"));
            file.map_or_else(|| homeless(&key.row), |file| Ok(Provider::Profile { file, name: profile }))
        }
        CredentialSource::Ini => {
            let key = &keys::credentials::INI_FILE;
            let file = reader.get(key).or_else(|| in_home(".alibabacloud/credentials.ini"));
            let name = profile.unwrap_or_else(|| "default".to_owned());
            file.map_or_else(|| homeless(&key.row), |file| Ok(Provider::Ini { file, name }))
        }
        CredentialSource::Ecs => match reader.get(&keys::credentials::METADATA_DISABLED)? {
            true => Err("sls.metadata_disabled is true".to_owned()),
            false => Ok(Provider::Ecs { role: reader.get(&keys::credentials::ECS_ROLE) }),
        },
        CredentialSource::Uri => {
            let row = &keys::credentials::URI.row;
            match reader.layer(row) {
                Some(_) => Ok(Provider::Uri(Secret::new(read_uri(reader)?))),
                None => Err(absent(row)),
            }
        }
    })
}

fn read_oidc(reader: &mut Reader<'_>, services: &Services) -> Option<Result<Provider, String>> {
    use keys::credentials::{OIDC_PROVIDER_ARN, OIDC_ROLE_ARN, OIDC_TOKEN_FILE};
    let missing = [&OIDC_ROLE_ARN.row, &OIDC_PROVIDER_ARN.row, &OIDC_TOKEN_FILE.row];
    if let Some(missing) = missing.into_iter().find(|row| reader.layer(row).is_none()) {
        return Some(Err(absent(missing)));
    }
    let arn = reader.parse(&OIDC_ROLE_ARN, role_arn);
    let (provider_arn, token_file) = (reader.get(&OIDC_PROVIDER_ARN), reader.get(&OIDC_TOKEN_FILE));
    let role = Role {
        arn: arn?,
        session_name: services.session_name.clone(),
        external_id: None,
        duration: services.duration,
        policy: None,
        sts: services.sts(None, false),
    };
    Some(Ok(Provider::Oidc(OidcRole { role, provider_arn: provider_arn?, token_file: token_file? })))
}

/// "sls.oidc_role_arn (ALIBABA_CLOUD_ROLE_ARN) is not given".
fn absent(row: &Row) -> String {
    let variables = row.also.join(", ");
    format!("{} ({variables}) is not given", row.name)
}

fn read_role(reader: &mut Reader<'_>, services: &Services) -> Option<Role> {
    let arn = reader.parse(&keys::credentials::ROLE_ARN, role_arn);
    let external_id = reader.get(&keys::credentials::ROLE_EXTERNAL_ID);
    Some(Role {
        arn: arn?,
        session_name: services.session_name.clone(),
        external_id,
        duration: services.duration,
        policy: None,
        sts: services.sts(None, false),
    })
}

/// `acs:ram::1234:role/name`.
fn role_arn(text: String) -> Result<String, Complaint> {
    let parts = text.strip_prefix("acs:ram::").and_then(|rest| rest.split_once(":role/"));
    match parts {
        Some((account, name))
            if !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() =>
        {
            Ok(text)
        }
        _ => Err(Complaint::new(
            format!("{text:?} is not the ARN of a role"),
            "write it as RAM shows it: acs:ram::ACCOUNT:role/NAME",
        )),
    }
}

/// The shortest session of a role that outlasts an outage of STS of half an hour.
const LASTING_SESSION: Duration = Duration::from_secs(45 * 60);

fn read_services(reader: &mut Reader<'_>, ca_file: Option<PathBuf>, machine: &Machine) -> Option<Services> {
    let sts = if_given(reader, &keys::credentials::STS_ENDPOINT, |reader, key| read_base_url(reader, key, true));
    let sts_region = if_given(reader, &keys::credentials::STS_REGION, |reader, key| reader.parse(key, region));
    let session_name = match reader.layer(&keys::credentials::ROLE_SESSION_NAME.row) {
        Some(_) => reader.parse(&keys::credentials::ROLE_SESSION_NAME, session_name),
        None => Some(default_session_name(&machine.hostname)),
    };
    let sts_vpc = reader.get(&keys::credentials::STS_VPC);
    let metadata = read_base_url(reader, &keys::credentials::METADATA_ENDPOINT, false);
    let metadata_v1 = reader.get(&keys::credentials::METADATA_V1);
    let duration = reader.get(&keys::credentials::ROLE_DURATION);
    if let Some(duration) = duration.filter(|duration| *duration < LASTING_SESSION) {
        let place = reader.origin(&keys::credentials::ROLE_DURATION.row);
        reader.warn(format!(
            "an outage of STS of more than {} stops the source: {place} is {}, and a session is renewed when a third of \
             it has passed; \"45m\" or more outlasts half an hour",
            in_words(duration * 2 / 3),
            in_words(duration),
        ));
    }
    Some(Services {
        sts: sts?,
        sts_region: sts_region?,
        sts_vpc: sts_vpc?,
        metadata: metadata?,
        metadata_v1: metadata_v1?,
        session_name: session_name?,
        duration: duration?,
        ca_file,
    })
}

/// An optional setting; the outer `None` means that its value is wrong.
fn if_given<T>(
    reader: &mut Reader<'_>,
    key: &'static Key<String>,
    read: impl FnOnce(&mut Reader<'_>, &'static Key<String>) -> Option<T>,
) -> Option<Option<T>> {
    match reader.layer(&key.row) {
        Some(_) => read(reader, key).map(Some),
        None => Some(None),
    }
}

fn region(text: String) -> Result<String, Complaint> {
    match is_label(&text) {
        true => Ok(text),
        false => Err(Complaint::new(format!("{text:?} is not a region"), "write its id, as cn-hangzhou")),
    }
}

fn session_name(text: String) -> Result<String, Complaint> {
    let fits = (2..=MAX_SESSION_NAME_LEN).contains(&text.len()) && text.bytes().all(is_of_session_name);
    if fits {
        return Ok(text);
    }
    let fix = format!("write 2 to {MAX_SESSION_NAME_LEN} letters, digits and . @ - _");
    Err(Complaint::new(format!("{text:?} is not a session name"), fix))
}

fn default_session_name(hostname: &str) -> String {
    let name = format!("forwarder-{hostname}");
    name.bytes().filter(|byte| is_of_session_name(*byte)).take(MAX_SESSION_NAME_LEN).map(char::from).collect()
}

fn is_of_session_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".@-_".contains(&byte)
}

fn read_base_url(reader: &mut Reader<'_>, key: &'static Key<String>, is_secret: bool) -> Option<String> {
    let base = reader.parse(key, |text| BaseUrl::parse(&text))?;
    if is_secret && base.is_exposed() {
        warn_exposed(reader, &key.row);
    }
    Some(base.url)
}

/// Any path and parameters are allowed.
fn read_uri(reader: &mut Reader<'_>) -> Option<String> {
    let key = &keys::credentials::URI;
    let (url, base) = reader.parse(key, |text| {
        let no_url = || Complaint::new("it is not a URL", "write it as http://host:port/path");
        let parsed: Uri = text.parse().map_err(|_| no_url())?;
        let (Some(scheme), Some(authority)) = (parsed.scheme_str(), parsed.authority()) else { return Err(no_url()) };
        Ok((text.clone(), BaseUrl::parse(&format!("{scheme}://{authority}"))?))
    })?;
    if base.is_exposed() {
        warn_exposed(reader, &key.row);
    }
    Some(url)
}

fn warn_exposed(reader: &mut Reader<'_>, row: &'static Row) {
    let origin = reader.origin(row);
    reader.warn(format!("temporary keys travel in plain text: {origin} is not https://"));
}

/// Id, secret and token: as text, and as files.
const ACCESS_KEY: [&Row; 3] =
    [&keys::sls::ACCESS_KEY_ID.row, &keys::sls::ACCESS_KEY_SECRET.row, &keys::sls::SECURITY_TOKEN.row];
const ACCESS_KEY_FILES: [&Row; 3] =
    [&keys::sls::ACCESS_KEY_ID_FILE.row, &keys::sls::ACCESS_KEY_SECRET_FILE.row, &keys::sls::SECURITY_TOKEN_FILE.row];

/// A set of credentials is taken as a whole: never the id of one and the secret of another. The variables of all
/// Alibaba Cloud tools count only if nothing was given for this program.
fn read_given(reader: &mut Reader<'_>) -> Option<Credentials> {
    let first = |rows: [&'static Row; 3]| rows.iter().filter_map(|row| reader.layer(row)).min();
    match (first(ACCESS_KEY), first(ACCESS_KEY_FILES)) {
        (None, None) => {
            reader.missing(&[ACCESS_KEY[0], ACCESS_KEY_FILES[0]]);
            None
        }
        (Some(text), Some(files)) if text == files => {
            let given = |rows: [&'static Row; 3]| rows.into_iter().find(|row| reader.layer(row) == Some(text));
            let given = [ACCESS_KEY, ACCESS_KEY_FILES].map(|rows| given(rows).expect("one of them is in this layer"));
            reader.conflict(given);
            None
        }
        (text, Some(Layer::Item)) if text.is_none_or(|text| Layer::Item < text) => {
            read_access_key_files(reader, Layer::Item)
        }
        (text, Some(files)) if text.is_none_or(|text| files < text) => read_access_key_files(reader, Layer::File),
        (Some(Layer::Item), _) => {
            let what = "a source with its own key also needs its secret, which does not belong in a settings file";
            let fix = "name files with both: access_key_id_file and access_key_secret_file";
            reader.complain(ACCESS_KEY[0], Complaint::new(what, fix));
            None
        }
        (Some(Layer::SharedVariable), _) => read_access_key(reader, Layer::SharedVariable),
        (_, _) => read_access_key(reader, Layer::File),
    }
}

/// Reads layers up to `last`, so that common values never complete those of one source.
fn read_access_key_files(reader: &mut Reader<'_>, last: Layer) -> Option<Credentials> {
    demand_both(reader, ACCESS_KEY_FILES, last)?;
    let files = [&keys::sls::ACCESS_KEY_ID_FILE, &keys::sls::ACCESS_KEY_SECRET_FILE];
    let [id, secret] = files.map(|key| reader.credential_file(key));
    let has_token = reader.layer(&keys::sls::SECURITY_TOKEN_FILE.row).is_some_and(|layer| layer <= last);
    let token = if has_token { reader.credential_file(&keys::sls::SECURITY_TOKEN_FILE) } else { None };
    Some(Credentials::Files(KeyFiles { id: id?, secret: secret?, token }))
}

/// Reads layers up to `last`, so that variables of other tools never complete our own.
fn read_access_key(reader: &mut Reader<'_>, last: Layer) -> Option<Credentials> {
    demand_both(reader, ACCESS_KEY, last)?;
    let has_token = reader.layer(&keys::sls::SECURITY_TOKEN.row).is_some_and(|layer| layer <= last);
    let token = if has_token { reader.get(&keys::sls::SECURITY_TOKEN) } else { None };
    let (id, secret) = (reader.get(&keys::sls::ACCESS_KEY_ID), reader.get(&keys::sls::ACCESS_KEY_SECRET));
    Some(Credentials::Fixed(AccessKey { id: id?, secret: secret?, token }))
}

/// An incomplete set of credentials is an error.
fn demand_both(reader: &mut Reader<'_>, rows: [&'static Row; 3], last: Layer) -> Option<()> {
    let is_given = |row: &&&'static Row| reader.layer(row).is_some_and(|layer| layer <= last);
    let absent = rows[..2].iter().find(|row| !is_given(row));
    let Some(absent) = absent else { return Some(()) };
    let given = rows.iter().find(is_given);
    let given = given.expect("a set is checked only if a part of it was given");
    let mut ways = reader.ways(&[absent]);
    ways.retain(|way| last == Layer::SharedVariable || !way.starts_with(SHARED_PREFIX));
    let complaint = Complaint::new(
        format!("the credentials are incomplete: there is {} but no {}", given.name, absent.name),
        format!("give {}", ways.join(" or ")),
    );
    reader.complain(given, complaint);
    None
}
