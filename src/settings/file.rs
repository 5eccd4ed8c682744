//! Reads the settings file: TOML to typed settings, with the line of each.

use std::path::Path;
use std::string::FromUtf8Error;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::keys;
use super::keys::{Array, Kind, Row, Scope};
use super::problem::{Complaint, Problem, nearest};
use super::raw::Raw;
use super::typed::{Item, Layer, Typed, ValueOrigin, Values};
use crate::core::named_file;
use crate::core::named_file::MAX_SETTINGS;
use crate::core::printable::excerpt;

/// Adds the settings of a file; returns its problems. A file that is not TOML gives no settings.
///
/// Messages name keys and lines and never quote the file: it may hold a token.
///
/// # Errors
/// The file can't be read, or is not TOML: no other problem is reported then.
pub(super) fn read(path: &Path, typed: &mut Typed) -> Result<Vec<Problem>, Vec<Problem>> {
    let text = named_file::read_trusted(path, MAX_SETTINGS).map_err(|error| vec![unreadable(path, &error)])?;
    let text = String::from_utf8(text).map_err(|error| vec![not_text(path, &error)])?;
    let (root, mut errors) = DeTable::parse_recoverable(&text);
    if !errors.is_empty() {
        errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
        let mut problems: Vec<_> = errors.iter().map(|error| not_toml(path, &text, error)).collect();
        problems.dedup();
        return Err(problems);
    }
    let mut file = File { path, text: &text, typed, problems: Vec::new() };
    for (name, value) in root.get_ref() {
        match value.get_ref() {
            DeValue::Array(items) if keys::is_array(name.get_ref()) => file.take_items(name, items),
            DeValue::Table(table) if is_table(name.get_ref()) => file.take_table(name.get_ref(), table),
            DeValue::String(_) if name.get_ref() == "script" => file.take("script.file", value),
            other => file.refuse_at_top(name, other),
        }
    }
    let problems = file.problems;
    let table = text.parse::<toml::Table>().expect("it was just parsed as TOML");
    if let Some(toml::Value::Table(vars)) = table.get("script").and_then(|script| script.get("vars")) {
        typed.vars = vars.clone();
    }
    Ok(problems)
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
    typed: &'a mut Typed,
    problems: Vec<Problem>,
}

