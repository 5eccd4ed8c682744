//! The settings of Splunk: `[hec]`.

use std::time::Duration;

use super::keys;
use super::problem::Complaint;
use super::read::Reader;
use super::url::BaseUrl;
use crate::core::tls_connectors::TlsConnectors;
use crate::destination::hec::{Config, HecFormat, Layout, MemberConfig, Token};

pub(super) fn read_hec(reader: &mut Reader<'_>) -> Option<Config> {
    let members = read_members(reader);
    let token = read_token(reader);
    let verify = reader.get(&keys::hec::VERIFY);
    let ca_file = reader.authorities(&keys::hec::CA_FILE);
    let client_cert = reader.client_cert([&keys::hec::CLIENT_CERT, &keys::hec::CLIENT_KEY]);
    let proxy = read_proxy(reader);
    let timeout = reader.get(&keys::hec::TIMEOUT);
    let connect_timeout = reader.get(&keys::hec::CONNECT_TIMEOUT);
    let source = reader.get(&keys::hec::SOURCE);
    let sourcetype = reader.get(&keys::hec::SOURCETYPE);
    let index = reader.get(&keys::hec::INDEX);
    let fallback_index = reader.get(&keys::hec::FALLBACK_INDEX);
    let host = reader.get(&keys::hec::EVENT_HOST);
    let gzip = reader.get(&keys::hec::GZIP);
    let max_body = reader.get(&keys::hec::MAX_BODY);
    let max_requests = reader.get(&keys::hec::MAX_REQUESTS);
    let ack = read_ack(reader);
    let partial = reader.get(&keys::hec::PARTIAL);
    let compat = reader.get(&keys::hec::COMPAT);
    let (members, verify) = (members?, verify?);
    for (base, _) in members.iter().filter(|(base, _)| base.is_exposed()) {
        reader.warn(format!("logs and the HEC token travel in plain text: {} is not https://", base.url));
    }
    // On one machine, the network costs less than compression.
    let gzip = gzip.unwrap_or_else(|| members.iter().any(|(base, _)| !base.is_loopback()));
    if !verify {
        reader.warn(format!(
            "the connection can be intercepted, since the collector's certificate is not verified: {} is false",
            reader.origin(&keys::hec::VERIFY.row)
        ));
    }
    Some(Config {
        members: members.into_iter().map(|(base, weight)| MemberConfig { url: base.url, weight }).collect(),
        token: token?,
        verify,
        ca_file,
        client_cert,
        proxy,
        timeout: timeout?,
        connect_timeout: connect_timeout?,
        source,
        sourcetype,
        index,
        fallback_index,
        host,
        gzip,
        max_body: max_body?,
        max_requests: usize::from(max_requests?),
        partial: partial?,
        ack: ack?,
        compat: compat?,
        transport: None,
        tls: TlsConnectors::default(),
    })
}

/// How long to wait for acknowledgements; `Some(None)` if they are not used.
fn read_ack(reader: &mut Reader<'_>) -> Option<Option<Duration>> {
    let (ack, timeout) = (reader.get(&keys::hec::ACK), reader.get(&keys::hec::ACK_TIMEOUT));
    Some(if ack? { Some(timeout?) } else { None })
}

/// The format of events, for any collector.
pub(super) fn read_hec_format(reader: &mut Reader<'_>) -> HecFormat {
    HecFormat::with(Layout {
        host: reader.get(&keys::hec::EVENT_HOST),
        source: reader.get(&keys::hec::SOURCE),
        sourcetype: reader.get(&keys::hec::SOURCETYPE),
        index: reader.get(&keys::hec::INDEX),
        compat: reader.get(&keys::hec::COMPAT).unwrap_or_default(),
    })
}

