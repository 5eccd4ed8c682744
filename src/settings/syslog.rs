//! The settings of syslog: `[syslog]`.

use jiff::tz::TimeZone;

use super::checked::Machine;
use super::keys;
use super::keys::Key;
use super::problem::Complaint;
use super::read::Reader;
use crate::core::priority;
use crate::core::priority::{FACILITIES, SEVERITIES};
use crate::destination::syslog::format::structured;
use crate::destination::syslog::{
    Config, Delivery, Element, Framing, Layout, Oversize, Standard, SyslogFormat, Target, Tls, Transport,
};

/// Most bytes of a datagram that no network on the way takes apart: the least MTU of IPv6, less its header and UDP's.
const DATAGRAM: usize = 1_232;

/// Most bytes of a UDP payload over IPv4.
const MOST_DATAGRAM: usize = 65_507;

/// Below the 8096 bytes at which rsyslog as it is installed splits a message: the rest would be a message of its own,
/// with the header that the log wrote there.
const MESSAGE: usize = 8_000;

/// More than syslog-ng takes as a counted message (`log-msg-size()`), where nobody has raised it.
const COUNTED: usize = 65_537;

/// More than rsyslog takes over RELP (`maxDataSize` of imrelp), where nobody has raised it.
const ANSWERED: usize = 131_073;

const TLS_ONLY: [&str; 5] =
    ["syslog.verify", "syslog.ca_file", "syslog.client_cert", "syslog.client_key", "syslog.server_name"];

pub(super) fn read_syslog(reader: &mut Reader<'_>, machine: &Machine, warnings: &mut Vec<String>) -> Option<Config> {
    let protocol = reader.get(&keys::syslog::PROTOCOL)?;
    let targets = read_targets(reader, protocol);
    let tls = read_tls(reader, protocol, warnings);
    let layout = read_layout(reader, protocol, machine);
    let framing = read_framing(reader, protocol);
    let rate = reader.get(&keys::syslog::RATE);
    refuse(reader, &["syslog.rate"], protocol != "udp", &format!("syslog.protocol is {protocol}: only udp has a rate"));
    let delivery = read_delivery(reader, protocol, warnings);
    let connect_timeout = reader.get(&keys::syslog::CONNECT_TIMEOUT);
    let timeout = reader.get(&keys::syslog::TIMEOUT);
    let (targets, layout, framing) = (targets?, layout?, framing?);
    let counted = matches!(protocol, "tcp" | "tls") && framing == Framing::Octet;
    let receivers = match layout.max_message {
        COUNTED.. if counted => {
            "as they are installed, syslog-ng ends the connection at more than 65536 bytes, and rsyslog at more than 200000 takes \
             every line of the message for a message of its own"
        }
        ANSWERED.. if protocol.starts_with("relp") => {
            "as it is installed, rsyslog cuts what it gets over RELP at 131072 bytes"
        }
        _ => "",
    };
    if !receivers.is_empty() {
        let origin = reader.origin("syslog.max_message");
        let size = layout.max_message;
        warnings.push(format!(
            "messages may have up to {size} bytes, raise the receiver's limit too: {receivers}: {origin}"
        ));
    }
    if matches!(protocol, "tcp" | "relp") && !targets.iter().all(is_local) {
        warnings.push(format!("logs travel in plain text: {} is {protocol}", reader.origin("syslog.protocol")));
    }
    let transport = match protocol {
        "udp" => Transport::Udp { rate: rate?, max_datagram: layout.max_message },
        "tls" => Transport::Tls(tls?),
        "relp" => Transport::Relp(None),
        "relp+tls" => Transport::Relp(Some(tls?)),
        _ => Transport::Tcp,
    };
    Some(Config {
        targets,
        transport,
        framing,
        layout,
        connect_timeout: connect_timeout?,
        timeout: timeout?,
        delivery: delivery?,
    })
}

/// What messages look like, whoever they go to.
pub(super) fn read_syslog_format(reader: &mut Reader<'_>, machine: &Machine) -> Option<SyslogFormat> {
    let protocol = reader.get(&keys::syslog::PROTOCOL)?;
    let (layout, framing) = (read_layout(reader, protocol, machine), read_framing(reader, protocol));
    Some(SyslogFormat::with(layout?, framing?))
}

