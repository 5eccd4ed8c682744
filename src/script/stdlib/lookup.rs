//! `lookup`: lookup tables from files in the script's directory.
//!
//! The content is part of the script's version. It is parsed at the first use, once per Lua state, and stays in Rust.
//! Each lookup returns a new value, which may become part of an event, and whose changes do not affect the next log.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mlua::{Function, IntoLuaMulti as _, Lua, MetaMethod, MultiValue, Table, Value};
use serde_json::value::RawValue;

use super::native::{Raise, function, number, text, text_or_none};
use crate::script::values::json::accept;
use crate::script::{Files, Script};

/// Maximum size of all lookup files of one Lua state, in bytes, because parsing cannot be interrupted.
const MAX_BYTES: usize = 16 << 20;

/// Puts `lookup` into `globals`, which must already contain `json`.
pub(crate) fn install(lua: &Lua, globals: &Table, script: &Script) -> mlua::Result<()> {
    let decode: Function = globals.get::<Table>("json")?.get("decode")?;
    let opened = Opened {
        files: script.files.clone(),
        room: Arc::new(AtomicUsize::new(MAX_BYTES)),
        tables: lua.create_table()?,
    };
    let library = lua.create_table()?;
    let tables = opened.clone();
    library.set("csv", function(lua, move |lua, arguments| csv(lua, &tables, arguments))?)?;
    library.set("json", function(lua, move |lua, file| json(lua, &opened, &decode, file))?)?;
    globals.set("lookup", library)
}

/// `lookup.csv(file, key_column [, value_column])` → a table of rows, or of the texts of one column.
fn csv(lua: &Lua, opened: &Opened, (file, key, value): (Value, Value, Value)) -> Result<Table, Raise> {
    let file = text(lua, 1, file)?.to_string_lossy();
    let key = text(lua, 2, key)?.to_string_lossy();
    let value = text_or_none(lua, 3, value)?.map(|value| value.to_string_lossy());
    let name = format!("csv\0{file}\0{key}\0{}", value.as_deref().unwrap_or("\0"));
    opened.table(lua, "lookup.csv", &file, &name, |content| {
        let rows = Csv::read(content)?;
        let column = |name: &str| {
            let found = rows.header.iter().position(|column| column == name.as_bytes());
            found.ok_or_else(|| format!("there is no column '{name}'; there are {}", rows.columns()))
        };
        let key = column(&key)?;
        let value = value.as_deref().map(column).transpose()?;
        let by_key = rows.by_key(key)?;
        let rows = Arc::new(rows);
        let order = Arc::clone(&rows);
        let row = move |lua: &Lua, row: usize| match value {
            Some(column) => Ok(Value::String(lua.create_string(&rows.rows[row][column])?)),
            None => {
                let table = lua.create_table_with_capacity(0, rows.header.len())?;
                for (column, text) in rows.header.iter().zip(&rows.rows[row]) {
                    table.raw_set(lua.create_string(column)?, lua.create_string(text)?)?;
                }
                Ok(Value::Table(table))
            }
        };
        Ok(Entries {
            find: Box::new(move |wanted| by_key.get(wanted).copied()),
            key: Box::new(move |at| order.rows.get(at).map(|row| row[key].clone())),
            value: Box::new(row),
        })
    })
}

/// `lookup.json(file)` → a table of the members of the object in the file, each as a result of `json.decode`.
fn json(lua: &Lua, opened: &Opened, decode: &Function, file: Value) -> Result<Table, Raise> {
    let file = text(lua, 1, file)?.to_string_lossy();
    opened.table(lua, "lookup.json", &file, &format!("json\0{file}"), |content| {
        let members: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(content).map_err(|error| format!("it is not a JSON object: {error}"))?;
        for (key, value) in &members {
            accept::check(value.get().as_bytes()).map_err(|why| format!("{key:?}: {why}"))?;
        }
        let members: Vec<(Vec<u8>, Box<RawValue>)> =
            members.into_iter().map(|(key, value)| (key.into_bytes(), value)).collect();
        let (members, decode) = (Arc::new(members), decode.clone());
        let (sought, order) = (Arc::clone(&members), Arc::clone(&members));
        Ok(Entries {
            find: Box::new(move |wanted| sought.binary_search_by(|(key, _)| key.as_slice().cmp(wanted)).ok()),
            key: Box::new(move |at| order.get(at).map(|(key, _)| key.clone())),
            value: Box::new(move |_, at| decode.call(members[at].1.get())),
        })
    })
}

/// Finds the index of the entry with this key.
type Find = Box<dyn Fn(&[u8]) -> Option<usize> + Send>;
/// Creates a copy of the entry at an index.
type Read = Box<dyn Fn(&Lua, usize) -> mlua::Result<Value> + Send>;

/// The entries of a file, in its order.
struct Entries {
    find: Find,
    /// The key of the entry at an index.
    key: Box<dyn Fn(usize) -> Option<Vec<u8>> + Send>,
    value: Read,
}

/// The files of one Lua state.
#[derive(Clone)]
struct Opened {
    files: Files,
    room: Arc<AtomicUsize>,
    /// The tables created from them, by call.
    tables: Table,
}

