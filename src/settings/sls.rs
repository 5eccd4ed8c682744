//! The settings of the source: `[sls]`.

use std::time::Duration;

use super::checked::Machine;
use super::credentials::read_credentials;
use super::keys;
use super::keys::{Key, SignatureVersion};
use super::problem::Complaint;
use super::read::Reader;
use super::units;
use super::url::BaseUrl;
use crate::sls::endpoint::{region, takes_only_v4};
use crate::sls::permissions::Scope;
use crate::sls::{Config, Signature, is_label};

/// The settings of the connection to the logstore. `heartbeat` is the time between two heartbeats, if known.
pub(super) fn read_sls(reader: &mut Reader<'_>, heartbeat: Option<Duration>, machine: &Machine) -> Option<Config> {
    for row in [&keys::sls::ENDPOINT.row, &keys::sls::PROJECT.row, &keys::sls::LOGSTORE.row, &keys::sls::GROUP.row] {
        reader.demand(&[row]);
    }
    let project = read_project(reader);
    let endpoint = read_endpoint(reader, project.as_deref());
    let logstore = reader.get(&keys::sls::LOGSTORE);
    let group = reader.get(&keys::sls::GROUP);
    let consumer = reader.get(&keys::sls::CONSUMER);
    let signature = read_signature(reader, endpoint.as_deref());
    let compression = reader.get(&keys::sls::COMPRESSION);
    let page_groups = reader.get(&keys::sls::PAGE_GROUPS);
    let query = reader.get(&keys::sls::QUERY);
    let processor = reader.get(&keys::sls::PROCESSOR);
    let group_timeout = heartbeat.and_then(|heartbeat| read_group_timeout(reader, heartbeat));
    let in_order = reader.get(&keys::sls::IN_ORDER);
    let manage_group = reader.get(&keys::sls::MANAGE_GROUP);
    let probe = reader.get(&keys::probe::ENABLED);
    let ca_file = reader.authorities(&keys::sls::CA_FILE);
    let credentials = read_credentials(reader, ca_file.clone(), machine);
    let timeout = reader.get(&keys::sls::TIMEOUT);
    let group = group?;
    Some(Config {
        endpoint: endpoint?,
        project: project?,
        logstore: logstore?,
        consumer: consumer.unwrap_or_else(|| default_consumer(&group, machine)),
        group,
        credentials: credentials?,
        signature: signature?,
        compression: compression?,
        page_groups: page_groups?,
        query,
        processor,
        group_timeout: group_timeout?,
        in_order: in_order?,
        manage_group: manage_group?,
        probe: probe?,
        ca_file,
        timeout: timeout?,
    })
}

/// The names that permissions refer to.
pub(super) fn read_scope(reader: &mut Reader<'_>) -> Option<Scope> {
    for row in [&keys::sls::PROJECT.row, &keys::sls::LOGSTORE.row, &keys::sls::GROUP.row] {
        reader.demand(&[row]);
    }
    let (project, logstore) = (read_project(reader), reader.get(&keys::sls::LOGSTORE));
    let (group, manage_group) = (reader.get(&keys::sls::GROUP), reader.get(&keys::sls::MANAGE_GROUP));
    let probe = reader.get(&keys::probe::ENABLED);
    let (project, logstore, group) = (project?, logstore?, group?);
    Some(Scope { project, logstore, group, manage_group: manage_group?, probe: probe? })
}

fn read_project(reader: &mut Reader<'_>) -> Option<String> {
    read_label(reader, &keys::sls::PROJECT, "write the project's name alone: letters, digits and -")
}

/// A name that becomes part of a host name.
fn read_label(reader: &mut Reader<'_>, key: &'static Key<String>, fix: &str) -> Option<String> {
    reader.parse(key, |text| match is_label(&text) {
        true => Ok(text),
        false => Err(Complaint::new(format!("{text:?} is not a {}", key.row.parts().1), fix)),
    })
}

fn read_endpoint(reader: &mut Reader<'_>, project: Option<&str>) -> Option<String> {
    let typed = reader.get(&keys::sls::ENDPOINT)?;
    let checked = base_url(&typed).and_then(|base| match project {
        Some(project) if base.host.starts_with(&format!("{project}.")) => Err(Complaint::new(
            format!("{typed:?} begins with the project"),
            format!("leave \"{project}.\" out: it is added to each call"),
        )),
        _ => Ok(base),
    });
    match checked {
        Ok(base) => {
            if base.is_exposed() {
                reader.warn(format!(
                    "logs from SLS travel in plain text: {} is not https://",
                    reader.origin(&keys::sls::ENDPOINT.row)
                ));
            }
            Some(base.url)
        }
        Err(complaint) => {
            reader.complain(&keys::sls::ENDPOINT.row, complaint);
            None
        }
    }
}

/// The URL of an endpoint, which may be typed without a scheme.
pub(super) fn base_url(typed: &str) -> Result<BaseUrl, Complaint> {
    if typed.contains("://") { BaseUrl::parse(typed) } else { BaseUrl::parse(&format!("http://{typed}")) }
}

/// The process id in a container is always 1, so two containers with one host name are distinguished by their start
/// time.
fn default_consumer(group: &str, machine: &Machine) -> String {
    let Machine { hostname, pid, now, .. } = machine;
    match pid {
        1 => format!("{group}-{hostname}-1-{:x}", now.as_millisecond() & 0xffff_ffff),
        pid => format!("{group}-{hostname}-{pid}"),
    }
}

fn read_signature(reader: &mut Reader<'_>, endpoint: Option<&str>) -> Option<Signature> {
    let given = read_label(reader, &keys::sls::REGION, "write the region's id, as cn-hangzhou");
    let region = given.or_else(|| region(endpoint?));
    match (reader.get(&keys::sls::SIGNATURE)?, region) {
        (SignatureVersion::V1, _) => Some(Signature::V1),
        (SignatureVersion::Auto, Some(region)) if takes_only_v4(&region) => Some(Signature::V4 { region }),
        (SignatureVersion::Auto, region) => Some(Signature::Auto { region }),
        (SignatureVersion::V4, Some(region)) => Some(Signature::V4 { region }),
        (SignatureVersion::V4, None) => {
            reader.missing(&[&keys::sls::REGION.row]);
            None
        }
    }
}

fn read_group_timeout(reader: &mut Reader<'_>, heartbeat: Duration) -> Option<Duration> {
    if reader.layer(&keys::sls::GROUP_TIMEOUT.row).is_none() {
        // Rounded up, because SLS counts in whole seconds.
        return Some(Duration::from_secs((heartbeat * 3).as_secs_f64().ceil() as u64));
    }
    let timeout = reader.get(&keys::sls::GROUP_TIMEOUT)?;
    let complaint = if timeout < heartbeat * 2 {
        Complaint::new(
            "sls.group_timeout is shorter than two heartbeats: one late heartbeat would lose all shards",
            format!("write \"{}\" or more, or a shorter sls.heartbeat_interval", units::show_duration(heartbeat * 3)),
        )
    } else if timeout.subsec_nanos() != 0 {
        Complaint::new("SLS counts the group's timeout in whole seconds", "leave the fraction out")
    } else {
        return Some(timeout);
    };
    reader.complain(&keys::sls::GROUP_TIMEOUT.row, complaint);
    None
}
