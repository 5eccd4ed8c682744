//! The view of `forwarder top`, and the effect of keys on it. Pure.

use std::cmp::Reverse;

use super::keys::Key;
use super::reasons::{MIN_REASON_LINES, reasons};
use super::rows::{DESTINATIONS, SHARDS, SOURCES, destination, number, seconds, shard, source, state, trouble};
use super::status::{Rates, Shard, Status};
use crate::cli::columns::table;
use crate::cli::terminal::{cells, fit, wrap};
use crate::core::count::{bytes, count};
use crate::core::printable::{excerpt, is_unprintable};
use crate::script::Paint;

/// Maximum lines for sources and for destinations. The shards get the rest.
const MAX_ROWS: usize = 4;

/// The reasons may take the lines of the shards, except for the heading and the first shard.
const MIN_SHARD_LINES: usize = 2;

/// Maximum length of a filter, in characters.
const MAX_FILTER_CHARS: usize = 60;

/// The sort order of the shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Trouble,
    Lag,
    Rate,
    Name,
}

impl Order {
    fn next(self) -> Self {
        match self {
            Self::Trouble => Self::Lag,
            Self::Lag => Self::Rate,
            Self::Rate => Self::Name,
            Self::Name => Self::Trouble,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Trouble => "problems",
            Self::Lag => "lag",
            Self::Rate => "rate",
            Self::Name => "name",
        }
    }
}

/// The state of the view, and the user's choices.
#[derive(Debug)]
pub(super) struct View {
    /// The address or socket of the forwarder.
    place: String,
    status: Option<Status>,
    rates: Rates,
    /// Why there is no newer status.
    gone: Option<String>,
    order: Order,
    filter: String,
    /// Whether typed characters go into the filter.
    is_typing: bool,
    is_paused: bool,
    is_helping: bool,
    /// The number of shards above the first one that is shown.
    scrolled: usize,
}

impl View {
    pub(super) fn new(place: String) -> Self {
        Self {
            place,
            status: None,
            rates: Rates::default(),
            gone: None,
            order: Order::Trouble,
            filter: String::new(),
            is_typing: false,
            is_paused: false,
            is_helping: false,
            scrolled: 0,
        }
    }

    /// Takes an answer of the forwarder, unless the view is paused.
    pub(super) fn take(&mut self, reply: Result<Status, String>, at: std::time::Instant) {
        if self.is_paused {
            return;
        }
        match reply {
            Ok(status) => {
                self.rates.look(&status, at);
                self.status = Some(status);
                self.gone = None;
            }
            Err(why) => self.gone = Some(why),
        }
    }

    /// Handles a key. Returns whether to continue.
    pub(super) fn press(&mut self, key: Key) -> bool {
        match key {
            Key::Interrupt => return false,
            _ if self.is_typing => self.type_in(key),
            Key::Char('q') => return false,
            Key::Escape if self.is_helping => self.is_helping = false,
            Key::Escape => self.filter.clear(),
            Key::Char('?' | 'h') => self.is_helping = !self.is_helping,
            Key::Char('p' | ' ') => self.is_paused = !self.is_paused,
            Key::Char('s') => self.order = self.order.next(),
            Key::Char('/') => self.is_typing = true,
            Key::Up | Key::Char('k') => self.scrolled = self.scrolled.saturating_sub(1),
            Key::Down | Key::Char('j') => self.scrolled = self.scrolled.saturating_add(1),
            Key::PageUp => self.scrolled = self.scrolled.saturating_sub(10),
            Key::PageDown => self.scrolled = self.scrolled.saturating_add(10),
            Key::Char(_) | Key::Enter | Key::Backspace => {}
        }
        true
    }

    fn type_in(&mut self, key: Key) {
        self.scrolled = 0;
        match key {
            Key::Char(letter) if self.filter.chars().count() < MAX_FILTER_CHARS && !is_unprintable(letter) => {
                self.filter.push(letter);
            }
            Key::Backspace => drop(self.filter.pop()),
            Key::Enter => self.is_typing = false,
            Key::Escape => {
                self.is_typing = false;
                self.filter.clear();
            }
            _ => {}
        }
    }

    /// The lines for a terminal of this size; they fit its height and width.
    pub(super) fn lines(&mut self, (rows, columns): (usize, usize), paint: Paint) -> Vec<String> {
        let mut lines = vec![self.title(columns, paint)];
        if self.is_helping {
            lines.extend(HELP.iter().map(|line| (*line).to_owned()));
        } else {
            self.body(&mut lines, (rows.saturating_sub(1), columns), paint);
        }
        lines.truncate(rows.saturating_sub(1));
        lines.resize(rows.saturating_sub(1), String::new());
        lines.push(self.footer(paint));
        lines.into_iter().map(|line| fit(&line, columns)).collect()
    }

