//! The view of `forwarder top`, and the effect of keys on it. Pure.

use std::cmp::Reverse;
use std::time::Duration;

use super::keys::Key;
use super::status::{Destination, Rates, Reason, Shard, Source, Status};
use crate::cli::columns::{Column, table};
use crate::cli::terminal::{cells, fit, wrap};
use crate::core::count::{bytes, count, thousands};
use crate::core::duration::roughly;
use crate::core::printable::{excerpt, is_unprintable, printable};
use crate::script::Paint;

/// A shard whose lag is above this many seconds is catching up.
const LATE: u64 = 60;

/// Maximum number of reasons of the verdict that are shown, and of lines for the text of one.
const MAX_REASONS: usize = 3;
const MAX_TEXT: usize = 5;

/// Maximum lines for sources and for destinations. The shards get the rest.
const MAX_ROWS: usize = 4;

/// The reasons may take the lines of the shards, except for the heading and the first shard. They get at least as many
/// lines as this.
const MIN_SHARD_LINES: usize = 2;
const MIN_REASON_LINES: usize = 4;

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
        let room = rows.saturating_sub(lines.len() + 1);
        self.scrolled = self.scrolled.min(shards.len().saturating_sub(room));
        let shown = shards.iter().skip(self.scrolled).take(room);
        let cells: Vec<Vec<String>> = shown.map(|one| shard(one, &self.rates, paint)).collect();
        let mut table = table(&SHARDS, &cells, Some(columns)).into_iter();
        lines.extend(table.next().map(|heading| paint.dim(&heading)));
        lines.extend(table);
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

const HELP: [&str; 12] = [
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
];

const SOURCES: [Column; 4] =
    [Column::text("SOURCE", 0), Column::text("HEARTBEAT", 1), Column::text("GROUP", 2), Column::text("LOGSTORE", 3)];

fn source(source: &Source, paint: Paint) -> Vec<String> {
    let heartbeat = match source.heartbeat_seconds {
        _ if !source.joined => paint.yellow("not joined"),
        Some(ago) => format!("{} ago", seconds(ago)),
        None => paint.yellow("none yet"),
    };
    let logstore = format!("{}/{}", source.project, source.logstore);
    vec![excerpt(&source.name), heartbeat, excerpt(&source.group), excerpt(&logstore)]
}

const DESTINATIONS: [Column; 6] = [
    Column::text("DESTINATION", 0),
    Column::text("STATE", 1),
    Column::number("EVENTS/S", 2),
    Column::number("IN FLIGHT", 4),
    Column::number("SINCE", 5),
    Column::text("ADDRESS, CAUSE", 3),
];

fn destination(one: &Destination, rates: &Rates, paint: Paint) -> Vec<String> {
    let state = match one.state.as_str() {
        "up" => paint.green("up"),
        "down" | "refuses" => paint.red(&one.state),
        other => paint.yellow(&excerpt(other)),
    };
    vec![
        excerpt(&one.name),
        state,
        rates.of_destination(&one.name).map_or_else(|| "-".to_owned(), number),
        one.events_in_flight.to_string(),
        one.seconds.map_or_else(|| "-".to_owned(), seconds),
        excerpt(one.cause.as_deref().unwrap_or(&one.address)),
    ]
}

const SHARDS: [Column; 8] = [
    Column::text("SHARD", 0),
    Column::text("STATE", 1),
    Column::number("LAG", 2),
    Column::number("LOGS/S", 3),
    Column::number("IN FLIGHT", 5),
    Column::number("PULLED", 6),
    Column::number("LETTERS", 7),
    Column::text("WHY", 4),
];

fn shard(shard: &Shard, rates: &Rates, paint: Paint) -> Vec<String> {
    let word = state(shard);
    let painted = match trouble(shard).0 {
        0 => paint.red(word),
        1 => paint.yellow(word),
        _ => paint.green(word),
    };
    vec![
        excerpt(&shard.name()),
        painted,
        shard.lag_seconds.map_or_else(|| "-".to_owned(), seconds),
        rates.of_shard(shard).map_or_else(|| "-".to_owned(), number),
        shard.in_flight.to_string(),
        shard.pulled.to_string(),
        shard.dead_lettered.to_string(),
        shard.standstill.as_deref().map_or_else(String::new, excerpt),
    ]
}

/// The state of a shard, as text.
fn state(shard: &Shard) -> &'static str {
    match (&shard.standstill, shard.lag_seconds) {
        (Some(_), _) => "stands still",
        (None, None) => "starting",
        (None, Some(lag)) if lag > LATE => "catching up",
        (None, Some(0)) if shard.in_flight == 0 => "caught up",
        (None, Some(_)) => "delivering",
    }
}

