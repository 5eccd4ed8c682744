//! Checks signatures from what came over the wire, and nothing else.
//!
//! Written from the published rules of both versions, deliberately independent of the client's signer: two
//! independent implementations that agree are stronger evidence.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::civil;
use jiff::fmt::rfc2822;
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::Sha256;

use super::refusal::Refusal;
use crate::core::secret::Secret;
use crate::emulator::issued::Issued;
use crate::emulator::request::Request;

/// Maximum difference of a request's clock.
const SKEW: Duration = Duration::from_secs(15 * 60);

/// The keys that requests may be signed with.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// A key without expiry.
    pub key: Option<Key>,
    /// Whether keys of the STS emulator are accepted until they expire.
    pub issued: bool,
}

/// A key pair.
#[derive(Debug, Clone)]
pub struct Key {
    /// AccessKey ID.
    pub id: String,
    /// AccessKey secret.
    pub secret: Secret,
    /// The STS token that must accompany the key; without one, a request must have none.
    pub token: Option<Secret>,
}

impl Verifier {
    /// Checks a request; `now` is the server's time since the Unix epoch.
    ///
    /// # Errors
    /// `Unauthorized` for no or an unknown key or a wrong token, `SignatureNotMatch`, `RequestTimeExpired`, and the codes
    /// of SLS for a malformed request.
    pub fn verify(&self, request: &Request, now: Duration) -> Result<(), Refusal> {
        match request.header("x-log-apiversion").as_deref() {
            Some("0.6.0") => {}
            Some(version) => return Err(malformed("InvalidAPIVersion", format!("API version {version}"))),
            None => return Err(malformed("MissingAPIVersion", "x-log-apiversion is missing")),
        }
        let authorization = request.header("authorization").unwrap_or_default();
        if let Some(credential) = authorization.strip_prefix("LOG ") {
            self.verify_v1(request, credential, now)
        } else if let Some(credential) = authorization.strip_prefix("SLS4-HMAC-SHA256 ") {
            self.verify_v4(request, credential, now)
        } else {
            Err(unauthorized("the request is not signed"))
        }
    }

