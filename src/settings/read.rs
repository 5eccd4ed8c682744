//! Converts typed values to validated ones, one setting at a time, and collects all problems.

use std::path::{Path, PathBuf};

use super::content;
use super::keys;
use super::keys::{Array, Key, Kind, Row, Setting};
use super::problem::{Complaint, Problem};
use super::typed::{Given, Item, Layer, Typed, ValueOrigin};
use crate::core::named_file;
use crate::core::named_file::{MAX_CREDENTIAL_BYTES, MAX_SETTINGS};
use crate::script::MAX_TEXT;

/// Reads settings by name. A wrong value becomes a problem and a placeholder, which is never used: settings are
/// returned only if there are no problems.
///
/// It reads for the process, or for one item of an array ([`Reader::within`]): values of the item override those of
/// the process.
pub(super) struct Reader<'a> {
    typed: &'a Typed,
    item: Option<&'a Item>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

/// A path in the settings.
pub(super) struct NamedPath {
    /// The setting, or what the path is.
    pub(super) name: String,
    /// Where it was given.
    pub(super) place: String,
    pub(super) path: PathBuf,
}

impl<'a> Reader<'a> {
    pub(super) fn new(typed: &'a Typed, problems: Vec<Problem>) -> Self {
        Self { typed, item: None, problems, warnings: Vec::new() }
    }

    /// Every problem so far.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// The items of an array.
    pub(super) fn items(&self, array: &Array) -> impl Iterator<Item = &'a Item> + use<'a> {
        let name = array.name;
        self.typed.items.iter().filter(move |item| item.array.name == name)
    }

    /// Reads for one item.
    pub(super) fn within<T>(&mut self, item: &'a Item, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.item.replace(item);
        let value = read(self);
        self.item = outer;
        value
    }