/// The sort key: worst first, then largest lag.
fn trouble(shard: &Shard) -> (u8, Reverse<Option<u64>>) {
    let rank = match (&shard.standstill, shard.lag_seconds) {
        (Some(_), _) => 0,
        (None, Some(lag)) if lag > LATE => 1,
        _ => 2,
    };
    // Healthy shards keep their order while their lags change.
    (rank, Reverse(shard.lag_seconds.filter(|_| rank < 2)))
}

/// The first reasons in at most `room` lines, and the number of further ones.
fn reasons(all: &[Reason], columns: usize, room: usize, paint: Paint) -> Vec<String> {
    let (mut lines, mut shown) = (Vec::new(), 0);
    for one in all.iter().take(MAX_REASONS) {
        // One line is for the number of further reasons.
        let left = room.saturating_sub(1 + lines.len());
        if shown > 0 && left < MIN_REASON_LINES {
            break;
        }
        lines.extend(reason(one, columns, left).iter().map(|line| paint.yellow(line)));
        shown += 1;
    }
    if shown < all.len() {
        lines.push(paint.dim(&format!("and {} more", all.len() - shown)));
    }
    lines
}

/// A reason in at most `room` lines. The consequence gives way first, then the end of the text.
fn reason(reason: &Reason, columns: usize, room: usize) -> Vec<String> {
    let part = |label: &str, text: &str| match text {
        "" => Vec::new(),
        text => wrap(&format!("{label}{}", printable(text)), columns),
    };
    let (mut lines, consequence, remedy) =
        (part("", &reason.text), part("So: ", &reason.consequence), part("Do: ", &reason.remedy));
    let most = MAX_TEXT.min(room.saturating_sub(remedy.len())).max(1);
    if lines.len() > most {
        lines.truncate(most);
        // One column too wide, so that it is cut and marked.
        lines[most - 1] = fit(&format!("{:columns$}…", lines[most - 1]), columns);
    }
    if lines.len() + consequence.len() + remedy.len() <= room {
        lines.extend(consequence);
    }
    lines.extend(remedy);
    lines.truncate(room);
    lines
}

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

fn seconds(seconds: u64) -> String {
    roughly(Duration::from_secs(seconds))
}

