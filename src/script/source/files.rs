//! The files that a script names: modules and lookup tables.
//!
//! They are found in the text and read together with it, before anything runs. A version is therefore one set of
//! texts, known without running it and the same for every shard; a script reads no files later.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::tokens::{Token, Tokens};
use crate::core::named_file;

/// Maximum number of files of a script.
const MAX_FILES: usize = 100;

/// Maximum total size of these files, in bytes.
const MAX_BYTES: usize = 64 << 20;

/// The content of each file that a script names, or why it cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<String, Result<Arc<[u8]>, String>>);

impl Files {
    /// Reads the files that `text` names, and those that its modules name, from `directory`, whose path has no links.
    pub(crate) fn read(directory: &Path, text: &[u8]) -> Self {
        let mut files = BTreeMap::new();
        let mut room = MAX_BYTES;
        let mut wanted = named_in(text);
        while let Some(Named { name, is_module }) = wanted.pop() {
            if files.contains_key(&name) {
                continue;
            }
            if files.len() == MAX_FILES {
                files.insert(name, Err(format!("a script may use {MAX_FILES} files at most")));
                break;
            }
            let content = read(directory, &name, room);
            if let Ok(content) = &content {
                room -= content.len();
                if is_module {
                    wanted.extend(named_in(content));
                }
            }
            files.insert(name, content);
        }
        Self(files)
    }

    /// The content of the file with this name: its path relative to the script's directory, `lib/mask.lua`.
    ///
    /// # Errors
    /// Why it cannot be read, for the script's author.
    pub fn get(&self, name: &str) -> Result<&Arc<[u8]>, String> {
        match self.0.get(name) {
            Some(content) => content.as_ref().map_err(Clone::clone),
            None => Err("it was not loaded with the script: write its name as a literal in quotes".to_owned()),
        }
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Creates the set from these files.
    pub(crate) fn of(files: BTreeMap<String, Result<Arc<[u8]>, String>>) -> Self {
        Self(files)
    }

    /// Each name, with its content or the reason why it could not be read.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, Result<&[u8], &str>)> {
        self.0.iter().map(|(name, content)| (name.as_str(), content.as_deref().map_err(String::as_str)))
    }

    /// The modules among them with their texts, in the order of their names.
    pub(crate) fn modules(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let read = self.0.iter().filter_map(|(name, content)| Some((name.as_str(), content.as_deref().ok()?)));
        read.filter(|(name, _)| name.ends_with(".lua"))
    }

    /// Whether there are no files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the files to the hash of a version.
    pub(crate) fn digest(&self, hash: &mut Sha256) {
        for (name, content) in &self.0 {
            let (kind, bytes) = match content {
                Ok(content) => (b'+', &content[..]),
                Err(why) => (b'-', why.as_bytes()),
            };
            hash.update([0, kind]);
            for part in [name.as_bytes(), bytes] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
    }
}

/// The file of a module: `lib.mask` is in `lib/mask.lua`. `None` if the name is invalid.
pub(crate) fn module_file(module: &str) -> Option<String> {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    module.split('.').all(is_part).then(|| format!("{}.lua", module.replace('.', "/")))
}

/// A file that a text names.
struct Named {
    name: String,
    is_module: bool,
}

/// Finds `require "name"`, `lookup.csv("name"` and `lookup.json("name"`, outside of comments and texts.
fn named_in(text: &[u8]) -> Vec<Named> {
    let mut named = Vec::new();
    // The last five tokens, the newest last: enough for `lookup . csv (`.
    let mut before = [Token::Other(b' '); 5];
    for token in Tokens::new(text) {
        let called = if before[4] == Token::Other(b'(') { &before[..4] } else { &before[1..] };
        if let (Token::Text(_), Ok(name)) = (token, std::str::from_utf8(token.bytes())) {
            match called {
                [.., Token::Other(b'.' | b':'), Token::Name(b"require")] => {}
                [.., Token::Name(b"require")] => {
                    named.extend(module_file(name).map(|name| Named { name, is_module: true }));
                }
                [.., Token::Name(b"lookup"), Token::Other(b'.'), Token::Name(b"csv" | b"json")] if is_below(name) => {
                    named.push(Named { name: name.to_owned(), is_module: false });
                }
                _ => {}
            }
        }
        before.rotate_left(1);
        before[4] = token;
    }
    named
}

/// Whether a path stays within its directory.
fn is_below(path: &str) -> bool {
    path.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0', ':']))
}

/// Reads a regular file of at most `most` bytes. It must be inside `directory`, after following links.
fn read(directory: &Path, name: &str, most: usize) -> Result<Arc<[u8]>, String> {
    let in_words = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "no such file beside the script".to_owned(),
        io::ErrorKind::FileTooLarge => format!("the files of a script may have {} MiB together", MAX_BYTES >> 20),
        _ => error.to_string(),
    };
    let path = directory.join(name).canonicalize().map_err(in_words)?;
    if !path.starts_with(directory) {
        return Err("it is a link that leads out of the script's directory".to_owned());
    }
    let mut content = named_file::read_trusted(&path, most as u64).map_err(in_words)?;
    drop_mark(&mut content);
    Ok(content.into())
}

