//! The role of an ECS instance, from its metadata service.
//!
//! Source: ECS user guide, "Instance metadata" (security hardening mode) and "Instance RAM roles". The client first
//! requests a token (version 2). Without a token (version 1), any process that can be tricked into fetching a URL
//! could get the key, so version 1 is used only if the settings allow it.

use std::time::Duration;

use super::fetch_error::FetchError;
use super::http::{Answer, Call};
use super::session::{Session, read_session};
use crate::core::printable::excerpt;
use crate::core::secret::Secret;
use crate::sls::percent::percent_encode;

/// Time limit of a call: the service is on the same machine.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Requested lifetime of a token, in seconds. It is used for two calls.
const TOKEN_SECONDS: &str = "60";

const ROLES: &str = "/latest/meta-data/ram/security-credentials/";

/// Requests a session of `role`, or of the only role, from the metadata service at `base`.
///
/// # Errors
/// There is no role, or the service cannot be reached.
pub(super) async fn session(base: &str, role: Option<&str>, allows_v1: bool) -> Result<Session, FetchError> {
    let token = match token(base).await {
        Ok(token) => Some(token),
        Err(_) if allows_v1 => None,
        Err(error) => return Err(error.absent()),
    };
    let name = match role {
        Some(role) => role.to_owned(),
        None => only_role(base, token.as_ref()).await?,
    };
    let answer = get(base, &percent_encode(&name), token.as_ref()).await?;
    let step = format!("ECS role {}", excerpt(&name));
    match answer.status {
        200 => read_session(&answer, step.clone()).map_err(|why| FetchError::busy(format!("{step}: {why}"), None)),
        404 => Err(FetchError::refused(
            format!("{step}: this instance has no such role"),
            Some("attach the role to the instance, or name the one it has in sls.ecs_role"),
        )),
        status => Err(unexpected(&step, status)),
    }
}

async fn token(base: &str) -> Result<Secret, FetchError> {
    let mut call = Call::near("PUT", format!("{base}/latest/api/token"), TIMEOUT);
    call.headers.push(("x-aliyun-ecs-metadata-token-ttl-seconds", TOKEN_SECONDS.to_owned()));
    let answer = call.send(None).await.map_err(|why| unreachable(base, &why))?;
    let text = String::from_utf8(answer.body).ok().filter(|_| answer.status == 200);
    let token = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let no_token = || {
        FetchError::refused(
            format!("the metadata service at {base} gives no token (HTTP status {})", answer.status),
            Some("where there is only version 1, allow it: sls.metadata_v1 = true"),
        )
    };
    token.map(Secret::new).ok_or_else(no_token)
}

async fn only_role(base: &str, token: Option<&Secret>) -> Result<String, FetchError> {
    let answer = get(base, "", token).await.map_err(FetchError::absent)?;
    let text = String::from_utf8_lossy(&answer.body);
    match (answer.status, text.lines().map(str::trim).find(|line| !line.is_empty())) {
        (200, Some(role)) => Ok(role.to_owned()),
        (200 | 404, _) => Err(FetchError::refused(
            "this instance has no RAM role",
            Some("attach one to the instance in the ECS console"),
        )
        .absent()),
        (status, _) => Err(unexpected("the roles of this instance", status).absent()),
    }
}

async fn get(base: &str, name: &str, token: Option<&Secret>) -> Result<Answer, FetchError> {
    let mut call = Call::near("GET", format!("{base}{ROLES}{name}"), TIMEOUT);
    call.headers.extend(token.map(|token| ("x-aliyun-ecs-metadata-token", token.expose().to_owned())));
    call.send(None).await.map_err(|why| unreachable(base, &why))
}

fn unreachable(base: &str, why: &str) -> FetchError {
    FetchError::busy(
        format!("the metadata service at {base} cannot be reached: {why}"),
        Some("it answers on ECS instances only; in a container its hop limit may be too low"),
    )
}

fn unexpected(step: &str, status: u16) -> FetchError {
    let what = format!("{step}: the metadata service answers with HTTP status {status}");
    match status {
        429 | 500.. => FetchError::busy(what, None),
        _ => FetchError::refused(what, Some("it may require a token (version 2), or not be the metadata service")),
    }
}
