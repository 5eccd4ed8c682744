//! The proxy that requests take.

use reqwest::Url;

use super::Config;
use crate::core::env_proxy;

/// The proxy on the way to this URL, without user and password: that of the settings, else that of the environment.
pub(super) fn of(config: &Config, url: &Url) -> Option<String> {
    config.proxy.clone().or_else(|| env_proxy::of(url.as_str()))
}
