//! Typed settings: the values from flags, environment, file and defaults, each with its place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::keys;
use super::keys::{Array, Default, PREFIX, Row};
use super::problem::{Complaint, Problem, nearest};
use super::raw::Raw;

/// The environment of the process: names and values.
pub type Environment = BTreeMap<String, OsString>;

/// Settings given as flags: the setting's name (`sls.start`) and the text.
pub type Flags = Vec<(&'static str, String)>;

/// The prefix of the variables of all Alibaba Cloud tools.
pub(super) const SHARED_PREFIX: &str = "ALIBABA_CLOUD_";

/// The layers in order of precedence: the first wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    /// An item of an array of tables, or of a list.
    Item,
    Flag,
    /// A `FORWARDER_*` variable.
    Variable,
    /// A variable that the vendor's scripts use: `SLS_*`.
    SeedVariable,
    File,
    /// A variable of all Alibaba Cloud tools, which may not be meant for this program.
    SharedVariable,
    Default,
}

/// The place of a value, for messages.
#[derive(Debug, Clone)]
pub(super) enum ValueOrigin {
    Flag(&'static str),
    Variable(String),
    File {
        name: &'static str,
        file: PathBuf,
        line: usize,
    },
    /// A key of an item, and the item: `source "waf"`.
    Item {
        key: &'static str,
        item: String,
        file: PathBuf,
        line: usize,
    },
    /// The position in a list that was given there.
    Listed {
        number: usize,
        list: String,
    },
    Default(&'static str),
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(name) => write!(f, "{name} in the environment"),
            Self::File { name, file, line } => write!(f, "{name} in {} line {line}", file.display()),
            Self::Item { key, item, file, line } => write!(f, "{key} of {item} in {} line {line}", file.display()),
            Self::Listed { number, list } => write!(f, "item {number} of {list}"),
            Self::Default(name) => write!(f, "the default of {name}"),
        }
    }
}

/// A value and where it was given.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) layer: Layer,
    pub(super) origin: ValueOrigin,
    pub(super) raw: Raw,
}

