//! Every setting there is: its names, what it takes, its default and what it means.
//!
//! The settings file, the environment, the flags, the help, the suggestions for typos and `docs/settings.md` all come
//! from this one table.

mod dead_letters;
mod hec;
mod run;
mod script;
mod sls;
mod syslog;

use std::time::Duration;

/// The one prefix of environment variables that belong to us.
pub const PREFIX: &str = "FORWARDER_";

/// The variable that names the settings file; the one `FORWARDER_*` variable that is not a setting.
pub const CONFIG: &str = "FORWARDER_CONFIG";

/// Every setting, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Key> + Clone {
    TABLES.into_iter().flatten()
}

/// The setting with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Table and name in the settings file: `hec.timeout`.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds when nobody gives it.
    pub default: Default,
    /// Its flag, without the dashes, when it has one.
    pub flag: Option<&'static str>,
    /// Environment variables that give it besides its own.
    pub also: &'static [&'static str],
    /// Names that people know it by from the vendor's scripts and SDK, for suggestions.
    pub known_as: &'static [&'static str],
    /// What it means, as a phrase without a full stop.
    pub meaning: &'static str,
}

/// What a setting takes.
#[derive(Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// A path; in the settings file relative to that file's directory.
    Path,
    /// `true` or `false`.
    Switch,
    /// A whole number within bounds.
    Count(u64, u64),
    /// A number with a unit of time, at least this much.
    Duration(Duration),
    /// As [`Kind::Duration`], and a bare number means seconds, as in the vendor's scripts.
    Seconds(Duration),
    /// A number with a unit of size, within bounds in bytes.
    Size(u64, u64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A start position: [`super::start::StartPosition`].
    Start,
    /// A credential that the settings file may hold.
    Secret,
    /// A credential that may come from the environment only.
    EnvironmentSecret,
    /// A table of the user's own; in the settings file only.
    Table,
}

/// What holds when nobody gives a setting.
#[derive(Debug)]
pub enum Default {
    /// This, as one would type it.
    Is(&'static str),
    /// Worked out from other things, in these words.
    Computed(&'static str),
    /// Nothing: the thing is not used, or another setting takes its place.
    Nothing,
    /// There is none: somebody has to give it.
    Required,
}

impl Key {
    /// Its own environment variable: `FORWARDER_HEC_TIMEOUT`. Tables have none.
    #[must_use]
    pub fn variable(&self) -> Option<String> {
        match self.kind {
            Kind::Table => None,
            _ => Some(format!("{PREFIX}{}", self.name.replace('.', "_").to_uppercase())),
        }
    }

    /// Its table in the settings file, and its name there.
    #[must_use]
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').expect("every key of the table has a dot")
    }

    /// Whether its text must not be shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::EnvironmentSecret)
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Where each row starts from.
const PLAIN: Key =
    Key { name: "", kind: Kind::Text, default: Default::Nothing, flag: None, also: &[], known_as: &[], meaning: "" };

/// The tables, in the order of the documentation.
const TABLES: [&[Key]; 6] = [script::KEYS, sls::KEYS, hec::KEYS, syslog::KEYS, dead_letters::KEYS, run::KEYS];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_variable_and_flag_is_taken_once() {
        let mut seen = BTreeSet::new();
        for key in all() {
            let names = [Some(key.name.to_owned()), key.variable(), key.flag.map(|flag| format!("--{flag}"))];
            for name in names.into_iter().flatten().chain(key.also.iter().map(ToString::to_string)) {
                assert!(seen.insert(name.clone()), "{name} is taken twice");
            }
        }
        assert!(seen.len() > all().count());
    }

    #[test]
    fn no_secret_has_a_flag() {
        let secrets: Vec<_> = all().filter(|key| key.is_secret()).collect();
        assert_eq!(secrets.len(), 3);
        assert!(secrets.iter().all(|key| key.flag.is_none()));
    }
}
