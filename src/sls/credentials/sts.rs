//! Calls of STS: builds requests and parses answers. Pure.
//!
//! Source: Alibaba Cloud STS API reference (version 2015-04-01), `AssumeRole` and `AssumeRoleWithOIDC`, and "Sign RPC
//! API requests" (HMAC-SHA1, version 1.0), which the vendor's SDKs use here. As there, common parameters are in the
//! query, and those of the call in the form.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde::Deserialize;
use sha1::Sha1;

use super::access_key::AccessKey;
use super::fetch_error::FetchError;
use super::http::{Answer, Call};
use super::plan::{OidcRole, Role};
use super::session::{Given, Session};
use crate::core::cause::{Cause, Retry};
use crate::core::printable::{excerpt, first_line};
use crate::core::secret::Secret;
use crate::sls::percent::percent_encode;

/// Time limit of a call.
const TIMEOUT: Duration = Duration::from_secs(10);

type Parameters = BTreeMap<&'static str, String>;

/// The call that assumes `role` with `key`, stamped with `now` and a nonce.
pub(super) fn assume_role(role: &Role, key: &AccessKey, now: Timestamp, nonce: u128) -> Call {
    let mut query = common("AssumeRole", now);
    query.insert("SignatureMethod", "HMAC-SHA1".to_owned());
    query.insert("SignatureVersion", "1.0".to_owned());
    query.insert("SignatureNonce", format!("{nonce:032x}"));
    query.insert("AccessKeyId", key.id.clone());
    if let Some(token) = &key.token {
        query.insert("SecurityToken", token.expose().to_owned());
    }
    let mut form = about(role);
    if let Some(external_id) = &role.external_id {
        form.insert("ExternalId", external_id.clone());
    }
    let signed = query.iter().chain(&form).map(|(name, value)| (*name, value.clone())).collect();
    query.insert("Signature", sign("POST", &signed, &key.secret));
    call(&role.sts, &query, &form, key.token.clone())
}

/// The call that assumes a role with the token of an identity provider. It needs no signature.
pub(super) fn assume_role_with_oidc(oidc: &OidcRole, token: Secret, now: Timestamp) -> Call {
    let mut form = about(&oidc.role);
    form.insert("OIDCProviderArn", oidc.provider_arn.clone());
    form.insert("OIDCToken", token.expose().to_owned());
    call(&oidc.role.sts, &common("AssumeRoleWithOIDC", now), &form, Some(token))
}

fn common(action: &str, now: Timestamp) -> Parameters {
    BTreeMap::from([
        ("Version", "2015-04-01".to_owned()),
        ("Action", action.to_owned()),
        ("Format", "JSON".to_owned()),
        ("Timestamp", now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    ])
}

fn about(role: &Role) -> Parameters {
    let mut form = BTreeMap::from([
        ("RoleArn", role.arn.clone()),
        ("RoleSessionName", role.session_name.clone()),
        ("DurationSeconds", role.duration.as_secs().to_string()),
    ]);
    if let Some(policy) = &role.policy {
        form.insert("Policy", policy.clone());
    }
    form
}

fn call(sts: &str, query: &Parameters, form: &Parameters, secret: Option<Secret>) -> Call {
    Call {
        method: "POST",
        url: format!("{sts}/?{}", encode(query)),
        headers: Vec::new(),
        form: encode(form),
        timeout: TIMEOUT,
        may_be_proxied: true,
        secrets: secret.into_iter().collect(),
    }
}

/// The signature of an RPC-style call with these parameters.
fn sign(method: &str, parameters: &Parameters, secret: &Secret) -> String {
    let text = format!("{method}&%2F&{}", percent_encode(&encode(parameters)));
    let key = format!("{}&", secret.expose());
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("HMAC accepts keys of any length");
    mac.update(text.as_bytes());
    BASE64.encode(mac.finalize().into_bytes())
}

fn encode(parameters: &Parameters) -> String {
    let pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={}", percent_encode(value))).collect();
    pairs.join("&")
}

/// The answer of STS to `step`, such as "AssumeRole of acs:ram::1:role/x by ECS role y"; the session names
/// `provider`.
///
/// # Errors
/// It refused, or is temporarily unavailable.
pub(super) fn read(answer: &Answer, step: &str, provider: String) -> Result<Session, FetchError> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "Credentials")]
        credentials: Given,
    }
    if answer.status != 200 {
        return Err(refusal(answer, step));
    }
    let given: Body = serde_json::from_slice(&answer.body)
        .map_err(|_| FetchError::busy(format!("{step}: the reply is not the JSON of a session"), Some(NOT_STS)))?;
    given.credentials.session(provider, answer.clock()).map_err(|why| FetchError::busy(format!("{step}: {why}"), None))
}