    fn title(&self, columns: usize, paint: Paint) -> String {
        let Some(status) = &self.status else {
            return format!("forwarder at {}", excerpt(&self.place));
        };
        let verdict = match status.state.as_str() {
            _ if self.gone.is_some() => paint.red("no answer"),
            "well" => paint.green(&excerpt(&status.verdict)),
            "trouble" | "stopped" => paint.red(&excerpt(&status.verdict)),
            _ => paint.yellow(&excerpt(&status.verdict)),
        };
        let held: Vec<&Shard> = status.shards.iter().filter(|shard| shard.held).collect();
        let rate: f64 = held.iter().filter_map(|shard| self.rates.of_shard(shard)).sum();
        let lag = held.iter().filter_map(|shard| shard.lag_seconds).max();
        let paused = if self.is_paused { format!("{}  ", paint.bold("PAUSED")) } else { String::new() };
        let mut title = format!("{paused}{verdict}");
        let more = [
            count(held.len() as u64, "shard"),
            format!("{}/s", number(rate)),
            format!("lag {}", lag.map_or_else(|| "-".to_owned(), seconds)),
            format!("memory {} of {}", bytes(status.memory.used), bytes(status.memory.limit)),
            match status.open_dead_letters {
                Some(0) => String::new(),
                Some(open) => count(open, "dead letter"),
                None => String::new(),
            },
            format!("forwarder {}", excerpt(&status.version)),
        ];
        for part in more.iter().filter(|part| !part.is_empty()) {
            if cells(&title) + 2 + cells(part) <= columns {
                title += &format!("  {part}");
            }
        }
        title
    }

    fn body(&mut self, lines: &mut Vec<String>, (rows, columns): (usize, usize), paint: Paint) {
        if let Some(why) = &self.gone {
            let text = excerpt(why);
            lines.extend(wrap(&text, columns).into_iter().map(|line| paint.red(&line)));
        }
        let Some(status) = &self.status else { return };
        let sources: Vec<Vec<String>> = status.sources.iter().map(|one| source(one, paint)).collect();
        let sources = some(table(&SOURCES, &sources, Some(columns)), paint);
        let destinations = status.destinations.iter().map(|one| destination(one, &self.rates, paint));
        let destinations = some(table(&DESTINATIONS, &destinations.collect::<Vec<_>>(), Some(columns)), paint);
        let others = lines.len() + 1 + sources.len() + destinations.len() + MIN_SHARD_LINES;
        let room = rows.saturating_sub(others).max(MIN_REASON_LINES);
        lines.extend(reasons(&status.reasons, columns, room, paint));
        lines.push(String::new());
        lines.extend(sources);
        lines.extend(destinations);
        let shards = self.shards(status);
        // The heading has the first line, and the last one is for the number of further shards.
        let room = rows.saturating_sub(lines.len() + 1);
        self.scrolled = self.scrolled.min(shards.len().saturating_sub(room));
        let below = shards.len() - self.scrolled;
        // A single line is for a shard.
        let is_cut = below > room && room > 1;
        let room = room - usize::from(is_cut);
        let beyond = if is_cut { below - room } else { 0 };
        let shown = shards.iter().skip(self.scrolled).take(room);
        let cells: Vec<Vec<String>> = shown.map(|one| shard(one, &self.rates, paint)).collect();
        let mut table = table(&SHARDS, &cells, Some(columns)).into_iter();
        lines.extend(table.next().map(|heading| paint.dim(&heading)));
        lines.extend(table);
        if beyond > 0 {
            lines.push(paint.dim(&format!("and {beyond} more")));
        }
    }

    /// The shards that match the filter, sorted.
    fn shards<'a>(&self, status: &'a Status) -> Vec<&'a Shard> {
        let wanted = self.filter.to_lowercase();
        let fits = |shard: &&Shard| {
            let text = format!("{} {} {}", shard.name(), state(shard), shard.standstill.as_deref().unwrap_or_default());
            text.to_lowercase().contains(&wanted)
        };
        let mut shards: Vec<&Shard> = status.shards.iter().filter(|shard| shard.held).filter(fits).collect();
        let rate = |shard: &Shard| self.rates.of_shard(shard).unwrap_or(0.0) as u64;
        let name = |shard: &Shard| (shard.source.clone(), shard.shard);
        shards.sort_by(|a, b| {
            let by = match self.order {
                Order::Trouble => trouble(a).cmp(&trouble(b)),
                Order::Lag => Reverse(a.lag_seconds).cmp(&Reverse(b.lag_seconds)),
                Order::Rate => Reverse(rate(a)).cmp(&Reverse(rate(b))),
                Order::Name => std::cmp::Ordering::Equal,
            };
            by.then_with(|| name(a).cmp(&name(b)))
        });
        shards
    }

    fn footer(&self, paint: Paint) -> String {
        if self.is_typing {
            return format!("filter: {}_  (Enter keeps it, Esc clears it)", self.filter);
        }
        let filter = if self.filter.is_empty() { String::new() } else { format!("filter {}  ", self.filter) };
        paint.dim(&format!("{filter}q quit  ? help  p pause  / filter  s sort: {}", self.order.name()))
    }
}

const HELP: [&str; 14] = [
    "",
    "q, Ctrl-C   quit",
    "p, space    pause or continue",
    "s           sort by problems, lag, rate, name",
    "/           filter by name and state",
    "Esc         clear the filter",
    "up, down    scroll (k, j, PgUp, PgDn)",
    "?           show or hide the keys",
    "",
    "LAG    age of the oldest undelivered log",
    "LOGS/S logs delivered, dropped or kept",
    "       as dead letters",
    "BATCH  how long batches took, and in",
    "       which time they were delivered",
];

/// The heading and the first rows, and the number of further rows.
fn some(table: Vec<String>, paint: Paint) -> Vec<String> {
    let beyond = table.len().saturating_sub(1 + MAX_ROWS);
    let mut lines: Vec<String> = table.into_iter().take(1 + MAX_ROWS).collect();
    if let Some(heading) = lines.first_mut() {
        *heading = paint.dim(heading);
    }
    if beyond > 0 {
        lines.push(paint.dim(&format!("and {beyond} more")));
    }
    lines.push(String::new());
    lines
}

#[cfg(test)]
mod tests;
