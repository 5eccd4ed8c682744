//! Scripts with modules beside them, from the files to the events.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

fn load(directory: &Path) -> Result<Hook, HookError> {
    Hook::load(&Script::read(&directory.join("s.lua")).unwrap(), &config(), Arc::new(Text), meta())
}

/// The result of the script for an empty log, or its error; the directory is called `D`.
fn check(files: &[(&str, &str)], expected: &str) {
    let directory = directory(files);
    let outcome = load(directory.path()).and_then(|mut hook| {
        let mut made = hook.run(&page_of(&[vec![]])).unwrap();
        match made.failed.pop() {
            Some(failed) => Err(failed.error),
            None => Ok(String::from_utf8(made.events().bytes().to_vec()).unwrap()),
        }
    });
    let outcome = outcome.unwrap_or_else(|error| error.fault.to_string());
    assert_eq!(outcome.replace(directory.path().to_str().unwrap(), "D"), expected);
}

#[test]
fn a_module_is_loaded_once_and_require_returns_its_value() {
    let a =
        "local name = ... n = (n or 0) + 1 return { text = function() return 'loaded ' .. n .. ' as ' .. name end }";
    check(
        &[
            ("s.lua", "local a, b = require 'lib.a', require('lib.a') function process() return a.text() end"),
            ("lib/a.lua", a),
        ],
        "loaded 1 as lib.a",
    );
    check(
        &[
            ("s.lua", "local a, b = require 'a', require 'a' function process() return tostring(a) .. tostring(b) end"),
            ("a.lua", "m = 1"),
        ],
        "truetrue",
    );
}

#[test]
fn a_module_can_be_required_while_processing_a_log() {
    let script = "function process() return require('a') .. require('a') end";
    check(&[("s.lua", script), ("a.lua", "n = (n or 0) + 1 return n .. ';'")], "1;1;");
}

#[test]
fn an_error_names_the_modules_file_and_line() {
    let script = "local a = require 'a'\nfunction process() return a() end";
    check(
        &[("s.lua", script), ("a.lua", "\nreturn =")],
        "while the script was loaded: D/s.lua:1: require: D/a.lua:2: unexpected symbol near '='",
    );
    check(&[("s.lua", script), ("a.lua", "\nerror('no')")], "while the script was loaded: D/a.lua:2: no");
    check(
        &[("s.lua", script), ("a.lua", "return function()\n local x = nil .. 'a'\nend")],
        "D/a.lua:2: attempt to concatenate a nil value",
    );
}

#[test]
fn a_missing_or_invalid_module_is_an_error_that_says_so() {
    let script = |name: &str| format!("require({name})\nfunction process() end");
    check(
        &[("s.lua", &script("'gone'"))],
        "while the script was loaded: D/s.lua:1: require: D/gone.lua: no such file beside the script",
    );
    for name in ["'../a'", "'/etc/a'", "'a/b'", "'a.lua..'"] {
        let wrong = name.trim_matches('\'');
        check(
            &[("s.lua", &script(name)), ("a.lua", "")],
            &format!(
                "while the script was loaded: D/s.lua:1: require: {wrong:?} is not a module: a module is a file beside the \
                 script, named by letters, digits, _ and -; a dot stands for a directory"
            ),
        );
    }
    check(
        &[("s.lua", &script("7"))],
        "while the script was loaded: D/s.lua:1: require: the name of a module is text, not integer",
    );
    check(
        &[("s.lua", "local n = 'a' require(n)"), ("a.lua", "")],
        "while the script was loaded: D/s.lua:1: require: D/a.lua: it was not loaded with the script: write its name \
        as a literal in quotes",
    );
}

#[test]
fn bytecode_is_not_loaded_as_a_module() {
    let directory = directory(&[("s.lua", "require 'a'\nfunction process() end")]);
    let lua = mlua::Lua::new();
    fs::write(directory.path().join("a.lua"), lua.load("return 1").into_function().unwrap().dump(false)).unwrap();
    let error = load(directory.path()).unwrap_err().to_string();
    assert!(error.contains("attempt to load a binary chunk"), "{error}");
}

#[test]
fn circular_modules_are_an_error_that_shows_the_circle() {
    check(
        &[("s.lua", "require 'a'"), ("a.lua", "require 'b'"), ("b.lua", "require 'c'"), ("c.lua", "\nrequire 'b'")],
        "while the script was loaded: D/c.lua:2: require: modules that wait for each other: b → c → b",
    );
}

