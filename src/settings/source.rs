//! The settings of the sources: `[[source]]`, or `[sls]` alone.

use std::path::PathBuf;
use std::time::Duration;

use super::checked::{Machine, SourceScript, SourceSettings};
use super::keys;
use super::keys::source::SOURCES;
use super::lists::LISTS;
use super::problem::Complaint;
use super::read::Reader;
use super::sls::{base_url, read_scope, read_sls};
use super::start;
use super::start::StartPosition;
use super::typed::Item;
use crate::pipeline::FetchInterval;
use crate::sls::Config;
use crate::sls::permissions::Scope;

/// Maximum length of a source's name.
const MAX_NAME_LEN: usize = 63;

/// Reads every source: each item of `[[source]]`, or that of `[sls]`.
pub(super) fn read_sources(reader: &mut Reader<'_>, machine: &Machine) -> Option<Vec<SourceSettings>> {
    let items: Vec<_> = reader.items(&SOURCES).collect();
    let work: Vec<_> = match &items[..] {
        [] => vec![read_work(reader)],
        items => items.iter().map(|item| reader.within(item, read_work)).collect(),
    };
    let places = read_places(reader, machine)?.into_iter();
    let sources = places.zip(work).map(|(place, work)| {
        let (Place { name, has_consumer, sls, start, until, .. }, work) = (place, work?);
        Some(SourceSettings {
            name,
            consumer_prefix: (!has_consumer).then(|| format!("{}-{}", sls.group, machine.hostname)),
            sls,
            start,
            until,
            script: work.script,
            wait: work.wait,
            fetch_interval: work.fetch_interval,
            heartbeat_interval: work.heartbeat_interval,
            save_interval: work.save_interval,
        })
    });
    sources.collect()
}

/// Reads the connection settings of each source, with its name.
pub(super) fn read_places(reader: &mut Reader<'_>, machine: &Machine) -> Option<Vec<Place>> {
    let items: Vec<_> = reader.items(&SOURCES).collect();
    if items.is_empty() {
        if LISTS.iter().any(|list| reader.is_given(list)) {
            // Problems of the lists are already reported.
            return None;
        }
        return Some(vec![read_place(reader, machine)?]);
    }
    refuse_unused_logstore(reader);
    let read = items.iter().map(|item| reader.within(item, |reader| read_place(reader, machine)));
    let read: Vec<_> = read.collect();
    let mut places = read.into_iter().collect::<Option<Vec<_>>>()?;
    name_apart(&mut places);
    report_duplicates(reader, &items, &places).then_some(places)
}

/// Refuses a common logstore that no source reads.
pub(super) fn refuse_unused_logstore(reader: &mut Reader<'_>) {
    if !LISTS.iter().any(|list| reader.is_given(list)) {
        let items: Vec<_> = reader.items(&SOURCES).collect();
        // An endpoint or a project is a default that items may override. A logstore is something to read.
        reader.refuse_unused(&items, &[&keys::sls::LOGSTORE.row]);
    }
}

/// Reads only the names that permissions refer to.
pub(super) fn read_scopes(reader: &mut Reader<'_>) -> Option<Vec<Scope>> {
    let items: Vec<_> = reader.items(&SOURCES).collect();
    refuse_unused_logstore(reader);
    if items.is_empty() {
        if LISTS.iter().any(|list| reader.is_given(list)) {
            // Problems of the lists are already reported.
            return None;
        }
        return Some(vec![read_scope(reader)?]);
    }
    let read: Vec<_> = items.iter().map(|item| reader.within(item, read_scope)).collect();
    read.into_iter().collect()
}

/// Reads only the scripts and the logs they are for: the common script, and each source whose names are given.
pub(super) fn read_source_scripts(reader: &mut Reader<'_>) -> (Option<PathBuf>, Vec<SourceScript>) {
    let items: Vec<_> = reader.items(&SOURCES).collect();
    refuse_unused_logstore(reader);
    let common = reader.script(&keys::script::FILE);
    let read = |reader: &mut Reader<'_>| {
        let name = reader.get(&keys::source::NAME);
        let (project, logstore) = (reader.get(&keys::sls::PROJECT)?, reader.get(&keys::sls::LOGSTORE)?);
        // Only to tell apart projects of one name. Whether it can be used is not the question here.
        let typed = reader.get(&keys::sls::ENDPOINT).unwrap_or_default();
        let endpoint = base_url(&typed).map_or(typed, |base| base.url);
        let own = reader.script(&keys::source::SCRIPT);
        let script = own.or_else(|| common.clone());
        Some((name, SourceScript { name: logstore.clone(), endpoint, project, logstore, script }))
    };
    let read: Vec<_> = match &items[..] {
        [] => vec![read(reader)],
        items => items.iter().map(|item| reader.within(item, read)).collect(),
    };
    let read: Vec<_> = read.into_iter().flatten().collect();
    let logstores: Vec<_> = read.iter().map(|(_, source)| source.logstore.clone()).collect();
    let named = read.into_iter().map(|(name, source)| {
        let name = name.unwrap_or_else(|| default_name(&source.project, &source.logstore, &logstores));
        SourceScript { name, ..source }
    });
    let sources: Vec<_> = named.collect();
    if common.is_none() && sources.iter().all(|source| source.script.is_none()) {
        reader.demand(&[&keys::script::FILE.row]);
    }
    (common, sources)
}

