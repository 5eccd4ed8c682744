//! A snapshot as a page for people.
//!
//! One document without scripts, that loads nothing and reads on a phone. Texts come from servers, scripts and settings:
//! each goes through [`Text`], and the policy that is sent along lets a browser do nothing but show the page.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::snapshot::Snapshot;
use super::verdict::{State, Verdict, verdict};
use crate::core::count::count;
use crate::core::ledger::{Counts, ShardLedger};
use crate::destination::{DestinationStatus, Health};

const STYLE: &str = "
:root { color-scheme: light dark; --line: rgb(128 128 128 / .35); --good: #1a7f37; --bad: #c0392b }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #ff7b72 } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.3rem; margin: 0 } h2 { font-size: 1rem; margin: 2rem 0 .5rem }
p { margin: .25rem 0 } p, li, dd, td { overflow-wrap: anywhere } small, dt, th { color: GrayText; font-weight: normal }
.good { color: var(--good) } .bad { color: var(--bad) }
.verdict { border-left: .4rem solid; padding: .5rem 1rem; margin: 1rem 0 } .verdict ul { margin: 0; padding-left: 1.2rem }
.verdict b, .verdict li { color: CanvasText }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0 } dd { margin: 0 }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left }
@media (max-width: 50rem) {
  dl { display: block } dd { margin-bottom: .5rem }
  thead { display: none } tr { display: block; padding: .6rem 0; border-bottom: 1px solid var(--line) }
  td, td:nth-child(-n+2) { display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .1rem 0; text-align: right }
  td::before { content: attr(data-is); color: GrayText; text-align: left }
}
";

