//! The source that a command is about.

use crate::cli::exit::ExitMessage;
use crate::settings::start::StartPosition;
use crate::sls;

/// The source with this name, or the only one: how to reach it, and where it starts.
pub(crate) fn chosen(
    places: Vec<(String, sls::Config, StartPosition)>,
    name: Option<&str>,
) -> Result<(sls::Config, StartPosition), ExitMessage> {
    let (_, sls, start) = one_of(places, |(name, ..)| name, name)?;
    Ok((sls, start))
}

/// The one of several with this name, or the only one.
pub(crate) fn one_of<T>(mut all: Vec<T>, name_of: impl Fn(&T) -> &str, name: Option<&str>) -> Result<T, ExitMessage> {
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
    Ok(all.swap_remove(at))
}
