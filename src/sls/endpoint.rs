//! The address of requests, and their `Host` header.
//!
//! SLS distinguishes projects by the host name, `<project>.<endpoint>` (Alibaba Cloud SLS API reference,
//! "Endpoints"). There is no form with the project in the path. An endpoint that is an IP address cannot be prefixed
//! with a name: the client then connects to the address, and only `Host` names the project. Gateways, PrivateLink and
//! emulators use this.

use std::net::{IpAddr, Ipv6Addr};

/// An endpoint with a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The base URL: `http://my-project.cn-hangzhou.log.aliyuncs.com`.
    pub base: String,
    /// The `Host` header. For an address it is without port, as the vendor's Python SDK sends it.
    pub host: String,
    /// The address given instead of a name.
    pub address: Option<IpAddr>,
}

/// What is wrong with an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Empty.
    #[error("is empty: give the endpoint of the region, such as https://cn-hangzhou.log.aliyuncs.com")]
    Empty,
    /// Neither http nor https.
    #[error("has the scheme {0:?}: use https:// or http://")]
    Scheme(String),
    /// More than scheme, host and port.
    #[error("continues with {0:?}: give scheme, host and port only")]
    Tail(String),
    /// User name or password.
    #[error("has a user name: credentials are settings of their own")]
    User,
    /// Not 1..=65535.
    #[error("has the port {0:?}: a port is a number from 1 to 65535")]
    Port(String),
    /// Neither a host name nor an address.
    #[error("has the host {0:?}: that is neither a host name nor an address (IPv6 goes in brackets)")]
    Host(String),
    /// It already begins with `<project>.`.
    #[error("starts with the project {0:?}: leave it out, it is added to the endpoint")]
    Project(String),
}

impl Endpoint {
    /// Reads `[http[s]://]host[:port][/]`; without a scheme it is http, as in every SDK. `project` becomes part of a
    /// host name; the caller has validated it.
    ///
    /// # Errors
    /// One variant per mistake.
    pub fn parse(text: &str, project: &str) -> Result<Self, EndpointError> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            None => ("http", text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => ("http", rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => ("https", rest),
            Some((scheme, _)) => return Err(EndpointError::Scheme(scheme.to_owned())),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.is_empty() {
            return Err(EndpointError::Empty);
        }
        if let Some(at) = authority.find(['/', '?', '#', '\\']) {
            return Err(EndpointError::Tail(authority[at..].to_owned()));
        }
        if authority.contains('@') {
            return Err(EndpointError::User);
        }

        let (host, port) = split_port(authority)?;
        let default_port = if scheme == "https" { 443 } else { 80 };
        let port = port.filter(|port| *port != default_port);
        let port_text = port.map(|port| format!(":{port}")).unwrap_or_default();

        if let Some(address) = parse_address(host) {
            let address_text = match address {
                IpAddr::V4(v4) => v4.to_string(),
                IpAddr::V6(v6) => format!("[{v6}]"),
            };
            return Ok(Self {
                base: format!("{scheme}://{address_text}{port_text}"),
                host: format!("{project}.{address_text}"),
                address: Some(address),
            });
        }
        let host = host.to_ascii_lowercase();
        if !is_host_name(&host) {
            return Err(EndpointError::Host(host));
        }
        if host.strip_prefix(project).is_some_and(|rest| rest.starts_with('.')) {
            return Err(EndpointError::Project(project.to_owned()));
        }
        Ok(Self {
            base: format!("{scheme}://{project}.{host}{port_text}"),
            host: format!("{project}.{host}{port_text}"),
            address: None,
        })
    }

    /// Whether it is the loopback address, which never needs a proxy.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.address.is_some_and(|address| address.is_loopback())
    }
}

/// The region of an endpoint of the vendor: `cn-hangzhou` of `https://cn-hangzhou-intranet.log.aliyuncs.com`. `None`
/// for every other host, because a custom name may begin with anything.
///
/// Source: the vendor's Go SDK, `util/region.go`.
#[must_use]
pub fn region(endpoint: &str) -> Option<String> {
    let rest = endpoint.trim().split_once("://").map_or(endpoint.trim(), |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let name = [".log.aliyuncs.com", ".sls.aliyuncs.com"].iter().find_map(|domain| host.strip_suffix(domain))?;
    let region = ["-intranet", "-share", "-vpc"].iter().find_map(|network| name.strip_suffix(network)).unwrap_or(name);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!region.is_empty() && region.bytes().all(is_plain)).then(|| region.to_owned())
}

/// Whether a region accepts only signature version 4.
///
/// Source: the vendor's Go SDK, which switches to version 4 there automatically.
#[must_use]
pub fn takes_only_v4(region: &str) -> bool {
    region.contains("-acdr-ut-")
}