/// `0.5`, `12`, `12,345`.
fn number(value: f64) -> String {
    if value > 0.0 && value < 10.0 {
        return format!("{value:.1}");
    }
    thousands(value.round() as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::cli::commands::top::status::Memory;

    fn status() -> Status {
        let shard = |number, lag, standstill: Option<&str>| Shard {
            source: "audit".to_owned(),
            shard: number,
            held: true,
            lag_seconds: Some(lag),
            standstill: standstill.map(ToOwned::to_owned),
            delivered: 1_234_567 * u64::from(number),
            ..Shard::default()
        };
        Status {
            version: "0.1.0".to_owned(),
            verdict: "Paused".to_owned(),
            state: "trouble".to_owned(),
            reasons: vec![Reason {
                text: "the destination\x1b[2J is down: connection refused, and this goes on for a while".to_owned(),
                consequence: "logs wait in SLS; nothing is lost as long as SLS keeps them".to_owned(),
                remedy: "bring it back".to_owned(),
            }],
            sources: vec![Source { name: "audit".to_owned(), joined: true, ..Source::default() }],
            destinations: vec![Destination {
                name: "hec".to_owned(),
                state: "down".to_owned(),
                cause: Some("connection refused".to_owned()),
                ..Destination::default()
            }],
            memory: Memory { used: 1_000_000, limit: 268_435_456 },
            open_dead_letters: Some(3),
            shards: vec![shard(0, 1, None), shard(1, 500, None), shard(2, 9, Some("dead letters cannot be written"))],
        }
    }

    fn view() -> View {
        let mut view = View::new("unix:/x".to_owned());
        view.take(Ok(status()), Instant::now());
        view
    }

    fn order(view: &mut View) -> Vec<String> {
        let lines = view.lines((30, 120), Paint(false));
        lines.iter().filter_map(|line| line.strip_prefix("audit/")?.split(' ').next().map(ToOwned::to_owned)).collect()
    }

    #[test]
    fn the_view_fits_every_terminal_and_foreign_text_cannot_control_it() {
        for size in [(24, 80), (24, 40), (10, 40), (50, 200), (3, 20), (1, 1)] {
            for painted in [true, false] {
                for helping in [true, false] {
                    let mut view = view();
                    view.is_helping = helping;
                    let lines = view.lines(size, Paint(painted));
                    assert!(lines.len() <= size.0.max(1), "{size:?}: {lines:#?}");
                    assert!(lines.iter().all(|line| cells(line) <= size.1), "{size:?}: {lines:#?}");
                    assert!(!lines.concat().contains("\x1b[2J"));
                }
            }
        }
        let lines = view().lines((24, 40), Paint(false));
        assert!(lines[0].starts_with("Paused  3 shards"), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("audit/2  stands still")), "{lines:#?}");
        assert!(lines[23].starts_with("q quit  ? help"), "{lines:#?}");
    }

    #[test]
    fn a_long_reason_is_wrapped_with_its_remedy_and_the_shards_give_way() {
        let long = |text: String| Reason { text, ..status().reasons[0].clone() };
        let several = (0..6).map(|number| Source { name: format!("s{number}"), ..Source::default() }).collect();
        let shards: Vec<Shard> = (0..100).map(|shard| Shard { shard, ..status().shards[0].clone() }).collect();
        let reasons = vec![long("no room for dead letters ".repeat(40)), long("second".into()), long("third".into())];
        for (columns, sources) in [(80, status().sources), (80, several), (40, status().sources)] {
            let mut view = view();
            let status = Status { reasons: reasons.clone(), shards: shards.clone(), sources, ..status() };
            view.take(Ok(status), Instant::now());
            let lines = view.lines((24, columns), Paint(false));
            let at = |words: &str| lines.iter().position(|line| line.starts_with(words));
            let remedy = at("Do: bring it back").unwrap_or_else(|| panic!("{lines:#?}"));
            assert!(lines[1].starts_with("no room for dead letters no room") && remedy > 2, "{lines:#?}");
            assert!(lines.iter().any(|line| line.ends_with('…')), "the end of the text is left out: {lines:#?}");
            assert!(at("audit/0").is_some(), "one shard is left: {lines:#?}");
            assert!(at("and ").is_some() || at("third").is_some(), "{lines:#?}");
        }
        let lines = view().lines((24, 80), Paint(false));
        let consequence = "So: logs wait in SLS; nothing is lost as long as SLS keeps them";
        assert!(lines.iter().any(|line| line == consequence), "{lines:#?}");
    }

    #[test]
    fn keys_sort_filter_pause_and_quit() {
        let mut view = view();
        assert_eq!(order(&mut view), ["2", "1", "0"], "by trouble");
        view.press(Key::Char('s'));
        assert_eq!(order(&mut view), ["1", "2", "0"], "by lag");
        view.press(Key::Char('s'));
        view.press(Key::Char('s'));
        assert_eq!(order(&mut view), ["0", "1", "2"], "by name");

        for key in "/STILLx".chars().map(Key::Char).chain([Key::Backspace]) {
            assert!(view.press(key), "what is typed into a filter is no command");
        }
        assert!(view.lines((24, 80), Paint(false))[23].starts_with("filter: STILL_"));
        view.press(Key::Enter);
        assert_eq!(order(&mut view), ["2"]);
        view.press(Key::Escape);
        assert_eq!(order(&mut view).len(), 3);

        view.press(Key::Char('p'));
        view.take(Ok(Status::default()), Instant::now());
        assert_eq!(order(&mut view).len(), 3, "paused");
        view.press(Key::Char('p'));
        view.take(Ok(Status::default()), Instant::now());
        assert_eq!(order(&mut view).len(), 0);
        assert!(!view.press(Key::Char('q')) && !view.press(Key::Interrupt));
    }

    #[test]
    fn a_long_list_of_shards_scrolls_to_the_last_one_and_no_further() {
        let mut view = view();
        let many = (0..100).map(|shard| Shard { shard, ..status().shards[0].clone() }).collect();
        view.take(Ok(Status { shards: many, ..status() }), Instant::now());
        assert_eq!(order(&mut view)[0], "0");
        for _ in 0..50 {
            view.press(Key::PageDown);
        }
        assert_eq!(order(&mut view).last().unwrap(), "99");
        view.press(Key::Up);
        assert_eq!(order(&mut view).last().unwrap(), "98");
    }

    #[test]
    fn when_the_forwarder_is_gone_that_is_shown_with_its_last_figures() {
        let mut view = view();
        view.take(Err("no forwarder answers at unix:/x: refused".to_owned()), Instant::now());
        let lines = view.lines((30, 120), Paint(false));
        assert!(lines[0].starts_with("no answer") && lines[1].contains("no forwarder answers"), "{lines:#?}");
        assert_eq!(order(&mut view).len(), 3);
    }

    #[test]
    fn large_figures_have_thousands_separators() {
        assert_eq!(
            [0.0, 0.52, 12.3, 999.0, 1234.0, 1_234_567.0].map(number),
            ["0", "0.5", "12", "999", "1,234", "1,234,567"]
        );
    }
}
