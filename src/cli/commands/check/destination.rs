//! Checks a destination: its network connection, and whether it would accept events. None is sent.

use std::time::Duration;

use super::disk::takes;
use super::finding::{Findings, Level};
use super::network;
use super::network::Place;
use crate::core::budget::SharedBudget;
use crate::core::cause::Cause;
use crate::core::duration::in_words;
use crate::core::env_proxy;
use crate::core::state_dir::StateDir;
use crate::core::tls_connectors::TlsConnectors;
use crate::destination::registry::DestinationConfig;
use crate::destination::syslog::Transport;
use crate::destination::{CheckError, Destination as _, hec, syslog};

/// Maximum time limit of a destination's answer, even if the settings allow more.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn check(findings: &Findings, config: &DestinationConfig) {
    match config {
        DestinationConfig::Hec(config) => {
            let mut is_any_there = false;
            for member in &config.members {
                let proxy = config.proxy.clone().or_else(|| env_proxy::of(&member.url));
                if !network::way(findings, &member.url, proxy.as_deref(), "hec.url").await {
                    continue;
                }
                is_any_there = true;
                let mut quick = hec::Config::clone(config);
                quick.members = vec![member.clone()];
                quick.timeout = quick.timeout.min(PATIENCE);
                quick.connect_timeout = quick.connect_timeout.min(PATIENCE);
                ask(findings, &DestinationConfig::Hec(Box::new(quick)), "hec").await;
            }
            if is_any_there {
                index(findings, config);
            }
        }
        DestinationConfig::Syslog(config) => {
            let reached = syslog_targets(findings, config).await;
            if reached {
                let mut quick = syslog::Config::clone(config);
                quick.connect_timeout = quick.connect_timeout.min(PATIENCE);
                ask(findings, &DestinationConfig::Syslog(Box::new(quick)), "syslog").await;
            }
        }
        DestinationConfig::File(config) => match takes(&config.path) {
            Ok(()) if config.path.exists() => ask(findings, &DestinationConfig::File(config.clone()), "file").await,
            Ok(()) => findings.ok(format!("file.path {} can be created", config.path.display())),
            Err(error) => findings.fail(
                Level::SETUP,
                format!("file.path {} cannot be written to: {error}", config.path.display()),
                "make the directory writable for this user, or set file.path to another place",
            ),
        },
    }
}

/// Checks the connection to each target. Returns whether one can be reached.
async fn syslog_targets(findings: &Findings, config: &syslog::Config) -> bool {
    let mut reached = false;
    for target in &config.targets {
        let tls = match &config.transport {
            Transport::Tls(tls) | Transport::Relp(Some(tls)) => {
                Some(tls.server_name.clone().unwrap_or_else(|| target.host.clone()))
            }
            Transport::Udp { .. } | Transport::Tcp | Transport::Relp(None) => None,
        };
        let plain = match &config.transport {
            Transport::Relp(_) => "protocol = \"relp\"",
            _ => "protocol = \"tcp\"",
        };
        let place = Place { host: target.host.clone(), port: target.port, tls, plain };
        reached |= match &config.transport {
            Transport::Udp { .. } => {
                let found = network::resolve(findings, &place, "syslog.host").await.is_some();
                if found {
                    findings.note(format!(
                        "whether anybody listens at UDP {target} cannot be tested without sending a message"
                    ));
                }
                found
            }
            _ => network::reach(findings, &place, &target.to_string(), "syslog.host and syslog.port").await,
        };
    }
    reached
}

/// The destination's own check.
async fn ask(findings: &Findings, config: &DestinationConfig, table: &str) {
    let (state, budget, tls) = (StateDir::none(), SharedBudget::new(0), TlsConnectors::default());
    let destination = match config.open(&state, &budget, &tls) {
        Ok((destination, _)) => destination,
        Err(error) => {
            findings.fail(Level::SETUP, error.to_string(), format!("correct it under [{table}]"));
            return;
        }
    };
    match tokio::time::timeout(PATIENCE + Duration::from_secs(1), destination.check()).await {
        Ok(Ok(checked)) => {
            findings.ok(format!("{} {} ({})", checked.url, checked.agrees, in_words(checked.took)));
            findings.ok(destination.promise().sentence);
        }
        Ok(Err(CheckError::Down(cause))) => fail(findings, Level::UNREACHABLE, &cause, table),
        Ok(Err(CheckError::Refused(cause))) => fail(findings, Level::SETUP, &cause, table),
        Err(_) => findings.fail(
            Level::UNREACHABLE,
            format!("no answer within {} s", PATIENCE.as_secs() + 1),
            "check the log of the destination, and proxies and firewalls on the way",
        ),
    }
}

fn fail(findings: &Findings, level: Level, cause: &Cause, table: &str) {
    let fix = match (cause.hint, level) {
        (Some(hint), _) => hint.to_owned(),
        (None, Level::UNREACHABLE) => "start it, or wait: the program retries until it answers".to_owned(),
        (None, _) => format!("correct what it names under [{table}], or at the destination"),
    };
    findings.fail(level, cause.what.clone(), fix);
}

/// Only an event would show whether the token may write to an index.
fn index(findings: &Findings, config: &hec::Config) {
    findings.note(match &config.index {
        Some(index) => {
            format!("whether the token may write to the index {index:?} cannot be tested without sending an event")
        }
        None => "events that name no index go to the token's default index".to_owned(),
    });
}
