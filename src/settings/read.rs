//! From what was typed to values with meaning: one setting at a time, every problem kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys;
use super::keys::{Key, Kind};
use super::problem::{Complaint, Problem};
use super::typed::{Layer, Raw, Typed, ValueOrigin};
use super::{content, units};
use crate::core::secret::Secret;

/// More than this is a slip of the hand in whatever the program waits for.
const LONGEST_DURATION: Duration = Duration::from_secs(30 * 24 * 3_600);

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

    /// Text that may be absent.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.value(name, text)
    }

    /// A credential that may be absent.
    pub(super) fn secret(&mut self, name: &'static str) -> Option<Secret> {
        self.value(name, |key, raw| content::credential(text(key, raw)?.as_bytes()).map(Secret::new))
    }

    /// A path that may be absent: in the settings file relative to its directory, else as it is.
    pub(super) fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        let path = self.value(name, text)?;
        match self.file(name).and_then(Path::parent) {
            Some(directory) => Some(directory.join(path)),
            None => Some(PathBuf::from(path)),
        }
    }

    /// A path to a file that can be read and is not empty.
    pub(super) fn readable(&mut self, name: &'static str) -> Option<PathBuf> {
        self.file_with(name, |_| Ok(()))
    }

    /// A path to a file with a credential.
    pub(super) fn credential_file(&mut self, name: &'static str) -> Option<PathBuf> {
        self.file_with(name, |content| content::credential(content).map(drop))
    }

    /// A path to a file with certificates.
    pub(super) fn certificates(&mut self, name: &'static str) -> Option<PathBuf> {
        self.file_with(name, content::certificates)
    }

    /// A path to a file that can be read, is not empty, and has the content that it should have.
    fn file_with(&mut self, name: &'static str, check: impl FnOnce(&[u8]) -> Result<(), Complaint>) -> Option<PathBuf> {
        let path = self.path(name)?;
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
        self.complain(name, complaint);
        Some(path)
    }

    /// `true` or `false`.
    pub(super) fn switch(&mut self, name: &'static str) -> Option<bool> {
        let read = |_: &Key, raw: &Raw| match raw {
            Raw::Switch(switch) => Ok(*switch),
            Raw::Text(text) if text == "true" => Ok(true),
            Raw::Text(text) if text == "false" => Ok(false),
            raw => Err(Complaint::new(format!("{} is neither true nor false", show(raw)), "write true or false")),
        };
        self.value(name, read)
    }

    /// A whole number within the bounds of the table of settings.
    pub(super) fn count(&mut self, name: &'static str) -> Option<u64> {
        self.value(name, |key, raw| {
            let Kind::Count(least, most) = key.kind else {
                unreachable!("{name} is not a count");
            };
            let number = match raw {
                Raw::Integer(number) => u64::try_from(*number).ok(),
                Raw::Text(text) => text.parse().ok(),
                _ => None,
            };
            number.filter(|number| (least..=most).contains(number)).ok_or_else(|| {
                let fix = format!("write a whole number from {least} to {most}");
                Complaint::new(format!("{} is not a number that fits", show(raw)), fix)
            })
        })
    }

    /// A duration that is not below the bound of the table of settings, and not above [`LONGEST_DURATION`].
    pub(super) fn duration(&mut self, name: &'static str) -> Option<Duration> {
        self.value(name, |key, raw| {
            let (least, bare_seconds) = match key.kind {
                Kind::Duration(least) => (least, false),
                Kind::Seconds(least) => (least, true),
                _ => unreachable!("{name} is not a duration"),
            };
            let bare = match raw {
                Raw::Integer(number) => u64::try_from(*number).ok(),
                Raw::Text(text) => text.parse::<u64>().ok(),
                _ => None,
            };
            let duration = match (bare, raw) {
                (Some(seconds), _) if bare_seconds => Duration::from_secs(seconds),
                (Some(number), _) => {
                    let fix = format!("write the unit: \"{number}s\" or \"{number}ms\"");
                    return Err(Complaint::new(format!("{number} has no unit of time"), fix));
                }
                (None, Raw::Text(text)) => units::duration(text).ok_or_else(|| not_a_duration(raw))?,
                (None, raw) => return Err(not_a_duration(raw)),
            };
            if duration < least {
                let least = units::show_duration(least);
                return Err(Complaint::new(
                    format!("{} is too short", show(raw)),
                    format!("write \"{least}\" or more"),
                ));
            }
            if duration > LONGEST_DURATION {
                let fix = format!("write \"{}\" or less", units::show_duration(LONGEST_DURATION));
                return Err(Complaint::new(format!("{} is too long", show(raw)), fix));
            }
            Ok(duration)
        })
    }

    /// A size in bytes within the bounds of the table of settings.
    pub(super) fn size(&mut self, name: &'static str) -> Option<usize> {
        self.value(name, |key, raw| {
            let Kind::Size(least, most) = key.kind else {
                unreachable!("{name} is not a size");
            };
            let size = match raw {
                Raw::Text(text) => units::size(text),
                _ => None,
            };
            let size = size.ok_or_else(|| {
                let fix = "write a number with a unit: \"500KB\", \"1MB\", \"64MiB\"";
                Complaint::new(format!("{} is not a size", show(raw)), fix)
            })?;
            let fits = (least..=most).contains(&size).then(|| usize::try_from(size).ok()).flatten();
            fits.ok_or_else(|| {
                let (least, most) = (units::show_size(least), units::show_size(most));
                let fix = format!("write a size from \"{least}\" to \"{most}\"");
                Complaint::new(format!("{} is out of bounds", show(raw)), fix)
            })
        })
    }

    /// One of the words of the table of settings.
    pub(super) fn word(&mut self, name: &'static str) -> Option<&'static str> {
        self.value(name, |key, raw| {
            let Kind::OneOf(words) = key.kind else {
                unreachable!("{name} is not a choice");
            };
            let typed = match raw {
                Raw::Text(text) => words.iter().find(|word| word.eq_ignore_ascii_case(text)),
                _ => None,
            };
            typed.copied().ok_or_else(|| {
                let fix = format!("write one of {}", words.join(", "));
                Complaint::new(format!("{} is not a choice", show(raw)), fix)
            })
        })
    }

    /// A value, read by the rule of the caller.
    pub(super) fn value<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'static Key, &Raw) -> Result<T, Complaint>,
    ) -> Option<T> {
        let key = keys::find(name).expect("a name of the table of settings");
        match read(key, &self.typed.get(name)?.raw) {
            Ok(value) => Some(value),
            Err(complaint) => {
                self.complain(name, complaint);
                None
            }
        }
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
    pub(super) fn client_cert(&mut self, names: [&'static str; 2]) -> Option<(PathBuf, PathBuf)> {
        let [cert, key] = names;
        let files = (self.certificates(cert), self.file_with(key, content::private_key));
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

/// Any text; a number is as good as its digits.
pub(super) fn text(key: &Key, raw: &Raw) -> Result<String, Complaint> {
    match raw {
        Raw::Text(text) if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') => {
            Err(Complaint::new("there are control characters in it", "leave them out"))
        }
        Raw::Text(text) => Ok(text.clone()),
        Raw::Integer(number) if !key.is_secret() => Ok(number.to_string()),
        raw => Err(Complaint::new(format!("{} is not text", kind_of(raw)), "write it in quotes: \"…\"")),
    }
}

/// A value in a message. Secrets never get here: their one complaint names no value.
fn show(raw: &Raw) -> String {
    match raw {
        Raw::Text(text) => format!("{text:?}"),
        Raw::Integer(number) => number.to_string(),
        Raw::Switch(switch) => switch.to_string(),
        Raw::Other(kind) => (*kind).to_owned(),
    }
}

fn kind_of(raw: &Raw) -> &'static str {
    match raw {
        Raw::Text(_) => "text",
        Raw::Integer(_) => "a number",
        Raw::Switch(_) => "true or false",
        Raw::Other(kind) => kind,
    }
}

fn not_a_duration(raw: &Raw) -> Complaint {
    let fix = "write a number with a unit: \"500ms\", \"20s\", \"2m\", \"1h\"";
    Complaint::new(format!("{} is not a duration", show(raw)), fix)
}
