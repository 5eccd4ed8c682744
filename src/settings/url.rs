//! URLs in the settings: scheme, host and port, nothing else.

use std::net::IpAddr;

use hyper::Uri;

use super::problem::Complaint;

/// Scheme, host and port: the parts of a URL in the settings.
pub(super) struct BaseUrl {
    /// Without a slash at the end.
    pub(super) url: String,
    pub(super) host: String,
    https: bool,
}

impl BaseUrl {
    pub(super) fn parse(url: &str) -> Result<Self, Complaint> {
        if url.contains('@') {
            return Err(Complaint::new(
                "there is a user name or a password in the URL",
                "leave it out: credentials have settings of their own",
            ));
        }
        let wrong = |what: &str, fix: &str| Err(Complaint::new(format!("{url:?} {what}"), fix));
        let Ok(parsed) = url.parse::<Uri>() else {
            return wrong("is not a URL", "write it as https://host:port");
        };
        let https = match parsed.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => {
                return wrong("does not begin with https:// or http://", "write it as https://host:port");
            }
        };
        let host = parsed.host().unwrap_or_default().to_owned();
        let authority = parsed.authority().map_or("", |authority| authority.as_str());
        if host.is_empty() || (parsed.port().is_none() && authority.contains(':') && !authority.ends_with(']')) {
            return wrong(
                "has no host, or something other than a port after the colon",
                "write it as https://host:port",
            );
        }
        if parsed.port_u16() == Some(0) {
            return wrong("has port 0, which no server can use", "write the port of the server");
        }
        if parsed.path_and_query().is_some_and(|path| path != "/") || url.contains('#') {
            return wrong("has a path", "end it after the host and the port: the path is put there for each call");
        }
        Ok(Self { url: url.trim_end_matches('/').to_owned(), host, https })
    }

    /// Plain text on a network.
    pub(super) fn is_exposed(&self) -> bool {
        !self.https && !self.is_loopback()
    }

    /// On this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}