    fn verify_v1(&self, request: &Request, credential: &str, now: Duration) -> Result<(), Refusal> {
        match request.header("x-log-signaturemethod").as_deref() {
            Some("hmac-sha1") => {}
            Some(method) => {
                return Err(malformed("InvalidSignatureMethod", format!("signature method {method}")));
            }
            None => return Err(malformed("MissingSignatureMethod", "x-log-signaturemethod is missing")),
        }
        let (id, signature) = credential.split_once(':').unwrap_or((credential, ""));
        let secret = self.secret(request, id, now)?;
        let date = request.header("x-log-date").or_else(|| request.header("date"));
        let date = date.ok_or_else(|| malformed("MissingDate", "Date is missing"))?;
        check_skew(parse_http_date(&date), &date, now)?;

        let md5 = if request.body.is_empty() { String::new() } else { upper_hex(&Md5::digest(&request.body)) };
        if request.header("content-md5").unwrap_or_default() != md5 {
            return Err(malformed("PostBodyInvalid", "Content-MD5 is not that of the body"));
        }
        let mut text =
            format!("{}\n{md5}\n{}\n{date}\n", request.method, request.header("content-type").unwrap_or_default());
        for (name, value) in signed_headers(request, |name| {
            name != "x-log-date" && (name.starts_with("x-log-") || name.starts_with("x-acs-"))
        }) {
            text += &format!("{name}:{value}\n");
        }
        text += &request.path;
        let mut query = request.query.clone();
        query.sort();
        for (index, (key, value)) in query.iter().enumerate() {
            text += if index == 0 { "?" } else { "&" };
            text += &format!("{key}={value}");
        }

        let mut mac =
            Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()).expect("HMAC accepts keys of any length");
        mac.update(text.as_bytes());
        let signature = BASE64.decode(signature).unwrap_or_default();
        mac.verify_slice(&signature).map_err(|_| mismatch(&text))
    }

    fn verify_v4(&self, request: &Request, credential: &str, now: Duration) -> Result<(), Refusal> {
        let (scope, signature) = credential
            .strip_prefix("Credential=")
            .and_then(|rest| rest.split_once(",Signature="))
            .ok_or_else(|| unauthorized("Authorization is not of the form Credential=…,Signature=…"))?;
        let (id, scope) = scope.split_once('/').unwrap_or((scope, ""));
        let secret = self.secret(request, id, now)?;
        let date = request.header("x-log-date");
        let date = date.ok_or_else(|| malformed("MissingDate", "x-log-date is missing"))?;
        check_skew(parse_basic_date(&date), &date, now)?;
        let [day, region, "sls", "aliyun_v4_request"] = scope.split('/').collect::<Vec<_>>()[..] else {
            return Err(unauthorized("the scope is not yyyyMMdd/region/sls/aliyun_v4_request"));
        };
        if !date.starts_with(day) {
            return Err(unauthorized("the scope is for another day than x-log-date"));
        }
        let payload = lower_hex(&Sha256::digest(&request.body));
        if request.header("x-log-content-sha256").as_deref() != Some(&payload) {
            return Err(malformed("PostBodyInvalid", "x-log-content-sha256 is not that of the body"));
        }

        let mut query = request.query.clone();
        query.sort();
        let query: Vec<_> = query
            .iter()
            .map(|(key, value)| match value.as_str() {
                "" => key.clone(),
                value => format!("{key}={}", percent_encode(value)),
            })
            .collect();
        let headers = signed_headers(request, |name| {
            matches!(name, "content-type" | "host") || name.starts_with("x-log-") || name.starts_with("x-acs-")
        });
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let block: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let canonical = format!(
            "{}\n{}\n{}\n{block}\n{}\n{payload}",
            request.method,
            request.path,
            query.join("&"),
            names.join(";")
        );
        let digest = lower_hex(&Sha256::digest(&canonical));
        let text = format!("SLS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");

        let mut key = format!("aliyun_v4{}", secret.expose()).into_bytes();
        for part in [day, region, "sls", "aliyun_v4_request"] {
            key = hmac_sha256(&key, part).finalize().into_bytes().to_vec();
        }
        let signature = parse_hex(signature).unwrap_or_default();
        hmac_sha256(&key, &text).verify_slice(&signature).map_err(|_| mismatch(&canonical))
    }

    /// The secret of the key that a request names, with the token that belongs to it.
    fn secret(&self, request: &Request, id: &str, now: Duration) -> Result<Secret, Refusal> {
        let token = request.header("x-acs-security-token");
        if let Some(issued) = Issued::recall(id).filter(|_| self.issued) {
            return match token {
                Some(token) if token != issued.token => Err(unauthorized(WRONG_TOKEN)),
                None => Err(unauthorized("this AccessKeyId needs a security token")),
                Some(_) if issued.end <= now => {
                    Err(Refusal::new(401, "SecurityTokenExpired", "The security token you provided has expired"))
                }
                Some(_) => Ok(Secret::new(issued.secret)),
            };
        }
        let key = self.key.as_ref().filter(|key| key.id == id);
        let key = key.ok_or_else(|| unauthorized(format!("AccessKeyId not found: {id}")))?;
        match (&key.token, token) {
            (None, None) => Ok(key.secret.clone()),
            (Some(expected), Some(token)) if expected.expose() == token => Ok(key.secret.clone()),
            (Some(_), None) => Err(unauthorized("this AccessKeyId needs a security token")),
            _ => Err(unauthorized(WRONG_TOKEN)),
        }
    }
}

const WRONG_TOKEN: &str = "The security token you provided is invalid";

/// The headers that are signed, sorted by name.
fn signed_headers(request: &Request, signed: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let mut headers: Vec<_> = request
        .headers
        .iter()
        .filter(|(name, _)| signed(name.as_str()) && !name.as_str().starts_with("x-log-meta-"))
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    headers.sort();
    headers
}

fn check_skew(stamp: Option<i64>, text: &str, now: Duration) -> Result<(), Refusal> {
    let stamp = stamp.ok_or_else(|| malformed("InvalidRequestTime", format!("cannot read the date {text}")))?;
    let server = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if stamp.abs_diff(server) > SKEW.as_secs() {
        let message = format!("Request time {text} has been expired while server time is {server}");
        return Err(malformed("RequestTimeExpired", message));
    }
    Ok(())
}

/// Unix seconds of `Sat, 01 Mar 2025 12:00:00 GMT`. The day may have one digit, and the weekday is not checked.
fn parse_http_date(text: &str) -> Option<i64> {
    let parser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
    Some(parser.parse_timestamp(text).ok()?.as_second())
}

/// Unix seconds of `20250301T120000Z`.
fn parse_basic_date(text: &str) -> Option<i64> {
    let date = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

fn malformed(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::new(400, code, message)
}

fn unauthorized(message: impl Into<String>) -> Refusal {
    Refusal::new(401, "Unauthorized", message)
}

/// Shows the text that the server would have signed, like the real one; it contains no secrets.
fn mismatch(text: &str) -> Refusal {
    let message = format!("signature not match; the server signed {text:?}");
    Refusal::new(401, "SignatureNotMatch", message)
}

fn hmac_sha256(key: &[u8], text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC accepts keys of any length");
    mac.update(text.as_bytes());
    mac
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

fn lower_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn upper_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests;