/// The connection settings of a source.
pub(super) struct Place {
    pub(super) name: String,
    /// Whether the name was given.
    has_name: bool,
    has_consumer: bool,
    pub(super) sls: Config,
    pub(super) start: StartPosition,
    until: Option<StartPosition>,
}

fn read_place(reader: &mut Reader<'_>, machine: &Machine) -> Option<Place> {
    let name = reader.parse(&keys::source::NAME, name);
    let heartbeat = reader.get(&keys::sls::HEARTBEAT_INTERVAL);
    let sls = read_sls(reader, heartbeat, machine);
    let start = reader.parse(&keys::sls::START, |text| start::parse(&text, machine.now, &machine.zone));
    let until =
        reader.parse(&keys::sls::UNTIL, |text| start::parse_until(&text, start.as_ref(), machine.now, &machine.zone));
    let has_name = reader.is_given(&keys::source::NAME.row);
    let has_consumer = reader.is_given(&keys::sls::CONSUMER.row);
    let (sls, start) = (sls?, start?);
    let name = if has_name { name? } else { sls.logstore.clone() };
    Some(Place { name, has_name, has_consumer, sls, start, until })
}

/// The other settings of a source.
struct Work {
    script: PathBuf,
    wait: bool,
    fetch_interval: FetchInterval,
    heartbeat_interval: Duration,
    save_interval: Duration,
}

fn read_work(reader: &mut Reader<'_>) -> Option<Work> {
    let script = read_script(reader);
    let wait = reader.get(&keys::sls::WAIT);
    let heartbeat_interval = reader.get(&keys::sls::HEARTBEAT_INTERVAL);
    let fetch_interval = reader.get(&keys::sls::FETCH_INTERVAL);
    let save_interval = reader.get(&keys::sls::SAVE_INTERVAL);
    Some(Work {
        script: script?,
        wait: wait?,
        fetch_interval: fetch_interval?,
        heartbeat_interval: heartbeat_interval?,
        save_interval: save_interval?,
    })
}

/// The script of a source: its own, or the common one.
fn read_script(reader: &mut Reader<'_>) -> Option<PathBuf> {
    if reader.is_given(&keys::source::SCRIPT.row) {
        return reader.script(&keys::source::SCRIPT);
    }
    reader.demand(&[&keys::script::FILE.row]);
    reader.script(&keys::script::FILE)
}

/// A name that is valid in a log line, a label and a command.
fn name(text: String) -> Result<String, Complaint> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=MAX_NAME_LEN).contains(&text.len()) && text.bytes().all(is_plain) {
        return Ok(text);
    }
    let fix = format!("write at most {MAX_NAME_LEN} letters, digits, -, _ and .");
    Err(Complaint::new(format!("{text:?} is not a name for a source"), fix))
}

/// Logstores with the same name in several projects are distinguished by the projects, unless they have names.
fn name_apart(places: &mut [Place]) {
    let logstores: Vec<String> = places.iter().map(|place| place.sls.logstore.clone()).collect();
    for place in places.iter_mut().filter(|place| !place.has_name) {
        place.name = default_name(&place.sls.project, &place.sls.logstore, &logstores);
    }
}

/// The default name of a source; `logstores` are those of all sources.
fn default_name(project: &str, logstore: &str, logstores: &[String]) -> String {
    match logstores.iter().filter(|other| *other == logstore).count() {
        0 | 1 => logstore.to_owned(),
        _ => format!("{project}.{logstore}"),
    }
}

/// Two sources must not have the same name, and must not read the same logs as the same consumer: each log would be
/// sent twice, or a shard would have two owners. A project can have several endpoints, and projects in two regions
/// can have the same name, so both the endpoint and the group must differ.
fn report_duplicates(reader: &mut Reader<'_>, items: &[&Item], places: &[Place]) -> bool {
    let mut are_apart = true;
    for (at, place) in places.iter().enumerate() {
        for (before, other) in places[..at].iter().enumerate() {
            let [first, second] = [items[before], items[at]];
            let (one, its) = (&place.sls, &other.sls);
            let is_same = one.project == its.project && one.logstore == its.logstore;
            let (what, fix) = if is_same && (one.endpoint == its.endpoint || one.group == its.group) {
                // Those of the vendor's lists have no names but the logstore.
                let what = match first.label == second.label {
                    true => format!("{} is given twice", first.label),
                    false => format!(
                        "{} and {} are the same logstore: {} of project {}",
                        first.label, second.label, one.logstore, one.project
                    ),
                };
                (what, "leave one of the two out: each of its logs would be sent twice")
            } else if place.name == other.name {
                (format!("two sources are called {}", place.name), "give each a name of its own")
            } else {
                continue;
            };
            are_apart = false;
            reader.complain_of_items([first, second], Complaint::new(what, fix));
        }
    }
    are_apart
}
