//! The settings of syslog: `[syslog]`.

use jiff::tz::TimeZone;

use super::checked::Machine;
use super::keys;
use super::keys::{Choice as _, DeliveryMode, Key, MessageFormat, Protocol, Row};
use super::problem::Complaint;
use super::read::Reader;
use crate::core::priority;
use crate::core::priority::{FACILITIES, SEVERITIES};
use crate::destination::syslog::format::structured;
use crate::destination::syslog::{
    Config, Delivery, Element, Framing, Layout, Standard, SyslogFormat, Target, Tls, Transport,
};

/// Maximum size of a datagram that no network fragments: the minimum MTU of IPv6, without its header and that of UDP.
const DATAGRAM: usize = 1_232;

/// Maximum UDP payload over IPv4, in bytes.
const MAX_DATAGRAM: usize = 65_507;

/// Below the 8096 bytes at which rsyslog splits a message by default: the rest would be a separate message, whose
/// header comes from the log.
const MESSAGE: usize = 8_000;

/// The default limit of syslog-ng for a counted message (`log-msg-size()`).
const COUNTED: usize = 65_537;

/// The default limit of rsyslog over RELP (`maxDataSize` of imrelp).
const ANSWERED: usize = 131_073;

const TLS_ONLY: [&Row; 5] = [
    &keys::syslog::VERIFY.row,
    &keys::syslog::CA_FILE.row,
    &keys::syslog::CLIENT_CERT.row,
    &keys::syslog::CLIENT_KEY.row,
    &keys::syslog::SERVER_NAME.row,
];

