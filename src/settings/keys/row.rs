//! The description of a setting for documentation, help, flags and suggestions.

use std::time::Duration;

use crate::settings::units;

/// The prefix of our environment variables.
pub const PREFIX: &str = "FORWARDER_";

/// The description of one setting.
#[derive(Debug)]
pub struct Row {
    /// Table and name in the settings file: `hec.timeout`.
    pub name: &'static str,
    /// Its kind of value.
    pub kind: Kind,
    /// Its default.
    pub default: Default,
    /// Its flag, without the dashes, if it has one.
    pub flag: Option<&'static str>,
    /// Additional environment variables.
    pub also: &'static [&'static str],
    /// Its names in the vendor's scripts and SDK, for suggestions.
    pub known_as: &'static [&'static str],
    /// Where it can be set.
    pub scope: Scope,
    /// What it means, as a phrase without a full stop.
    pub meaning: &'static str,
}

/// The kind of value of a setting.
#[derive(Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// Text with commas between its parts; in the settings file also an array of them.
    List,
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
    /// As [`Kind::Seconds`], or a minimum and a maximum with two dots between them: `100ms..1s`.
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

/// The default of a setting.
#[derive(Debug)]
pub enum Default {
    /// This value, as typed.
    Is(&'static str),
    /// Computed, as described by this text.
    Computed(&'static str),
    /// None: the feature is not used, or another setting replaces it.
    Nothing,
    /// None: the setting is required.
    Required,
}

/// Where a setting can be set, if an array of tables takes the keys of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// For the process, and in an item for that item.
    All,
    /// Only for the process.
    Process,
    /// Only in an item, so neither by a variable nor by a flag.
    Item,
}

impl Row {
    /// A row with only name and kind.
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

    /// Its minimum, as typed; `None` if it has none.
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
