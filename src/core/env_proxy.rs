//! The proxy that the environment sets for a URL.

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
