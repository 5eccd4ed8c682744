//! `url.parse` and `url.query`; the other functions of `url` are in `encode`.

use mlua::{Lua, LuaString, Table, Value};

use super::encode::url_decode;
use super::native::{Raise, function, text};

/// Maximum number of names in a query.
const MAX_NAMES: usize = 1000;

/// Adds the functions to the library `url`.
pub(super) fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let library: Table = globals.get("url")?;
    library.set("parse", function(lua, parse)?)?;
    library.set("query", function(lua, query)?)
}

/// `url.parse(text)` → a table of the parts that the text has.
fn parse(lua: &Lua, value: Value) -> Result<Table, Raise> {
    let value = text(lua, 1, value)?;
    let bytes = value.as_bytes();
    let parts = Parts::of(&bytes);
    let table = lua.create_table()?;
    for (name, part) in [
        ("scheme", parts.scheme.map(<[u8]>::to_ascii_lowercase)),
        ("user", parts.user.map(<[u8]>::to_vec)),
        ("host", parts.host.map(<[u8]>::to_ascii_lowercase)),
        ("port", parts.port.map(<[u8]>::to_vec)),
        ("path", Some(parts.path.to_vec())),
        ("query", parts.query.map(<[u8]>::to_vec)),
        ("fragment", parts.fragment.map(<[u8]>::to_vec)),
    ] {
        if let Some(part) = part {
            table.raw_set(name, lua.create_string(part)?)?;
        }
    }
    Ok(table)
}

/// `url.query(text)` → a table of decoded names and values. Reads the part after the `?`, or the whole text when
/// there is none.
fn query(lua: &Lua, value: Value) -> Result<Table, Raise> {
    let value = text(lua, 1, value)?;
    let bytes = value.as_bytes();
    let bytes = bytes.split(|&byte| byte == b'#').next().unwrap_or_default();
    let query = memchr::memchr(b'?', bytes).map_or(bytes, |at| &bytes[at + 1..]);
    let table = lua.create_table()?;
    let pairs = query.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
    for pair in pairs.take(MAX_NAMES) {
        let (name, value) = split(pair, b'=').map_or((pair, &[][..]), |(name, value)| (name, value));
        table.raw_set(plain(lua, name)?, plain(lua, value)?)?;
    }
    Ok(table)
}

/// Decodes a form value: `+` is a space. Invalid percent-encoding stays unchanged.
fn plain(lua: &Lua, text: &[u8]) -> mlua::Result<LuaString> {
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    lua.create_string(url_decode(&spaced).unwrap_or(spaced))
}

/// The parts of a URI reference (RFC 3986 appendix B), not decoded.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts<'a> {
    scheme: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    port: Option<&'a [u8]>,
    path: &'a [u8],
    query: Option<&'a [u8]>,
    fragment: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a [u8]) -> Self {
        let mut parts = Self::default();
        let (rest, fragment) = split(text, b'#').map_or((text, None), |(rest, behind)| (rest, Some(behind)));
        let (rest, query) = split(rest, b'?').map_or((rest, None), |(rest, behind)| (rest, Some(behind)));
        (parts.fragment, parts.query) = (fragment, query);
        let rest = match split(rest, b':') {
            Some((scheme, behind)) if is_scheme(scheme) => {
                parts.scheme = Some(scheme);
                behind
            }
            _ => rest,
        };
        let Some(behind) = rest.strip_prefix(b"//") else {
            parts.path = rest;
            return parts;
        };
        let (authority, path) = behind.split_at(memchr::memchr(b'/', behind).unwrap_or(behind.len()));
        parts.path = path;
        let host = match memchr::memrchr(b'@', authority) {
            Some(at) => {
                parts.user = Some(&authority[..at]);
                &authority[at + 1..]
            }
            None => authority,
        };
        // In [2001:db8::1]:443, the colons in the brackets do not begin the port.
        let closed = memchr::memrchr(b']', host).map_or(0, |at| at + 1);
        let colon = memchr::memchr(b':', &host[closed..]).map(|at| closed + at);
        parts.port = colon.map(|at| &host[at + 1..]).filter(|port| !port.is_empty());
        let host = &host[..colon.unwrap_or(host.len())];
        parts.host = Some(host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host));
        parts
    }
}

fn is_scheme(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// The parts before and after the first `separator`.
fn split(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    memchr::memchr(separator, text).map(|at| (&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::script::stdlib::tests::check;

    #[test]
    fn a_url_has_its_parts() {
        check(
            "local u = url.parse('HTTPS://ada@Ecs.Aliyuncs.com:8443/a%20b?x=1&y=2#top')
             assert(u.scheme == 'https' and u.user == 'ada' and u.host == 'ecs.aliyuncs.com' and u.port == '8443')
             assert(u.path == '/a%20b' and u.query == 'x=1&y=2' and u.fragment == 'top')",
        );
        check(
            "local u = url.parse('/index.html?q') assert(u.path == '/index.html' and u.query == 'q' and u.host == nil)",
        );
        check("local u = url.parse('http://[2001:db8::1]:80/') assert(u.host == '2001:db8::1' and u.port == '80')");
        check("local u = url.parse('http://[::1]') assert(u.host == '::1' and u.port == nil and u.path == '')");
        check("local u = url.parse('') assert(u.path == '' and u.scheme == nil)");
    }

    #[test]
    fn a_query_has_names_and_values() {
        check(
            "local q = url.query('/login?user=a+b&x=%2F&flag&x=2#f') assert(q.user == 'a b' and q.x == '2' and q.flag == '')",
        );
        check("local q = url.query('a=1&&b=%zz') assert(q.a == '1' and q.b == '%zz')");
        check("local q = url.query(('k=v&'):rep(10) .. 'a=b') assert(q.k == 'v' and q.a == 'b')");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_nothing_is_added(text: Vec<u8>) {
            let parts = Parts::of(&text);
            let found = [parts.scheme, parts.user, parts.host, parts.port, Some(parts.path), parts.query, parts.fragment];
            prop_assert!(found.iter().flatten().map(|part| part.len()).sum::<usize>() <= text.len());
        }
    }
}
