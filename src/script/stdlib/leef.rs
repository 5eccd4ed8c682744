//! `leef.encode`: the Log Event Extended Format of QRadar.
//!
//! `LEEF:1.0|vendor|product|version|id|key=value<TAB>key=value`; LEEF 2.0 names the delimiter in one more field
//! (QRadar Log Source User Guide, "LEEF event components"). The format has no escapes, so characters that would end a
//! value are replaced.

use mlua::{Lua, LuaString, Table, Value};

use super::cef::encoder;
use super::fields::{Fields, check_known, clean_names, fields, header};
use super::native::{MAX_BYTES, Raise, answering};

const NAME: &str = "leef.encode";

const PARTS: [&str; 7] = ["leef", "vendor", "product", "version", "id", "delimiter", "attributes"];

/// The LEEF version, with the delimiter of the attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 1.0: attributes are separated by tabs.
    One,
    /// 2.0 with this delimiter. With `None`, a tab, or another character if a value contains a tab.
    Two(Option<u8>),
}

/// Possible delimiters, in order of preference. The first is used when values contain all of them.
const DELIMITERS: [u8; 8] = *b"\t^;,~#!*";

/// The parts of a LEEF header in order: vendor, product, version, id.
pub type Header = [Vec<u8>; 4];

/// Puts `leef` into `globals`.
pub(super) fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let library = lua.create_table()?;
    library.set("encode", encoder(lua, globals, NAME, "attributes", answering(lua, native)?)?)?;
    globals.set("leef", library)
}