impl File<'_> {
    fn take_table(&mut self, table: &str, entries: &DeTable<'_>) {
        for (name, value) in entries {
            let full = format!("{table}.{}", name.get_ref());
            match (keys::find(&full), value.get_ref()) {
                (Some(Row { kind: Kind::Table, .. }), DeValue::Table(_)) => {}
                (Some(Row { kind: Kind::Table, name, .. }), _) => {
                    let complaint = Complaint::new(format!("{name} is not a table"), format!("write it as [{name}]"));
                    self.complain(value, complaint);
                }
                (Some(key), _) if matches!(key.kind, Kind::EnvironmentSecret) => {
                    self.complain(value, misplaced_secret(key));
                }
                (Some(key), _) => self.take(key.name, value),
                (None, _) => self.refuse(table, name),
            }
        }
    }

    fn take(&mut self, name: &'static str, value: &Spanned<DeValue<'_>>) {
        let key = keys::find(name).expect("the caller found it");
        let origin = ValueOrigin::File { name: key.name, file: self.path.to_owned(), line: self.line(value) };
        self.typed.common.put(key, Layer::File, origin, self.raw(key, value));
    }

    /// The items of an array of tables.
    fn take_items(&mut self, name: &Spanned<DeString<'_>>, items: &DeArray<'_>) {
        for (at, item) in items.iter().enumerate() {
            match item.get_ref() {
                DeValue::Table(entries) => {
                    if let Some(array) = self.array_of(name.get_ref(), item, entries) {
                        self.take_item(array, at + 1, item, entries);
                    }
                }
                _ => self.complain(item, misplaced_item(name.get_ref())),
            }
        }
    }

    /// The array of an item, by its type if several arrays have the name.
    fn array_of(&mut self, name: &str, whole: &Spanned<DeValue<'_>>, entries: &DeTable<'_>) -> Option<&'static Array> {
        let typed = entries.iter().find(|(key, _)| key.get_ref() == "type").map(|(_, value)| value);
        let text = typed.and_then(|value| value.get_ref().as_str());
        let found = keys::arrays(name).find(|array| array.of_type.is_none() || array.of_type == text);
        if found.is_none() {
            let types: Vec<&str> = keys::arrays(name).filter_map(|array| array.of_type).collect();
            let what = match text {
                Some(text) => format!("{:?} is not a type of {name}", excerpt(text)),
                None => format!("a {name} has no type"),
            };
            self.complain(
                typed.unwrap_or(whole),
                Complaint::new(what, format!("write type = \"…\" with one of {}", types.join(", "))),
            );
        }
        found
    }

    fn take_item(&mut self, array: &'static Array, number: usize, whole: &Spanned<DeValue<'_>>, entries: &DeTable<'_>) {
        let name =
            entries.iter().find(|(key, _)| key.get_ref() == "name").and_then(|(_, value)| value.get_ref().as_str());
        let label = match name.filter(|name| !name.is_empty()) {
            Some(name) => format!("{} {}", array.name, excerpt(name)),
            None => format!("{} number {number}", array.name),
        };
        let place = format!("{} line {}", self.path.display(), self.line(whole));
        let mut item = Item { array, label, place, values: Values::default() };
        for (name, value) in entries {
            let key = name.get_ref().as_ref();
            match keys::of_item(array).find(|row| row.parts().1 == key) {
                Some(row) if matches!(row.kind, Kind::EnvironmentSecret) => {
                    self.complain(value, misplaced_secret_of_item(row, &item.label));
                }
                Some(row) => {
                    let (file, line) = (self.path.to_owned(), self.line(value));
                    let origin = ValueOrigin::Item { key: row.parts().1, item: item.label.clone(), file, line };
                    item.values.put(row, Layer::Item, origin, self.raw(row, value));
                }
                None => self.refuse_in_item(&item, name),
            }
        }
        self.typed.items.push(item);
    }

    /// A value as it was typed.
    fn raw(&self, key: &Row, value: &Spanned<DeValue<'_>>) -> Raw {
        match value.get_ref() {
            DeValue::String(text)
                if matches!(key.kind, Kind::Path) && !text.is_empty() && !text.contains(char::is_control) =>
            {
                Raw::Path(self.path.parent().map_or_else(|| text.as_ref().into(), |dir| dir.join(text.as_ref())))
            }
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Datetime(time) => Raw::Text(time.to_string()),
            DeValue::Boolean(switch) => Raw::Switch(*switch),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => Raw::Integer(integer),
                Err(_) => Raw::Other("a number that is too large"),
            },
            DeValue::Float(_) => Raw::Other("a number with a fraction"),
            DeValue::Array(parts) if matches!(key.kind, Kind::List) => {
                let parts: Option<Vec<_>> = parts.iter().map(|part| part.get_ref().as_str()).collect();
                parts.map_or(Raw::Other("an array with something else than text"), |parts| Raw::Text(parts.join(", ")))
            }
            DeValue::Array(_) => Raw::Other("an array"),
            DeValue::Table(_) => Raw::Other("a table"),
        }
    }

    /// An unknown key in an item of an array.
    fn refuse_in_item(&mut self, item: &Item, name: &Spanned<DeString<'_>>) {
        let typed = name.get_ref().as_ref();
        let own = |row: &&'static Row| keys::of_item(item.array).any(|own| own.name == row.name);
        let keys: Vec<_> = keys::of_item(item.array).map(|row| row.parts().1).collect();
        let meant = suggest(Some(item.array.table), typed).and_then(keys::find);
        let near = meant.filter(own).map(|row| row.parts().1).or_else(|| nearest(typed, keys.iter().copied()));
        let elsewhere = meant.filter(|row| row.parts().1 == typed || near.is_none());
        let fix = match (elsewhere, near) {
            (Some(Row { name, .. }), _) => format!("{name} is given once for the process, not for each item"),
            (None, Some(near)) => format!("did you mean {near}?"),
            (None, None) => format!("[[{}]] takes {}", item.array.name, keys.join(", ")),
        };
        self.complain(name, Complaint::new(format!("{typed:?} is not a setting of {}", item.label), fix));
    }

    /// An unknown key in a known table.
    fn refuse(&mut self, table: &str, name: &Spanned<DeString<'_>>) {
        let typed = name.get_ref().as_ref();
        let fix = suggest_all(table, typed).map_or_else(
            || {
                let known: Vec<_> = keys::all().map(Row::parts).filter(|(t, _)| *t == table).map(|(_, n)| n).collect();
                format!("[{table}] takes {}", known.join(", "))
            },
            |meant| format!("did you mean {meant}?"),
        );
        self.complain(name, Complaint::new(format!("{typed:?} is not a setting of [{table}]"), fix));
    }

    /// An unknown key at the top of the file.
    fn refuse_at_top(&mut self, name: &Spanned<DeString<'_>>, value: &DeValue<'_>) {
        let typed = name.get_ref().as_ref();
        let complaint = if keys::is_array(typed) {
            misplaced_item(typed)
        } else if is_table(typed) {
            let complaint =
                Complaint::new(format!("{typed:?} is a table of settings"), format!("write it as [{typed}]"));
            self.complain(name, complaint);
            return;
        } else if value.is_table() {
            let fix = nearest(typed, tables()).map_or_else(
                || format!("the tables are [{}]", tables().join("], [")),
                |meant| format!("did you mean [{meant}]?"),
            );
            Complaint::new(format!("[{typed}] is not a table of settings"), fix)
        } else {
            let fix = suggest(None, typed).map_or_else(
                || "docs/settings.md lists all settings".to_owned(),
                |meant| format!("did you mean {meant}?"),
            );
            Complaint::new(format!("{typed:?} is not a setting"), fix)
        };
        self.complain(name, complaint);
    }

    fn complain<T>(&mut self, at: &Spanned<T>, complaint: Complaint) {
        let place = format!("{} line {}", self.path.display(), self.line(at));
        self.problems.push(complaint.at(place));
    }

    fn line<T>(&self, at: &Spanned<T>) -> usize {
        line_of(self.text, at.span().start)
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Complaint::new(
        format!("the settings file can't be read: {error}"),
        "check the path given with --config or FORWARDER_CONFIG, and its permissions",
    )
    .at(path.display().to_string())
}