/// `syslog.host`, each with its own port or `syslog.port`.
fn read_targets(reader: &mut Reader<'_>, protocol: &str) -> Option<Vec<Target>> {
    let usual = match protocol {
        "tls" => 6514,
        "relp" => 2514,
        "relp+tls" => 20514,
        _ => 514,
    };
    let port = match reader.layer("syslog.port") {
        Some(_) => reader.get(&keys::syslog::PORT)?,
        None => usual,
    };
    reader.demand(&["syslog.host"]);
    reader.parse(&keys::syslog::HOST, |text| {
        let targets = text.split(',').map(|target| parse_target(target.trim(), port));
        targets.collect::<Option<Vec<_>>>().ok_or_else(|| {
            let fix = "write a name or an address, with a port if it needs one: siem-1, siem-2:1514, [2001:db8::1]:514";
            Complaint::new(format!("{text:?} is not a host, nor several separated by commas"), fix)
        })
    })
}

fn parse_target(text: &str, usual: u16) -> Option<Target> {
    let (host, port) = if text.parse::<std::net::Ipv6Addr>().is_ok() {
        (text, None)
    } else if let Some((host, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    let port = match port {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok().filter(|&port| port > 0)?,
        Some(_) => return None,
        None => usual,
    };
    let wrong = |c: char| c.is_whitespace() || "/@[]?#\\".contains(c);
    (!host.is_empty() && !host.contains(wrong)).then(|| Target { host: host.to_owned(), port })
}

fn read_tls(reader: &mut Reader<'_>, protocol: &str, warnings: &mut Vec<String>) -> Option<Tls> {
    if !protocol.ends_with("tls") {
        let more = if protocol == "relp" { "relp+tls" } else { "tls" };
        refuse(reader, &TLS_ONLY, true, &format!("syslog.protocol is {protocol}, which has no TLS; {more} has"));
        return None;
    }
    let verify = reader.get(&keys::syslog::VERIFY);
    let ca_file = reader.certificates(&keys::syslog::CA_FILE);
    let client_cert = reader.client_cert([&keys::syslog::CLIENT_CERT, &keys::syslog::CLIENT_KEY]);
    let server_name = reader.get(&keys::syslog::SERVER_NAME);
    let verify = verify?;
    if !verify {
        warnings
            .push(format!("anybody on the way can pose as the receiver: {} is false", reader.origin("syslog.verify")));
    }
    Some(Tls { verify, ca_file, client_cert, server_name })
}

fn read_framing(reader: &mut Reader<'_>, protocol: &str) -> Option<Framing> {
    let streams = matches!(protocol, "tcp" | "tls");
    let why = format!("syslog.protocol is {protocol}, which tells messages apart by itself");
    refuse(reader, &["syslog.framing"], !streams, &why);
    match reader.layer("syslog.framing") {
        Some(_) if streams => reader.get(&keys::syslog::FRAMING).map(|word| match word {
            "octet" => Framing::Octet,
            _ => Framing::Lf,
        }),
        _ if protocol == "tcp" => Some(Framing::Lf),
        _ => Some(Framing::Octet),
    }
}

fn read_delivery(reader: &mut Reader<'_>, protocol: &str, warnings: &mut Vec<String>) -> Option<Delivery> {
    let interval = reader.get(&keys::syslog::CONFIRM_INTERVAL);
    let lag = reader.get(&keys::syslog::CONFIRM_LAG);
    let word = match reader.layer("syslog.delivery") {
        Some(_) => reader.get(&keys::syslog::DELIVERY)?,
        None if protocol == "udp" => "sent",
        None => "confirmed",
    };
    let udp = protocol == "udp";
    if word == "confirmed" && udp {
        let fix = "take another protocol, or leave syslog.delivery out";
        let complaint = Complaint::new("nothing that is sent over udp can be confirmed", fix);
        reader.complain("syslog.delivery", complaint);
    }
    let why = if udp { "syslog.protocol is udp" } else { "syslog.delivery is sent" };
    refuse(
        reader,
        &["syslog.confirm_interval", "syslog.confirm_lag"],
        udp || word == "sent",
        &format!("{why}: nothing is confirmed"),
    );
    if udp {
        warnings.push(format!(
            "logs can get lost on the way without anybody knowing, and travel in plain text: {} is udp",
            reader.origin("syslog.protocol")
        ));
    } else if word == "sent" {
        let origin = reader.origin("syslog.delivery");
        warnings.push(format!("logs that the receiver has not read count as delivered: {origin} is sent"));
    }
    Some(match word {
        "confirmed" => Delivery::Confirmed { interval: interval?, lag: lag? },
        _ => Delivery::Sent,
    })
}

fn read_layout(reader: &mut Reader<'_>, protocol: &str, machine: &Machine) -> Option<Layout> {
    let format = reader.get(&keys::syslog::FORMAT);
    let facility = read_code(reader, &keys::syslog::FACILITY, priority::facility, &FACILITIES);
    let severity = read_code(reader, &keys::syslog::SEVERITY, priority::severity, &SEVERITIES);
    let hostname = reader.get(&keys::syslog::HOSTNAME).unwrap_or_else(|| machine.hostname.clone());
    let program = reader.get(&keys::syslog::PROGRAM).filter(|program| program != "-").unwrap_or_default();
    let separator = reader.get(&keys::syslog::SEPARATOR);
    let structured_data = read_structured_data(reader);
    let bom = reader.get(&keys::syslog::BOM);
    let full_time = reader.get(&keys::syslog::FULL_TIME);
    let zone = read_zone(reader, machine);
    let max_message = read_max_message(reader, protocol);
    let oversize = reader.get(&keys::syslog::OVERSIZE);
    let compat = reader.get(&keys::syslog::COMPAT);
    let (format, zone, compat) = (format?, zone?, compat?);
    let standard = if format == "rfc3164" {
        let modern = ["syslog.structured_data", "syslog.bom", "syslog.compat"];
        refuse(reader, &modern, true, "syslog.format is rfc3164, which has no such thing");
        Standard::Rfc3164 { full_time: full_time?, zone: zone.clone() }
    } else {
        refuse(reader, &["syslog.full_time"], true, "syslog.format is rfc5424, whose time is always whole");
        refuse(reader, &["syslog.zone"], !compat, "syslog.format is rfc5424, whose time is in UTC");
        Standard::Rfc5424
    };
    Some(Layout {
        standard,
        facility: facility?,
        severity: severity?,
        hostname,
        program,
        separator: separator?,
        structured_data: structured_data?,
        bom: bom?,
        compat: compat.then_some(zone),
        max_message: max_message?,
        oversize: match oversize? {
            "truncate" => Oversize::Truncate,
            "dead_letter" => Oversize::DeadLetter,
            _ => Oversize::Split,
        },
    })
}

fn read_code(reader: &mut Reader<'_>, key: &Key<String>, find: fn(&[u8]) -> Option<u8>, names: &[&str]) -> Option<u8> {
    reader.parse(key, |text| {
        find(text.as_bytes()).ok_or_else(|| {
            let fix = format!("write a number from 0 to {}, or one of {}", names.len() - 1, names.join(", "));
            Complaint::new(format!("{text:?} is not a {}", key.row.parts().1), fix)
        })
    })
}

fn read_structured_data(reader: &mut Reader<'_>) -> Option<Vec<Element>> {
    if reader.layer("syslog.structured_data").is_none() {
        return Some(Vec::new());
    }
    reader.parse(&keys::syslog::STRUCTURED_DATA, |text| {
        structured::read(&text).map_err(|why| {
            let fix = "write it as RFC 5424 does: [id@32473 name=\"value\" other=\"value\"]";
            Complaint::new(format!("this is not structured data: {why}"), fix)
        })
    })
}

fn read_zone(reader: &mut Reader<'_>, machine: &Machine) -> Option<TimeZone> {
    reader.parse(&keys::syslog::ZONE, |text| match text.to_ascii_lowercase().as_str() {
        "local" => Ok(machine.zone.clone()),
        "utc" => Ok(TimeZone::UTC),
        _ => TimeZone::get(&text).map_err(|_| {
            let fix = "write local, utc, or a name such as Asia/Shanghai";
            Complaint::new(format!("{text:?} is not a time zone"), fix)
        }),
    })
}

fn read_max_message(reader: &mut Reader<'_>, protocol: &str) -> Option<usize> {
    if reader.layer("syslog.max_message").is_none() {
        return Some(if protocol == "udp" { DATAGRAM } else { MESSAGE });
    }
    let size = reader.get(&keys::syslog::MAX_MESSAGE)?;
    if protocol == "udp" && size > MOST_DATAGRAM {
        let complaint = Complaint::new(
            format!("a datagram of {size} bytes is more than UDP can carry"),
            format!(
                "write \"{MOST_DATAGRAM}B\" or less; above \"{DATAGRAM}B\" a network may take it apart, and lose it"
            ),
        );
        reader.complain("syslog.max_message", complaint);
        return None;
    }
    Some(size)
}

/// Keeps a problem with each of these settings that somebody gave, when they say nothing here.
fn refuse(reader: &mut Reader<'_>, names: &[&'static str], when: bool, why: &str) {
    for name in names.iter().filter(|name| when && reader.is_given(name)).copied().collect::<Vec<_>>() {
        reader.complain(name, Complaint::new(format!("{name} has no meaning here: {why}"), "leave one of the two out"));
    }
}

/// On this machine, so that nobody listens on the way.
fn is_local(target: &Target) -> bool {
    target.host == "localhost" || target.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
