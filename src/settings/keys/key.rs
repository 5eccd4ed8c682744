//! A setting with its type: one constructor for each kind, so that kind, bounds and type can't disagree.

use std::path::PathBuf;
use std::time::Duration;

use super::row::{Default, Kind, Row, Scope};
use super::setting::{Choice, DurationBounds, Number, Setting};
use crate::core::secret::Secret;
use crate::pipeline::FetchInterval;

/// A setting whose value is a `T`.
pub struct Key<T: Setting> {
    /// Its row.
    pub row: Row,
    pub bounds: T::Bounds,
}

impl Key<String> {
    /// Any text.
    pub(super) const fn text(name: &'static str) -> Self {
        Self { row: Row::new(name, Kind::Text), bounds: () }
    }

    /// Text with commas between its parts; in the settings file also an array of them.
    pub(super) const fn list(name: &'static str) -> Self {
        Self { row: Row::new(name, Kind::List), bounds: () }
    }

    /// The text of a start position.
    pub(super) const fn start(name: &'static str) -> Self {
        Self { row: Row::new(name, Kind::Start), bounds: () }
    }
}

impl Key<PathBuf> {
    /// A path; in the settings file relative to that file's directory.
    pub(super) const fn path(name: &'static str) -> Self {
        Self { row: Row::new(name, Kind::Path), bounds: () }
    }
}

impl Key<bool> {
    /// `true` or `false`.
    pub(super) const fn switch(name: &'static str) -> Self {
        Self { row: Row::new(name, Kind::Switch), bounds: () }
    }
}

impl<T: Number> Key<T> {
    /// A whole number within bounds, which must fit into the type.
    pub(super) const fn count(name: &'static str, least: u64, most: u64) -> Self {
        assert!(least <= most && most <= T::LARGEST, "the bounds have to fit into the type");
        Self { row: Row::new(name, Kind::Count(least, most)), bounds: (least, most) }
    }
}

impl Key<Duration> {
    /// A number with a unit of time, at least this much.
    pub(super) const fn duration(name: &'static str, least: Duration) -> Self {
        let bounds = DurationBounds { least, bare_seconds: false };
        Self { row: Row::new(name, Kind::Duration(least)), bounds }
    }

    /// As [`Key::duration`], but a number without a unit means seconds.
    pub(super) const fn seconds(name: &'static str, least: Duration) -> Self {
        let bounds = DurationBounds { least, bare_seconds: true };
        Self { row: Row::new(name, Kind::Seconds(least)), bounds }
    }
}

impl Key<FetchInterval> {
    /// A duration as in [`Key::seconds`], or a minimum and a maximum.
    pub(super) const fn interval(name: &'static str, least: Duration) -> Self {
        let bounds = DurationBounds { least, bare_seconds: true };
        Self { row: Row::new(name, Kind::Interval(least)), bounds }
    }
}

impl Key<usize> {
    /// A number with a unit of size, within bounds in bytes.
    pub(super) const fn size(name: &'static str, least: u64, most: u64) -> Self {
        Self { row: Row::new(name, Kind::Size(least, most)), bounds: (least, most) }
    }
}

impl<T: Choice> Key<T> {
    /// One of the words of the type.
    pub(super) const fn choice(name: &'static str) -> Self {
        Self { row: Row::new(name, Kind::OneOf(T::words)), bounds: () }
    }
}

impl Key<Secret> {
    /// A credential that the settings file may hold.
    pub(super) const fn secret(name: &'static str) -> Self {
        Self { row: Row::new(name, Kind::Secret), bounds: () }
    }

    /// A credential that may come from the environment only.
    pub(super) const fn environment_secret(name: &'static str) -> Self {
        Self { row: Row::new(name, Kind::EnvironmentSecret), bounds: () }
    }
}

impl<T: Setting> Key<T> {
    /// The default, as typed.
    pub(super) const fn default(mut self, typed: &'static str) -> Self {
        self.row.default = Default::Is(typed);
        self
    }

    /// The default is computed, as described by this text.
    pub(super) const fn computed(mut self, words: &'static str) -> Self {
        self.row.default = Default::Computed(words);
        self
    }

    /// It is required.
    pub(super) const fn required(mut self) -> Self {
        self.row.default = Default::Required;
        self
    }

    /// Where it can be set, if not everywhere.
    pub(super) const fn scope(mut self, scope: Scope) -> Self {
        self.row.scope = scope;
        self
    }

    /// Its flag, without the dashes.
    pub(super) const fn flag(mut self, flag: &'static str) -> Self {
        self.row.flag = Some(flag);
        self
    }

    /// Additional environment variables.
    pub(super) const fn also(mut self, variables: &'static [&'static str]) -> Self {
        self.row.also = variables;
        self
    }

    /// Its names in the vendor's scripts and SDK.
    pub(super) const fn known_as(mut self, names: &'static [&'static str]) -> Self {
        self.row.known_as = names;
        self
    }

    /// What it means, as a phrase without a full stop.
    pub(super) const fn means(mut self, meaning: &'static str) -> Self {
        self.row.meaning = meaning;
        self
    }
}

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const MB: u64 = 1_000_000;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