fn native(lua: &Lua, (parts, list): (Table, Table)) -> Result<LuaString, Raise> {
    check_known(NAME, &parts, &PARTS)?;
    let mut head = Header::default();
    for (part, name) in head.iter_mut().zip(&PARTS[1..5]) {
        *part = header(NAME, &parts, name)?;
    }
    let version = version(&parts.raw_get::<Value>("leef")?, &parts.raw_get::<Value>("delimiter")?)?;
    let line = encode(version, &head, &fields(&list)?);
    if line.len() > MAX_BYTES {
        return Err(Raise::Text(format!("{NAME}: more than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(lua.create_string(line)?)
}

fn version(version: &Value, delimiter: &Value) -> Result<Version, Raise> {
    let text = |value: &Value| value.as_string().map(LuaString::to_string_lossy);
    let delimiter = match delimiter {
        Value::Nil => None,
        value => match text(value).as_deref().map(str::as_bytes) {
            Some(&[byte]) if is_delimiter(byte) => Some(byte),
            _ => {
                return Err(Raise::Text(format!(
                    "{NAME}: `delimiter` must be a tab or one of the signs that no name can have, such as \"^\""
                )));
            }
        },
    };
    match (version.is_nil(), text(version).as_deref(), delimiter) {
        (true, _, None) | (_, Some("1.0"), None | Some(b'\t')) => Ok(Version::One),
        (true, ..) | (_, Some("2.0"), _) => Ok(Version::Two(delimiter)),
        (_, Some("1.0"), _) => Err(Raise::Text(format!("{NAME}: LEEF 1.0 has no `delimiter` but the tab: use 2.0"))),
        _ => Err(Raise::Text(format!("{NAME}: `leef` must be \"1.0\" or \"2.0\""))),
    }
}

/// Whether a byte may be a delimiter: it may not occur in a name, separate a name from its value, or end the header
/// or a C string.
fn is_delimiter(byte: u8) -> bool {
    byte == b'\t' || (byte.is_ascii_punctuation() && !matches!(byte, b'=' | b'|' | b'_' | b'.' | b'-' | b'\\'))
}

/// Writes one line. A `|` or a line break in the header, and a delimiter or a line break in a value, become a space.
pub fn encode(version: Version, head: &Header, fields: &Fields) -> Vec<u8> {
    let (mut line, delimiter) = match version {
        Version::One => (b"LEEF:1.0|".to_vec(), b'\t'),
        Version::Two(delimiter) => (b"LEEF:2.0|".to_vec(), delimiter.unwrap_or_else(|| unused(fields))),
    };
    for part in head {
        line.extend(part.iter().map(|&byte| if matches!(byte, b'|' | b'\n' | b'\r') { b' ' } else { byte }));
        line.push(b'|');
    }
    match (version, delimiter) {
        (Version::One, _) => {}
        (Version::Two(_), b'\t') => line.extend_from_slice(b"x09|"),
        (Version::Two(_), delimiter) => line.extend_from_slice(&[delimiter, b'|']),
    }
    let names = clean_names(fields, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    for (nth, (name, (_, value))) in names.iter().zip(fields).enumerate() {
        if nth > 0 {
            line.push(delimiter);
        }
        line.extend_from_slice(name);
        line.push(b'=');
        let breaks = |byte| byte == delimiter || matches!(byte, b'\n' | b'\r');
        line.extend(value.iter().map(|&byte| if breaks(byte) { b' ' } else { byte }));
    }
    line
}

/// A delimiter that no value contains.
fn unused(fields: &Fields) -> u8 {
    let is_unused = |delimiter: &&u8| fields.iter().all(|(_, value)| !value.contains(delimiter));
    *DELIMITERS.iter().find(is_unused).unwrap_or(&DELIMITERS[0])
}

#[cfg(test)]
mod tests {
    use crate::script::stdlib::tests::check;

    fn writes(parts: &str, expected: &str) {
        check(&format!(
            "local got = leef.encode{{ vendor = 'Alibaba', product = 'Trail', version = '1', id = 'ConsoleSignin', {parts} }}
             assert(got == '{expected}', got)"
        ));
    }

    #[test]
    fn version_1_separates_by_tabs() {
        writes(
            "attributes = { src = '10.0.0.1', cat = 'login' }",
            "LEEF:1.0|Alibaba|Trail|1|ConsoleSignin|cat=login\\tsrc=10.0.0.1",
        );
        writes(
            "attributes = { { 'src', '10.0.0.1' }, { 'cat', 'a=b' } }",
            "LEEF:1.0|Alibaba|Trail|1|ConsoleSignin|src=10.0.0.1\\tcat=a=b",
        );
    }

    #[test]
    fn version_2_names_its_delimiter() {
        writes(
            "leef = '2.0', delimiter = '^', attributes = { a = '1', b = '2^3' }",
            "LEEF:2.0|Alibaba|Trail|1|ConsoleSignin|^|a=1^b=2 3",
        );
        writes(
            "leef = '2.0', delimiter = '\\t', attributes = { a = '1', b = '2\\t3' }",
            "LEEF:2.0|Alibaba|Trail|1|ConsoleSignin|x09|a=1\\tb=2 3",
        );
        writes("delimiter = ';', attributes = {}", "LEEF:2.0|Alibaba|Trail|1|ConsoleSignin|;|");
    }

    #[test]
    fn version_2_chooses_a_delimiter_that_no_value_has() {
        let chosen = |value: &str, expected: &str| {
            let parts = format!("leef = '2.0', attributes = {{ a = '1', b = '{value}' }}");
            writes(&parts, &format!("LEEF:2.0|Alibaba|Trail|1|ConsoleSignin|{expected}"));
        };
        chosen("2", "x09|a=1\\tb=2");
        chosen("2\\t3", "^|a=1^b=2\\t3");
        chosen("2\\t3^4", ";|a=1;b=2\\t3^4");
        chosen("\\t^;,~#!*", "x09|a=1\\tb= ^;,~#!*");
    }

    #[test]
    fn leef_values_cannot_end_early() {
        writes("attributes = { msg = 'a\\tb\\r\\nc' }", "LEEF:1.0|Alibaba|Trail|1|ConsoleSignin|msg=a b  c");
        check(
            "local got = leef.encode{ vendor = 'a|b', product = 'c\\nd', version = 2, id = 'x' }
             assert(got == 'LEEF:1.0|a b|c d|2|x|', got)",
        );
    }

    #[test]
    fn an_invalid_argument_is_an_error_that_names_it() {
        #[track_caller]
        fn fails(parts: &str, expected: &str) {
            check(&format!(
                "local ok, why = pcall(function()
                   local x = leef.encode{{ vendor = 'v', product = 'p', version = 'v', id = 'i', {parts} }} end)
                 assert(not ok and why:find([[{expected}]], 1, true), why)"
            ));
        }
        fails("leef = '3.0'", "leef.encode: `leef` must be \"1.0\" or \"2.0\"");
        fails("leef = '1.0', delimiter = '^'", "LEEF 1.0 has no `delimiter`");
        for delimiter in ["a", "=", "|", "_", "^^", "", "\\n", " "] {
            fails(&format!("leef = '2.0', delimiter = '{delimiter}'"), "leef.encode: `delimiter` must be a tab");
        }
        fails("attribute = {}", "there is no `attribute`");
    }
}
