//! The sources on which a command works: those of the settings, with the logstores that exist now in place of a pattern.

use std::time::Duration;

use futures_util::future::join_all;

use crate::cli::exit::ExitMessage;
use crate::core::cause::Cause;
use crate::core::printable::excerpt;
use crate::core::source::SourceError;
use crate::core::wildcard;
use crate::settings::SourceNames;
use crate::sls::{Config, Sls};

/// Maximum time to wait for a list of logstores, even if the settings allow more.
const PATIENCE: Duration = Duration::from_secs(10);

/// Maximum number of names in a message.
const MAX_NAMED: usize = 20;

/// A source with one logstore, named as the running process names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Existing {
    /// Its position in the settings, or that of its pattern.
    pub(crate) at: usize,
    pub(crate) name: String,
    pub(crate) logstore: String,
}

/// A pattern without a source.
#[derive(Debug)]
pub(crate) struct Barren {
    /// Its position in the settings.
    pub(crate) at: usize,
    pub(crate) why: BarrenReason,
}

/// Why a pattern has no source.
#[derive(Debug)]
pub(crate) enum BarrenReason {
    /// A setting is wrong, or a file that it names.
    Settings(String),
    /// Its logstores cannot be listed.
    Unlisted(SourceError),
    /// No logstore matches.
    Nothing { project: String, pattern: String },
}

impl std::fmt::Display for BarrenReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Settings(error) => f.write_str(error),
            Self::Unlisted(error) => {
                let Cause { what, hint } = error.cause();
                let hint = hint.map_or_else(String::new, |hint| format!(": {hint}"));
                write!(f, "the logstores cannot be listed: {}{hint}", excerpt(what))
            }
            Self::Nothing { project, pattern } => {
                write!(f, "no logstore of project {} matches {}", excerpt(project), excerpt(pattern))
            }
        }
    }
}

/// Every source, in the order of the settings. A pattern whose logstores are all read by other sources has none.
pub(crate) async fn existing(sources: &[(&str, &Config)]) -> Vec<Result<Existing, Barren>> {
    let names = SourceNames::new(sources.iter().copied());
    let found = sources.iter().enumerate().map(async |(at, (name, config))| {
        if !wildcard::has_wildcards(&config.logstore) {
            return vec![Ok(Existing { at, name: (*name).to_owned(), logstore: config.logstore.clone() })];
        }
        let matching = match matching(config).await {
            Ok(matching) => matching,
            Err(why) => return vec![Err(Barren { at, why })],
        };
        let read = matching.into_iter().filter(|logstore| names.is_read_by(at, logstore));
        read.map(|logstore| Ok(Existing { at, name: names.name_of(at, &logstore), logstore })).collect()
    });
    join_all(found).await.into_iter().flatten().collect()
}

/// The logstores that match a pattern: at least one.
async fn matching(config: &Config) -> Result<Vec<String>, BarrenReason> {
    let config = Config { timeout: config.timeout.min(PATIENCE), ..config.clone() };
    let sls = Sls::new(&config).map_err(|error| BarrenReason::Settings(error.to_string()))?;
    let listed = match sls.logstores().await {
        Ok(listed) => listed,
        Err(SourceError::Absent(cause)) => {
            return Err(BarrenReason::Unlisted(SourceError::Absent(sls.whereabouts(cause).await)));
        }
        Err(error) => return Err(BarrenReason::Unlisted(error)),
    };
    let Config { project, logstore: pattern, .. } = config;
    let found: Vec<_> = listed.into_iter().filter(|name| wildcard::matches(&pattern, name)).collect();
    if found.is_empty() { Err(BarrenReason::Nothing { project, pattern }) } else { Ok(found) }
}

/// The source with this name, or the only one. SLS is asked only if it may be one that a pattern finds.
///
/// # Errors
/// There is none, or several: the message names those that may be given.
pub(crate) async fn chosen(sources: &[(&str, &Config)], name: Option<&str>) -> Result<Existing, ExitMessage> {
    let fixed = sources.iter().enumerate().filter(|(_, (_, config))| !wildcard::has_wildcards(&config.logstore));
    let mut fixed =
        fixed.map(|(at, (name, config))| Existing { at, name: (*name).to_owned(), logstore: config.logstore.clone() });
    let known = match name {
        Some(name) => fixed.find(|source| source.name == name),
        None => fixed.next().filter(|_| sources.len() == 1),
    };
    match known {
        Some(source) => Ok(source),
        None => select(existing(sources).await, sources, name),
    }
}

fn select(
    existing: Vec<Result<Existing, Barren>>,
    sources: &[(&str, &Config)],
    name: Option<&str>,
) -> Result<Existing, ExitMessage> {
    let (mut found, mut barren) = (Vec::new(), String::new());
    for one in existing {
        match one {
            Ok(source) if Some(source.name.as_str()) == name => return Ok(source),
            Ok(source) => found.push(source.name),
            Err(Barren { at, why }) => barren += &format!("; source {}: {why}", excerpt(sources[at].0)),
        }
    }
    let what = match (name, sources) {
        (Some(name), _) => format!("there is no source {name:?}"),
        (None, [(_, config)]) => format!("{} is a pattern", excerpt(&config.logstore)),
        (None, _) => "there are several sources".to_owned(),
    };
    let fix = match (&found[..], name) {
        ([], _) => String::new(),
        (found, Some(_)) => format!(": --source takes one of {}", list(found)),
        (found, None) => format!(": name one with --source: {}", list(found)),
    };
    Err(ExitMessage::Plain(format!("{what}{fix}{barren}")))
}

fn list(names: &[String]) -> String {
    let named: Vec<_> = names.iter().take(MAX_NAMED).map(|name| excerpt(name)).collect();
    let more = names.len() - named.len();
    named.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}
