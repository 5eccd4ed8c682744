//! The rules of the folders: imports go down, no two files import each other, and a library is used only where it
//! belongs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The folders from top to bottom. A folder imports only from itself and from folders below it.
const ROOMS: [&str; 13] = [
    "cli",
    "app",
    "admin",
    "settings",
    "group",
    "pipeline",
    "emulator",
    "sls",
    "script",
    "destination",
    "dead_letter",
    "loggroup",
    "core",
];

/// Names that may be used only in these folders or files.
const NAMED_ONLY_IN: [(&str, &[&str]); 12] = [
    ("mlua::", &["script/"]),
    ("reqwest::", &["sls/client", "sls/credentials/http/", "destination/hec/"]),
    ("unbounded_channel", &[]),
    ("tokio::spawn", &[]),
    ("static mut", &[]),
    ("unsafe ", UNSAFE_IN),
    ("File::open", OPENS_FILES),
    ("File::create", OPENS_FILES),
    ("OpenOptions", OPENS_FILES),
    ("fs::read(", OPENS_FILES),
    ("fs::read_to_string", OPENS_FILES),
    ("fs::write", &["core/named_file/", "cli/commands/test/"]),
];

/// `core::named_file` checks whether each file can be trusted, and never waits for one. A directory is opened to be
/// synced, and `forwarder test --update` writes the file of cases that it has just read.
const OPENS_FILES: &[&str] = &["core/named_file/", "core/line_file/"];

/// Unsafe code calls the Lua library, or makes a system call that no used library makes. The lint `unsafe_code`
/// requires a reason for each; this list makes additions visible.
const UNSAFE_IN: &[&str] = &[
    "script/engine/",
    "script/stdlib/patterns/",
    "script/output/special_bytes/",
    "core/named_file/",
    "destination/syslog/socket/",
];

/// A module as a path of names: `["sls", "client"]`.
type Module = Vec<String>;

/// The source files of the program, without their tests.
struct House {
    /// The text of each module's file.
    files: BTreeMap<Module, String>,
    /// The re-exports of each module under its own name: `script::Hook` is `script::hook::Hook`.
    handed_on: BTreeMap<Module, Module>,
}

impl House {
    fn read(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
                if path.is_dir() {
                    if stem != "tests" {
                        folders.push(path);
                    }
                } else if path.extension().is_some_and(|end| end == "rs") && stem != "tests" && stem != "main" {
                    files.insert(module_of(root, &path), without_tests(&fs::read_to_string(&path).unwrap()));
                }
            }
        }
        Self::of(files)
    }

    fn of(files: BTreeMap<Module, String>) -> Self {
        let mut house = Self { files, handed_on: BTreeMap::new() };
        let mut handed_on = BTreeMap::new();
        for (module, text) in &house.files {
            for import in imports(text).0 {
                for (path, name) in import.names.iter().filter(|_| import.is_public) {
                    if let Some(target) = house.absolute(module, path) {
                        handed_on.insert([module.as_slice(), std::slice::from_ref(name)].concat(), target);
                    }
                }
            }
        }
        house.handed_on = handed_on;
        house
    }

    /// A path as used in `module`, from the root of the crate. `None`: it belongs to another crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Module> {
        let mut base = module.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => (base, rest) = (Vec::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|name| name == "super") {
                    base.pop()?;
                    rest = &rest[1..];
                }
            }
            child if self.files.contains_key(&[base.as_slice(), &[child.to_owned()]].concat()) => {}
            _ => return None,
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    /// The file that contains the item with this path.
    fn home(&self, path: &Module) -> Option<Module> {
        let mut path = path.clone();
        for _ in 0..8 {
            let Some(end) = (1..=path.len()).find(|&end| self.handed_on.contains_key(&path[..end])) else { break };
            path = [self.handed_on[&path[..end]].as_slice(), &path[end..]].concat();
        }
        (1..=path.len()).rev().map(|end| path[..end].to_vec()).find(|prefix| self.files.contains_key(prefix))
    }

    /// The files from which each file imports. A file that only re-exports a name imports nothing by that.
    fn arrows(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let of = |module: &Module, text: &str| -> BTreeSet<Module> {
            let (imports, code) = imports(text);
            let used = imports.into_iter().filter(|import| !import.is_public);
            let used = used.flat_map(|import| import.names.into_iter().map(|(path, _)| path)).chain(paths(&code));
            let homes = used.filter_map(|path| self.home(&self.absolute(module, &path)?));
            homes.filter(|home| home != module).collect()
        };
        self.files.iter().map(|(module, text)| (module, of(module, text))).collect()
    }

    /// Imports from a folder above.
    fn upward(&self) -> Vec<String> {
        let floor = |module: &Module| ROOMS.iter().position(|room| module.first().is_some_and(|first| first == room));
        let mut found = Vec::new();
        for (from, homes) in self.arrows() {
            for to in homes {
                if let (Some(above), Some(below)) = (floor(from), floor(&to))
                    && below < above
                {
                    found.push(format!("{} imports {}", from.join("::"), to.join("::")));
                }
            }
        }
        found
    }

    /// Sets of files that import each other, directly or indirectly, each set once.
    fn circles(&self) -> BTreeSet<BTreeSet<Module>> {
        let arrows = self.arrows();
        let reach = |start: &Module| {
            let mut seen = BTreeSet::new();
            let mut open: Vec<&Module> = arrows[start].iter().collect();
            while let Some(next) = open.pop() {
                if seen.insert(next.clone()) {
                    open.extend(&arrows[next]);
                }
            }
            seen
        };
        let reached: BTreeMap<&Module, BTreeSet<Module>> = arrows.keys().map(|file| (*file, reach(file))).collect();
        let mutual = |file: &Module| -> BTreeSet<Module> {
            reached[file].iter().filter(|other| reached[*other].contains(file)).cloned().collect()
        };
        arrows.keys().map(|file| mutual(file)).filter(|circle| !circle.is_empty()).collect()
    }
}

