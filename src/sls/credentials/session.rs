//! A key with its expiry, as returned by the services.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::access_key::AccessKey;
use super::http::{Answer, Clock};
use crate::core::printable::excerpt;
use crate::core::secret::Secret;

/// A key, its provider, and its expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) key: AccessKey,
    /// The provider, for messages.
    pub(super) provider: String,
    /// `None`: it does not expire.
    pub(super) end: Option<End>,
}

/// When a session expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) at: Timestamp,
    /// The same, counted from the receipt of the session.
    pub(super) within: Duration,
}

/// The keys of a session in the format of STS, the metadata service and credential URIs.
#[derive(Deserialize)]
pub(super) struct Given {
    #[serde(rename = "Code")]
    code: Option<String>,
    #[serde(rename = "AccessKeyId")]
    id: Option<String>,
    #[serde(rename = "AccessKeySecret")]
    secret: Option<String>,
    #[serde(rename = "SecurityToken")]
    token: Option<String>,
    #[serde(rename = "Expiration")]
    expiration: Option<String>,
}

impl Given {
    /// The session, received at `now`.
    ///
    /// # Errors
    /// What is wrong with it, as text without secrets.
    pub(super) fn session(self, provider: String, now: Clock) -> Result<Session, String> {
        if let Some(code) = self.code.filter(|code| code != "Success") {
            return Err(format!("it answers Code {}", excerpt(&code)));
        }
        let (Some(id), Some(secret), Some(token)) = (self.id, self.secret, self.token) else {
            return Err("the reply lacks AccessKeyId, AccessKeySecret or SecurityToken".to_owned());
        };
        let expiration = self.expiration.ok_or("the reply lacks Expiration")?;
        let at: Timestamp =
            expiration.parse().map_err(|_| format!("Expiration is not a time: {}", excerpt(&expiration)))?;
        let within = Duration::try_from(at.duration_since(now.time())).unwrap_or_default();
        if within.is_zero() {
            return Err(match now {
                Clock::Service(now) => format!("its key expired at {at}, and its service's clock is at {now}"),
                Clock::Host(now) => {
                    format!("its key expired at {at}, and this host's clock is at {now:.0}: check the clock")
                }
            });
        }
        let key = AccessKey { id, secret: Secret::new(secret), token: Some(Secret::new(token)) };
        let key = key.checked().map_err(|error| error.to_string())?;
        Ok(Session { key, provider, end: Some(End { at, within }) })
    }
}

/// Parses the answer of the metadata service or a credential URI.
///
/// # Errors
/// As for [`Given::session`], or it is not JSON.
pub(super) fn read_session(answer: &Answer, provider: String) -> Result<Session, String> {
    let given: Given =
        serde_json::from_slice(&answer.body).map_err(|_| "the reply is not the JSON of a session".to_owned())?;
    given.session(provider, answer.clock())
}

/// Base URL of the vendor's STS in a region. Only regional ones can be reached inside a VPC.
pub(super) fn sts_host(region: Option<&str>, vpc: bool) -> String {
    match (region, vpc) {
        (None, _) => "https://sts.aliyuncs.com".to_owned(),
        (Some(region), false) => format!("https://sts.{region}.aliyuncs.com"),
        (Some(region), true) => format!("https://sts-vpc.{region}.aliyuncs.com"),
    }
}

/// A URL without its possible secrets: user, password, parameters.
pub(super) fn shown_url(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = plain.split_once("://") else { return excerpt(plain) };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit('@').next().unwrap_or_default();
    excerpt(&format!("{scheme}://{host}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-31T08:00:00Z".parse().unwrap()
    }

    fn read(body: &str) -> Result<Session, String> {
        let given: Given = serde_json::from_str(body).map_err(|_| "not JSON")?;
        given.session("test".to_owned(), Clock::Host(now()))
    }

    fn reply(code: &str, expiration: &str) -> String {
        format!(
            r#"{{"Code":"{code}","AccessKeyId":"STS.a","AccessKeySecret":"s","SecurityToken":"t","Expiration":"{expiration}"}}"#
        )
    }

    #[test]
    fn a_session_is_read_with_its_remaining_time() {
        let session = read(&reply("Success", "2026-01-31T09:00:00Z")).unwrap();
        assert_eq!((session.key.id.as_str(), session.key.secret.expose()), ("STS.a", "s"));
        assert_eq!(session.end.unwrap().within, Duration::from_secs(3600));
        let without_code = reply("Success", "2026-01-31T09:00:00Z").replace(r#""Code":"Success","#, "");
        assert_eq!(read(&without_code).unwrap(), session);
    }

    #[test]
    fn the_remaining_time_is_that_by_the_clock_of_the_service() {
        let hours = |hours: i64| jiff::SignedDuration::from_hours(hours);
        for ahead in [-1, 0, 1, 24] {
            let there = Timestamp::now() + hours(ahead);
            let body = reply("Success", &(there + hours(1)).to_string()).into_bytes();
            let answer = Answer { status: 200, body, date: Some(there) };
            let session = read_session(&answer, "test".to_owned()).unwrap();
            assert_eq!(session.end.unwrap().within, Duration::from_secs(3600), "{ahead} h ahead");
            let ended = reply("Success", &(there - hours(1)).to_string()).into_bytes();
            let why = read_session(&Answer { body: ended, ..answer }, "test".to_owned()).unwrap_err();
            assert!(why.contains("its service's clock is at"), "{why}");
        }
    }

    #[test]
    fn an_invalid_session_says_why_and_shows_no_secret() {
        let check = |body: &str, words: &str| {
            let why = read(body).unwrap_err();
            assert!(why.contains(words), "{why}");
        };
        let no_json = Answer { status: 200, body: b"<html>".to_vec(), date: None };
        assert!(read_session(&no_json, "test".to_owned()).unwrap_err().contains("not the JSON of a session"));
        check("{}", "lacks AccessKeyId");
        check(&reply("Failed", "2026-01-31T09:00:00Z"), "it answers Code Failed");
        check(&reply("Success", "soon"), "Expiration is not a time: soon");
        check(
            &reply("Success", "2026-01-31T07:59:59Z"),
            "its key expired at 2026-01-31T07:59:59Z, and this host's clock is at 2026-01-31T08:00:00Z",
        );
        check(&reply("Success", "2026-01-31T09:00:00Z").replace("STS.a", "a b"), "AccessKey ID has a blank");
    }

    #[test]
    fn sts_hosts_are_those_of_the_vendor() {
        assert_eq!(sts_host(None, true), "https://sts.aliyuncs.com");
        assert_eq!(sts_host(Some("cn-hangzhou"), false), "https://sts.cn-hangzhou.aliyuncs.com");
        assert_eq!(sts_host(Some("cn-hangzhou"), true), "https://sts-vpc.cn-hangzhou.aliyuncs.com");
    }

    #[test]
    fn a_url_is_shown_without_user_and_parameters() {
        assert_eq!(shown_url("http://user:pw@127.0.0.1:80/a/b?key=hush#x"), "http://127.0.0.1:80/a/b");
        assert_eq!(shown_url("https://host"), "https://host");
    }
}
