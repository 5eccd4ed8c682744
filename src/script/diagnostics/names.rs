//! The names that a script can use, and those that people try instead.

/// Parts of Lua that are not available, and their replacements.
pub(super) const SHUT: [(&str, &str); 14] = [
    ("os", "use time.now() and time.format()"),
    ("io", "write to the program's log with logger.info()"),
    ("package", ""),
    ("debug", ""),
    ("coroutine", ""),
    ("load", ""),
    ("loadstring", ""),
    ("dofile", ""),
    ("loadfile", ""),
    ("collectgarbage", ""),
    ("rawget", ""),
    ("rawset", ""),
    ("rawlen", ""),
    ("warn", "write to the program's log with logger.warn()"),
];

/// What a script has without a library.
pub(in crate::script) const BASE: [&str; 22] = [
    "_G",
    "_VERSION",
    "assert",
    "drop",
    "error",
    "getmetatable",
    "ipairs",
    "kv",
    "next",
    "pairs",
    "pcall",
    "print",
    "rawequal",
    "require",
    "select",
    "setmetatable",
    "settings",
    "state",
    "tonumber",
    "tostring",
    "type",
    "xpcall",
];

/// The libraries and their functions.
pub(super) const FUNCTIONS: [(&str, &[&str]); 17] = [
    ("base64", &["decode", "encode"]),
    ("cef", &["encode"]),
    ("hash", &["hmac_sha1", "hmac_sha256", "md5", "sha1", "sha256"]),
    ("hex", &["decode", "encode"]),
    ("ip", &["in_cidr", "is_private", "parse"]),
    ("json", &["array", "decode", "encode", "get"]),
    ("leef", &["encode"]),
    ("logfmt", &["encode"]),
    ("logger", &["debug", "error", "info", "warn"]),
    ("lookup", &["csv", "json"]),
    (
        "math",
        &[
            "abs",
            "acos",
            "asin",
            "atan",
            "atan2",
            "ceil",
            "cos",
            "cosh",
            "deg",
            "exp",
            "floor",
            "fmod",
            "frexp",
            "ldexp",
            "log",
            "log10",
            "max",
            "min",
            "modf",
            "pow",
            "rad",
            "random",
            "randomseed",
            "sin",
            "sinh",
            "sqrt",
            "tan",
            "tanh",
            "tointeger",
            "type",
            "ult",
        ],
    ),
    ("re", &["captures", "escape", "find", "gmatch", "gsub", "match"]),
    ("string", STRING),
    ("table", &["concat", "copy", "insert", "move", "pack", "remove", "sort", "unpack"]),
    ("time", &["format", "now", "parse"]),
    ("url", &["decode", "encode", "parse", "query"]),
    ("utf8", &["char", "codepoint", "codes", "len", "offset"]),
];

/// Methods of texts, too.
pub(super) const STRING: &[&str] = &[
    "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "pack", "packsize", "rep", "reverse",
    "sub", "unpack", "upper",
];

/// See [`FUNCTIONS`].
pub(super) const ALIASES: [(&str, &str); 8] = [
    ("json.parse", "json.decode"),
    ("json.loads", "json.decode"),
    ("json.stringify", "json.encode"),
    ("json.dumps", "json.encode"),
    ("string.split", "string.gmatch"),
    ("string.trim", "string.match(text, \"^%s*(.-)%s*$\")"),
    ("string.replace", "string.gsub"),
    ("table.join", "table.concat"),
];

/// Alternative names of event keys, known from other systems.
pub(super) const KNOWN_AS: [(&str, &str); 8] = [
    ("tag", "program"),
    ("app", "program"),
    ("appname", "program"),
    ("level", "severity"),
    ("priority", "severity"),
    ("body", "event"),
    ("msg", "message"),
    ("data", "event"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn hints_name_exactly_what_scripts_can_use() {
        let there = crate::script::tests::hook("function process() end").globals();
        let libraries = FUNCTIONS.iter().map(|(library, functions)| (*library, functions.to_vec()));
        let known: BTreeMap<&str, Vec<&str>> = BASE.iter().map(|name| (*name, Vec::new())).chain(libraries).collect();
        let there: BTreeMap<&str, Vec<&str>> = there
            .iter()
            .map(|(name, functions)| (name.as_str(), functions.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(known, there);
        for (shut, _) in SHUT {
            assert!(!there.contains_key(shut), "{shut} is there");
        }
    }

    #[test]
    fn a_name_from_another_language_does_not_exist_and_its_suggestion_does() {
        for (other, ours) in ALIASES {
            let has = |full: &str| {
                let (library, name) = full.split_once('.').unwrap();
                let name = name.split('(').next().unwrap();
                FUNCTIONS.iter().any(|(known, functions)| *known == library && functions.contains(&name))
            };
            assert_eq!((has(other), has(ours)), (false, true), "{other} {ours}");
        }
    }
}
