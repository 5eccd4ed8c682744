//! A matcher of Lua patterns with a step limit.
//!
//! Implements the pattern language of the Lua 5.4 manual, section 6.4.1, on bytes, with Lua's own error texts. Two
//! limits stop a pattern that backtracks too much: a number of steps, and a depth of recursion.

mod class;

use class::{in_class, in_set};
use memchr::{memchr, memmem};

use super::engine::time_limit;

/// Maximum number of captures in one pattern (`LUA_MAXCAPTURES` of Lua).
const MAX_CAPTURES: usize = 32;

/// Maximum recursion depth of one match (`MAXCCALLS` of Lua).
const MAX_DEPTH: u32 = 200;

/// Why a match failed with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A `%` at the end.
    #[error("malformed pattern (ends with '%')")]
    EndsInEscape,
    /// A set without a closing `]`.
    #[error("malformed pattern (missing ']')")]
    OpenSet,
    /// A `%b` without its two characters.
    #[error("malformed pattern (missing arguments to '%b')")]
    BareBalance,
    /// A `%f` without its set.
    #[error("missing '[' after '%f' in pattern")]
    BareFrontier,
    /// More than 32 captures.
    #[error("too many captures")]
    TooManyCaptures,
    /// A `)` without an open capture.
    #[error("invalid pattern capture")]
    NothingToClose,
    /// A `(` without a closing `)`.
    #[error("unfinished capture")]
    UnfinishedCapture,
    /// `%1`..`%9` without that capture before it, or in a replacement when the pattern does not have it.
    #[error("invalid capture index %{0}")]
    NoSuchCapture(u8),
    /// A `%` in a replacement that neither a digit nor a `%` follows.
    #[error("invalid use of '%' in replacement string")]
    BadReplacement,
    /// The pattern nests or repeats too deeply, for any text.
    #[error("pattern too complex")]
    TooDeep,
    /// This text makes the pattern backtrack too much.
    #[error("pattern too complex for this text ({0} steps)")]
    TooManySteps(u64),
    /// The log has used up its time.
    #[error("stopped after its time limit")]
    OutOfTime,
}

/// Maximum number of steps of one call on a text of this many bytes: a million, and enough more for a single pass
/// over a long text.
#[must_use]
pub fn step_limit(text: usize) -> u64 {
    1_000_000 + 8 * text as u64
}

/// The position of a match: `start..end` in bytes from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// First byte of the match.
    pub start: usize,
    /// The byte after it.
    pub end: usize,
}

/// The value of one pair of parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture<'a> {
    /// `(…)`: a part of the text.
    Text(&'a [u8]),
    /// `()`: a position, counted from 1 as Lua does.
    Position(usize),
}

/// Finds the literal text `needle` at or after `from`.
#[must_use]
pub fn find_plain(text: &[u8], needle: &[u8], from: usize) -> Option<Match> {
    let start = from + memmem::find(text.get(from..)?, needle)?;
    Some(Match { start, end: start + needle.len() })
}

/// Whether the pattern matches only itself.
#[must_use]
pub fn is_plain(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte))
}

/// Number of steps between two checks of the time limit.
const SLICE: u64 = 1 << 16;

/// Number of members of a set whose comparison takes about as long as one other step.
const SET_STEP: usize = 16;

/// One pattern applied to one text. All its searches share one step limit.
pub struct Matcher<'a> {
    text: &'a [u8],
    pattern: &'a [u8],
    anchored: bool,
    step_limit: u64,
    /// Remaining steps of this slice, and those after it.
    steps_left: u64,
    steps_beyond: u64,
    captures: [Caught; MAX_CAPTURES],
    captured: usize,
}

/// A capture during the match: its start, and what is known of its end.
#[derive(Debug, Clone, Copy)]
struct Caught {
    start: usize,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    /// The `)` was not reached yet.
    Open,
    /// `()` has no end.
    Position,
    At(usize),
}

impl<'a> Matcher<'a> {
    /// A leading `^` anchors the pattern at the start of a search, as in `find`, `match` and `gsub`.
    #[must_use]
    pub fn new(text: &'a [u8], pattern: &'a [u8], steps: u64) -> Self {
        match pattern.strip_prefix(b"^") {
            Some(rest) => Self { anchored: true, ..Self::without_anchor(text, rest, steps) },
            None => Self::without_anchor(text, pattern, steps),
        }
    }