/// The time of STS, if it refused that of the call.
pub(super) fn refused_time(answer: &Answer) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "Code")]
        code: String,
    }
    let body: Body = serde_json::from_slice(&answer.body).ok().filter(|_| answer.status != 200)?;
    answer.date.filter(|_| body.code.starts_with("InvalidTimeStamp.Expired"))
}

fn refusal(answer: &Answer, step: &str) -> FetchError {
    #[derive(Deserialize, Default)]
    struct Body {
        #[serde(rename = "Code", default)]
        code: String,
        #[serde(rename = "Message", default)]
        message: String,
        #[serde(rename = "RequestId", default)]
        request_id: String,
    }
    let body: Body = serde_json::from_slice(&answer.body).unwrap_or_default();
    // The text of this error repeats the whole request.
    let message = if body.code.starts_with("SignatureDoesNotMatch") { "" } else { body.message.as_str() };
    let Body { code, request_id, .. } = &body;
    let status = answer.status;
    let what = match (code.is_empty(), message.is_empty()) {
        (true, _) => format!("{step}: HTTP status {status}: {}", first_line(&answer.body)),
        (false, true) => format!("{step} refused: {status} {}", excerpt(code)),
        (false, false) => format!(
            "{step} refused: {status} {}: {} [request {}]",
            excerpt(code),
            excerpt(message),
            excerpt(request_id)
        ),
    };
    let (retry, hint) = judge(status, code);
    FetchError { cause: Cause { what, hint }, retry, is_absent: false }
}

/// The meaning of a refusal. Codes take precedence over statuses.
fn judge(status: u16, code: &str) -> (Retry, Option<&'static str>) {
    let is = |prefix: &str| code.starts_with(prefix);
    let hint = if is("NoPermission") {
        NO_PERMISSION
    } else if is("AuthenticationFail.OIDCToken.Expired") {
        TOKEN_EXPIRED
    } else if is("AuthenticationFail.OIDCToken") {
        TOKEN_INVALID
    } else if is("AuthenticationFail") {
        NO_TRUST
    } else if is("EntityNotExist") {
        NO_ROLE
    } else if is("InvalidAccessKeyId") || is("SignatureDoesNotMatch") || is("IncompleteSignature") {
        BASE_KEY
    } else if is("InvalidSecurityToken") || is("MissingSecurityToken") {
        BASE_TOKEN
    } else if is("InvalidTimeStamp") {
        CLOCK
    } else if is("InvalidParameter.DurationSeconds") {
        DURATION
    } else if is("InvalidParameter") || is("MissingRoleArn") {
        PARAMETER
    } else if is("Throttling") || status == 429 || status >= 500 {
        return (Retry::SOON, None);
    } else if code.is_empty() {
        NOT_STS
    } else {
        OTHER
    };
    (Retry::AfterChange, Some(hint))
}

const NO_PERMISSION: &str = "grant sts:AssumeRole on the role to the identity that assumes it, and name that \
     identity in the role's trust policy; the key of an account itself (root) cannot assume a role";
const NO_TRUST: &str = "the role's trust policy must name this identity provider, its audience (oidc:aud) and this service account (oidc:sub)";
const TOKEN_EXPIRED: &str =
    "the token in the file has expired: is it a projected service account token, which the kubelet renews?";
const TOKEN_INVALID: &str = "the token must come from the issuer of the OIDC provider in RAM, for an audience that the \
    provider lists (sts.aliyuncs.com in RRSA)";
const NO_ROLE: &str = "check account and name in the ARN of the role, or of the OIDC provider";
const BASE_KEY: &str = "check the AccessKey that assumes the role";
const BASE_TOKEN: &str = "the temporary key that assumes the role is not valid (any more)";
const CLOCK: &str = "set the clock of this host (NTP)";
const DURATION: &str = "lower sls.role_duration (expired_seconds in a profile): a role has a maximum session time, one hour \
    unless RAM says otherwise, and a role that is assumed by a role has one hour";
const PARAMETER: &str = "check the ARN of the role, the session name and the external ID";
const NOT_STS: &str = "this is not an answer from STS: check sls.sts_endpoint and the proxy settings";
const OTHER: &str = "see this code in the documentation of STS";

#[cfg(test)]
mod tests {
    use super::*;

    fn role() -> Role {
        Role {
            arn: "acs:ram::1:role/reader".to_owned(),
            session_name: "forwarder-host".to_owned(),
            external_id: Some("x y".to_owned()),
            duration: Duration::from_secs(3600),
            policy: None,
            sts: "http://127.0.0.1:1".to_owned(),
        }
    }

    fn now() -> Timestamp {
        "2026-01-31T08:00:00Z".parse().unwrap()
    }

