//! What is told of a setting: in the documentation, the help, the flags and suggestions.

use std::time::Duration;

use crate::settings::units;

/// The one prefix of environment variables that belong to us.
pub const PREFIX: &str = "FORWARDER_";

/// What is told of one setting.
#[derive(Debug)]
pub struct Row {
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
    /// Where it can be given.
    pub scope: Scope,
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
    /// As [`Kind::Seconds`], or the least and the most with two dots between them: `100ms..1s`.
    Interval(Duration),
    /// A number with a unit of size, within bounds in bytes.
    Size(u64, u64),
    /// One of these words.
    OneOf(fn() -> Vec<&'static str>),
    /// A start position: `settings::start::StartPosition`.
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

/// Where a setting can be given, when an array of tables takes the keys of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Once for the process, and in an item for that alone.
    All,
    /// Once for the process only.
    Process,
    /// In an item only, so neither by a variable nor by a flag.
    Item,
}

impl Row {
    /// A row of which nothing but name and kind is said yet.
    pub(super) const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            default: Default::Nothing,
            flag: None,
            also: &[],
            known_as: &[],
            scope: Scope::All,
            meaning: "",
        }
    }

    /// Its own environment variable: `FORWARDER_HEC_TIMEOUT`. Tables have none, and neither have items of arrays.
    #[must_use]
    pub fn variable(&self) -> Option<String> {
        match self.kind {
            Kind::Table => None,
            _ if self.scope == Scope::Item => None,
            _ => Some(format!("{PREFIX}{}", self.name.replace('.', "_").to_uppercase())),
        }
    }

    /// Its table in the settings file, and its name there.
    #[must_use]
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').expect("every key of the table has a dot")
    }

    /// The least that it takes, as one would type it; `None` when any will do.
    #[must_use]
    pub fn least(&self) -> Option<String> {
        match self.kind {
            Kind::Duration(least) | Kind::Seconds(least) | Kind::Interval(least) if !least.is_zero() => {
                Some(units::show_duration(least))
            }
            Kind::Size(least, _) => Some(units::show_size(least)),
            _ => None,
        }
    }

    /// Whether its text must not be shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::EnvironmentSecret)
    }
}
