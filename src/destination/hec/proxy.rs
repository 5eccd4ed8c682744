//! The proxy that requests take.

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

use super::Config;
use crate::core::no_proxy;

/// The proxy on the way to this URL, without user and password: that of the settings, else that of the environment.
pub(super) fn of(config: &Config, url: &Url) -> Option<String> {
    if config.proxy.is_some() {
        return config.proxy.clone();
    }
    if no_proxy::is_for_all() {
        return None;
    }
    let proxy = Matcher::from_system().intercept(&url.as_str().parse().ok()?)?;
    let uri = proxy.uri();
    let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{}{port}", uri.scheme_str()?, uri.host()?))
}