impl Opened {
    /// The table of a file, created with `read` at the first use.
    fn table(
        &self,
        lua: &Lua,
        function: &str,
        file: &str,
        name: &str,
        read: impl FnOnce(&[u8]) -> Result<Entries, String>,
    ) -> Result<Table, Raise> {
        if let Some(table) = self.tables.raw_get::<Option<Table>>(name)? {
            return Ok(table);
        }
        let refused = |why: String| Raise::Text(format!("{function}: {file}: {why}"));
        if file.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
            return Err(refused("expected the name of a file beside the script or in a directory below it".to_owned()));
        }
        let content = self.files.get(file).map_err(refused)?;
        let room = self.room.load(Ordering::Relaxed);
        let Some(left) = room.checked_sub(content.len()) else {
            return Err(refused(format!("a script may look things up in {} MiB", MAX_BYTES >> 20)));
        };
        let entries = read(content).map_err(refused)?;
        self.room.store(left, Ordering::Relaxed);
        let table = face(lua, file, entries)?;
        self.tables.raw_set(name, &table)?;
        Ok(table)
    }
}

/// A read-only empty table that presents the entries.
fn face(lua: &Lua, file: &str, entries: Entries) -> mlua::Result<Table> {
    let entries = Arc::new(Mutex::new(entries));
    let lock = |entries: &Mutex<Entries>, at: &dyn Fn(&Entries) -> mlua::Result<MultiValue>| {
        at(&entries.lock().unwrap_or_else(PoisonError::into_inner))
    };
    let read = Arc::clone(&entries);
    let index = lua.create_function(move |lua, (_, key): (Value, Value)| {
        let digits = number(&key);
        let text = key.as_string().map(|text| text.as_bytes());
        let Some(wanted) = text.as_deref().or(digits.as_deref()) else { return Value::Nil.into_lua_multi(lua) };
        lock(&read, &|entries| match (entries.find)(wanted) {
            Some(at) => (entries.value)(lua, at)?.into_lua_multi(lua),
            None => Value::Nil.into_lua_multi(lua),
        })
    })?;
    let pairs = lua.create_function(move |lua, _: Value| {
        let (entries, place) = (Arc::clone(&entries), AtomicUsize::new(0));
        lua.create_function(move |lua, _: MultiValue| {
            let at = place.fetch_add(1, Ordering::Relaxed);
            lock(&entries, &|entries| match (entries.key)(at) {
                Some(key) => (lua.create_string(key)?, (entries.value)(lua, at)?).into_lua_multi(lua),
                None => Value::Nil.into_lua_multi(lua),
            })
        })
    })?;
    let name = file.to_owned();
    let refuse = function(lua, move |_, _: (Value, Value)| -> Result<(), Raise> {
        Err(Raise::Text(format!("the table of {name} cannot be written to: change the file, or keep it in a local")))
    })?;
    let meta = lua.create_table()?;
    meta.raw_set(MetaMethod::Index.name(), index)?;
    meta.raw_set(MetaMethod::Pairs.name(), pairs)?;
    meta.raw_set(MetaMethod::NewIndex.name(), refuse)?;
    meta.raw_set("__name", "lookup")?;
    meta.raw_set("__metatable", false)?;
    let table = lua.create_table()?;
    table.set_metatable(Some(meta))?;
    Ok(table)
}

/// A file of comma-separated values (RFC 4180): a header, and rows with the same number of columns.
#[derive(Debug, PartialEq, Eq)]
struct Csv {
    header: Vec<Vec<u8>>,
    rows: Vec<Vec<Vec<u8>>>,
    /// The line on which each row begins.
    lines: Vec<usize>,
}

impl Csv {
    fn read(text: &[u8]) -> Result<Self, String> {
        let mut records = Records { rest: text, line: 1 };
        let Some(header) = records.next().transpose()? else {
            return Err("it is empty: the first line names the columns".to_owned());
        };
        let mut csv = Self { header: header.1, rows: Vec::new(), lines: Vec::new() };
        for record in records {
            let (line, row) = record?;
            if row.len() != csv.header.len() {
                let (got, expected) = (row.len(), csv.header.len());
                return Err(format!("line {line} has {got} columns, and the header {expected}"));
            }
            csv.rows.push(row);
            csv.lines.push(line);
        }
        Ok(csv)
    }

    fn columns(&self) -> String {
        let names = self.header.iter().take(20).map(|name| String::from_utf8_lossy(name));
        names.collect::<Vec<_>>().join(", ")
    }

    fn by_key(&self, column: usize) -> Result<HashMap<Vec<u8>, usize>, String> {
        let mut by_key = HashMap::with_capacity(self.rows.len());
        for (at, row) in self.rows.iter().enumerate() {
            if let Some(before) = by_key.insert(row[column].clone(), at) {
                let (first, second) = (self.lines[before], self.lines[at]);
                let key = String::from_utf8_lossy(&row[column]);
                return Err(format!("the key '{key}' is on line {first} and again on line {second}"));
            }
        }
        Ok(by_key)
    }
}

