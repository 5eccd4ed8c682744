//! The source on which a command works.

use crate::cli::exit::ExitMessage;
use crate::core::wildcard;
use crate::settings::start::StartPosition;
use crate::sls;
use crate::sls::Sls;

/// A source: its name, its SLS settings, and its start position.
pub(crate) type Place = (String, sls::Config, StartPosition);

/// The sources, with the matching logstores in place of a pattern. A pattern whose logstores cannot be listed, or that
/// matches none, stays: a later check reports the reason.
pub(crate) async fn with_found(places: Vec<Place>) -> Vec<Place> {
    let mut all = Vec::new();
    for (name, config, start) in places {
        let found = if wildcard::has_wildcards(&config.logstore) { find(&config).await } else { Vec::new() };
        if found.is_empty() {
            all.push((name, config, start));
            continue;
        }
        let place = |logstore: String| (logstore.clone(), sls::Config { logstore, ..config.clone() }, start.clone());
        all.extend(found.into_iter().map(place));
    }
    all
}

async fn find(config: &sls::Config) -> Vec<String> {
    let Ok(sls) = Sls::new(config) else { return Vec::new() };
    let listed = sls.logstores().await.unwrap_or_default();
    listed.into_iter().filter(|logstore| wildcard::matches(&config.logstore, logstore)).collect()
}

/// The source with this name, or the only one: its SLS settings and its start position.
pub(crate) fn chosen(places: Vec<Place>, name: Option<&str>) -> Result<(sls::Config, StartPosition), ExitMessage> {
    let (_, sls, start) = one_of(places, |(name, ..)| name, |(_, sls, _)| &mut sls.logstore, name)?;
    Ok((sls, start))
}

/// The one of several with this name, or the only one. A logstore that a pattern matches has its own name.
pub(crate) fn one_of<T>(
    mut all: Vec<T>,
    name_of: impl Fn(&T) -> &str,
    logstore_of: impl Fn(&mut T) -> &mut String,
    name: Option<&str>,
) -> Result<T, ExitMessage> {
    if let Some(name) = name
        && all.iter().all(|one| name_of(one) != name)
        && let Some(at) = all.iter_mut().position(|one| {
            let logstore = logstore_of(one);
            wildcard::has_wildcards(logstore) && wildcard::matches(logstore, name)
        })
    {
        let mut one = all.swap_remove(at);
        name.clone_into(logstore_of(&mut one));
        return Ok(one);
    }
    let names = || all.iter().map(&name_of).collect::<Vec<_>>().join(", ");
    let at = match name {
        None if all.len() == 1 => 0,
        None => {
            return Err(ExitMessage::Plain(format!("there are several sources: name one with --source: {}", names())));
        }
        Some(name) => all.iter().position(|one| name_of(one) == name).ok_or_else(|| {
            ExitMessage::Plain(format!("there is no source {name:?}: --source takes one of {}", names()))
        })?,
    };
    let mut one = all.swap_remove(at);
    let logstore = logstore_of(&mut one);
    if wildcard::has_wildcards(logstore) {
        return Err(ExitMessage::Plain(format!("{logstore} is a pattern: name one of its logstores with --source")));
    }
    Ok(one)
}