/// Removes a byte order mark, which is not valid in Lua, CSV or JSON.
pub(crate) fn drop_mark(text: &mut Vec<u8>) {
    if text.starts_with(b"\xef\xbb\xbf") {
        text.drain(..3);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::fs::File;

    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let names: Vec<String> = named_in(text.as_bytes()).into_iter().map(|named| named.name).collect();
        assert_eq!(names, expected, "{text}");
    }

    #[test]
    fn files_are_found_where_the_text_names_them() {
        check("local m = require 'mask'", &["mask.lua"]);
        check("local m = require(\"lib.mask\").mask", &["lib/mask.lua"]);
        check("local m = require [[mask]] local n = require--[[why not]]( [==[b]==] )", &["mask.lua", "b.lua"]);
        check("pcall(require, 'mask') x.require 'a' x:require('b') required('c')", &[]);
        check("local t = lookup.csv('hosts.csv', 'ip') lookup.json \"a/b.json\"", &["hosts.csv", "a/b.json"]);
        check("require(name) require('a' .. b)", &["a.lua"]);
    }

    #[test]
    fn comments_and_strings_name_no_files() {
        check("-- require 'a'\n--[[ require 'b' ]] --[==[ require 'c' ]] ]==] x = \"require 'd'\"", &[]);
        check("x = [[ require 'e' ]] y = 'it\\'s require' z = \"\\\\\" require 'f'", &["f.lua"]);
        check("x = 'open\nrequire 'g'", &["g.lua"]);
    }

    #[test]
    fn names_that_could_leave_the_directory_are_ignored() {
        check(
            "require '../a' require '..a' require '/etc/a' require 'a/b' require '' require 'a..b' require 'a.'",
            &[],
        );
        check("lookup.csv '../a' lookup.csv '/etc/passwd' lookup.csv 'a/../b' lookup.csv '.hidden' lookup.csv ''", &[]);
    }

    #[test]
    fn files_are_read_together_with_those_their_modules_name() {
        let directory = tempfile::TempDir::new().unwrap();
        let at = directory.path().canonicalize().unwrap();
        fs::create_dir(at.join("lib")).unwrap();
        fs::write(at.join("lib/a.lua"), "require 'b' return lookup.csv('t.csv', 'k')").unwrap();
        fs::write(at.join("b.lua"), "require 'lib.a'").unwrap();
        fs::write(at.join("t.csv"), "require 'c'").unwrap();
        let files = Files::read(&at, b"require 'lib.a' require 'gone'");
        assert_eq!(files.names().collect::<Vec<_>>(), ["b.lua", "gone.lua", "lib/a.lua", "t.csv"]);
        assert_eq!(&files.get("t.csv").unwrap()[..], b"require 'c'");
        assert_eq!(files.get("gone.lua").unwrap_err(), "no such file beside the script");
        assert!(files.get("c.lua").unwrap_err().contains("not loaded with the script"));
    }

    #[test]
    fn a_byte_order_mark_before_the_text_is_ignored() {
        let directory = tempfile::TempDir::new().unwrap();
        let at = directory.path().canonicalize().unwrap();
        fs::write(at.join("a.lua"), "\u{feff}return '\u{feff}'").unwrap();
        let files = Files::read(&at, b"require 'a'");
        assert_eq!(&files.get("a.lua").unwrap()[..], "return '\u{feff}'".as_bytes());
        assert_eq!(files.modules().map(|(name, _)| name).collect::<Vec<_>>(), ["a.lua"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_directory_and_a_non_file_are_refused() {
        let directory = tempfile::TempDir::new().unwrap();
        let at = directory.path().canonicalize().unwrap();
        let inside = at.join("inside");
        fs::create_dir(&inside).unwrap();
        fs::write(at.join("secret.lua"), "return 1").unwrap();
        fs::create_dir(inside.join("folder.lua")).unwrap();
        fs::write(inside.join("here.lua"), "return 2").unwrap();
        std::os::unix::fs::symlink("../secret.lua", inside.join("out.lua")).unwrap();
        std::os::unix::fs::symlink("..", inside.join("up")).unwrap();
        std::os::unix::fs::symlink("here.lua", inside.join("within.lua")).unwrap();
        let names = b"require 'out' require 'up.secret' require 'folder' require 'within'";
        let files = Files::read(&inside, names);
        for name in ["out.lua", "up/secret.lua"] {
            assert_eq!(files.get(name).unwrap_err(), "it is a link that leads out of the script's directory", "{name}");
        }
        assert_eq!(files.get("folder.lua").unwrap_err(), "it is not a regular file but a directory");
        assert_eq!(&files.get("within.lua").unwrap()[..], b"return 2");
    }

    #[test]
    fn too_many_and_too_large_files_are_refused() {
        let directory = tempfile::TempDir::new().unwrap();
        let at = directory.path().canonicalize().unwrap();
        let text: String = (0..200).map(|n| format!("require 'm{n}' ")).collect();
        assert_eq!(Files::read(&at, text.as_bytes()).names().count(), MAX_FILES + 1);
        File::create(at.join("big.csv")).unwrap().set_len(MAX_BYTES as u64 + 1).unwrap();
        let files = Files::read(&at, b"lookup.csv('big.csv')");
        assert_eq!(files.get("big.csv").unwrap_err(), "the files of a script may have 64 MiB together");
    }
}
