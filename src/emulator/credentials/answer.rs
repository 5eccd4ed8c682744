//! Answers requests, without sockets.

use std::sync::Mutex;
use std::time::Duration;

use hyper::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::conduct::{Conduct, CredentialsFault, On, Order, lock};
use super::config::Config;
use super::refused::Refused;
use super::verify::{check_time, verify};
use crate::emulator::issued::Issued;

/// Minimum duration for which a role can be assumed.
const MIN_SESSION: u64 = 900;

/// The token of the metadata service.
const METADATA_TOKEN: &str = "demo-metadata-token";

const ROLES: &str = "/latest/meta-data/ram/security-credentials/";

/// A parsed request.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    /// Parameters of query and form.
    pub(super) parameters: Vec<(String, String)>,
    pub(super) metadata_token: Option<String>,
    pub(super) body: Vec<u8>,
}

/// The answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// A status and a body.
    With(u16, String),
    /// No answer.
    Never,
}

/// Answers a request at `now`, the time since the Unix epoch.
pub(super) fn answer(config: &Config, conduct: &Mutex<Conduct>, asked: &Asked, now: Duration) -> Answered {
    let mut conduct = lock(conduct);
    let on = match (&asked.method, asked.path.as_str()) {
        (&Method::GET, "/_emulator/state") => return Answered::With(200, json!(conduct.counts).to_string()),
        (&Method::POST, "/_emulator/faults") => return take_order(&mut conduct, &asked.body),
        (_, path) if path.starts_with("/latest/") => On::Metadata,
        (&Method::POST, "/") => On::Sts,
        (&Method::GET, "/credentials") => On::Uri,
        _ => return Answered::With(404, "emulator: there are /latest/…, POST / (STS) and /credentials\n".to_owned()),
    };
    let fault = conduct.take(on);
    let refused = match &fault {
        Some(CredentialsFault::Hang) => return Answered::Never,
        Some(CredentialsFault::Refuse) => {
            Some(Refused::new(403, "NoPermission", "You are not authorized to do this action."))
        }
        Some(CredentialsFault::Status { status, code }) => {
            Some(Refused::new(*status, code.clone(), "emulator: ordered"))
        }
        Some(CredentialsFault::Expired) | None => None,
    };
    let is_expired = fault == Some(CredentialsFault::Expired);
    let outcome = match (refused, on) {
        (Some(refused), _) => Err(refused),
        (None, On::Metadata) => metadata(&mut conduct, asked, is_expired, now),
        (None, On::Sts) => sts(config, &mut conduct, asked, is_expired, now),
        (None, _) => {
            let life = conduct.life;
            Ok(session(&mut conduct, life, is_expired, now).to_string())
        }
    };
    match outcome {
        Ok(body) => Answered::With(200, body),
        Err(Refused { status, code, message }) => {
            conduct.counts.refused += 1;
            let request_id = format!("00000000-0000-4000-8000-{:012X}", conduct.counts.refused);
            let body = json!({ "Code": code, "Message": message, "RequestId": request_id });
            Answered::With(status, body.to_string())
        }
    }
}

fn take_order(conduct: &mut Conduct, body: &[u8]) -> Answered {
    match serde_json::from_slice::<Order>(body) {
        Ok(order) => {
            conduct.order(order);
            Answered::With(200, String::new())
        }
        Err(error) => Answered::With(400, format!("emulator: no such order: {error}\n")),
    }
}

fn metadata(conduct: &mut Conduct, asked: &Asked, is_expired: bool, now: Duration) -> Result<String, Refused> {
    let not_found = || Refused::new(404, "NotFound", "no such metadata");
    if asked.path == "/latest/api/token" {
        return if asked.method == Method::PUT && conduct.v2 {
            Ok(METADATA_TOKEN.to_owned())
        } else {
            Err(not_found())
        };
    }
    let may = match asked.metadata_token.as_deref() {
        Some(token) => conduct.v2 && token == METADATA_TOKEN,
        None => conduct.v1,
    };
    if !may {
        return Err(Refused::new(403, "Forbidden", "a metadata token is needed"));
    }
    let name = asked.path.strip_prefix(ROLES).ok_or_else(not_found)?;
    let role = conduct.role.clone().ok_or_else(not_found)?;
    match name {
        "" => Ok(role),
        name if name == role => {
            let life = conduct.life;
            Ok(session(conduct, life, is_expired, now).to_string())
        }
        _ => Err(not_found()),
    }
}

fn sts(
    config: &Config,
    conduct: &mut Conduct,
    asked: &Asked,
    is_expired: bool,
    now: Duration,
) -> Result<String, Refused> {
    let get = |name: &str| {
        let found = asked.parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    check_time(get("Timestamp"), now)?;
    match get("Action") {
        "AssumeRole" => {
            verify(config, &asked.parameters, now)?;
            if !conduct.nonces.insert(get("SignatureNonce").to_owned()) {
                return Err(Refused::new(400, "SignatureNonceUsed", "Specified signature nonce was used already."));
            }
        }
        "AssumeRoleWithOIDC" => {
            let token = get("OIDCToken");
            if token.is_empty() || config.oidc_token.as_ref().is_some_and(|known| known.expose() != token) {
                return Err(Refused::new(400, "AuthenticationFail.OIDCToken.Invalid", "This JWT Token is invalid."));
            }
            if !get("OIDCProviderArn").contains(":oidc-provider/") {
                return Err(Refused::new(404, "EntityNotExist.OIDCProvider", "The OIDC provider does not exist."));
            }
        }
        action => return Err(Refused::new(404, "InvalidAction.NotFound", format!("there is no action {action:?}"))),
    }
    let (arn, name) = (get("RoleArn"), get("RoleSessionName"));
    if !(arn.starts_with("acs:ram::") && arn.contains(":role/")) {
        return Err(Refused::new(404, "EntityNotExist.Role", "The role not exists."));
    }
    if name.is_empty() {
        return Err(Refused::new(400, "InvalidParameter.RoleSessionName", "The parameter RoleSessionName is wrong."));
    }
    let seconds: u64 = get("DurationSeconds").parse().unwrap_or_default();
    if seconds < MIN_SESSION {
        return Err(Refused::new(
            400,
            "InvalidParameter.DurationSeconds",
            "The Min/Max value of DurationSeconds is 15min/1hr.",
        ));
    }
    let life = conduct.life.min(Duration::from_secs(seconds));
    let mut credentials = session(conduct, life, is_expired, now);
    credentials.as_object_mut().expect("it is one").remove("Code");
    let user = json!({ "Arn": format!("{arn}/{name}"), "AssumedRoleId": "300000000000000000:demo" });
    Ok(json!({ "RequestId": "00000000-0000-4000-8000-000000000000", "AssumedRoleUser": user, "Credentials": credentials })
        .to_string())
}

/// A new key.
fn session(conduct: &mut Conduct, life: Duration, is_expired: bool, now: Duration) -> Value {
    conduct.counts.issued += 1;
    let end = if is_expired { now.saturating_sub(Duration::from_secs(60)) } else { now + life };
    let issued = Issued::new(conduct.counts.issued, end);
    let end = i64::try_from(issued.end.as_secs()).ok().and_then(|end| Timestamp::from_second(end).ok());
    json!({
        "Code": "Success",
        "AccessKeyId": issued.id,
        "AccessKeySecret": issued.secret,
        "SecurityToken": issued.token,
        "Expiration": end.unwrap_or(Timestamp::MAX).to_string(),
    })
}
