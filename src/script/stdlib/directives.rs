//! The directives of a time format, and the check for directives without effect.

use std::ops::Range;

/// A directive: `%Y`, `%3f`, `%:z`, `%.f`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    /// Its range in the format.
    pub(super) place: Range<usize>,
    pub(super) letter: char,
}

/// The directives of a format, in order.
pub(super) fn directives(layout: &str) -> impl Iterator<Item = Directive> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + layout[rest..].find('%')?;
        let is_letter = |c: char| !matches!(c, '_' | '0'..='9' | '^' | '#' | '-' | ':' | '.');
        let (at, letter) = layout[start + 1..].char_indices().find(|&(_, c)| is_letter(c))?;
        rest = start + 1 + at + letter.len_utf8();
        Some(Directive { place: start..rest, letter })
    })
}

/// A part of a time that a directive represents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Moment,
    Year,
    Month,
    Day,
    DayOfYear,
    WeekYear,
    Week,
    Weekday,
    Hour,
    HourOf12,
    Half,
    Minute,
    Second,
    Fraction,
    Offset,
    Zone,
}

fn parts(letter: char) -> &'static [Part] {
    match letter {
        's' => &[Part::Moment],
        'F' | 'D' => &[Part::Year, Part::Month, Part::Day],
        'T' => &[Part::Hour, Part::Minute, Part::Second],
        'R' => &[Part::Hour, Part::Minute],
        'Y' | 'y' | 'C' => &[Part::Year],
        'm' | 'b' | 'B' | 'h' => &[Part::Month],
        'd' | 'e' => &[Part::Day],
        'j' => &[Part::DayOfYear],
        'G' | 'g' => &[Part::WeekYear],
        'U' | 'V' | 'W' => &[Part::Week],
        'A' | 'a' | 'u' | 'w' => &[Part::Weekday],
        'H' | 'k' => &[Part::Hour],
        'I' | 'l' => &[Part::Hour, Part::HourOf12],
        'P' | 'p' => &[Part::Half],
        'M' => &[Part::Minute],
        'S' => &[Part::Second],
        'f' | 'N' => &[Part::Fraction],
        'z' => &[Part::Offset],
        'Q' => &[Part::Zone],
        _ => &[],
    }
}

/// An error message for a directive that the parser would silently ignore: one together with `%s`, one that repeats a
/// part, a week or a day of the year together with a month and a day, and the half of a day with an hour of 24. Also for
/// an hour of 12 without its half, which could be either.
pub(super) fn without_effect(layout: &str) -> Option<String> {
    let all: Vec<(&str, &[Part])> =
        directives(layout).map(|directive| (&layout[directive.place], parts(directive.letter))).collect();
    let teller = |part: Part| all.iter().find(|(_, parts)| parts.contains(&part)).map(|(directive, _)| *directive);
    let (moment, has_day) = (teller(Part::Moment), teller(Part::Month).is_some() && teller(Part::Day).is_some());
    for (nth, &(directive, parts)) in all.iter().enumerate() {
        for &part in parts {
            if let Some(moment) = moment
                && !matches!(part, Part::Moment | Part::Fraction)
            {
                return Some(format!("{directive} has no effect beside {moment}, which is already the complete time"));
            }
            if has_day && matches!(part, Part::DayOfYear | Part::WeekYear | Part::Week) {
                return Some(format!("{directive} has no effect beside a month and a day"));
            }
            if part == Part::Half && teller(Part::HourOf12).is_none() {
                return Some(format!("{directive} has no effect without %I, the hour of 12"));
            }
            if part == Part::HourOf12 && teller(Part::Half).is_none() {
                return Some(format!("{directive} needs %p: its hour may be of either half of the day"));
            }
            let again = all[nth + 1..].iter().find(|(_, parts)| parts.contains(&part));
            if let Some((again, _)) = again {
                return Some(format!("{directive} has no effect: {again} sets the same"));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_found_with_their_flags() {
        let found: Vec<_> = directives("%Y-%_d%% %3f%.f %:::z 100%").map(|found| (found.place, found.letter)).collect();
        assert_eq!(found, [(0..2, 'Y'), (3..6, 'd'), (6..8, '%'), (9..12, 'f'), (12..15, 'f'), (16..21, 'z')]);
    }

    #[test]
    fn directives_without_effect_are_named() {
        for good in [
            "%d/%b/%Y:%H:%M:%S %z",
            "%s%.f",
            "%s.%f",
            "%a, %d %b %Y %T",
            "%F %I:%M %p",
            "%G-W%V-%u",
            "%Y-%j",
            "%z %Q",
            "%é",
        ] {
            assert_eq!(without_effect(good), None, "{good}");
        }
        let check =
            |layout: &str, expected: &str| assert_eq!(without_effect(layout).as_deref(), Some(expected), "{layout}");
        check("%s %T", "%T has no effect beside %s, which is already the complete time");
        check("%F %V", "%V has no effect beside a month and a day");
        check("%b %d %Y %j", "%j has no effect beside a month and a day");
        check("%F %y", "%F has no effect: %y sets the same");
        check("%s %z", "%z has no effect beside %s, which is already the complete time");
        check("%s %Q", "%Q has no effect beside %s, which is already the complete time");
        check("%C %Y-%m-%d", "%C has no effect: %Y sets the same");
        check("%C%y", "%C has no effect: %y sets the same");
        check("%H %p", "%p has no effect without %I, the hour of 12");
        check("%T %P", "%P has no effect without %I, the hour of 12");
        check("%I:%M", "%I needs %p: its hour may be of either half of the day");
        check("%z %z", "%z has no effect: %z sets the same");
        check("%s %s", "%s has no effect: %s sets the same");
    }
}