/// The collectors, each with its weight: `hec.url`, or `hec.host` with port and https as in the vendor's scripts.
fn read_members(reader: &mut Reader<'_>) -> Option<Vec<(BaseUrl, u32)>> {
    let (url, host) = (&keys::hec::URL.row, &keys::hec::HOST.row);
    let given = reader.either(url, host)?;
    let addresses = if given.name == url.name {
        for part in [&keys::hec::PORT.row, &keys::hec::HTTPS.row] {
            if reader.layer(part) <= reader.layer(url) {
                let complaint =
                    Complaint::new(format!("{} repeats a part of hec.url", part.name), "keep one of the two");
                reader.complain(part, complaint);
            }
        }
        reader.get(&keys::hec::URL)?
    } else {
        let (host, port, https) =
            (reader.get(&keys::hec::HOST), reader.get(&keys::hec::PORT), reader.get(&keys::hec::HTTPS));
        let (host, port, scheme) = (host?, port?, if https? { "https" } else { "http" });
        if host.contains(['/', '@']) {
            let complaint =
                Complaint::new("hec.host is more than a host", "write the host alone, or all of it as hec.url");
            reader.complain(given, complaint);
            return None;
        }
        match host.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("{scheme}://[{address}]:{port}"),
            Err(_) => format!("{scheme}://{host}:{port}"),
        }
    };
    match addresses.split(',').map(|address| member(address.trim())).collect() {
        Ok(members) => distinct(members).map_err(|complaint| reader.complain(given, complaint)).ok(),
        Err(complaint) => {
            reader.complain(given, complaint);
            None
        }
    }
}

/// `https://splunk-2.example:8088 weight=2`, or without the weight.
fn member(text: &str) -> Result<(BaseUrl, u32), Complaint> {
    let Some((url, weight)) = text.split_once(char::is_whitespace) else { return Ok((BaseUrl::parse(text)?, 1)) };
    let weight = weight.trim().strip_prefix("weight=").and_then(|weight| weight.parse().ok());
    let weight = weight.filter(|weight| (1..=1_000).contains(weight)).ok_or_else(|| {
        let what = format!("{text:?} is not a URL, or a URL and its weight");
        Complaint::new(what, "write \"https://splunk-2.example:8088 weight=2\", with a weight from 1 to 1000")
    })?;
    Ok((BaseUrl::parse(url)?, weight))
}

fn distinct(members: Vec<(BaseUrl, u32)>) -> Result<Vec<(BaseUrl, u32)>, Complaint> {
    let is_again = |at: usize| members[..at].iter().any(|(earlier, _)| earlier.url == members[at].0.url);
    match (0..members.len()).find(|at| is_again(*at)) {
        Some(at) => {
            let what = format!("{} is named twice", members[at].0.url);
            Err(Complaint::new(what, "name each collector once; weight=2 gives it twice the load"))
        }
        None => Ok(members),
    }
}

fn read_token(reader: &mut Reader<'_>) -> Option<Token> {
    let (token, file) = (&keys::hec::TOKEN.row, &keys::hec::TOKEN_FILE.row);
    let next = &keys::hec::NEXT_TOKEN_FILE.row;
    if reader.either(token, file)?.name == file.name {
        let mut files = vec![reader.credential_file(&keys::hec::TOKEN_FILE)];
        if reader.is_given(next) {
            files.push(reader.credential_file(&keys::hec::NEXT_TOKEN_FILE));
        }
        return files.into_iter().collect::<Option<_>>().map(Token::Files);
    }
    if reader.is_given(next) {
        reader.conflict([token, next]);
    }
    if let Some(file) = reader.file(token) {
        reader.warn_if_public(token, file);
    }
    reader.get(&keys::hec::TOKEN).map(Token::Fixed)
}

fn read_proxy(reader: &mut Reader<'_>) -> Option<String> {
    let url = reader.get(&keys::hec::PROXY)?;
    match BaseUrl::parse(&url) {
        Ok(base) => Some(base.url),
        Err(complaint) if url.contains('@') => {
            let fix = "set the variable https_proxy instead: it may hold a password";
            reader.complain(&keys::hec::PROXY.row, Complaint::new(complaint.what, fix));
            None
        }
        Err(complaint) => {
            reader.complain(&keys::hec::PROXY.row, complaint);
            None
        }
    }
}