#[test]
fn a_module_that_failed_can_be_required_again() {
    let script = "pcall(require, 'a') pcall(require, 'a') local ok, why = pcall(function() return require 'a' end)
                  function process() return why end";
    check(&[("s.lua", script), ("a.lua", "error('no')")], "D/a.lua:1: no");
}

#[test]
fn modules_have_the_limits_of_the_script() {
    let directory = directory(&[("s.lua", "\npcall(require, 'a') require 'a'"), ("a.lua", "while true do end")]);
    let error = load(directory.path()).unwrap_err();
    assert!(matches!(error.fault, ScriptFault::Timeout { .. }), "{error}");
}

#[test]
fn a_version_covers_the_script_and_its_modules() {
    let directory =
        directory(&[("s.lua", "local a = require 'a' function process() return a end"), ("a.lua", "return '1'")]);
    let path = directory.path().join("s.lua");
    let first = Script::read(&path).unwrap();
    fs::write(directory.path().join("a.lua"), "return '2'").unwrap();
    let second = Script::read(&path).unwrap();
    assert_ne!(first.version, second.version);
    for (script, expected) in [(&first, "1"), (&second, "2")] {
        let mut hook = Hook::load(script, &config(), Arc::new(Text), meta()).unwrap();
        assert_eq!(hook.run(&page_of(&[vec![]])).unwrap().events().bytes(), expected.as_bytes());
    }
    fs::write(directory.path().join("a.lua"), "return '1'").unwrap();
    assert_eq!(Script::read(&path).unwrap(), first);
    fs::write(&path, "function process() end").unwrap();
    let alone = Script::from_text("s.lua", "function process() end");
    assert_eq!(Script::read(&path).unwrap().version, alone.version);
}

#[test]
fn every_script_of_the_page_on_reloads_runs() {
    let page = include_str!("../../../docs/reload.md");
    let scripts: Vec<&str> = page.split("```lua\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert!(scripts.len() >= 4, "{} scripts", scripts.len());
    for script in scripts {
        let directory = directory(&[("s.lua", script), ("lib/mask.lua", "return function(text) return text end")]);
        let mut hook = load(directory.path()).unwrap_or_else(|error| panic!("{error}\n{script}"));
        let made = hook.run(&page_of(&[vec![(b"level", b"info"), (b"user", b"u")]])).unwrap();
        assert_eq!((made.events().len(), made.failed), (1, vec![]), "{script}");
    }
}

#[test]
fn an_error_while_loading_a_module_is_shown_with_the_modules_line() {
    let drawn = |text: &str, expected: &str| {
        let files = [("a.lua", "local m = require 'data'\nfunction process() end"), ("data.lua", text)];
        let directory = directory(&files);
        let script = Script::read(&directory.path().join("a.lua")).unwrap();
        let script = Script { name: "a.lua".to_owned(), ..script };
        let error = Hook::load(&script, &config(), Arc::new(Text), meta()).unwrap_err();
        assert_eq!(error.render(Beside::default()), expected);
    };
    drawn(
        "local m = {}\nfunction m.f(\nreturn m",
        "error: while the script was loaded: <name> or '...' expected near 'return'
 --> data.lua:3:1
    |
  3 | return m
    | ^^^^^^",
    );
    drawn(
        "\nlocal x = nil .. 'a'",
        "error: while the script was loaded: attempt to concatenate a nil value
 --> data.lua:2
    |
  2 | local x = nil .. 'a'",
    );
}

#[test]
fn an_error_in_a_module_is_shown_with_the_modules_line() {
    let directory = directory(&[
        ("s.lua", "local mask = require 'mask'\nfunction process(log) return { event = mask(log) } end"),
        ("mask.lua", "return function(log)\n  return log.user .. '*'\nend"),
    ]);
    let mut made = load(directory.path()).unwrap().run(&page_of(&[vec![]])).unwrap();
    let drawn = made.failed.pop().unwrap().error.render(Beside::default());
    assert_eq!(
        drawn.replace(directory.path().to_str().unwrap(), "D"),
        "error: attempt to concatenate a nil value (field 'user')
 --> D/mask.lua:2:14
    |
  2 |   return log.user .. '*'
    |              ^^^^
    = called: the function of line 1, from process at D/s.lua line 2
    = hint: this log has no field `user`: write (log.user or \"\"), or test it first"
    );
}
