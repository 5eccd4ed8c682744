//! Checks the signature of a call to STS from what came over the wire.
//!
//! Written from the published rules, independent of the client's signer, as for SLS.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha1::Sha1;

use super::config::Config;
use super::refused::Refused;
use crate::emulator::issued::Issued;

/// Maximum difference of a request's clock.
const SKEW: Duration = Duration::from_secs(15 * 60);

/// Checks the key and the signature over all parameters but itself; `now` is the time since the Unix epoch.
pub(super) fn verify(config: &Config, parameters: &[(String, String)], now: Duration) -> Result<(), Refused> {
    let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let need =
        |name: &str| get(name).ok_or_else(|| Refused::new(400, format!("Missing{name}"), format!("{name} is missing")));
    if (need("SignatureMethod")?, need("SignatureVersion")?) != ("HMAC-SHA1", "1.0") {
        return Err(Refused::new(400, "IncompleteSignature", "the method or the version is another one"));
    }
    let id = need("AccessKeyId")?;
    let secret = match (Issued::recall(id), &config.keys) {
        (Some(issued), _) => {
            if get("SecurityToken") != Some(&issued.token) {
                return Err(Refused::new(
                    400,
                    "InvalidSecurityToken.MismatchWithAccessKey",
                    "the token is another one",
                ));
            }
            if issued.end <= now {
                return Err(Refused::new(400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired."));
            }
            issued.secret
        }
        (None, Some((known, secret))) if known == id => secret.expose().to_owned(),
        (None, Some(_)) => {
            return Err(Refused::new(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found."));
        }
        (None, None) => return Ok(()),
    };
    let mut pairs: Vec<String> = parameters
        .iter()
        .filter(|(name, _)| name != "Signature")
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.sort();
    let text = format!("POST&%2F&{}", encode(&pairs.join("&")));
    let mut mac =
        Hmac::<Sha1>::new_from_slice(format!("{secret}&").as_bytes()).expect("HMAC accepts keys of any length");
    mac.update(text.as_bytes());
    let signature = BASE64.decode(need("Signature")?).unwrap_or_default();
    mac.verify_slice(&signature).map_err(|_| {
        let message =
            format!("Specified signature is not matched with our calculation. server string to sign is:{text}");
        Refused::new(400, "SignatureDoesNotMatch", message)
    })
}

/// Checks when the call was stamped.
pub(super) fn check_time(stamp: &str, now: Duration) -> Result<(), Refused> {
    let stamp: Option<Timestamp> = stamp.parse().ok();
    let stamp = stamp
        .ok_or_else(|| Refused::new(400, "InvalidTimeStamp.Format", "Specified time stamp is not well formatted."))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if stamp.as_second().abs_diff(now) > SKEW.as_secs() {
        return Err(Refused::new(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired."));
    }
    Ok(())
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}
