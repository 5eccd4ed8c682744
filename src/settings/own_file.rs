//! Checks that the file of a destination is used for nothing else: its events would end up in a script, in the log or
//! among the dead letters.

use std::path::{Path, PathBuf};

use super::keys;
use super::problem::Complaint;
use super::read::{NamedPath, Reader};

/// Directories whose files all belong to the program.
const DIRECTORIES: [&str; 2] = [keys::dead_letters::DIR.row.name, keys::state::DIR.row.name];

/// Adds a problem for each file of a destination that is a file of another one, or that another setting names.
pub(super) fn refuse_shared(reader: &mut Reader<'_>, files: &[NamedPath]) {
    let others = reader.other_paths();
    for (at, file) in files.iter().enumerate() {
        for other in &files[..at] {
            if is_shared(&file.path, &other.path) || is_beside(&other.path, &file.path) {
                let what = format!("{} and {} would write to one file", other.name, file.name);
                complain(reader, file, other, what, "give each a file.path of its own");
            }
        }
        for other in &others {
            if DIRECTORIES.contains(&other.name.as_str()) {
                if resolved(&file.path).parent() == Some(&*resolved(&other.path)) {
                    let what = format!(
                        "{} is in {}, where all files are the program's",
                        keys::file::PATH.row.name,
                        other.name
                    );
                    complain(reader, file, other, what, "name a file in another directory");
                }
            } else if is_shared(&file.path, &other.path)
                || (other.name == keys::run::LOG_FILE.row.name && is_beside(&other.path, &file.path))
            {
                let what = format!("{} and {} are one file", keys::file::PATH.row.name, other.name);
                complain(reader, file, other, what, "name another file for the events");
            }
        }
    }
}

fn complain(reader: &mut Reader<'_>, file: &NamedPath, other: &NamedPath, what: String, fix: &str) {
    reader.complain_at(&format!("{}, {}", file.place, other.place), Complaint::new(what, fix));
}

/// Whether `other` is the file, or one of those that are written beside it.
fn is_shared(file: &Path, other: &Path) -> bool {
    resolved(file) == resolved(other) || is_beside(file, other)
}

/// Whether `other` is a file that is written beside `file`: its lock, or a full file with a number.
fn is_beside(file: &Path, other: &Path) -> bool {
    let (file, other) = (resolved(file), resolved(other));
    let name = |path: &Path| path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
    let (ours, its) = (name(&file), name(&other));
    let end = its.strip_prefix(&ours[..]).and_then(|end| end.strip_prefix(b"."));
    let is_end = |end: &[u8]| end == b"lock" || (!end.is_empty() && end.iter().all(u8::is_ascii_digit));
    file.parent() == other.parent() && end.is_some_and(is_end)
}

/// The path without links. The file itself may not exist yet.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.canonicalize().unwrap_or_else(|_| match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => path,
    })
}
