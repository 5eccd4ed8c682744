//! The settings of Splunk: `[hec]`.

use std::path::Path;

use super::problem::Complaint;
use super::read::Reader;
use super::url::BaseUrl;
use crate::destination::hec::{Config, HecFormat, Layout, Token};

pub(super) fn read_hec(reader: &mut Reader<'_>, warnings: &mut Vec<String>) -> Option<Config> {
    let base = read_collector(reader);
    let token = read_token(reader, warnings);
    let verify = reader.switch("hec.verify");
    let ca_file = reader.certificates("hec.ca_file");
    let client_cert = reader.client_cert(["hec.client_cert", "hec.client_key"]);
    let proxy = read_proxy(reader);
    let timeout = reader.duration("hec.timeout");
    let connect_timeout = reader.duration("hec.connect_timeout");
    let source = reader.text("hec.source");
    let sourcetype = reader.text("hec.sourcetype");
    let index = reader.text("hec.index");
    let host = reader.text("hec.event_host");
    let gzip = reader.switch("hec.gzip");
    let max_body = reader.size("hec.max_body");
    let max_requests = reader.count("hec.max_requests");
    let compat = reader.switch("hec.compat");
    let (base, verify) = (base?, verify?);
    if base.is_exposed() {
        warnings.push(format!("logs and the HEC token travel in plain text: {} is not https://", base.url));
    }
    if !verify {
        warnings
            .push(format!("anybody on the way can pose as the collector: {} is false", reader.origin("hec.verify")));
    }
    Some(Config {
        url: base.url,
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
        host,
        gzip: gzip?,
        max_body: max_body?,
        max_requests: usize::try_from(max_requests?).expect("bounded by the table of settings"),
        compat: compat?,
    })
}

/// What events look like, whichever collector they go to.
pub(super) fn read_hec_format(reader: &mut Reader<'_>) -> HecFormat {
    HecFormat::with(Layout {
        host: reader.text("hec.event_host"),
        source: reader.text("hec.source"),
        sourcetype: reader.text("hec.sourcetype"),
        index: reader.text("hec.index"),
        compat: reader.switch("hec.compat").unwrap_or_default(),
    })
}

/// The collector's address: `hec.url`, or `hec.host` with port and https as in the vendor's scripts.
fn read_collector(reader: &mut Reader<'_>) -> Option<BaseUrl> {
    let name = reader.either("hec.url", "hec.host")?;
    let url = if name == "hec.url" {
        for part in ["hec.port", "hec.https"] {
            if reader.layer(part) <= reader.layer("hec.url") {
                let complaint = Complaint::new(format!("{part} says again what hec.url says"), "keep one of the two");
                reader.complain(part, complaint);
            }
        }
        reader.text("hec.url")?
    } else {
        let (host, port, https) = (reader.text("hec.host"), reader.count("hec.port"), reader.switch("hec.https"));
        let (host, port, scheme) = (host?, port?, if https? { "https" } else { "http" });
        if host.contains(['/', '@']) {
            let complaint =
                Complaint::new("hec.host is more than a host", "write the host alone, or all of it as hec.url");
            reader.complain("hec.host", complaint);
            return None;
        }
        match host.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("{scheme}://[{address}]:{port}"),
            Err(_) => format!("{scheme}://{host}:{port}"),
        }
    };
    BaseUrl::parse(&url).map_err(|complaint| reader.complain(name, complaint)).ok()
}

fn read_token(reader: &mut Reader<'_>, warnings: &mut Vec<String>) -> Option<Token> {
    if reader.either("hec.token", "hec.token_file")? == "hec.token_file" {
        return reader.credential_file("hec.token_file").map(Token::File);
    }
    if let Some(file) = reader.file("hec.token")
        && others_may_read(file)
    {
        warnings.push(format!(
            "others may read the HEC token: take their permission (chmod go= {}), or use hec.token_file",
            file.display()
        ));
    }
    reader.secret("hec.token").map(Token::Fixed)
}

#[cfg(unix)]
fn others_may_read(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o044 != 0)
}

/// Elsewhere permissions can't be told by a few bits.
#[cfg(not(unix))]
fn others_may_read(_: &Path) -> bool {
    false
}

fn read_proxy(reader: &mut Reader<'_>) -> Option<String> {
    let url = reader.text("hec.proxy")?;
    match BaseUrl::parse(&url) {
        Ok(base) => Some(base.url),
        Err(complaint) if url.contains('@') => {
            let fix = "set the variable https_proxy instead: it may hold a password";
            reader.complain("hec.proxy", Complaint::new(complaint.what, fix));
            None
        }
        Err(complaint) => {
            reader.complain("hec.proxy", complaint);
            None
        }
    }
}