    /// A leading `^` is an ordinary character, as in `gmatch`.
    #[must_use]
    pub fn without_anchor(text: &'a [u8], pattern: &'a [u8], steps: u64) -> Self {
        Self {
            text,
            pattern,
            anchored: false,
            step_limit: steps,
            steps_left: steps.min(SLICE),
            steps_beyond: steps.saturating_sub(SLICE),
            captures: [Caught { start: 0, end: End::Open }; MAX_CAPTURES],
            captured: 0,
        }
    }

    /// The first match that begins at or after `from` and does not end at `last`, the end of the previous match: an
    /// empty match may not touch the previous one.
    ///
    /// # Errors
    ///
    /// A malformed pattern, or one of the limits was reached.
    pub fn next(&mut self, from: usize, last: Option<usize>) -> Result<Option<Match>, PatternError> {
        let first_byte = (!self.anchored).then(|| self.first_byte()).flatten();
        let mut start = from;
        while start <= self.text.len() {
            if let Some(byte) = first_byte {
                match memchr(byte, &self.text[start..]) {
                    Some(skipped) => start += skipped,
                    None => return Ok(None),
                }
            }
            self.captured = 0;
            match self.run(start, 0, MAX_DEPTH)? {
                Some(end) if Some(end) != last => return Ok(Some(Match { start, end })),
                _ if self.anchored => return Ok(None),
                _ => start += 1,
            }
        }
        Ok(None)
    }

    /// Whether the pattern began with an anchor.
    #[must_use]
    pub fn is_anchored(&self) -> bool {
        self.anchored
    }

    /// The number of captures of the pattern, known after a match.
    #[must_use]
    pub fn captured(&self) -> usize {
        self.captured
    }

