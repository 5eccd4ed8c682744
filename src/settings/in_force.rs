//! The value and origin of each setting, for messages.

use super::keys;
use super::keys::{Default, Kind, Row, Scope};
use super::raw::Raw;
use super::typed::{Given, Layer, Typed, ValueOrigin};

/// The placeholder of a secret value.
const HIDDEN: &str = "(not shown)";

/// The effective value of a setting.
#[derive(Debug)]
pub struct InForce {
    /// Its row.
    pub row: &'static Row,
    /// The item of an array that it applies to, such as `source \"waf\"`; `None`: the process.
    pub item: Option<String>,
    /// Its value in the form of the settings file, with secrets hidden; `None` if it has none.
    pub value: Option<String>,
    /// The origin of the value, for messages: `forwarder.toml line 3`, `the default`.
    pub origin: String,
    /// The same, for decisions.
    pub written_in: WrittenIn,
}

/// The origin of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenIn {
    /// A flag.
    Flag,
    /// A variable of the environment.
    Environment,
    /// The settings file.
    File,
    /// The default.
    Default,
}

/// In the order of the documentation; values of array items come after those of the process.
pub(super) fn of(typed: &Typed) -> Vec<InForce> {
    let common = keys::all().filter_map(|row| match typed.common.get(row.name) {
        Some(given) => Some(present(row, given, None)),
        None => (row.scope != Scope::Item).then(|| absent(row, typed)),
    });
    let items = typed.items.iter().flat_map(|item| {
        let given = keys::all().filter_map(|row| Some((row, item.values.get(row.name)?)));
        given.map(|(row, given)| present(row, given, Some(&item.label)))
    });
    common.chain(items).collect()
}

fn present(row: &'static Row, given: &Given, item: Option<&str>) -> InForce {
    let (origin, written_in) = match &given.origin {
        ValueOrigin::Flag(flag) => (format!("--{flag}"), WrittenIn::Flag),
        ValueOrigin::Variable(name) => (name.clone(), WrittenIn::Environment),
        ValueOrigin::File { file, line, .. } | ValueOrigin::Item { file, line, .. } => {
            (format!("{} line {line}", file.display()), WrittenIn::File)
        }
        ValueOrigin::Listed { number, list } => (format!("item {number} of {list}"), WrittenIn::Environment),
        ValueOrigin::Default(_) => ("the default".to_owned(), WrittenIn::Default),
    };
    let value = if row.is_secret() { HIDDEN.to_owned() } else { value(&given.raw, given.layer) };
    InForce { row, item: item.map(str::to_owned), value: Some(value), origin, written_in }
}

fn absent(row: &'static Row, typed: &Typed) -> InForce {
    if matches!(row.kind, Kind::Table) && !typed.vars.is_empty() {
        let names: Vec<_> = typed.vars.keys().map(|name| format!("{name} = {HIDDEN}")).collect();
        let value = Some(format!("{{ {} }}", names.join(", ")));
        return InForce { row, item: None, value, origin: "the settings file".to_owned(), written_in: WrittenIn::File };
    }
    let origin = match row.default {
        Default::Computed(words) => format!("the default: {words}"),
        Default::Required => "not given".to_owned(),
        Default::Is(_) | Default::Nothing => "the default: none".to_owned(),
    };
    InForce { row, item: None, value: None, origin, written_in: WrittenIn::Default }
}

/// In TOML form: a number from a flag or a variable is text there.
fn value(raw: &Raw, layer: Layer) -> String {
    match raw {
        // A password in a URL is an error, and must not be shown.
        Raw::Text(text) if text.contains("://") && text.contains('@') => HIDDEN.to_owned(),
        Raw::Text(text) if !matches!(layer, Layer::File | Layer::Item) && is_plain(text) => text.clone(),
        raw => raw.show(),
    }
}

fn is_plain(text: &str) -> bool {
    matches!(text, "true" | "false") || text.parse::<i64>().is_ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_setting_is_shown_with_its_origin_and_no_secret_is() {
        let mut typed = Typed::new(None);
        typed.put_flags(&vec![("sls.start", "-2h".to_owned())]);
        let environment = [("FORWARDER_HEC_TOKEN", "c4n4ry"), ("SLS_PROJECT", "p"), ("FORWARDER_HEC_GZIP", "true")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.into())).into();
        assert!(typed.put_environment(&environment).is_empty());
        let line = ValueOrigin::File { name: "hec.url", file: Path::new("f.toml").to_owned(), line: 3 };
        typed.common.put(keys::find("hec.url").unwrap(), Layer::File, line, Raw::Text("http://x".to_owned()));
        typed.vars.insert("salt".to_owned(), "c4n4ry".into());
        let all = of(&typed);
        assert!(all.len() > 80);
        let shown = |name: &str| {
            let found = all.iter().find(|setting| setting.row.name == name).unwrap();
            format!("{} ({})", found.value.as_deref().unwrap_or("-"), found.origin)
        };
        assert_eq!(shown("sls.start"), "\"-2h\" (--start)");
        assert_eq!(shown("hec.token"), "(not shown) (FORWARDER_HEC_TOKEN)");
        assert_eq!(shown("sls.project"), "\"p\" (SLS_PROJECT)");
        assert_eq!(shown("hec.gzip"), "true (FORWARDER_HEC_GZIP)");
        assert_eq!(shown("hec.url"), "\"http://x\" (f.toml line 3)");
        assert_eq!(shown("hec.timeout"), "\"120s\" (the default)");
        assert_eq!(shown("script.vars"), "{ salt = (not shown) } (the settings file)");
        assert_eq!(shown("sls.logstore"), "- (not given)");
        assert!(!format!("{all:?}").contains("c4n4ry"));
    }
}