    /// What is given for a setting, if anything.
    fn given(&self, row: &'static Row) -> Option<&'a Given> {
        let own = self.item.and_then(|item| item.values.get(row.name));
        own.or_else(|| self.typed.common.get(row.name))
    }

    /// Adds a warning, a sentence without secrets. A warning common to several items is added once.
    pub(super) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Adds a problem. A problem common to several items is added once.
    fn keep_problem(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// The warnings so far.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// The layer of a setting, if it was given.
    pub(super) fn layer(&self, row: &'static Row) -> Option<Layer> {
        self.given(row).map(|given| given.layer)
    }

    /// Whether a setting was given.
    pub(super) fn is_given(&self, row: &'static Row) -> bool {
        self.layer(row).is_some_and(|layer| layer != Layer::Default)
    }

    /// The first given setting of a table.
    pub(super) fn first_given(&self, table: &str) -> Option<&'static Row> {
        keys::all().filter(|row| row.parts().0 == table).find(|row| self.is_given(row))
    }

    /// The settings file, if a setting comes from it.
    pub(super) fn file(&self, row: &'static Row) -> Option<&'a Path> {
        match &self.given(row)?.origin {
            ValueOrigin::File { file, .. } | ValueOrigin::Item { file, .. } => Some(file),
            _ => None,
        }
    }

    /// The place of a setting, for messages.
    pub(super) fn origin(&self, row: &'static Row) -> String {
        self.given(row).map_or_else(|| row.name.to_owned(), |given| given.origin.to_string())
    }

    /// A path to a script that can be read and is not empty.
    pub(super) fn script(&mut self, key: &'static Key<PathBuf>) -> Option<PathBuf> {
        self.file_with(key, MAX_TEXT, |_| Ok(()))
    }

    /// A path to a file with a credential.
    pub(super) fn credential_file(&mut self, key: &'static Key<PathBuf>) -> Option<PathBuf> {
        let path = self.file_with(key, MAX_CREDENTIAL_BYTES, |content| content::credential(content).map(drop))?;
        self.warn_if_public(&key.row, &path);
        Some(path)
    }

    /// A path to a file with certificates.
    pub(super) fn certificates(&mut self, key: &'static Key<PathBuf>) -> Option<PathBuf> {
        self.file_with(key, MAX_SETTINGS, content::certificates)
    }

    /// A path to a file with certificates to trust. A file without a root is allowed, because the system may trust
    /// the chain, but causes a warning.
    pub(super) fn authorities(&mut self, key: &'static Key<PathBuf>) -> Option<PathBuf> {
        let mut rootless = None;
        let path = self.file_with(key, MAX_SETTINGS, |content| {
            rootless = content::without_root(content);
            content::certificates(content)
        })?;
        if let Some(what) = rootless {
            self.warn(format!("{}: {what}", self.origin(&key.row)));
        }
        Some(path)
    }

    /// Warns if a file with a secret is world-readable. A group may read it, which is a usual way to give a service
    /// a secret.
    pub(super) fn warn_if_public(&mut self, row: &'static Row, path: &Path) {
        if named_file::is_public(path) {
            self.warn(format!(
                "a secret is world-readable, {}: chmod o-r {} (in Kubernetes defaultMode: 0440 and an \
                 fsGroup)",
                self.origin(row),
                path.display()
            ));
        }
    }

    /// Warns if others can replace a file that controls the program.
    fn warn_if_replaceable(&mut self, row: &'static Row, path: &Path) {
        if let Some(why) = named_file::replaceable(path) {
            self.warn(format!("{} is trusted, {}: {why}", path.display(), self.origin(row)));
        }
    }

    /// A path to a file that can be read, is not empty, and has valid content.
    fn file_with(
        &mut self,
        key: &'static Key<PathBuf>,
        most: u64,
        check: impl FnOnce(&[u8]) -> Result<(), Complaint>,
    ) -> Option<PathBuf> {
        let path = self.get(key)?;
        let complaint = match named_file::read_trusted(&path, most) {
            Ok(content) if content.iter().all(u8::is_ascii_whitespace) => {
                Complaint::new(format!("{} is empty", path.display()), "write its content, or name another file")
            }
            Ok(content) => match check(&content) {
                Ok(()) => {
                    self.warn_if_replaceable(&key.row, &path);
                    return Some(path);
                }
                Err(Complaint { what, fix }) => Complaint::new(format!("{}: {what}", path.display()), fix),
            },
            Err(error) => Complaint::new(
                format!("{} can't be read: {error}", path.display()),
                "check the path and its permissions; a path in a settings file is relative to that file's directory",
            ),
        };
        self.complain(&key.row, complaint);
        Some(path)
    }

    /// A value, if it is given and valid.
    pub(super) fn get<T: Setting>(&mut self, key: &'static Key<T>) -> Option<T> {
        let read = T::read(&key.row, &key.bounds, &self.given(&key.row)?.raw);
        self.keep(&key.row, read)
    }

    /// Converts a text with the function of the caller.
    pub(super) fn parse<T>(
        &mut self,
        key: &'static Key<String>,
        parse: impl FnOnce(String) -> Result<T, Complaint>,
    ) -> Option<T> {
        let text = self.get(key)?;
        self.keep(&key.row, parse(text))
    }

    fn keep<T>(&mut self, row: &'static Row, read: Result<T, Complaint>) -> Option<T> {
        read.map_err(|complaint| self.complain(row, complaint)).ok()
    }

    /// Keeps a problem with a setting's value.
    pub(super) fn complain(&mut self, row: &'static Row, complaint: Complaint) {
        let place = self.origin(row);
        self.keep_problem(complaint.at(place));
    }

    /// Keeps a problem between two items.
    pub(super) fn complain_of_items(&mut self, items: [&Item; 2], complaint: Complaint) {
        let [first, second] = items.map(|item| format!("{} ({})", item.label, item.place));
        self.keep_problem(complaint.at(format!("{first}, {second}")));
    }

    /// Adds a problem for each common value that no item uses because every item has a value of its own for one of
    /// these alternative settings: what it names would be left out without notice.
    pub(super) fn refuse_unused(&mut self, items: &[&'a Item], rows: &[&'static Row]) {
        let Some((item, _)) = items.split_first() else { return };
        let own = |item: &'a Item| rows.iter().find_map(|row| item.values.get(row.name));
        let Some(first) = own(item).filter(|_| items.iter().all(|item| own(item).is_some())) else { return };
        for row in rows {
            for given in self.typed.common.all(row.name).iter().filter(|given| given.layer != Layer::Default) {
                let array = item.array.name;
                let complaint = Complaint::new(
                    format!("{} is not used, because every [[{array}]] has its own", row.name),
                    format!("to use it too, make it another [[{array}]]; otherwise leave it out"),
                );
                self.keep_problem(complaint.at(format!("{}, {}", given.origin, first.origin)));
            }
        }
    }

    /// Adds a problem at a place that is not a setting.
    pub(super) fn complain_at(&mut self, place: &str, complaint: Complaint) {
        self.keep_problem(complaint.at(place));
    }

    /// Every path in the settings except those of the events: one for each setting and item, and the settings file.
    pub(super) fn other_paths(&self) -> Vec<NamedPath> {
        let rows = || keys::all().filter(|row| matches!(row.kind, Kind::Path) && row.name != keys::file::PATH.row.name);
        let values = [&self.typed.common].into_iter().chain(self.typed.items.iter().map(|item| &item.values));
        let given = values.flat_map(|values| rows().filter_map(|row| Some((row, values.get(row.name)?))));
        let named = given.filter_map(|(row, given)| {
            let path = PathBuf::read(row, &(), &given.raw).ok()?;
            Some(NamedPath { name: row.name.to_owned(), place: given.origin.to_string(), path })
        });
        let file = self.typed.file.iter().map(|path| NamedPath {
            name: "the settings file".to_owned(),
            place: path.display().to_string(),
            path: path.clone(),
        });
        named.chain(file).collect()
    }

    /// One of two alternative settings: the one from the first layer. Neither and both are problems.
    pub(super) fn either(&mut self, one: &'static Row, other: &'static Row) -> Option<&'static Row> {
        match (self.layer(one), self.layer(other)) {
            (None, None) => {
                self.missing(&[one, other]);
                None
            }
            (Some(a), Some(b)) if a == b => {
                self.conflict([one, other]);
                None
            }
            (a, b) if b.is_none() || (a.is_some() && a < b) => Some(one),
            _ => Some(other),
        }
    }

    /// Adds the problem that two alternative settings are given.
    pub(super) fn conflict(&mut self, rows: [&'static Row; 2]) {
        let [one, other] = rows.map(|row| row.name);
        let complaint = Complaint::new(format!("{one} and {other} are both given"), "keep one of the two");
        let place = rows.map(|row| self.origin(row)).join(", ");
        self.keep_problem(complaint.at(place));
    }

    /// The file of our certificate and that of its key: none, or both.
    pub(super) fn client_cert(&mut self, keys: [&'static Key<PathBuf>; 2]) -> Option<(PathBuf, PathBuf)> {
        let [cert, key] = keys;
        let files = (self.certificates(cert), self.file_with(key, MAX_SETTINGS, content::private_key));
        if let Some(path) = &files.1 {
            self.warn_if_public(&key.row, path);
        }
        for (one, other) in [(&cert.row, &key.row), (&key.row, &cert.row)] {
            if self.layer(one).is_some() && self.layer(other).is_none() {
                let (there, absent) = (one.name, other.name);
                let complaint =
                    Complaint::new(format!("there is {there} but no {absent}"), format!("give {absent} too"));
                self.complain(one, complaint);
            }
        }
        files.0.zip(files.1)
    }

    /// Keeps the problem that none of these settings was given, if so.
    pub(super) fn demand(&mut self, rows: &[&'static Row]) {
        if rows.iter().all(|row| self.given(row).is_none()) {
            self.missing(rows);
        }
    }

    /// Keeps the problem that none of these settings was given.
    pub(super) fn missing(&mut self, rows: &[&'static Row]) {
        let names: Vec<_> = rows.iter().map(|row| row.name).collect();
        let complaint = Complaint::new(
            format!("{} is missing: {}", names.join(" or "), rows[0].meaning),
            format!("give {}", self.ways(rows).join(" or ")),
        );
        let place = match (&self.typed.file, self.item) {
            (_, Some(item)) => {
                format!("neither in {} ({}) nor in the settings common to all of them", item.label, item.place)
            }
            (Some(file), _) => format!("neither in flags nor in the environment nor in {}", file.display()),
            (None, _) => "neither in flags nor in the environment, and no settings file is given (--config)".to_owned(),
        };
        self.keep_problem(complaint.at(place));
    }

    /// All ways to set these settings.
    pub(super) fn ways(&self, rows: &[&'static Row]) -> Vec<String> {
        let mut ways = Vec::new();
        for key in rows {
            ways.extend(key.flag.map(|flag| format!("--{flag}")));
            ways.extend(key.variable());
            ways.extend(key.also.iter().map(ToString::to_string));
            if !matches!(key.kind, Kind::EnvironmentSecret) {
                let (table, name) = key.parts();
                let array = self.item.map(|item| item.array).filter(|array| array.table == table);
                ways.extend(array.map(|array| format!("{name} under [[{}]]", array.name)));
                ways.push(format!("{name} under [{table}]"));
            }
        }
        ways
    }
}
