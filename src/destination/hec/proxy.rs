//! The proxy of requests.

use reqwest::Url;

use super::Config;
use crate::core::env_proxy;

/// The proxy on the way to this URL, without user and password: from the settings, else from the environment.
pub(super) fn of(config: &Config, url: &Url) -> Option<String> {
    config.proxy.clone().or_else(|| env_proxy::of(url.as_str()))
}
