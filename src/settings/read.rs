//! From what was typed to values with meaning: one setting at a time, every problem kept.

use std::path::{Path, PathBuf};

use super::content;
use super::keys;
use super::keys::{Key, Kind, Setting};
use super::problem::{Complaint, Problem};
use super::typed::{Layer, Typed, ValueOrigin};

/// Reads settings by name. A wrong value becomes a problem, and a placeholder that nobody gets to see: settings are only
/// handed out when there are no problems.
pub(super) struct Reader<'a> {
    typed: &'a Typed,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(typed: &'a Typed, problems: Vec<Problem>) -> Self {
        Self { typed, problems }
    }

    /// Every problem so far.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// The layer that a setting comes from, if it was given.
    pub(super) fn layer(&self, name: &'static str) -> Option<Layer> {
        self.typed.get(name).map(|given| given.layer)
    }

    /// Whether somebody gave a setting.
    pub(super) fn is_given(&self, name: &'static str) -> bool {
        self.layer(name).is_some_and(|layer| layer != Layer::Default)
    }

    /// The first setting of a table that somebody gave.
    pub(super) fn first_given(&self, table: &str) -> Option<&'static str> {
        keys::all().filter(|key| key.parts().0 == table).map(|key| key.name).find(|name| self.is_given(name))
    }

    /// The settings file, if it is what gives a setting.
    pub(super) fn file(&self, name: &'static str) -> Option<&'a Path> {
        match &self.typed.get(name)?.origin {
            ValueOrigin::File { file, .. } => Some(file),
            _ => None,
        }
    }

    /// The place that a setting comes from, for people.
    pub(super) fn origin(&self, name: &'static str) -> String {
        self.typed.get(name).map_or_else(|| name.to_owned(), |given| given.origin.to_string())
    }

    /// A path that may be absent: in the settings file relative to its directory, else as it is.
    pub(super) fn path(&mut self, key: &Key<PathBuf>) -> Option<PathBuf> {
        let path = self.get(key)?;
        match self.file(key.row.name).and_then(Path::parent) {
            Some(directory) => Some(directory.join(path)),
            None => Some(path),
        }
    }

    /// A path to a file that can be read and is not empty.
    pub(super) fn readable(&mut self, key: &Key<PathBuf>) -> Option<PathBuf> {
        self.file_with(key, |_| Ok(()))
    }

    /// A path to a file with a credential.
    pub(super) fn credential_file(&mut self, key: &Key<PathBuf>) -> Option<PathBuf> {
        self.file_with(key, |content| content::credential(content).map(drop))
    }

    /// A path to a file with certificates.
    pub(super) fn certificates(&mut self, key: &Key<PathBuf>) -> Option<PathBuf> {
        self.file_with(key, content::certificates)
    }

    /// A path to a file that can be read, is not empty, and has the content that it should have.
    fn file_with(&mut self, key: &Key<PathBuf>, check: impl FnOnce(&[u8]) -> Result<(), Complaint>) -> Option<PathBuf> {
        let path = self.path(key)?;
        let complaint = match std::fs::read(&path) {
            Ok(content) if content.iter().all(u8::is_ascii_whitespace) => {
                Complaint::new(format!("{} is empty", path.display()), "put the content there that it should have")
            }
            Ok(content) => match check(&content) {
                Ok(()) => return Some(path),
                Err(Complaint { what, fix }) => Complaint::new(format!("{}: {what}", path.display()), fix),
            },
            Err(error) => Complaint::new(
                format!("{} can't be read: {error}", path.display()),
                "check the path and its permissions; a path in a settings file starts at that file's directory",
            ),
        };
        self.complain(key.row.name, complaint);
        Some(path)
    }

    /// A value, if it is given and right.
    pub(super) fn get<T: Setting>(&mut self, key: &Key<T>) -> Option<T> {
        let read = T::read(&key.row, &key.bounds, &self.typed.get(key.row.name)?.raw);
        self.keep(key.row.name, read)
    }

    /// What a text means by the rule of the caller.
    pub(super) fn parse<T>(
        &mut self,
        key: &Key<String>,
        parse: impl FnOnce(String) -> Result<T, Complaint>,
    ) -> Option<T> {
        let text = self.get(key)?;
        self.keep(key.row.name, parse(text))
    }

    fn keep<T>(&mut self, name: &'static str, read: Result<T, Complaint>) -> Option<T> {
        read.map_err(|complaint| self.complain(name, complaint)).ok()
    }

    /// Keeps a problem with a setting's value.
    pub(super) fn complain(&mut self, name: &'static str, complaint: Complaint) {
        let place = self.origin(name);
        self.problems.push(complaint.at(place));
    }

    /// The one of two settings that holds, when they say the same in two ways: the one from the first layer. Neither and
    /// both are problems.
    pub(super) fn either(&mut self, one: &'static str, other: &'static str) -> Option<&'static str> {
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

    /// Keeps the problem that two settings say the same in two ways.
    pub(super) fn conflict(&mut self, names: [&'static str; 2]) {
        let [one, other] = names;
        let complaint = Complaint::new(format!("{one} and {other} are both given"), "keep one of the two");
        let place = names.map(|name| self.origin(name)).join(", ");
        self.problems.push(complaint.at(place));
    }

    /// Keeps the problem that there are two destinations, each named by a setting of it.
    pub(super) fn two_destinations(&mut self, names: [&'static str; 2]) {
        let [one, other] = names.map(|name| keys::find(name).expect("a name of the table of settings").parts().0);
        let complaint = Complaint::new(
            format!("there are settings of [{one}] and of [{other}], and one destination is all that a process has"),
            "keep one of the two; for both run two processes, each with a consumer group of its own",
        );
        let place = names.map(|name| self.origin(name)).join(", ");
        self.problems.push(complaint.at(place));
    }

    /// The file of our certificate and that of its key: none, or both.
    pub(super) fn client_cert(&mut self, keys: [&Key<PathBuf>; 2]) -> Option<(PathBuf, PathBuf)> {
        let [cert, key] = keys;
        let files = (self.certificates(cert), self.file_with(key, content::private_key));
        let (cert, key) = (cert.row.name, key.row.name);
        for (one, other) in [(cert, key), (key, cert)] {
            if self.layer(one).is_some() && self.layer(other).is_none() {
                let complaint = Complaint::new(format!("there is {one} but no {other}"), format!("give {other} too"));
                self.complain(one, complaint);
            }
        }
        files.0.zip(files.1)
    }

    /// Keeps the problem that none of these settings was given, if so.
    pub(super) fn demand(&mut self, names: &[&'static str]) {
        if names.iter().all(|name| self.typed.get(name).is_none()) {
            self.missing(names);
        }
    }

    /// Keeps the problem that none of these settings was given.
    pub(super) fn missing(&mut self, names: &[&'static str]) {
        let meaning = keys::find(names[0]).expect("a name of the table of settings").meaning;
        let complaint = Complaint::new(
            format!("{} is missing: {meaning}", names.join(" or ")),
            format!("give {}", self.ways(names).join(" or ")),
        );
        let place = match &self.typed.file {
            Some(file) => format!("neither in flags nor in the environment nor in {}", file.display()),
            None => "neither in flags nor in the environment, and no settings file is given (--config)".to_owned(),
        };
        self.problems.push(complaint.at(place));
    }

    /// Every way to give these settings.
    pub(super) fn ways(&self, names: &[&'static str]) -> Vec<String> {
        let mut ways = Vec::new();
        for name in names {
            let key = keys::find(name).expect("a name of the table of settings");
            ways.extend(key.flag.map(|flag| format!("--{flag}")));
            ways.extend(key.variable());
            ways.extend(key.also.iter().map(ToString::to_string));
            if !matches!(key.kind, Kind::EnvironmentSecret) {
                let (table, name) = key.parts();
                ways.push(format!("{name} under [{table}]"));
            }
        }
        ways
    }
}