/// What a browser may do with the page: apply this style.
pub(super) fn policy() -> String {
    let digest = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The page.
pub(super) fn html(snapshot: &Snapshot) -> String {
    let verdict = verdict(snapshot);
    let title = match (verdict.state(), verdict.problems()) {
        (State::Well, _) => "forwarder: all is well".to_owned(),
        (State::Waiting, _) => "forwarder: waiting".to_owned(),
        (_, 1) => "forwarder: 1 problem".to_owned(),
        (_, count) => format!("forwarder: {count} problems"),
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"5\">\n<style>{STYLE}</style>\n</head>\n<body>\n"
    );
    let who = &snapshot.who;
    let _ = writeln!(
        page,
        "<h1>forwarder {}</h1>\n<p>{} / {}, group {}, consumer {}</p>",
        env!("CARGO_PKG_VERSION"),
        Text(&who.project),
        Text(&who.logstore),
        Text(&who.group),
        Text(&who.consumer)
    );
    let credentials = &snapshot.credentials;
    if !credentials.provider.is_empty() {
        let _ = writeln!(page, "<p>credentials: {}</p>", Text(&credentials.to_string()));
    }
    write_verdict(&mut page, &verdict);
    write_destinations(&mut page, snapshot);
    write_ledger(&mut page, snapshot);
    write_shards(&mut page, snapshot);
    write_script(&mut page, snapshot);
    let now = time(snapshot.now);
    let _ = writeln!(
        page,
        "<h2>For machines</h2>\n<p><a href=\"/metrics\">/metrics</a>, <a href=\"/ready\">/ready</a>, <a \
         href=\"/live\">/live</a>; /status (JSON when asked for)</p>\n<p><small>{now}; reloads every 5 \
         seconds</small></p>\n</body>\n</html>"
    );
    page
}

fn write_verdict(page: &mut String, verdict: &Verdict) {
    let class = match verdict.state() {
        State::Well => {
            page.push_str("<div class=\"verdict good\"><b>All is well.</b></div>\n");
            return;
        }
        State::Waiting => "verdict",
        State::Trouble | State::Stopped => "verdict bad",
    };
    let _ = writeln!(page, "<div class=\"{class}\"><ul>");
    for reason in &verdict.reasons {
        let _ = writeln!(page, "<li>{}</li>", Text(&reason.text));
    }
    page.push_str("</ul></div>\n");
}

fn write_destinations(page: &mut String, snapshot: &Snapshot) {
    for DestinationStatus { name, promise, health, events, .. } in &snapshot.destinations {
        let (class, state, since, cause) = match health {
            Health::Unknown => ("", "not known: nothing was sent yet", None, None),
            Health::Up { since } => ("good", "up", Some(*since), None),
            Health::Down { since, cause } => ("bad", "down", Some(*since), Some(cause)),
            Health::Held { since, cause } => ("bad", "rejects our requests", Some(*since), Some(cause)),
        };
        let since = since.map(|since| moment(since, snapshot.now)).map(|at| format!(" since {at}")).unwrap_or_default();
        let _ = writeln!(
            page,
            "<h2>Destination {name}</h2>\n<dl>\n<dt>state</dt><dd><b class=\"{class}\">{state}</b>{since}</dd>"
        );
        if let Some(cause) = cause {
            row(page, "why", cause);
        }
        let meaning = promise.sentence.strip_prefix("delivered means ").unwrap_or(promise.sentence);
        row(page, "delivered means", meaning);
        let [delivered, rejected, in_flight] = [events.delivered, events.rejected, events.in_flight].map(number);
        row(page, "events", &format!("{delivered} delivered, {rejected} refused for good, {in_flight} in flight"));
        if events.missed + events.replayed > 0 {
            let [missed, replayed] = [events.missed, events.replayed].map(number);
            row(page, "missed while it was down", &format!("{missed}, of which it got {replayed} since"));
        }
        page.push_str("</dl>\n");
    }
}

fn write_ledger(page: &mut String, snapshot: &Snapshot) {
    let total = total(snapshot);
    let Counts { pulled, delivered, dropped, dead_lettered, in_flight, returned, gaps, .. } = total;
    let [pulled, delivered, dropped, dead_lettered, in_flight] =
        [pulled, delivered, dropped, dead_lettered, in_flight].map(number);
    let (class, balance) = match total.difference() {
        0 => ("good", "the ledger balances".to_owned()),
        difference => ("bad", format!("MISSING {difference}")),
    };
    let _ = writeln!(
        page,
        "<h2>Ledger</h2>\n<p>pulled <b>{pulled}</b> = delivered <b>{delivered}</b> + dropped <b>{dropped}</b> + \
         dead-lettered <b>{dead_lettered}</b> + in flight <b>{in_flight}</b>: <span class=\"{class}\">{balance}</span></p>"
    );
    if total.dead_lettered > 0 {
        page.push_str("<p>To see why: <code>forwarder dlq list</code></p>\n");
    }
    if returned > 0 {
        let _ = writeln!(
            page,
            "<p>{} were returned to the group, for the next owner of their shard.</p>",
            number(returned)
        );
    }
    if gaps > 0 {
        let _ = writeln!(
            page,
            "<p class=\"bad\">{}: logs expired in SLS before they were pulled; the log has their time ranges.</p>",
            count(gaps, "gap")
        );
    }
}

fn write_shards(page: &mut String, snapshot: &Snapshot) {
    page.push_str("<h2>Shards</h2>\n");
    if snapshot.shards.is_empty() {
        page.push_str("<p>None yet: a process beyond the number of shards stands by.</p>\n");
        return;
    }
    const COLUMNS: [&str; 10] =
        ["shard", "state", "lag", "pulled", "delivered", "dropped", "dead letters", "in flight", "gaps", "done up to"];
    page.push_str("<table>\n<thead><tr>");
    for column in COLUMNS {
        let _ = write!(page, "<th>{column}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for (shard, entry) in &snapshot.shards {
        let counts = &entry.counts;
        let (class, state) = state(entry);
        let nothing = || "–".to_owned();
        let cells = [
            shard.to_string(),
            format!("<span class=\"{class}\">{state}</span>"),
            entry.lag(snapshot.now).map_or_else(nothing, span),
            number(counts.pulled),
            number(counts.delivered),
            number(counts.dropped),
            number(counts.dead_lettered),
            number(counts.in_flight),
            number(counts.gaps),
            entry.durable_to.map_or_else(nothing, time),
        ];
        page.push_str("<tr>");
        for (column, cell) in COLUMNS.iter().zip(cells) {
            let _ = write!(page, "<td data-is=\"{column}\">{cell}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str(
        "</tbody>\n</table>\n<p><small>Done up to: when SLS received the newest log that was delivered, dropped or \
         dead-lettered with all before it.</small></p>\n",
    );
}

/// How a shard does, in a word.
fn state(entry: &ShardLedger) -> (&'static str, &'static str) {
    match entry {
        ShardLedger { halted: Some(_), .. } => ("bad", "HALTED"),
        ShardLedger { waits, .. } if !waits.is_empty() => ("bad", "PAUSED"),
        ShardLedger { held: false, .. } => ("", "released"),
        ShardLedger { caught_up: true, .. } => ("good", "caught up"),
        _ => ("", "working"),
    }
}

fn write_script(page: &mut String, snapshot: &Snapshot) {
    let reloads = &snapshot.reloads;
    page.push_str("<h2>Script</h2>\n<dl>\n");
    row(page, "running", &format!("{} since {}", snapshot.script, moment(snapshot.script_since, snapshot.now)));
    let counts = format!("{} taken, {} refused, {} rolled back", reloads.taken, reloads.refused, reloads.rolled_back);
    row(page, "reloads", &counts);
    if let Some((at, why)) = &snapshot.last_refused {
        row(page, "last refused", &format!("{}: {why}", moment(*at, snapshot.now)));
    }
    page.push_str("</dl>\n");
}

fn row(page: &mut String, name: &str, text: &str) {
    let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", Text(text));
}

fn total(snapshot: &Snapshot) -> Counts {
    snapshot.shards.values().fold(Counts::default(), |sum, entry| sum.plus(&entry.counts))
}

/// `2026-02-03 04:05:06 UTC (5 min)`.
fn moment(at: Instant, now: i64) -> String {
    let ago = at.elapsed().as_secs();
    format!("{} ({})", time(now.saturating_sub_unsigned(ago)), span(ago))
}

fn time(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => format!("unix {seconds}"),
    }
}

/// The two largest units: `3 s`, `4 min 5 s`, `2 h 5 min`, `3 d 4 h`.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {} min", minutes % 60),
        (days, hours, _) => format!("{days} d {} h", hours % 24),
    }
}

/// With a comma between thousands.
fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Text between tags or in quotes: it can neither end what it stands in nor reorder what is beside it.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => write!(f, "{}", c.escape_default())?,
                c if c.is_control() && c != '\n' => write!(f, "{}", c.escape_default())?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_for_people() {
        let check = |seconds, expected| assert_eq!(span(seconds), expected);
        check(0, "0 s");
        check(59, "59 s");
        check(61, "1 min 1 s");
        check(7_500, "2 h 5 min");
        check(273_600, "3 d 4 h");
        assert_eq!([0, 999, 1_000, 1_204_311].map(number), ["0", "999", "1,000", "1,204,311"]);
        assert_eq!(time(1_700_000_000), "2023-11-14 22:13:20 UTC");
    }

    #[test]
    fn text_stays_text() {
        let evil = "</dd><script>\"'&amp;\u{202e}\u{1b}[31m";
        let shown = "&lt;/dd&gt;&lt;script&gt;&quot;&#39;&amp;amp;\\u{202e}\\u{1b}[31m";
        assert_eq!(Text(evil).to_string(), shown);
    }
}