    /// The capture with this index, from 0, of the last match. A pattern without captures has one: the match.
    ///
    /// # Errors
    ///
    /// No such capture, or one that was never closed.
    pub fn capture(&self, index: usize, found: Match) -> Result<Capture<'a>, PatternError> {
        if index == 0 && self.captured == 0 {
            return Ok(Capture::Text(self.matched(found)));
        }
        let Some(caught) = self.captures[..self.captured].get(index) else {
            return Err(PatternError::NoSuchCapture(number(index)));
        };
        match caught.end {
            End::Open => Err(PatternError::UnfinishedCapture),
            End::Position => Ok(Capture::Position(caught.start + 1)),
            End::At(end) => Ok(Capture::Text(&self.text[caught.start..end])),
        }
    }

    /// The text of a match.
    #[must_use]
    pub fn matched(&self, found: Match) -> &'a [u8] {
        &self.text[found.start..found.end]
    }

    /// Expands `replacement` for the last match, piece by piece: `%0` is the match, `%1`..`%9` are captures, and `%%`
    /// is a `%`.
    ///
    /// # Errors
    ///
    /// `%` before another character, no such capture, or one that was never closed.
    pub fn expand(&self, replacement: &[u8], found: Match, mut push: impl FnMut(&[u8])) -> Result<(), PatternError> {
        let mut rest = replacement;
        while let Some(escape) = memchr(b'%', rest) {
            push(&rest[..escape]);
            match rest.get(escape + 1) {
                Some(b'%') => push(b"%"),
                Some(b'0') => push(self.matched(found)),
                Some(digit @ b'1'..=b'9') => match self.capture(usize::from(digit - b'1'), found)? {
                    Capture::Text(text) => push(text),
                    Capture::Position(position) => push_decimal(position, &mut push),
                },
                _ => return Err(PatternError::BadReplacement),
            }
            rest = &rest[escape + 2..];
        }
        push(rest);
        Ok(())
    }

    /// The byte that every match begins with, if the pattern begins with a literal byte.
    fn first_byte(&self) -> Option<u8> {
        let first = *self.pattern.first()?;
        let optional = matches!(self.pattern_byte(1), b'*' | b'?' | b'-');
        (!b"^$*+?.([%-)".contains(&first) && !optional).then_some(first)
    }

    /// Matches the pattern from `p` on against the text at `s`. Returns the end of the match.
    fn run(&mut self, mut s: usize, mut p: usize, depth: u32) -> Result<Option<usize>, PatternError> {
        let depth = depth.checked_sub(1).ok_or(PatternError::TooDeep)?;
        loop {
            self.spend(1)?;
            let Some(&first) = self.pattern.get(p) else {
                return Ok(Some(s));
            };
            let beyond = match (first, self.pattern_byte(p + 1)) {
                (b'(', b')') => return self.open_capture(s, p + 2, End::Position, depth),
                (b'(', _) => return self.open_capture(s, p + 1, End::Open, depth),
                (b')', _) => return self.close_capture(s, p + 1, depth),
                (b'$', _) if p + 1 == self.pattern.len() => return Ok((s == self.text.len()).then_some(s)),
                (b'%', b'b') => Some((self.balanced(s, p + 2)?, p + 4)),
                (b'%', b'f') => {
                    let (crossed, after) = self.frontier(s, p + 2)?;
                    Some((crossed.then_some(s), after))
                }
                (b'%', digit @ b'0'..=b'9') => Some((self.repeated(s, digit)?, p + 2)),
                _ => None,
            };
            if let Some((end, after)) = beyond {
                let Some(end) = end else { return Ok(None) };
                (s, p) = (end, after);
                continue;
            }

            // The rest is a single character class, optionally repeated.
            let after = self.class_end(p)?;
            self.spend_class(p, after)?;
            let matches = self.class_matches(s, p, after);
            match self.pattern_byte(after) {
                b'?' => {
                    if matches && let Some(end) = self.run(s + 1, after + 1, depth)? {
                        return Ok(Some(end));
                    }
                    p = after + 1;
                }
                b'*' | b'-' if !matches => p = after + 1,
                b'*' => return self.longest(s, p, after, depth),
                b'-' => return self.shortest(s, p, after, depth),
                _ if !matches => return Ok(None),
                b'+' => return self.longest(s + 1, p, after, depth),
                _ => (s, p) = (s + 1, after),
            }
        }
    }

    /// Matches the class as often as possible, then less often, until the rest of the pattern matches after it.
    fn longest(&mut self, s: usize, p: usize, after: usize, depth: u32) -> Result<Option<usize>, PatternError> {
        let mut end = s;
        while self.class_matches(end, p, after) {
            end += 1;
            self.spend_class(p, after)?;
        }
        // The other steps are counted below: either this ends the match, or each step back costs one.
        loop {
            if let Some(end) = self.run(end, after + 1, depth)? {
                return Ok(Some(end));
            }
            if end == s {
                return Ok(None);
            }
            end -= 1;
        }
    }

    /// Matches the class zero times, then more often, until the rest of the pattern matches after it.
    fn shortest(&mut self, mut s: usize, p: usize, after: usize, depth: u32) -> Result<Option<usize>, PatternError> {
        loop {
            if let Some(end) = self.run(s, after + 1, depth)? {
                return Ok(Some(end));
            }
            self.spend_class(p, after)?;
            if !self.class_matches(s, p, after) {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn open_capture(&mut self, s: usize, p: usize, end: End, depth: u32) -> Result<Option<usize>, PatternError> {
        let slot = self.captured;
        *self.captures.get_mut(slot).ok_or(PatternError::TooManyCaptures)? = Caught { start: s, end };
        self.captured = slot + 1;
        let end = self.run(s, p, depth)?;
        if end.is_none() {
            self.captured -= 1;
        }
        Ok(end)
    }

    fn close_capture(&mut self, s: usize, p: usize, depth: u32) -> Result<Option<usize>, PatternError> {
        let open = |caught: &Caught| matches!(caught.end, End::Open);
        let slot = self.captures[..self.captured].iter().rposition(open).ok_or(PatternError::NothingToClose)?;
        self.captures[slot].end = End::At(s);
        let end = self.run(s, p, depth)?;
        if end.is_none() {
            self.captures[slot].end = End::Open;
        }
        Ok(end)
    }

    /// `%bxy`, with `xy` at `p`: a text from an `x` to the `y` that balances it.
    fn balanced(&mut self, s: usize, p: usize) -> Result<Option<usize>, PatternError> {
        let &[open, close] = self.pattern.get(p..p + 2).ok_or(PatternError::BareBalance)? else {
            return Err(PatternError::BareBalance);
        };
        if self.text.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        for (passed, &byte) in self.text[s + 1..].iter().enumerate() {
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    self.spend(passed)?;
                    return Ok(Some(s + passed + 2));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        self.spend(self.text.len() - s)?;
        Ok(None)
    }

    /// `%f[set]`, with `[` at `p`: whether the text changes at `s` from outside the set to inside it. Also returns
    /// where the pattern continues. Both ends of the text count as a `\0`.
    fn frontier(&mut self, s: usize, p: usize) -> Result<(bool, usize), PatternError> {
        if self.pattern_byte(p) != b'[' {
            return Err(PatternError::BareFrontier);
        }
        let after = self.class_end(p)?;
        self.spend_class(p, after)?;
        let set = &self.pattern[p + 1..after - 1];
        let before = s.checked_sub(1).map_or(0, |before| self.text[before]);
        let here = self.text.get(s).copied().unwrap_or(0);
        Ok((!in_set(before, set) && in_set(here, set), after))
    }

    /// `%1`..`%9`: the text of that capture, again.
    fn repeated(&mut self, s: usize, digit: u8) -> Result<Option<usize>, PatternError> {
        let no_such_capture = PatternError::NoSuchCapture(digit - b'0');
        let index = usize::from(digit).checked_sub(usize::from(b'1')).ok_or(no_such_capture)?;
        let caught = self.captures[..self.captured].get(index).ok_or(no_such_capture)?;
        let end = match caught.end {
            End::Open => return Err(no_such_capture),
            End::Position => return Ok(None),
            End::At(end) => end,
        };
        let again = &self.text[caught.start..end];
        self.spend(again.len())?;
        Ok(self.text[s..].starts_with(again).then_some(s + again.len()))
    }

    /// The end of the single character class at `p`.
    fn class_end(&self, p: usize) -> Result<usize, PatternError> {
        match self.pattern[p] {
            b'%' if p + 1 == self.pattern.len() => Err(PatternError::EndsInEscape),
            b'%' => Ok(p + 2),
            b'[' => {
                let mut p = p + 1 + usize::from(self.pattern_byte(p + 1) == b'^');
                // The first character belongs to the set even if it is a `]`.
                loop {
                    let byte = *self.pattern.get(p).ok_or(PatternError::OpenSet)?;
                    p += 1;
                    if byte == b'%' && p < self.pattern.len() {
                        p += 1;
                    }
                    if self.pattern_byte(p) == b']' {
                        return Ok(p + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    /// Whether the class at `p..after` contains the byte at `s`.
    #[inline]
    fn class_matches(&self, s: usize, p: usize, after: usize) -> bool {
        let Some(&byte) = self.text.get(s) else { return false };
        match self.pattern[p] {
            b'.' => true,
            b'%' => in_class(byte, self.pattern[p + 1]),
            b'[' => in_set(byte, &self.pattern[p + 1..after - 1]),
            literal => literal == byte,
        }
    }

    /// The byte of the pattern at `p`. After the end, a `\0`, which has no special meaning in patterns.
    #[inline]
    fn pattern_byte(&self, p: usize) -> u8 {
        self.pattern.get(p).copied().unwrap_or(0)
    }

    /// Counts the comparisons with the members of a long set.
    #[inline]
    fn spend_class(&mut self, p: usize, after: usize) -> Result<(), PatternError> {
        match (after - p) / SET_STEP {
            0 => Ok(()),
            steps => self.spend(steps),
        }
    }

    #[inline]
    fn spend(&mut self, steps: usize) -> Result<(), PatternError> {
        match self.steps_left.checked_sub(steps as u64) {
            Some(left) => self.steps_left = left,
            None => self.begin_slice(steps as u64)?,
        }
        Ok(())
    }

    #[cold]
    fn begin_slice(&mut self, steps: u64) -> Result<(), PatternError> {
        let all = (self.steps_left + self.steps_beyond).checked_sub(steps);
        let left = all.ok_or(PatternError::TooManySteps(self.step_limit))?;
        if time_limit::is_over() {
            return Err(PatternError::OutOfTime);
        }
        self.steps_left = left.min(SLICE);
        self.steps_beyond = left - self.steps_left;
        Ok(())
    }
}

/// Without a `String`, which would leak if `push` leaves by `longjmp`.
fn push_decimal(mut n: usize, push: &mut impl FnMut(&[u8])) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return push(&digits[first..]);
        }
    }
}

/// The number of the capture with this index in a pattern.
fn number(index: usize) -> u8 {
    u8::try_from(index + 1).expect("a pattern has at most 32 captures")
}

#[cfg(test)]
mod tests;
