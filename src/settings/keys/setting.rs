//! Parses typed values.

use std::path::PathBuf;
use std::time::Duration;

use super::row::Row;
use crate::core::secret::Secret;
use crate::pipeline::FetchInterval;
use crate::settings::content;
use crate::settings::problem::Complaint;
use crate::settings::raw::Raw;
use crate::settings::units;

/// Maximum duration: a longer one is certainly a mistake.
const MAX_DURATION: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A type of settings.
pub trait Setting: Sized {
    /// Its bounds.
    type Bounds: Copy;

    /// Reads a value.
    ///
    /// # Errors
    /// It does not have this type, or is out of bounds.
    fn read(row: &Row, bounds: &Self::Bounds, raw: &Raw) -> Result<Self, Complaint>;
}

/// A type with a few values, each with its word.
pub trait Choice: Copy + PartialEq + 'static {
    /// Words and values, in the order of the documentation.
    const WORDS: &'static [(&'static str, Self)];

    /// The words.
    fn words() -> Vec<&'static str> {
        Self::WORDS.iter().map(|&(word, _)| word).collect()
    }

    /// The word of this value.
    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|&&(_, value)| value == self);
        found.expect("every value has a word").0
    }
}

/// A type of whole numbers; the bounds are the minimum and the maximum.
pub trait Number: Setting<Bounds = (u64, u64)> {
    /// The largest number of the type.
    const LARGEST: u64;
}

/// The bounds of a duration.
#[derive(Clone, Copy)]
pub struct DurationBounds {
    pub(super) least: Duration,
    /// Whether a number without a unit means seconds.
    pub(super) bare_seconds: bool,
}

impl Setting for String {
    type Bounds = ();

    fn read(row: &Row, (): &(), raw: &Raw) -> Result<Self, Complaint> {
        raw.text(row.is_secret())
    }
}

impl Setting for PathBuf {
    type Bounds = ();

    fn read(row: &Row, (): &(), raw: &Raw) -> Result<Self, Complaint> {
        match raw {
            Raw::Path(path) => Ok(path.clone()),
            raw => raw.text(row.is_secret()).map(Self::from),
        }
    }
}

impl Setting for Secret {
    type Bounds = ();

    fn read(row: &Row, (): &(), raw: &Raw) -> Result<Self, Complaint> {
        content::credential(raw.text(row.is_secret())?.as_bytes()).map(Self::new)
    }
}

impl Setting for bool {
    type Bounds = ();

    fn read(_: &Row, (): &(), raw: &Raw) -> Result<Self, Complaint> {
        match raw {
            Raw::Switch(switch) => Ok(*switch),
            Raw::Text(text) if text == "true" => Ok(true),
            Raw::Text(text) if text == "false" => Ok(false),
            raw => Err(Complaint::new(format!("{} is neither true nor false", raw.show()), "write true or false")),
        }
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Setting for $number {
            type Bounds = (u64, u64);

            fn read(_: &Row, &(least, most): &(u64, u64), raw: &Raw) -> Result<Self, Complaint> {
                let number = match raw {
                    Raw::Integer(number) => u64::try_from(*number).ok(),
                    Raw::Text(text) => text.parse().ok(),
                    _ => None,
                };
                let number = number.filter(|number| (least..=most).contains(number));
                number.and_then(|number| Self::try_from(number).ok()).ok_or_else(|| {
                    let fix = format!("write a whole number from {least} to {most}");
                    Complaint::new(format!("{} is not a number that fits", raw.show()), fix)
                })
            }
        }

        impl Number for $number {
            const LARGEST: u64 = Self::MAX as u64;
        }
    )*};
}

numbers!(u16, u32);

impl Setting for Duration {
    type Bounds = DurationBounds;

    fn read(_: &Row, &DurationBounds { least, bare_seconds }: &DurationBounds, raw: &Raw) -> Result<Self, Complaint> {
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
            return Err(Complaint::new(format!("{} is too short", raw.show()), format!("write \"{least}\" or more")));
        }
        if duration > MAX_DURATION {
            let fix = format!("write \"{}\" or less", units::show_duration(MAX_DURATION));
            return Err(Complaint::new(format!("{} is too long", raw.show()), fix));
        }
        Ok(duration)
    }
}

impl Setting for FetchInterval {
    type Bounds = DurationBounds;

    fn read(row: &Row, bounds: &DurationBounds, raw: &Raw) -> Result<Self, Complaint> {
        let ends = match raw {
            Raw::Text(text) => text.split_once(".."),
            _ => None,
        };
        let Some((least, most)) = ends else { return Duration::read(row, bounds, raw).map(Self::fixed) };
        let read = |text: &str| Duration::read(row, bounds, &Raw::Text(text.trim().to_owned()));
        let (least, most) = (read(least)?, read(most)?);
        if least > most {
            let fix = format!("write \"{}..{}\"", units::show_duration(most), units::show_duration(least));
            return Err(Complaint::new(format!("{} begins with the longer pause", raw.show()), fix));
        }
        Ok(Self::new(least, most))
    }
}

/// A size in bytes.
impl Setting for usize {
    type Bounds = (u64, u64);

    fn read(_: &Row, &(least, most): &(u64, u64), raw: &Raw) -> Result<Self, Complaint> {
        let size = match raw {
            Raw::Text(text) => units::size(text),
            _ => None,
        };
        let size = size.ok_or_else(|| {
            let fix = "write a number with a unit: \"500KB\", \"1MB\", \"64MiB\"";
            Complaint::new(format!("{} is not a size", raw.show()), fix)
        })?;
        let fits = (least..=most).contains(&size).then(|| usize::try_from(size).ok()).flatten();
        fits.ok_or_else(|| {
            let (least, most) = (units::show_size(least), units::show_size(most));
            let fix = format!("write a size from \"{least}\" to \"{most}\"");
            Complaint::new(format!("{} is out of bounds", raw.show()), fix)
        })
    }
}

impl<T: Choice> Setting for T {
    type Bounds = ();

    fn read(_: &Row, (): &(), raw: &Raw) -> Result<Self, Complaint> {
        let typed = match raw {
            Raw::Text(text) => T::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)),
            _ => None,
        };
        typed.map(|&(_, value)| value).ok_or_else(|| {
            let fix = format!("write one of {}", T::words().join(", "));
            Complaint::new(format!("{} is not a choice", raw.show()), fix)
        })
    }
}

fn not_a_duration(raw: &Raw) -> Complaint {
    let fix = "write a number with a unit: \"500ms\", \"20s\", \"2m\", \"1h\"";
    Complaint::new(format!("{} is not a duration", raw.show()), fix)
}