fn module_of(root: &Path, path: &Path) -> Module {
    let inside = path.strip_prefix(root).unwrap().with_extension("");
    let mut module: Module = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    module.pop_if(|last| last == "mod" || last == "lib");
    module
}

/// The text without comments, and without the tests at its end.
fn without_tests(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").or_else(|| text.find("#[cfg(test)]\npub(super) mod tests {"));
    let lines = text[..end.unwrap_or(text.len())].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// One `use` statement.
struct Import {
    is_public: bool,
    /// The paths that it names, each with its local name.
    names: Vec<(Vec<String>, String)>,
}

/// The `use` statements of a text, and the text without them.
fn imports(text: &str) -> (Vec<Import>, String) {
    let mut found = Vec::new();
    let mut code = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let before = rest[..at].rsplit('\n').next().unwrap_or_default().trim_start();
        let is_import = before.is_empty() || (before.starts_with("pub") && before.ends_with([' ', ')']));
        let after = &rest[at + 4..];
        let end = after.find(';').unwrap_or(after.len());
        if is_import {
            let mut names = Vec::new();
            leaves(&mut tokens(&after[..end]).into_iter().peekable(), &[], &mut names);
            found.push(Import { is_public: before.starts_with("pub"), names });
        }
        code.push_str(if is_import { &rest[..at] } else { &rest[..at + 4] });
        rest = if is_import { &after[end..] } else { after };
    }
    (found, code + rest)
}

