//! Every setting: its names, values, default and meaning.
//!
//! The settings file, the environment, the flags, the help, the suggestions for typos and `docs/settings.md` all come
//! from this one table.

mod array;
mod choices;
pub(super) mod credentials;
pub(super) mod dead_letters;
pub(super) mod destination;
pub(super) mod file;
pub(super) mod hec;
mod key;
pub(super) mod probe;
mod row;
pub(super) mod run;
pub(super) mod script;
mod setting;
pub(super) mod sls;
pub(super) mod source;
pub(super) mod state;
pub(super) mod syslog;

pub use array::Array;
pub use choices::LogFormat;
pub(super) use choices::{CredentialSource, DeliveryMode, MessageFormat, Protocol, SignatureVersion};
pub(super) use key::Key;
pub use row::{Default, Kind, PREFIX, Row, Scope};
pub(super) use setting::{Choice, Setting};

/// The variable that names the settings file; the only `FORWARDER_*` variable that is not a setting.
pub const CONFIG: &str = "FORWARDER_CONFIG";

/// Every setting, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Row> + Clone {
    TABLES.into_iter().flatten().copied()
}

/// The setting with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Row> {
    all().find(|key| key.name == name)
}

/// Every array of tables: one for each name, or one for each type of its items.
pub fn all_arrays() -> impl Iterator<Item = &'static Array> {
    [&source::SOURCES].into_iter().chain(destination::DESTINATIONS)
}

/// The arrays of tables with this name: one, or one for each type of its items.
pub(super) fn arrays(name: &str) -> impl Iterator<Item = &'static Array> {
    all_arrays().filter(move |array| array.name == name)
}

/// Whether there is an array of tables with this name.
pub(super) fn is_array(name: &str) -> bool {
    arrays(name).next().is_some()
}

/// Every setting that an item of an array can give, in the order of the documentation.
pub fn of_item(array: &Array) -> impl Iterator<Item = &'static Row> {
    let of = |table: &'static str| all().filter(move |row| row.parts().0 == table && row.scope != Scope::Process);
    of(array.name).chain(of(array.table))
}

/// The tables, in the order of the documentation.
const TABLES: [&[&Row]; 12] = [
    script::KEYS,
    sls::KEYS,
    credentials::KEYS,
    source::KEYS,
    destination::KEYS,
    hec::KEYS,
    syslog::KEYS,
    file::KEYS,
    dead_letters::KEYS,
    state::KEYS,
    probe::KEYS,
    run::KEYS,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_variable_and_flag_is_unique() {
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
