//! Annotations of the script's library for the Lua language server.

/// The text of `forwarder.d.lua`. The tests compare it with the library, the event and `meta`.
pub const TYPES: &str = include_str!("types.lua");

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::script::diagnostics::names::BASE;
    use crate::script::output::returned::KEYS;

    /// What Lua itself has: the language server knows it.
    const OF_LUA: [&str; 4] = ["math", "string", "table", "utf8"];

    /// Globals beside the libraries that are declared; the others are Lua's own.
    const DECLARED: [&str; 4] = ["drop", "kv", "settings", "state"];

    /// Whether a global needs no declaration: it is Lua's own, or the script's function.
    fn is_known(global: &str) -> bool {
        global == "process" || (BASE.contains(&global) && !DECLARED.contains(&global))
    }

    /// The functions that are declared, by library; those of none under "".
    fn declared() -> BTreeMap<String, BTreeSet<String>> {
        let mut found = BTreeMap::<String, BTreeSet<String>>::new();
        for line in TYPES.lines().filter_map(|line| line.strip_prefix("function ")) {
            let name = line.split('(').next().unwrap();
            let (library, function) = name.split_once('.').unwrap_or(("", name));
            found.entry(library.to_owned()).or_default().insert(function.to_owned());
        }
        found
    }

    fn fields(class: &str) -> Vec<&'static str> {
        let (_, rest) = TYPES.split_once(&format!("---@class {class}\n")).unwrap();
        let lines = rest.lines().map_while(|line| line.strip_prefix("---@field "));
        lines
            .map(|line| line.split(' ').next().unwrap().trim_end_matches('?'))
            .filter(|name| !name.starts_with('['))
            .collect()
    }

    #[test]
    fn every_function_of_the_library_is_declared_and_no_other() {
        let there = crate::script::tests::hook("function process() end").globals();
        let declared = declared();
        for (name, functions) in &there {
            let known = declared.get(name).cloned().unwrap_or_default();
            if OF_LUA.contains(&name.as_str()) {
                continue;
            }
            assert_eq!(known, functions.iter().cloned().collect(), "{name}");
            if functions.is_empty() && !is_known(name) {
                let is_declared = TYPES.contains(&format!("\n{name} = ")) || declared[""].contains(name);
                assert!(is_declared, "{name}");
            }
        }
        assert!(declared.keys().all(|library| library.is_empty() || there.contains_key(library)), "{declared:?}");
        assert_eq!(declared["table"], ["copy".to_owned()].into(), "what Lua does not have");
        assert!(declared[""].iter().all(|name| there.contains_key(name)));
    }

    #[test]
    fn the_types_of_event_and_meta_have_exactly_the_existing_keys() {
        assert_eq!(fields("Event"), KEYS);
        let body = "local keys = {} for key in pairs(meta) do keys[#keys + 1] = key end
            table.sort(keys) return table.concat(keys, ' ')";
        let mut declared = fields("Meta");
        declared.sort_unstable();
        assert_eq!(crate::script::tests::process(body, &[]), [format!("{:?}", declared.join(" "))]);
    }

    #[test]
    fn the_types_file_is_valid_lua() {
        let lua = mlua::Lua::new();
        lua.load(TYPES).into_function().unwrap();
    }
}
