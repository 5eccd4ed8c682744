//! Every setting there is: its names, what it takes, its default and what it means.
//!
//! The settings file, the environment, the flags, the help, the suggestions for typos and `docs/settings.md` all come
//! from this one table.

mod array;
mod choices;
pub(super) mod credentials;
pub(super) mod dead_letters;
pub(super) mod file;
pub(super) mod hec;
mod key;
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

/// The variable that names the settings file; the one `FORWARDER_*` variable that is not a setting.
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

/// The array of tables with this name.
pub(super) fn array(name: &str) -> Option<&'static Array> {
    ARRAYS.into_iter().find(|array| array.name == name)
}

/// Every setting that an item of an array can give, in the order of the documentation.
pub(super) fn of_item(array: &Array) -> impl Iterator<Item = &'static Row> {
    let of = |table: &'static str| all().filter(move |row| row.parts().0 == table && row.scope != Scope::Process);
    of(array.name).chain(of(array.table))
}

/// The arrays of tables.
const ARRAYS: [&Array; 1] = [&source::SOURCES];

/// The tables, in the order of the documentation.
const TABLES: [&[&Row]; 10] = [
    script::KEYS,
    sls::KEYS,
    credentials::KEYS,
    source::KEYS,
    hec::KEYS,
    syslog::KEYS,
    file::KEYS,
    dead_letters::KEYS,
    state::KEYS,
    run::KEYS,
];

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