/// Values by setting, in order of precedence.
#[derive(Default)]
pub(super) struct Values(BTreeMap<&'static str, Vec<Given>>);

impl Values {
    /// Adds a value. Empty text counts as absent in every layer: the vendor's scripts and many container files leave
    /// unused settings empty.
    pub(super) fn put(&mut self, key: &Row, layer: Layer, origin: ValueOrigin, raw: Raw) {
        if matches!(&raw, Raw::Text(text) if text.is_empty()) {
            return;
        }
        let given = self.0.entry(key.name).or_default();
        let at = given.partition_point(|other| other.layer <= layer);
        given.insert(at, Given { layer, origin, raw });
    }

    /// The values of a setting, in order of precedence.
    pub(super) fn all(&self, name: &str) -> &[Given] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value with the highest precedence.
    pub(super) fn get(&self, name: &str) -> Option<&Given> {
        self.all(name).first()
    }
}

/// An item of an array of tables, with its own values. Missing values come from [`Typed::common`].
pub(super) struct Item {
    pub(super) array: &'static Array,
    /// `source "waf"`.
    pub(super) label: String,
    /// Where it begins.
    pub(super) place: String,
    pub(super) values: Values,
}

/// All typed settings.
pub(super) struct Typed {
    /// Values for the process.
    pub(super) common: Values,
    /// The items of arrays, in the order in which they were typed.
    pub(super) items: Vec<Item>,
    /// `[script.vars]`.
    pub(super) vars: toml::Table,
    /// The settings file, if there is one.
    pub(super) file: Option<PathBuf>,
}

impl Typed {
    /// Starts with the defaults.
    pub(super) fn new(file: Option<&Path>) -> Self {
        let file = file.map(Path::to_owned);
        let mut typed = Self { common: Values::default(), items: Vec::new(), vars: toml::Table::new(), file };
        for key in keys::all() {
            if let Default::Is(text) = key.default {
                typed.common.put(key, Layer::Default, ValueOrigin::Default(key.name), Raw::Text(text.to_owned()));
            }
        }
        typed
    }

    /// Adds the flags.
    pub(super) fn put_flags(&mut self, flags: &Flags) {
        for (name, text) in flags {
            let key = keys::find(name).expect("flags are built from the table of settings");
            let flag = key.flag.expect("flags are built from the table of settings");
            self.common.put(key, Layer::Flag, ValueOrigin::Flag(flag), Raw::Text(text.clone()));
        }
    }

    /// Adds the environment; returns its problems.
    pub(super) fn put_environment(&mut self, environment: &Environment) -> Vec<Problem> {
        let mut problems = Vec::new();
        let names: BTreeMap<String, &Row> = keys::all().flat_map(variables).collect();
        for (name, value) in environment {
            let Some(key) = names.get(name) else {
                if name.starts_with(PREFIX) && name != keys::CONFIG && !is_service_link(name) {
                    let meant = nearest(name, names.keys().map(String::as_str));
                    let fix = match meant {
                        Some(meant) => {
                            format!("did you mean {meant}? If it is another program's, unset it for this one")
                        }
                        None => "unset it; docs/settings.md lists all settings".to_owned(),
                    };
                    let complaint = Complaint::new(format!("{name} is not a setting"), fix);
                    problems.push(complaint.at("the environment"));
                }
                continue;
            };
            match value.to_str() {
                Some(text) => {
                    let raw = Raw::Text(text.to_owned());
                    self.common.put(key, layer_of(name), ValueOrigin::Variable(name.clone()), raw);
                }
                None => {
                    let complaint = Complaint::new(format!("{name} is not valid UTF-8"), "set it again as UTF-8 text");
                    problems.push(complaint.at("the environment"));
                }
            }
        }
        problems
    }
}

/// All variables of this setting.
fn variables(key: &Row) -> impl Iterator<Item = (String, &Row)> {
    let also = key.also.iter().map(ToString::to_string);
    key.variable().into_iter().chain(also).map(move |name| (name, key))
}

fn layer_of(variable: &str) -> Layer {
    if variable.starts_with(PREFIX) {
        Layer::Variable
    } else if variable.starts_with(SHARED_PREFIX) {
        Layer::SharedVariable
    } else {
        Layer::SeedVariable
    }
}

/// Kubernetes gives every pod variables such as `FORWARDER_SERVICE_HOST` and `FORWARDER_PORT_8088_TCP` when there is
/// a Service named `forwarder`: these are ignored.
fn is_service_link(name: &str) -> bool {
    let rest = &name[PREFIX.len()..];
    rest == "SERVICE_HOST"
        || rest == "PORT"
        || rest.starts_with("SERVICE_PORT")
        || rest.strip_prefix("PORT_").is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_layer_wins_and_vendor_variables_come_between_ours_and_the_file() {
        let mut typed = Typed::new(None);
        let environment =
            [("SLS_AK_ID", "seed"), ("FORWARDER_SLS_ACCESS_KEY_ID", "ours"), ("ALIBABA_CLOUD_ACCESS_KEY_ID", "shared")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.into())).into();
        assert!(typed.put_environment(&environment).is_empty());
        let key = keys::find("sls.access_key_id").unwrap();
        typed.common.put(key, Layer::File, ValueOrigin::Default(""), Raw::Text("file".to_owned()));
        let texts = typed.common.all("sls.access_key_id").iter().map(|given| match &given.raw {
            Raw::Text(text) => text.as_str(),
            _ => unreachable!(),
        });
        assert_eq!(texts.collect::<Vec<_>>(), ["ours", "seed", "file", "shared"]);
    }

    #[test]
    fn variables_that_kubernetes_creates_for_a_service_are_no_mistake() {
        for name in ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_8088_TCP_ADDR"] {
            assert!(is_service_link(&format!("{PREFIX}{name}")), "{name}");
        }
        for name in ["HEC_PORT", "PORTS", "PORT_X", "SERVICE"] {
            assert!(!is_service_link(&format!("{PREFIX}{name}")), "{name}");
        }
    }
}