/// Host and port. A bare IPv6 address has no port.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), EndpointError> {
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Ok((authority, None));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => return Ok((authority, None)),
    };
    match port.parse() {
        Ok(number) if number != 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok((host, Some(number))),
        _ => Err(EndpointError::Port(port.to_owned())),
    }
}

fn parse_address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

/// Labels of letters, digits, `-` and `_`; the last is not a number, which would make it a malformed IPv4 address.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_vendors_own_endpoints_give_the_region() {
        for (endpoint, expected) in [
            ("cn-hangzhou.log.aliyuncs.com", Some("cn-hangzhou")),
            ("https://cn-hangzhou-intranet.log.aliyuncs.com/", Some("cn-hangzhou")),
            ("http://CN-Shanghai-share.log.aliyuncs.com:80", Some("cn-shanghai")),
            ("https://ap-southeast-1-vpc.sls.aliyuncs.com", Some("ap-southeast-1")),
            ("cn-north-2-gov-1.sls.aliyuncs.com", Some("cn-north-2-gov-1")),
            ("https://p.cn-hangzhou.log.aliyuncs.com", None),
            ("https://log.aliyuncs.com", None),
            ("https://.log.aliyuncs.com", None),
            ("https://cn-hangzhou.log.example.com", None),
            ("https://cn-hangzhou.log.aliyuncs.com.example.com", None),
            ("http://127.0.0.1:8200", None),
            ("http://[::1]:8200", None),
            ("", None),
        ] {
            assert_eq!(region(endpoint).as_deref(), expected, "{endpoint}");
        }
        assert!(takes_only_v4("cn-hangzhou-acdr-ut-1") && !takes_only_v4("cn-hangzhou"));
    }

    #[track_caller]
    fn check(text: &str, base: &str, host: &str) {
        let endpoint = Endpoint::parse(text, "proj").unwrap();
        assert_eq!((endpoint.base.as_str(), endpoint.host.as_str()), (base, host));
    }

    #[track_caller]
    fn check_error(text: &str, expected: EndpointError) {
        assert_eq!(Endpoint::parse(text, "proj"), Err(expected));
    }

    #[test]
    fn a_host_name_gets_the_project_in_front() {
        let (base, host) = ("http://proj.cn-x.log.aliyuncs.com", "proj.cn-x.log.aliyuncs.com");
        check("cn-x.log.aliyuncs.com", base, host);
        check("http://cn-x.log.aliyuncs.com", base, host);
        check(" HTTP://CN-X.log.aliyuncs.com/ ", base, host);
        check("http://cn-x.log.aliyuncs.com:80", base, host);
        check("https://cn-x.log.aliyuncs.com", "https://proj.cn-x.log.aliyuncs.com", host);
        check("https://cn-x.log.aliyuncs.com:443", "https://proj.cn-x.log.aliyuncs.com", host);
    }

    #[test]
    fn a_non_default_port_is_part_of_the_host() {
        check("sls.test:8200", "http://proj.sls.test:8200", "proj.sls.test:8200");
        check("https://sls.test:80", "https://proj.sls.test:80", "proj.sls.test:80");
        check("http://localhost:8200", "http://proj.localhost:8200", "proj.localhost:8200");
    }

    #[test]
    fn with_an_ip_address_only_the_host_header_names_the_project() {
        check("127.0.0.1", "http://127.0.0.1", "proj.127.0.0.1");
        check("http://127.0.0.1:8200", "http://127.0.0.1:8200", "proj.127.0.0.1");
        check("https://10.1.2.3/", "https://10.1.2.3", "proj.10.1.2.3");
        check("http://[::1]:8200", "http://[::1]:8200", "proj.[::1]");
        check("::1", "http://[::1]", "proj.[::1]");
        let is_loopback = |text| Endpoint::parse(text, "proj").unwrap().is_loopback();
        assert!(is_loopback("127.0.0.1:1") && is_loopback("[::1]:1"));
        assert!(!is_loopback("10.1.2.3") && !is_loopback("localhost"));
    }

    #[test]
    fn an_invalid_endpoint_is_an_error_that_names_it() {
        check_error("", EndpointError::Empty);
        check_error("http://", EndpointError::Empty);
        check_error("ftp://sls.test", EndpointError::Scheme("ftp".into()));
        check_error("sls.test/logstores/x", EndpointError::Tail("/logstores/x".into()));
        check_error("sls.test?a=b", EndpointError::Tail("?a=b".into()));
        check_error("http://me:pw@sls.test", EndpointError::User);
        for port in ["", "0", "65536", "+80", "http"] {
            check_error(&format!("sls.test:{port}"), EndpointError::Port(port.into()));
        }
        for host in ["sls test", "sls..test", ".", "1.2.3", "[::1", "sls.test.", "[sls]", "ü.test"] {
            check_error(&format!("http://{host}:80"), EndpointError::Host(host.into()));
        }
        check_error("proj.cn-x.log.aliyuncs.com", EndpointError::Project("proj".into()));
    }
}
