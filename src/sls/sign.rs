//! Signatures of requests, version 1 and version 4, as pure functions of the request, the key and the date.
//!
//! Source: Alibaba Cloud SLS API reference, "Request signatures" (v1) and "Request signature V4", and the vendor's
//! Python and Go SDKs where those are more exact.
//!
//! Every attempt must be signed again: the date is part of the signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::http_date::http_date;
use super::message::Request;
use super::percent::percent_encode;
use super::{AccessKey, Signature};

/// Header names and values, the names in lower case.
pub type Headers = Vec<(&'static str, String)>;

/// The headers that sign `request` at `now`, to be sent in addition to its own.
///
/// The headers must not change after this call: `host` and every `x-log-` and `x-acs-` header are signed.
#[must_use]
pub fn sign(signature: &Signature, key: &AccessKey, now: Timestamp, request: &Request) -> Headers {
    match signature {
        Signature::V1 | Signature::Auto { .. } => v1(key, request, &http_date(now)),
        Signature::V4 { region } => v4(key, request, region, &now.strftime("%Y%m%dT%H%M%SZ").to_string()),
    }
}

/// Version 1: `LOG <id>:<signature>`, HMAC-SHA1 over method, `Content-MD5`, `Content-Type`, date, the `x-log-` and
/// `x-acs-` headers, and the path with its decoded parameters. `date` is sent as `Date`, and not as `x-log-date`,
/// which is not part of this signature.
#[must_use]
pub fn v1(key: &AccessKey, request: &Request, date: &str) -> Headers {
    let mut added = vec![("date", date.to_owned()), ("x-log-signaturemethod", "hmac-sha1".to_owned())];
    add_token(key, &mut added);
    let digest = if request.body.is_empty() {
        String::new()
    } else {
        let digest = hex(&Md5::digest(&request.body)).to_uppercase();
        added.push(("content-md5", digest.clone()));
        digest
    };
    let headers = signed_headers(request, &added);

    let content_type = request.header("content-type").unwrap_or_default();
    let mut text = format!("{}\n{digest}\n{content_type}\n{date}\n", request.method.as_str());
    for (name, value) in headers.into_iter().filter(|(name, _)| is_vendor_header(name)) {
        text.extend([name, ":", value, "\n"]);
    }
    text.push_str(&request.path);
    for (at, (name, value)) in sorted_query(request).into_iter().enumerate() {
        text.extend([if at == 0 { "?" } else { "&" }, name, "=", value]);
    }

    let mut mac =
        Hmac::<Sha1>::new_from_slice(key.secret.expose().as_bytes()).expect("HMAC accepts keys of any length");
    mac.update(text.as_bytes());
    let signature = BASE64.encode(mac.finalize().into_bytes());
    added.push(("authorization", format!("LOG {}:{signature}", key.id)));
    added
}

/// Version 4: `SLS4-HMAC-SHA256 Credential=<id>/<scope>,Signature=<signature>`, with a key derived from secret, day
/// and region. The verifier gets no list of the signed headers: it uses `content-type`, `host`, `x-log-*` and
/// `x-acs-*`. `date` has the form `20250301T120000Z` and is sent as `x-log-date`.
#[must_use]
pub fn v4(key: &AccessKey, request: &Request, region: &str, date: &str) -> Headers {
    let payload = hex(&Sha256::digest(&request.body));
    let mut added = vec![("x-log-date", date.to_owned()), ("x-log-content-sha256", payload.clone())];
    add_token(key, &mut added);
    let canonical = v4_canonical(request, &signed_headers(request, &added), &payload);

    let day = date.split('T').next().unwrap_or(date);
    let scope = format!("{day}/{region}/sls/aliyun_v4_request");
    let digest = hex(&Sha256::digest(&canonical));
    let text = format!("SLS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
    let signature = hex(&hmac_sha256(&v4_key(key, day, region), &text));
    let id = &key.id;
    added.push(("authorization", format!("SLS4-HMAC-SHA256 Credential={id}/{scope},Signature={signature}")));
    added
}

/// The canonical request of version 4.
fn v4_canonical(request: &Request, headers: &[(&str, &str)], payload: &str) -> String {
    let query: Vec<String> = sorted_query(request)
        .into_iter()
        .map(|(name, value)| match value {
            "" => name.to_owned(),
            value => format!("{name}={}", percent_encode(value)),
        })
        .collect();
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    format!(
        "{}\n{}\n{}\n{lines}\n{}\n{payload}",
        request.method.as_str(),
        request.path,
        query.join("&"),
        names.join(";"),
    )
}

/// The key that signs on one day in one region.
fn v4_key(key: &AccessKey, day: &str, region: &str) -> [u8; 32] {
    let secret = format!("aliyun_v4{}", key.secret.expose());
    ["sls", "aliyun_v4_request"]
        .iter()
        .fold(hmac_sha256(&hmac_sha256(secret.as_bytes(), day), region), |key, step| hmac_sha256(&key, step))
}

fn hmac_sha256(key: &[u8], text: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC accepts keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

fn add_token(key: &AccessKey, headers: &mut Headers) {
    if let Some(token) = &key.token {
        headers.push(("x-acs-security-token", token.expose().to_owned()));
    }
}

/// The headers that version 4 signs, in order; version 1 uses the vendor's own headers of these.
fn signed_headers<'a>(request: &'a Request, added: &'a Headers) -> Vec<(&'a str, &'a str)> {
    let headers = request.headers.iter().chain(added).map(|(name, value)| (*name, value.trim()));
    let is_signed = |name: &str| matches!(name, "content-type" | "host") || is_vendor_header(name);
    let mut signed: Vec<_> = headers.filter(|(name, _)| is_signed(name)).collect();
    signed.sort_unstable();
    signed
}

fn is_vendor_header(name: &str) -> bool {
    name.starts_with("x-log-") || name.starts_with("x-acs-")
}

fn sorted_query(request: &Request) -> Vec<(&str, &str)> {
    let mut query: Vec<_> = request.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    query.sort_unstable();
    query
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
