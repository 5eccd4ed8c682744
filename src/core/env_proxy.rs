//! The proxy that the environment sets for a URL.

use std::ffi::OsStr;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use super::no_proxy;

/// The proxy for this URL according to `http_proxy`, `https_proxy` and `no_proxy`, without user and password.
#[must_use]
pub fn of(url: &str) -> Option<String> {
    if no_proxy::is_for_all() {
        return None;
    }
    let proxy = Matcher::from_system().intercept(&url.parse().ok()?)?;
    let uri = proxy.uri();
    let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{}{port}", uri.scheme_str()?, uri.host()?))
}

/// The variables that name a proxy.
const VARIABLES: [&str; 6] = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The variables whose value is not the URL of an HTTP proxy. The HTTP library ignores them, or fails to connect. `value`
/// returns the value of a variable.
pub fn malformed<'a>(value: impl Fn(&str) -> Option<&'a OsStr>) -> impl Iterator<Item = &'static str> {
    VARIABLES.into_iter().filter(move |name| value(name).is_some_and(|value| !value.is_empty() && !is_proxy(value)))
}

fn is_proxy(value: &OsStr) -> bool {
    let Some(value) = value.to_str() else { return false };
    let proxy = Matcher::builder().all(value).build().intercept(&Uri::from_static("http://any.example"));
    proxy.is_some_and(|proxy| matches!(proxy.uri().scheme_str(), Some("http" | "https")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_not_the_url_of_a_proxy_is_found() {
        let found = |value: &'static str| {
            let values = |name: &str| (name == "https_proxy").then(|| OsStr::new(value));
            malformed(values).collect::<Vec<_>>()
        };
        for good in
            ["", "http://proxy.example:3128", "proxy.example:3128", "https://user:p%40ss@[::1]:3128/", "10.0.0.1"]
        {
            assert!(found(good).is_empty(), "{good}");
        }
        for bad in
            ["http//proxy.example:3128", "http://", "http://user:pa ss@proxy.example", "socks5://p:1", "ftp://p:1"]
        {
            assert_eq!(found(bad), ["https_proxy"], "{bad}");
        }
    }
}