pub(super) fn read_syslog(reader: &mut Reader<'_>, machine: &Machine) -> Option<Config> {
    let protocol = reader.get(&keys::syslog::PROTOCOL)?;
    let targets = read_targets(reader, protocol);
    let tls = read_tls(reader, protocol);
    let layout = read_layout(reader, protocol, machine);
    let framing = read_framing(reader, protocol);
    let rate = reader.get(&keys::syslog::RATE);
    let why = format!("syslog.protocol is {}: only udp has a rate", protocol.word());
    refuse(reader, &[&keys::syslog::RATE.row], protocol != Protocol::Udp, &why);
    let delivery = read_delivery(reader, protocol);
    let connect_timeout = reader.get(&keys::syslog::CONNECT_TIMEOUT);
    let timeout = reader.get(&keys::syslog::TIMEOUT);
    let (targets, layout, framing) = (targets?, layout?, framing?);
    let counted = matches!(protocol, Protocol::Tcp | Protocol::Tls) && framing == Framing::Octet;
    let receivers = match layout.max_message {
        COUNTED.. if counted => {
            "by default, syslog-ng ends the connection at more than 65536 bytes, and at more than 200000 rsyslog \
             treats every line of the message as a separate message"
        }
        ANSWERED.. if matches!(protocol, Protocol::Relp | Protocol::RelpTls) => {
            "by default, rsyslog truncates messages over RELP at 131072 bytes"
        }
        _ => "",
    };
    if !receivers.is_empty() {
        let origin = reader.origin(&keys::syslog::MAX_MESSAGE.row);
        let size = layout.max_message;
        reader.warn(format!(
            "messages may have up to {size} bytes, raise the receiver's limit too: {receivers}: {origin}"
        ));
    }
    if matches!(protocol, Protocol::Tcp | Protocol::Relp) && !targets.iter().all(is_local) {
        let origin = reader.origin(&keys::syslog::PROTOCOL.row);
        reader.warn(format!("logs travel in plain text: {origin} is {}", protocol.word()));
    }
    let transport = match protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Tls => Transport::Tls(tls?),
        Protocol::Udp => Transport::Udp { rate: rate?, max_datagram: layout.max_message },
        Protocol::Relp => Transport::Relp(None),
        Protocol::RelpTls => Transport::Relp(Some(tls?)),
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

/// The layout of messages, for any receiver.
pub(super) fn read_syslog_format(reader: &mut Reader<'_>, machine: &Machine) -> Option<SyslogFormat> {
    let protocol = reader.get(&keys::syslog::PROTOCOL)?;
    let (layout, framing) = (read_layout(reader, protocol, machine), read_framing(reader, protocol));
    Some(SyslogFormat::with(layout?, framing?))
}

/// `syslog.host`, each with its own port or `syslog.port`.
fn read_targets(reader: &mut Reader<'_>, protocol: Protocol) -> Option<Vec<Target>> {
    let usual = match protocol {
        Protocol::Tcp | Protocol::Udp => 514,
        Protocol::Tls => 6514,
        Protocol::Relp => 2514,
        Protocol::RelpTls => 20514,
    };
    let port = match reader.layer(&keys::syslog::PORT.row) {
        Some(_) => reader.get(&keys::syslog::PORT)?,
        None => usual,
    };
    reader.demand(&[&keys::syslog::HOST.row]);
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

fn read_tls(reader: &mut Reader<'_>, protocol: Protocol) -> Option<Tls> {
    if !matches!(protocol, Protocol::Tls | Protocol::RelpTls) {
        let with_tls = if protocol == Protocol::Relp { Protocol::RelpTls } else { Protocol::Tls };
        let why = format!("syslog.protocol is {}, which has no TLS; {} has", protocol.word(), with_tls.word());
        refuse(reader, &TLS_ONLY, true, &why);
        return None;
    }
    let verify = reader.get(&keys::syslog::VERIFY);
    let ca_file = reader.authorities(&keys::syslog::CA_FILE);
    let client_cert = reader.client_cert([&keys::syslog::CLIENT_CERT, &keys::syslog::CLIENT_KEY]);
    let server_name = reader.get(&keys::syslog::SERVER_NAME);
    let verify = verify?;
    if !verify {
        reader.warn(format!(
            "the connection can be intercepted, since the receiver's certificate is not verified: {} is false",
            reader.origin(&keys::syslog::VERIFY.row)
        ));
    }
    Some(Tls { verify, ca_file, client_cert, server_name })
}

fn read_framing(reader: &mut Reader<'_>, protocol: Protocol) -> Option<Framing> {
    let streams = matches!(protocol, Protocol::Tcp | Protocol::Tls);
    let why = format!("syslog.protocol is {}, which has a framing of its own", protocol.word());
    refuse(reader, &[&keys::syslog::FRAMING.row], !streams, &why);
    match reader.layer(&keys::syslog::FRAMING.row) {
        Some(_) if streams => reader.get(&keys::syslog::FRAMING),
        _ if protocol == Protocol::Tcp => Some(Framing::Lf),
        _ => Some(Framing::Octet),
    }
}

fn read_delivery(reader: &mut Reader<'_>, protocol: Protocol) -> Option<Delivery> {
    let interval = reader.get(&keys::syslog::CONFIRM_INTERVAL);
    let lag = reader.get(&keys::syslog::CONFIRM_LAG);
    let udp = protocol == Protocol::Udp;
    let mode = match reader.layer(&keys::syslog::DELIVERY.row) {
        Some(_) => reader.get(&keys::syslog::DELIVERY)?,
        None if udp => DeliveryMode::Sent,
        None => DeliveryMode::Confirmed,
    };
    if mode == DeliveryMode::Confirmed && udp {
        let fix = "take another protocol, or leave syslog.delivery out";
        let complaint = Complaint::new("nothing that is sent over udp can be confirmed", fix);
        reader.complain(&keys::syslog::DELIVERY.row, complaint);
    }
    let why = if udp { "syslog.protocol is udp" } else { "syslog.delivery is sent" };
    refuse(
        reader,
        &[&keys::syslog::CONFIRM_INTERVAL.row, &keys::syslog::CONFIRM_LAG.row],
        udp || mode == DeliveryMode::Sent,
        &format!("{why}: nothing is confirmed"),
    );
    if udp {
        reader.warn(format!(
            "logs can be lost without notice, and travel in plain text: {} is udp",
            reader.origin(&keys::syslog::PROTOCOL.row)
        ));
    } else if mode == DeliveryMode::Sent {
        let origin = reader.origin(&keys::syslog::DELIVERY.row);
        reader.warn(format!("logs that the receiver has not read count as delivered: {origin} is sent"));
    }
    Some(match mode {
        DeliveryMode::Confirmed => Delivery::Confirmed { interval: interval?, lag: lag? },
        DeliveryMode::Sent => Delivery::Sent,
    })
}

fn read_layout(reader: &mut Reader<'_>, protocol: Protocol, machine: &Machine) -> Option<Layout> {
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
    let standard = if format == MessageFormat::Rfc3164 {
        let modern = [&keys::syslog::STRUCTURED_DATA.row, &keys::syslog::BOM.row, &keys::syslog::COMPAT.row];
        refuse(reader, &modern, true, "syslog.format is rfc3164, which does not have it");
        Standard::Rfc3164 { full_time: full_time?, zone: zone.clone() }
    } else {
        refuse(reader, &[&keys::syslog::FULL_TIME.row], true, "syslog.format is rfc5424, whose time is always full");
        refuse(reader, &[&keys::syslog::ZONE.row], !compat, "syslog.format is rfc5424, whose time is in UTC");
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
        oversize: oversize?,
    })
}

fn read_code(
    reader: &mut Reader<'_>,
    key: &'static Key<String>,
    find: fn(&[u8]) -> Option<u8>,
    names: &[&str],
) -> Option<u8> {
    reader.parse(key, |text| {
        find(text.as_bytes()).ok_or_else(|| {
            let fix = format!("write a number from 0 to {}, or one of {}", names.len() - 1, names.join(", "));
            Complaint::new(format!("{text:?} is not a {}", key.row.parts().1), fix)
        })
    })
}

fn read_structured_data(reader: &mut Reader<'_>) -> Option<Vec<Element>> {
    if reader.layer(&keys::syslog::STRUCTURED_DATA.row).is_none() {
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

fn read_max_message(reader: &mut Reader<'_>, protocol: Protocol) -> Option<usize> {
    if reader.layer(&keys::syslog::MAX_MESSAGE.row).is_none() {
        return Some(if protocol == Protocol::Udp { DATAGRAM } else { MESSAGE });
    }
    let size = reader.get(&keys::syslog::MAX_MESSAGE)?;
    if protocol == Protocol::Udp && size > MAX_DATAGRAM {
        let complaint = Complaint::new(
            format!("a datagram of {size} bytes is more than UDP can carry"),
            format!(
                "write \"{MAX_DATAGRAM}B\" or less; above \"{DATAGRAM}B\" a network may take it apart, and lose it"
            ),
        );
        reader.complain(&keys::syslog::MAX_MESSAGE.row, complaint);
        return None;
    }
    Some(size)
}

/// Adds a problem for each of these settings that is given but has no effect here.
fn refuse(reader: &mut Reader<'_>, rows: &[&'static Row], when: bool, why: &str) {
    for row in rows.iter().filter(|row| when && reader.is_given(row)).copied().collect::<Vec<_>>() {
        let what = format!("{} has no effect here: {why}", row.name);
        reader.complain(row, Complaint::new(what, "leave one of the two out"));
    }
}

/// On this machine, so that the connection cannot be intercepted.
fn is_local(target: &Target) -> bool {
    target.host == "localhost" || target.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