fn not_text(path: &Path, error: &FromUtf8Error) -> Problem {
    let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
    Complaint::new("the settings file is not UTF-8 text", "save it as UTF-8")
        .at(format!("{} line {line}", path.display()))
}

fn not_toml(path: &Path, text: &str, error: &toml::de::Error) -> Problem {
    let at = error.span().map_or(0, |span| span.start);
    let (before, from) = text.split_at(text[..at].rfind('\n').map_or(0, |end| end + 1));
    let is_script = |line: &str| line.strip_prefix("script").is_some_and(|rest| rest.trim_start().starts_with('='));
    let is_table = from.starts_with("[script]") || from.starts_with("[script.");
    let complaint = if is_table && before.lines().any(is_script) {
        Complaint::new(
            "there is script = \"…\" at the top and a table [script] as well, and TOML can't have both",
            "write file = \"…\" under [script], and leave the line at the top out",
        )
    } else {
        Complaint::new(
            format!("this is not TOML: {}", error.message()),
            "write settings as name = \"text\", name = 1 or name = true, under headings such as [hec]",
        )
    };
    complaint.at(format!("{} line {}", path.display(), line_of(text, at)))
}

fn misplaced_secret(key: &Row) -> Complaint {
    let variable = key.variable().expect("only tables have no variable");
    let file = format!("{}_file", key.name);
    Complaint::new(
        format!("{} does not belong in a settings file: such files are copied and committed", key.name),
        format!("put it in a file of its own and name that with {file}, or set {variable}; then revoke this one"),
    )
}

fn misplaced_secret_of_item(key: &Row, item: &str) -> Complaint {
    Complaint::new(
        format!("{} of {item} does not belong in a settings file: such files are copied and committed", key.parts().1),
        format!("put it in a file of its own and name that with {}_file; then revoke this one", key.parts().1),
    )
}

fn misplaced_item(array: &str) -> Complaint {
    let what = format!("{array:?} is a list of tables, one for each {array}");
    Complaint::new(what, format!("begin each with a line [[{array}]]"))
}

/// The tables of the settings file, in order.
fn tables() -> Vec<&'static str> {
    let mut tables: Vec<_> = keys::all().filter(|key| key.scope != Scope::Item).map(|key| key.parts().0).collect();
    tables.dedup();
    tables
}

fn is_table(name: &str) -> bool {
    tables().contains(&name)
}

/// As [`suggest`]; all settings that together are what a plural means.
fn suggest_all(table: &str, typed: &str) -> Option<String> {
    let known_as = keys::all().filter(|key| key.known_as.contains(&typed));
    let names: Vec<_> = known_as.map(|key| key.name).collect();
    if names.len() > 1 { Some(names.join(" and ")) } else { suggest(Some(table), typed).map(str::to_owned) }
}

/// The likely intended setting: a name from the vendor's scripts, the same name in another table, a similar one in
/// the same table, or a similar one anywhere.
fn suggest(table: Option<&str>, typed: &str) -> Option<&'static str> {
    let here = || keys::all().filter(|key| table.is_none_or(|table| key.parts().0 == table));
    let by_name = |keys: &mut dyn Iterator<Item = &'static Row>| {
        let names: Vec<_> = keys.map(|key| (key.parts().1, key.name)).collect();
        let meant = nearest(typed, names.iter().map(|(name, _)| *name))?;
        names.iter().find(|(name, _)| *name == meant).map(|(_, full)| *full)
    };
    let known_as = keys::all().find(|key| key.known_as.iter().any(|name| name.eq_ignore_ascii_case(typed)));
    known_as
        .or_else(|| keys::all().find(|key| key.parts().1 == typed))
        .map(|key| key.name)
        .or_else(|| by_name(&mut here()))
        .or_else(|| by_name(&mut keys::all()))
        .or_else(|| nearest(typed, keys::all().map(|key| key.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_gets_a_suggestion() {
        let check = |table, typed: &str, meant| assert_eq!(suggest(table, typed), meant, "{table:?} {typed}");
        check(Some("hec"), "timout", Some("hec.timeout"));
        check(Some("hec"), "ssl_verify", Some("hec.verify"));
        check(Some("hec"), "start", Some("sls.start"));
        check(Some("sls"), "cursor_start_time", Some("sls.start"));
        check(Some("sls"), "data_fetch_interval", Some("sls.fetch_interval"));
        check(Some("sls"), "token_file", Some("hec.token_file"));
        check(None, "memory", Some("script.memory"));
        check(None, "drain_timeout", Some("run.drain_timeout"));
        check(Some("hec"), "urls", Some("hec.url"));
        check(Some("hec"), "colour", None);
        assert_eq!(suggest_all("hec", "token_files").as_deref(), Some("hec.token_file and hec.next_token_file"));
        assert_eq!(suggest_all("hec", "timout").as_deref(), Some("hec.timeout"));
    }
}
