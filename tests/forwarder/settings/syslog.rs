//! The settings of syslog receivers.

use std::time::Duration;

use forwarder::destination::registry::DestinationConfig;
use forwarder::destination::syslog::{Config as Syslog, Delivery, Framing, Oversize, Standard, Target, Tls, Transport};
use jiff::tz::TimeZone;

use super::Typed;

/// A settings file with this in `[syslog]`.
fn syslog_file(text: &str) -> String {
    format!("script = \"scripts/transform.lua\"\n[syslog]\n{text}\n")
}

fn syslog(text: &str) -> (Syslog, Vec<String>) {
    let settings = Typed::new().good(&syslog_file(text));
    let DestinationConfig::Syslog(syslog) = settings.destinations[0].config.clone() else {
        panic!("another destination")
    };
    (*syslog, settings.warnings)
}

#[test]
fn the_vendors_syslog_variables_are_understood() {
    let (config, warnings) = syslog("host = \"1.2.3.4\"");
    assert_eq!(config.targets, [Target { host: "1.2.3.4".to_owned(), port: 514 }]);
    assert!(matches!(config.transport, Transport::Tcp));
    assert_eq!((config.framing, config.timeout.as_secs(), config.connect_timeout.as_secs()), (Framing::Lf, 120, 10));
    let seconds = Duration::from_secs(1);
    assert_eq!(config.delivery, Delivery::Confirmed { interval: seconds, lag: seconds / 5 });
    let layout = &config.layout;
    assert_eq!((layout.facility, layout.severity), (1, 6));
    assert_eq!((layout.hostname.as_str(), layout.program.as_str(), layout.separator.as_str()), ("host-1", "", "||"));
    assert_eq!((&layout.standard, layout.max_message, layout.oversize), (&Standard::Rfc5424, 8_000, Oversize::Split));
    assert!(!layout.bom && layout.compat.is_none() && layout.structured_data.is_empty());
    assert_eq!(warnings, ["logs travel in plain text: the default of syslog.protocol is tcp"]);

    let (config, _) = syslog(
        "host = \"h\"\nport = 10514\nprotocol = \"TCP\"\nseparator = \"|\"\ntimeout = 5\nfacility = 16\nseverity = \"Warning\"\nhostname = \"x\"\nprogram = \"-\"",
    );
    assert_eq!(config.targets[0].port, 10514);
    assert_eq!((config.layout.facility, config.layout.severity, config.timeout.as_secs()), (16, 4, 5));
    assert_eq!((config.layout.hostname.as_str(), config.layout.program.as_str()), ("x", ""));
}

#[test]
fn every_syslog_protocol_has_its_port_framing_and_warning() {
    let check = |protocol: &str, port: u16, framing: Framing, warned: &[&str]| {
        let (config, warnings) = syslog(&format!("host = \"siem\"\nprotocol = \"{protocol}\""));
        assert_eq!((config.targets[0].port, config.framing), (port, framing), "{protocol}");
        assert_eq!(warnings.len(), warned.len(), "{protocol}: {warnings:?}");
        assert!(warnings.iter().zip(warned).all(|(warning, start)| warning.starts_with(start)), "{warnings:?}");
        config
    };
    check("tcp", 514, Framing::Lf, &["logs travel in plain text"]);
    check("relp", 2514, Framing::Octet, &["logs travel in plain text"]);
    let tls = check("tls", 6514, Framing::Octet, &[]);
    assert!(matches!(tls.transport, Transport::Tls(Tls { verify: true, ca_file: None, .. })));
    assert!(matches!(check("relp+tls", 20514, Framing::Octet, &[]).transport, Transport::Relp(Some(_))));
    let udp = check("udp", 514, Framing::Octet, &["logs can be lost without notice"]);
    assert!(matches!(udp.transport, Transport::Udp { rate: 5000, max_datagram: 1232 }));
    assert_eq!((udp.delivery, udp.layout.max_message), (Delivery::Sent, 1232));
}

#[test]
fn several_receivers_are_separated_by_commas() {
    let settings = Typed::new()
        .set("FORWARDER_SYSLOG_HOST", "siem-1, siem-2:1514 ,::1,[2001:db8::1],[2001:db8::2]:601")
        .good("script = \"scripts/transform.lua\"\n");
    let DestinationConfig::Syslog(config) = settings.destinations[0].config.clone() else {
        panic!("another destination")
    };
    let targets: Vec<_> = config.targets.iter().map(|target| (target.host.as_str(), target.port)).collect();
    assert_eq!(targets, [("siem-1", 514), ("siem-2", 1514), ("::1", 514), ("2001:db8::1", 514), ("2001:db8::2", 601)]);
}

#[test]
fn settings_that_weaken_syslog_are_allowed_with_a_warning() {
    let (_, warnings) = syslog("host = \"siem\"\nprotocol = \"tls\"\nverify = false\ndelivery = \"sent\"");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with(
        "the connection can be intercepted, since the receiver's certificate is not verified: syslog.verify in "
    ));
    assert!(warnings[1].starts_with("logs that the receiver has not read count as delivered: syslog.delivery in "));
    assert!(syslog("host = \"localhost, ::1, 127.0.0.1:9\"").1.is_empty(), "loopback needs no TLS");
}

#[test]
fn messages_that_receivers_reject_by_default_get_a_warning() {
    let check = |lines: &str, warned: bool| {
        let (_, warnings) = syslog(&format!("host = \"127.0.0.1\"\n{lines}"));
        assert_eq!(warnings.iter().any(|warning| warning.contains("raise the receiver's limit")), warned, "{lines}");
    };
    check("framing = \"octet\"", false);
    check("framing = \"octet\"\nmax_message = \"65536B\"", false);
    check("framing = \"octet\"\nmax_message = \"65537B\"", true);
    check("protocol = \"tls\"\nmax_message = \"1MiB\"", true);
    check("protocol = \"tls\"\nframing = \"lf\"\nmax_message = \"1MiB\"", false);
    check("max_message = \"1MiB\"", false);
    check("protocol = \"relp\"\nmax_message = \"131072B\"", false);
    check("protocol = \"relp+tls\"\nmax_message = \"131073B\"", true);
}

#[test]
fn the_layout_of_a_message_can_be_chosen() {
    let (config, _) = syslog("host = \"h\"\nformat = \"rfc3164\"\nfull_time = true\noversize = \"truncate\"");
    let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
    assert_eq!(config.layout.standard, Standard::Rfc3164 { full_time: true, zone: shanghai.clone() });
    assert_eq!(config.layout.oversize, Oversize::Truncate);
    let (config, _) = syslog("host = \"h\"\nformat = \"rfc3164\"\nzone = \"UTC\"");
    assert_eq!(config.layout.standard, Standard::Rfc3164 { full_time: false, zone: TimeZone::UTC });
    let (config, _) = syslog("host = \"h\"\ncompat = true");
    assert_eq!(config.layout.compat, Some(shanghai));
    let (config, _) = syslog("host = \"h\"\nstructured_data = '[a@1 k=\"v\"][b]'\nframing = \"octet\"");
    let pair = ("k".to_owned(), "v".to_owned());
    assert_eq!(config.layout.structured_data, [("a@1".to_owned(), vec![pair]), ("b".to_owned(), vec![])]);
    assert_eq!(config.framing, Framing::Octet);
}