    /// The example of "Sign RPC API requests".
    #[test]
    fn the_vendors_own_example_has_the_vendors_signature() {
        let parameters = BTreeMap::from([
            ("Timestamp", "2016-02-23T12:46:24Z".to_owned()),
            ("Format", "XML".to_owned()),
            ("AccessKeyId", "testid".to_owned()),
            ("Action", "DescribeRegions".to_owned()),
            ("SignatureMethod", "HMAC-SHA1".to_owned()),
            ("SignatureNonce", "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf".to_owned()),
            ("Version", "2014-05-26".to_owned()),
            ("SignatureVersion", "1.0".to_owned()),
        ]);
        assert_eq!(sign("GET", &parameters, &Secret::new("testsecret")), "OLeaidS1JvxuMvnyHOwuJ+uX5qY=");
    }

    /// Computed independently, with Python's hmac and urllib.
    #[test]
    fn a_call_that_assumes_a_role_is_signed_over_query_and_form() {
        let token = Some(Secret::new("TOKEN+/="));
        let key = AccessKey { id: "STS.id".to_owned(), secret: Secret::new("SECRET"), token };
        let call = assume_role(&role(), &key, now(), 7);
        assert_eq!(
            call.form,
            "DurationSeconds=3600&ExternalId=x%20y&RoleArn=acs%3Aram%3A%3A1%3Arole%2Freader&RoleSessionName=forwarder-host"
        );
        assert_eq!(call.url, EXPECTED_URL);
    }

    const EXPECTED_URL: &str = "http://127.0.0.1:1/?AccessKeyId=STS.id&Action=AssumeRole&Format=JSON&SecurityToken=TOKEN%2B%2F%3D&Signature=svgH4ND7N0YavsvMiaJ4mLQB2do%3D&SignatureMethod=HMAC-SHA1&SignatureNonce=00000000000000000000000000000007&SignatureVersion=1.0&Timestamp=2026-01-31T08%3A00%3A00Z&Version=2015-04-01";

    #[test]
    fn a_call_with_a_token_has_it_in_the_form_alone() {
        let oidc =
            OidcRole { role: role(), provider_arn: "acs:ram::1:oidc-provider/ack".to_owned(), token_file: "t".into() };
        let call = assume_role_with_oidc(&oidc, Secret::new("JWT.hush"), now());
        assert!(call.form.contains("OIDCToken=JWT.hush") && !call.url.contains("hush"), "{}", call.url);
        assert!(!call.url.contains("Signature"), "{}", call.url);
    }

    #[test]
    fn refusals_name_the_step_the_code_and_the_remedy() {
        let check = |status: u16, body: &str, retry: Retry, words: &[&str]| {
            let answer = Answer { status, body: body.as_bytes().to_vec(), date: None };
            let error = read(&answer, "AssumeRole of r by b", "p".to_owned()).unwrap_err();
            assert_eq!(error.retry, retry, "{body}");
            for word in words {
                assert!(error.cause.to_string().contains(word), "{}", error.cause);
            }
        };
        let code = |code: &str| format!(r#"{{"Code":"{code}","Message":"why","RequestId":"R-1"}}"#);
        let change = Retry::AfterChange;
        check(
            403,
            &code("NoPermission"),
            change,
            &["AssumeRole of r by b refused: 403 NoPermission: why [request R-1]", "trust"],
        );
        check(404, &code("EntityNotExist.Role"), change, &["check account and name"]);
        check(400, &code("AuthenticationFail.OIDCToken.Expired"), change, &["kubelet"]);
        check(400, &code("AuthenticationFail.OIDCToken.AudienceNotMatch"), change, &["sts.aliyuncs.com"]);
        check(403, &code("AuthenticationFail.NoPermission"), change, &["oidc:sub"]);
        check(404, &code("InvalidAccessKeyId.NotFound"), change, &["check the AccessKey"]);
        check(400, &code("InvalidTimeStamp.Expired"), change, &["NTP"]);
        check(400, &code("InvalidParameter.DurationSeconds"), change, &["sls.role_duration"]);
        check(400, &code("Throttling.User"), Retry::SOON, &["Throttling.User"]);
        check(503, &code("ServiceUnavailable"), Retry::SOON, &["503"]);
        check(502, "<html>Bad Gateway", Retry::SOON, &["HTTP status 502: Bad Gateway"]);
        check(403, "<html>blocked", change, &["not an answer from STS"]);
        check(200, "<html>login", Retry::SOON, &["not the JSON of a session", "sls.sts_endpoint"]);
        check(200, r#"{"Credentials":{}}"#, Retry::SOON, &["lacks AccessKeyId"]);
    }
}
