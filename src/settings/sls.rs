//! The settings of the source: `[sls]`.

use std::time::Duration;

use super::checked::Machine;
use super::keys;
use super::keys::{Key, Row, SignatureVersion};
use super::problem::Complaint;
use super::read::Reader;
use super::typed::{Layer, SHARED_PREFIX};
use super::units;
use super::url::BaseUrl;
use crate::sls::endpoint::{region, takes_only_v4};
use crate::sls::rights::Scope;
use crate::sls::{AccessKey, Config, Credentials, Signature, is_label};

/// Where the logs are. `heartbeat` is the time between two heartbeats, if that is known.
pub(super) fn read_sls(reader: &mut Reader<'_>, heartbeat: Option<Duration>, machine: &Machine) -> Option<Config> {
    for row in [&keys::sls::ENDPOINT.row, &keys::sls::PROJECT.row, &keys::sls::LOGSTORE.row, &keys::sls::GROUP.row] {
        reader.demand(&[row]);
    }
    let project = read_project(reader);
    let endpoint = read_endpoint(reader, project.as_deref());
    let logstore = reader.get(&keys::sls::LOGSTORE);
    let group = reader.get(&keys::sls::GROUP);
    let consumer = reader.get(&keys::sls::CONSUMER);
    let credentials = read_credentials(reader);
    let signature = read_signature(reader, endpoint.as_deref());
    let compression = reader.get(&keys::sls::COMPRESSION);
    let page_groups = reader.get(&keys::sls::PAGE_GROUPS);
    let query = reader.get(&keys::sls::QUERY);
    let processor = reader.get(&keys::sls::PROCESSOR);
    let group_timeout = heartbeat.and_then(|heartbeat| read_group_timeout(reader, heartbeat));
    let in_order = reader.get(&keys::sls::IN_ORDER);
    let manage_group = reader.get(&keys::sls::MANAGE_GROUP);
    let ca_file = reader.authorities(&keys::sls::CA_FILE);
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
        ca_file,
        timeout: timeout?,
    })
}

/// The names that rights are about.
pub(super) fn read_scope(reader: &mut Reader<'_>) -> Option<Scope> {
    for row in [&keys::sls::PROJECT.row, &keys::sls::LOGSTORE.row, &keys::sls::GROUP.row] {
        reader.demand(&[row]);
    }
    let (project, logstore) = (read_project(reader), reader.get(&keys::sls::LOGSTORE));
    let (group, manage_group) = (reader.get(&keys::sls::GROUP), reader.get(&keys::sls::MANAGE_GROUP));
    Some(Scope { project: project?, logstore: logstore?, group: group?, manage_group: manage_group? })
}

fn read_project(reader: &mut Reader<'_>) -> Option<String> {
    read_label(reader, &keys::sls::PROJECT, "write the project's name alone: letters, digits and -")
}

/// A name that becomes a part of a host name.
fn read_label(reader: &mut Reader<'_>, key: &'static Key<String>, fix: &str) -> Option<String> {
    reader.parse(key, |text| match is_label(&text) {
        true => Ok(text),
        false => Err(Complaint::new(format!("{text:?} is not a {}", key.row.parts().1), fix)),
    })
}

