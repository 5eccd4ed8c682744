//! Advice about a project or logstore that does not exist at the configured endpoint. Pure.

use serde::Deserialize;

use super::Config;
use super::api::{ReadError, read_json};
use super::endpoint::region;
use super::message::{Call, Method, Reply, Request};
use crate::core::cause::Cause;
use crate::core::printable::excerpt;

/// A project as described by the server. Missing fields are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Project {
    /// Region id.
    pub region: String,
    /// Endpoint for the internet.
    #[serde(rename = "internetEndpoint")]
    pub internet: String,
    /// Endpoint within the region's own network.
    #[serde(rename = "internalEndpoint")]
    pub internal: String,
}

/// "GetProject".
#[must_use]
pub fn build_project() -> Request {
    Request::new(Call::Project, Method::Get, "/".to_owned(), vec![])
}

/// "GetProject", of which the reference shows the region; the vendor's Go SDK reads the endpoints too.
///
/// # Errors
/// The body is not a JSON object.
pub fn read_project(reply: &Reply) -> Result<Project, ReadError> {
    read_json(&reply.body)
}

/// `absent` with details about the project; `None` if these are not known.
pub fn advice(config: &Config, absent: Cause, project: Option<&Project>) -> Cause {
    let Some(project) = project else { return absent };
    let Config { project: name, endpoint, .. } = config;
    let there = excerpt(&project.region);
    let Some(here) = region(endpoint).filter(|_| !there.is_empty()) else {
        let hint = Some("check `endpoint` and `logstore`; `wait` makes the program wait for it");
        return Cause { what: format!("{}; the project {name} is there, in region {there:?}", absent.what), hint };
    };
    if here == there {
        let hint = Some("check `logstore`; `wait` makes the program wait for it");
        return Cause { what: format!("{}; the project {name} is there", absent.what), hint };
    }
    let offered = if is_internal(endpoint) { &project.internal } else { &project.internet };
    let right = if offered.is_empty() { format!("{there}.log.aliyuncs.com") } else { excerpt(offered) };
    let right = right.trim_start_matches("https://").trim_start_matches("http://");
    let what = format!(
        "{}; the project {name} is in region {there}, and the endpoint in {here}: set sls.endpoint to https://{right}",
        absent.what
    );
    Cause { what, hint: None }
}

/// Whether an endpoint is one for the region's own network.
fn is_internal(endpoint: &str) -> bool {
    ["-intranet.", "-vpc."].iter().any(|network| endpoint.contains(network))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sls::api::tests::config;

    fn advice_for(endpoint: &str, reply: Option<&'static str>) -> String {
        let config = Config { endpoint: endpoint.to_owned(), ..config() };
        let project = reply.map(|body| {
            let reply = Reply { status: 200, body: Bytes::from_static(body.as_bytes()), ..Reply::default() };
            read_project(&reply).unwrap()
        });
        let absent = Cause { what: "404".to_owned(), hint: Some("check it") };
        advice(&config, absent, project.as_ref()).to_string()
    }

    const IN_SHANGHAI: &str = r#"{"projectName":"p","region":"cn-shanghai","status":"Normal",
        "internetEndpoint":"cn-shanghai.log.aliyuncs.com","internalEndpoint":"cn-shanghai-intranet.log.aliyuncs.com"}"#;

    #[test]
    fn a_project_in_another_region_is_named_with_the_endpoint_to_use() {
        let found = advice_for("https://cn-hangzhou.log.aliyuncs.com", Some(IN_SHANGHAI));
        assert!(
            found
                .ends_with("and the endpoint in cn-hangzhou: set sls.endpoint to https://cn-shanghai.log.aliyuncs.com"),
            "{found}"
        );
        let found = advice_for("https://cn-hangzhou-intranet.log.aliyuncs.com", Some(IN_SHANGHAI));
        assert!(found.ends_with("set sls.endpoint to https://cn-shanghai-intranet.log.aliyuncs.com"), "{found}");
        let found = advice_for("https://cn-hangzhou.log.aliyuncs.com", Some(r#"{"region":"cn-beijing"}"#));
        assert!(found.ends_with("set sls.endpoint to https://cn-beijing.log.aliyuncs.com"), "{found}");
    }

    #[test]
    fn when_the_project_exists_the_logstore_is_reported_missing() {
        let found = advice_for("https://cn-shanghai.log.aliyuncs.com", Some(IN_SHANGHAI));
        assert!(found.contains("is there (check `logstore`"), "{found}");
        let found = advice_for("http://127.0.0.1:1", Some(IN_SHANGHAI));
        assert!(found.contains("is there, in region \"cn-shanghai\" (check `endpoint`"), "{found}");
    }

    #[test]
    fn without_a_reply_the_refusal_is_left_unchanged() {
        assert_eq!(advice_for("https://cn-shanghai.log.aliyuncs.com", None), "404 (check it)");
    }
}
