//! The calls about the logstores of a project.

use std::time::Duration;

use serde::Deserialize;

use super::reading::{ReadError, garbled, read_json};
use crate::sls::Config;
use crate::sls::message::{Call, Method, Reply, Request};
use crate::sls::percent::percent_encode;

/// Logstores that a project may have. SLS allows 200, and more on request.
pub const MAX_LOGSTORES: usize = 10_000;

/// Number of logstores requested per call: the maximum of SLS.
const LOGSTORES_PAGE: usize = 500;

/// "ListLogStores": the logstores of the project from number `offset` on.
#[must_use]
pub fn build_list_logstores(offset: usize) -> Request {
    let query = vec![("offset", offset.to_string()), ("size", LOGSTORES_PAGE.to_string())];
    Request::new(Call::ListLogstores, Method::Get, "/logstores".to_owned(), query)
}

/// Some logstores of a project.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LogstoreNames {
    /// Names, in the server's order.
    pub logstores: Vec<String>,
    /// The total number.
    pub total: usize,
}

/// "ListLogStores".
///
/// # Errors
/// The body is not what the reference shows, or there are more than [`MAX_LOGSTORES`].
pub fn read_logstores(reply: &Reply) -> Result<LogstoreNames, ReadError> {
    let names: LogstoreNames = read_json(&reply.body)?;
    if names.total > MAX_LOGSTORES {
        return Err(garbled(format!("it lists {} logstores; a project may have at most {MAX_LOGSTORES}", names.total)));
    }
    Ok(names)
}

/// "GetLogStore".
#[must_use]
pub fn build_logstore(config: &Config) -> Request {
    Request::new(Call::Logstore, Method::Get, format!("/logstores/{}", percent_encode(&config.logstore)), vec![])
}

/// "GetLogStore": how many days logs are kept; 3650 means forever.
///
/// # Errors
/// The body does not say.
pub fn read_retention(reply: &Reply) -> Result<u32, ReadError> {
    #[derive(Deserialize)]
    struct Body {
        ttl: u32,
    }
    Ok(read_json::<Body>(&reply.body)?.ttl)
}

/// Number of days that means forever ("GetLogStore").
const FOREVER: u32 = 3_650;

/// The retention for this number of days; `None`: forever.
#[must_use]
pub fn kept_for(days: u32) -> Option<Duration> {
    (days < FOREVER).then(|| Duration::from_secs(u64::from(days) * 24 * 3_600))
}