fn read_endpoint(reader: &mut Reader<'_>, project: Option<&str>) -> Option<String> {
    let typed = reader.get(&keys::sls::ENDPOINT)?;
    let url = if typed.contains("://") { typed.clone() } else { format!("http://{typed}") };
    let checked = BaseUrl::parse(&url).and_then(|base| match project {
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

/// A container's process is always number 1, so two containers with one host name need something more: the time of
/// their start.
fn default_consumer(group: &str, machine: &Machine) -> String {
    let Machine { hostname, pid, now, .. } = machine;
    match pid {
        1 => format!("{group}-{hostname}-1-{:x}", now.as_millisecond() & 0xffff_ffff),
        pid => format!("{group}-{hostname}-{pid}"),
    }
}

/// Id, secret and token: as text, and as files.
const ACCESS_KEY: [&Row; 3] =
    [&keys::sls::ACCESS_KEY_ID.row, &keys::sls::ACCESS_KEY_SECRET.row, &keys::sls::SECURITY_TOKEN.row];
const ACCESS_KEY_FILES: [&Row; 3] =
    [&keys::sls::ACCESS_KEY_ID_FILE.row, &keys::sls::ACCESS_KEY_SECRET_FILE.row, &keys::sls::SECURITY_TOKEN_FILE.row];

/// A set of credentials is taken whole: never the id of one and the secret of another. The variables that every Alibaba
/// Cloud tool reads count only when nothing was given for us.
fn read_credentials(reader: &mut Reader<'_>) -> Option<Credentials> {
    let first = |rows: [&'static Row; 3]| rows.iter().filter_map(|row| reader.layer(row)).min();
    match (first(ACCESS_KEY), first(ACCESS_KEY_FILES)) {
        (None, None) => {
            reader.missing(&[ACCESS_KEY[0], ACCESS_KEY_FILES[0]]);
            None
        }
        (Some(text), Some(files)) if text == files => {
            let given = |rows: [&'static Row; 3]| rows.into_iter().find(|row| reader.layer(row) == Some(text));
            let given = [ACCESS_KEY, ACCESS_KEY_FILES].map(|rows| given(rows).expect("one of them is in this layer"));
            reader.conflict(given);
            None
        }
        (text, Some(Layer::Item)) if text.is_none_or(|text| Layer::Item < text) => {
            read_access_key_files(reader, Layer::Item)
        }
        (text, Some(files)) if text.is_none_or(|text| files < text) => read_access_key_files(reader, Layer::File),
        (Some(Layer::Item), _) => {
            let what = "a source of its own key needs its secret too, and that does not belong in a settings file";
            let fix = "name files with both: access_key_id_file and access_key_secret_file";
            reader.complain(ACCESS_KEY[0], Complaint::new(what, fix));
            None
        }
        (Some(Layer::SharedVariable), _) => read_access_key(reader, Layer::SharedVariable),
        (_, _) => read_access_key(reader, Layer::File),
    }
}

/// Looks at layers up to `last`, so that what holds for all sources never completes what was given for one.
fn read_access_key_files(reader: &mut Reader<'_>, last: Layer) -> Option<Credentials> {
    demand_both(reader, ACCESS_KEY_FILES, last)?;
    let files = [&keys::sls::ACCESS_KEY_ID_FILE, &keys::sls::ACCESS_KEY_SECRET_FILE];
    let [id, secret] = files.map(|key| reader.credential_file(key));
    let has_token = reader.layer(&keys::sls::SECURITY_TOKEN_FILE.row).is_some_and(|layer| layer <= last);
    let token = if has_token { reader.credential_file(&keys::sls::SECURITY_TOKEN_FILE) } else { None };
    Some(Credentials::Files { id: id?, secret: secret?, token })
}

/// Looks at layers up to `last`, so that a variable meant for other tools never completes what was given for us.
fn read_access_key(reader: &mut Reader<'_>, last: Layer) -> Option<Credentials> {
    demand_both(reader, ACCESS_KEY, last)?;
    let has_token = reader.layer(&keys::sls::SECURITY_TOKEN.row).is_some_and(|layer| layer <= last);
    let token = if has_token { reader.get(&keys::sls::SECURITY_TOKEN) } else { None };
    let (id, secret) = (reader.get(&keys::sls::ACCESS_KEY_ID), reader.get(&keys::sls::ACCESS_KEY_SECRET));
    Some(Credentials::Fixed(AccessKey { id: id?, secret: secret?, token }))
}

/// Half a set of credentials is a mistake.
fn demand_both(reader: &mut Reader<'_>, rows: [&'static Row; 3], last: Layer) -> Option<()> {
    let is_given = |row: &&&'static Row| reader.layer(row).is_some_and(|layer| layer <= last);
    let absent = rows[..2].iter().find(|row| !is_given(row));
    let Some(absent) = absent else { return Some(()) };
    let given = rows.iter().find(is_given);
    let given = given.expect("a set is looked at because something of it was given");
    let mut ways = reader.ways(&[absent]);
    ways.retain(|way| last == Layer::SharedVariable || !way.starts_with(SHARED_PREFIX));
    let complaint = Complaint::new(
        format!("half of the credentials are missing: there is {} but no {}", given.name, absent.name),
        format!("give {}", ways.join(" or ")),
    );
    reader.complain(given, complaint);
    None
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