fn tokens(tree: &str) -> Vec<String> {
    let mut tokens = vec![String::new()];
    for c in tree.chars() {
        match c {
            '{' | '}' | ',' | '*' => tokens.extend([c.to_string(), String::new()]),
            c if c.is_alphanumeric() || c == '_' => tokens.last_mut().unwrap().push(c),
            _ => tokens.push(String::new()),
        }
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

fn leaves(
    tokens: &mut std::iter::Peekable<std::vec::IntoIter<String>>,
    prefix: &[String],
    out: &mut Vec<(Vec<String>, String)>,
) {
    let mut path = prefix.to_vec();
    let mut name = None;
    while let Some(token) = tokens.next_if(|token| token != "}" && token != ",") {
        match token.as_str() {
            "{" => {
                while tokens.next_if(|token| token == "}").is_none() {
                    leaves(tokens, &path, out);
                    let _ = tokens.next_if(|token| token == ",");
                }
                return;
            }
            "as" => name = tokens.next(),
            "*" => {}
            "self" if !path.is_empty() => {}
            _ => path.push(token),
        }
    }
    let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
    out.push((path, name));
}

/// Paths in the code itself: `crate::core::stop::stop()`, `super::escape::integer`, or those that begin with a module
/// that the file declares.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let children = text.lines().filter_map(|line| {
        let (_, declared) = line.strip_suffix(';')?.rsplit_once("mod ")?;
        Some(format!("{declared}::"))
    });
    for start in ["crate::", "super::"].map(str::to_owned).into_iter().chain(children) {
        for (at, _) in text.match_indices(&start) {
            let is_inside = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$');
            if !is_inside {
                let end = text[at..].find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
                let path = &text[at..at + end.unwrap_or(text.len() - at)];
                found.push(path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect());
            }
        }
    }
    found
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn house(files: &[(&str, &str)]) -> House {
    let module = |path: &str| path.split('/').map(str::to_owned).collect();
    House::of(files.iter().map(|(path, text)| (module(path), without_tests(text))).collect())
}

#[test]
fn every_folder_has_its_level() {
    let rooms: BTreeSet<String> = fs::read_dir(source())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(rooms, ROOMS.iter().map(|room| (*room).to_owned()).collect());
}

#[test]
fn imports_go_down() {
    let house = House::read(&source());
    assert!(house.files.len() > 200, "{} files", house.files.len());
    assert!(house.arrows().values().map(BTreeSet::len).sum::<usize>() > 500);
    assert_eq!(house.upward(), Vec::<String>::new());
}

#[test]
fn no_two_files_import_each_other() {
    let house = House::read(&source());
    let circles = house.circles();
    let arrows = house.arrows();
    let mut lines = String::new();
    for circle in &circles {
        for file in circle {
            let into: Vec<String> = arrows[file].intersection(circle).map(|to| to.join("::")).collect();
            lines += &format!("{} imports {}\n", file.join("::"), into.join(", "));
        }
        lines.push('\n');
    }
    assert!(circles.is_empty(), "files that import each other:\n{lines}");
}

/// Whether a text contains this name, and not just one with the same ending.
fn names(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| !text[..at].ends_with(is_part))
}

#[test]
fn each_library_is_used_only_where_it_belongs() {
    let house = House::read(&source());
    for (name, places) in NAMED_ONLY_IN {
        for (module, text) in &house.files {
            let file = module.join("/") + "/";
            let may = places.iter().any(|place| file.starts_with(place));
            assert!(may || !names(text, name), "{file} names {name}, which belongs to {places:?}");
        }
    }
}

#[test]
fn a_name_is_distinguished_from_one_with_the_same_ending() {
    assert!(names("std::fs::File::open(path)", "File::open") && names("fs::read(path)", "fs::read("));
    assert!(!names("RollingFile::open(path)", "File::open") && !names("fs::read_dir(path)", "fs::read("));
}

#[test]
fn a_circle_and_an_upward_import_are_found() {
    let sound = [("core/a", "pub struct A;"), ("cli/b", "use crate::core::a::A;")];
    assert!(house(&sound).circles().is_empty() && house(&sound).upward().is_empty());

    let upward = [("core/a", "fn f() { crate::cli::b::g(); }"), ("cli/b", "pub fn g() {}")];
    assert_eq!(house(&upward).upward(), ["core::a imports cli::b"]);

    let circle = [("sls/a", "use super::b::B;"), ("sls/b", "use super::c::{self, C};"), ("sls/c", "use super::a::A;")];
    assert_eq!(house(&circle).circles().into_iter().map(|circle| circle.len()).collect::<Vec<_>>(), [3]);

    let through_a_face = [
        ("sls", "pub use a::A;\nmod a;\nmod b;"),
        ("sls/a", "use super::b::B;\npub struct A;"),
        ("sls/b", "use crate::sls::A;"),
    ];
    assert_eq!(house(&through_a_face).circles().len(), 1);
    let face_alone = [("sls", "pub use a::A;\nmod a;\npub struct Config;"), ("sls/a", "use super::Config;")];
    assert_eq!(house(&face_alone).circles().len(), 0);
}