/// The records of a CSV text with the lines on which they begin. Empty lines are skipped.
struct Records<'a> {
    rest: &'a [u8],
    line: usize,
}

impl Iterator for Records<'_> {
    type Item = Result<(usize, Vec<Vec<u8>>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(behind) = self.rest.strip_prefix(b"\r\n").or_else(|| self.rest.strip_prefix(b"\n")) {
            self.rest = behind;
            self.line += 1;
        }
        if self.rest.is_empty() {
            return None;
        }
        let line = self.line;
        let mut record = Vec::new();
        loop {
            match self.field() {
                Ok((field, goes_on)) => {
                    record.push(field);
                    if !goes_on {
                        return Some(Ok((line, record)));
                    }
                }
                Err(why) => {
                    self.rest = &[];
                    return Some(Err(why));
                }
            }
        }
    }
}

impl Records<'_> {
    /// A field, and whether another one follows in the same record.
    fn field(&mut self) -> Result<(Vec<u8>, bool), String> {
        let mut field = Vec::new();
        if let Some(inside) = self.rest.strip_prefix(b"\"") {
            let opened = self.line;
            self.rest = inside;
            loop {
                let Some(end) = memchr::memchr(b'"', self.rest) else {
                    return Err(format!("the quote that is opened on line {opened} is never closed"));
                };
                field.extend_from_slice(&self.rest[..end]);
                self.line += memchr::memchr_iter(b'\n', &self.rest[..end]).count();
                self.rest = &self.rest[end + 1..];
                let Some(behind) = self.rest.strip_prefix(b"\"") else { break };
                field.push(b'"');
                self.rest = behind;
            }
        } else {
            let end = memchr::memchr2(b',', b'\n', self.rest).unwrap_or(self.rest.len());
            let end =
                if self.rest[..end].ends_with(b"\r") && self.rest.get(end) == Some(&b'\n') { end - 1 } else { end };
            field.extend_from_slice(&self.rest[..end]);
            self.rest = &self.rest[end..];
        }
        if let Some(behind) = self.rest.strip_prefix(b",") {
            self.rest = behind;
            return Ok((field, true));
        }
        let ended = [b"\r\n".as_slice(), b"\n"].iter().find_map(|end| self.rest.strip_prefix(*end));
        match ended {
            Some(behind) => {
                self.rest = behind;
                self.line += 1;
            }
            None if self.rest.is_empty() => {}
            None => return Err(format!("line {} continues after a closing quote", self.line)),
        }
        Ok((field, false))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn reads(text: &str, expected: &[&[&str]]) {
        let csv = Csv::read(text.as_bytes()).unwrap();
        let all: Vec<Vec<String>> = std::iter::once(&csv.header)
            .chain(&csv.rows)
            .map(|row| row.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect())
            .collect();
        assert_eq!(all, expected, "{text:?}");
    }

    #[test]
    fn csv_is_read_as_rfc_4180_specifies() {
        reads("ip,host\n10.0.0.1,db\n", &[&["ip", "host"], &["10.0.0.1", "db"]]);
        reads("ip,host\r\n10.0.0.1,db", &[&["ip", "host"], &["10.0.0.1", "db"]]);
        reads("a,b\n\n\"x, \"\"y\"\"\nz\",\n", &[&["a", "b"], &["x, \"y\"\nz", ""]]);
        reads("a\n\"\"\n", &[&["a"], &[""]]);
        reads("a,b\n,\n", &[&["a", "b"], &["", ""]]);
    }

    #[test]
    fn a_malformed_table_is_an_error_that_names_the_line() {
        #[track_caller]
        fn fails(text: &str, expected: &str) {
            assert_eq!(Csv::read(text.as_bytes()).unwrap_err(), expected);
        }
        fails("", "it is empty: the first line names the columns");
        fails("a,b\n1,2\n\n3\n", "line 4 has 1 columns, and the header 2");
        fails("a,b\n\"x\ny\",2\n\"3,4\n", "the quote that is opened on line 4 is never closed");
        fails("a,b\n\"1\"x,2\n", "line 2 continues after a closing quote");
        let twice = Csv::read(b"a,b\n1,2\n1,3\n").unwrap();
        assert_eq!(twice.by_key(0).unwrap_err(), "the key '1' is on line 2 and again on line 3");
    }

    proptest! {
        #[test]
        fn quoted_values_round_trip(rows in prop::collection::vec(prop::array::uniform3("[a\",\r\n ]{0,5}"), 1..6)) {
            let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let text: String =
                rows.iter().map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(",") + "\r\n").collect();
            let csv = Csv::read(text.as_bytes()).unwrap();
            prop_assert_eq!(csv.header, rows[0].each_ref().map(|field| field.as_bytes().to_vec()));
            prop_assert_eq!(csv.rows.len(), rows.len() - 1);
            for (row, written) in csv.rows.iter().zip(&rows[1..]) {
                prop_assert_eq!(row, &written.each_ref().map(|field| field.as_bytes().to_vec()));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text: Vec<u8>) {
            let _ = Csv::read(&text);
        }
    }
}
