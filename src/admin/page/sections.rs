//! The sections of the page beside the verdict and the shards.

use std::fmt::{Display, Write as _};

use tokio::time::Instant;

use super::graph;
use super::words::{Text, span, time};
use crate::admin::ack_limit::ack_limit;
use crate::admin::history::{History, Series};
use crate::admin::snapshot::{Snapshot, SourceSnapshot};
use crate::core::count::{bytes, count, thousands};
use crate::core::duration::{latency, roughly};
use crate::core::ledger::Counts;
use crate::core::probes::ProbeStatus;
use crate::destination::{DestinationStatus, Health};

/// Maximum number of outages to show.
const MAX_OUTAGES: usize = 5;

/// Rate, lag and latency of the last hour.
pub(super) fn hour(out: &mut String, history: &History) {
    let graphs: [(&str, &Series); 3] = [
        ("logs a second", &history.rate),
        ("lag in seconds", &history.lag),
        ("delivery in seconds, 99 %", &history.latency),
    ];
    out.push_str("<section aria-labelledby=\"hour\"><h2 id=\"hour\">The last hour</h2><div class=\"cards\">\n");
    for (what, series) in graphs {
        let now =
            series.last().map_or_else(|| "–".to_owned(), |value| format!("{}", (value * 1000.0).round() / 1000.0));
        let _ = writeln!(out, "<div><p class=\"soft\">{what}: <b>{now}</b></p>{}</div>", graph::line(series, what));
    }
    out.push_str("</div></section>\n");
}

/// The SLS section of a source.
pub(super) fn sls(out: &mut String, source: &SourceSnapshot, snapshot: &Snapshot) {
    let SourceSnapshot { name, who, group, credentials, calls, errors, certificate_end, retention, probe, .. } = source;
    begin(out, "sls", name, "SLS");
    row(out, "endpoint", &who.endpoint);
    row(
        out,
        "member of the group",
        group.member_since.map_or_else(|| "not now".to_owned(), |at| format!("since {}", moment(at, snapshot))),
    );
    row(out, "heartbeat", group.last_heartbeat.map_or_else(|| "none yet".to_owned(), |at| moment(at, snapshot)));
    if let Some(failing) = &group.failing {
        let _ = writeln!(
            out,
            "<dt>fails</dt><dd class=\"bad\">since {}: {}</dd>",
            moment(failing.since, snapshot),
            Text(&failing.cause)
        );
    }
    if !credentials.provider.is_empty() {
        row(out, "credentials", credentials.to_string());
    }
    certificate(out, "its certificate ends", *certificate_end, snapshot);
    row(out, "logs are kept for", retention.map_or_else(|| "not known".to_owned(), |kept| span(kept.as_secs())));
    let sent: u64 = calls.iter().map(|(_, count)| count).sum();
    row(out, "requests", thousands(sent));
    if let Some(probe) = probe {
        row(out, "probe", probe_words(probe));
    }
    end_list(out);
    table(out, "Failed calls", ["call", "code"], errors.iter().map(|error| ([error.call, &error.code], error.count)));
    out.push_str("</section>\n");
}

/// A destination.
pub(super) fn destination(out: &mut String, destination: &DestinationStatus, snapshot: &Snapshot) {
    let DestinationStatus { name, address, promise, health, certificates, events, figures, gauges, .. } = destination;
    begin(out, "destination", name.as_str(), "Destination");
    let (class, state, since, cause) = match health {
        Health::Unknown => ("", "not known: nothing was sent yet", None, None),
        Health::Up { since } => ("good", "up", Some(*since), None),
        Health::Down { since, cause } => ("bad", "down", Some(*since), Some(cause)),
        Health::Refusing { since, cause } => ("bad", "rejects our requests", Some(*since), Some(cause)),
    };
    let since = since.map(|since| format!(" since {}", moment(since, snapshot))).unwrap_or_default();
    let _ = writeln!(out, "<dt>state</dt><dd><b class=\"{class}\">{state}</b>{since}</dd>");
    if let Some(cause) = cause {
        row(out, "why", cause);
    }
    row(out, "address", address);
    let meaning = promise.sentence.strip_prefix("delivered means ").unwrap_or(promise.sentence);
    row(out, "delivered means", meaning);
    certificate(out, "its certificate ends", certificates.server, snapshot);
    certificate(out, "our certificate for it ends", certificates.ours, snapshot);
    let recent = snapshot.recent.get(name).copied().unwrap_or_default();
    row(
        out,
        "events a second",
        recent.rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1} in the last minute")),
    );
    let of = |share| recent.took.quantile(share).map(latency);
    let took = match (of(0.5), of(0.99)) {
        (Some(half), Some(most)) => format!("at most {half} (50 %), {most} (99 %), "),
        _ => "none was delivered ".to_owned(),
    };
    row(out, "a batch takes", format!("{took}in the last {}", roughly(recent.span)));
    let [delivered, rejected, in_flight] = [events.delivered, events.rejected, events.in_flight].map(thousands);
    row(out, "events", format!("{delivered} delivered, {rejected} refused for good, {in_flight} in flight"));
    if events.missed + events.replayed > 0 {
        let [missed, replayed] = [events.missed, events.replayed].map(thousands);
        row(out, "missed while down", format!("{missed}, of which {replayed} were delivered since"));
    }
    if let Some(limit) = ack_limit(destination, snapshot.memory) {
        row(out, "limited by", limit);
    }
    let counted = figures.counters.iter().map(|counter| (counter.name, counter.value));
    for (name, value) in counted.chain(gauges.iter().map(|gauge| (gauge.name, gauge.value))) {
        row(out, &name.replace('_', " "), thousands(value));
    }
    end_list(out);
    let replies = figures.replies.iter().map(|(code, count)| ([code.as_str(), ""], *count));
    table(out, "Replies", ["code", ""], replies);
    if !figures.outages.is_empty() {
        let _ = writeln!(out, "<h3>Outages of the last day: {}</h3><ul>", figures.outages.len());
        for outage in figures.outages.iter().rev().take(MAX_OUTAGES) {
            let _ = writeln!(
                out,
                "<li>{} for {}: {}</li>",
                time(snapshot.unix(outage.began)),
                span(outage.ended.saturating_duration_since(outage.began).as_secs()),
                Text(&outage.cause)
            );
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</section>\n");
}

/// When a certificate ends, if that is known.
fn certificate(out: &mut String, name: &str, end: Option<i64>, snapshot: &Snapshot) {
    let Some(end) = end else { return };
    let left = match u64::try_from(end - snapshot.now) {
        Ok(left) => format!("in {}", span(left)),
        Err(_) => "it has ended".to_owned(),
    };
    row(out, name, format!("{} ({left})", time(end)));
}

/// The state of the probe logs of a source.
fn probe_words(probe: &ProbeStatus) -> String {
    let ProbeStatus { waiting, took, failing } = probe;
    if let Some(failing) = failing {
        return format!("none can be written: {}", failing.cause);
    }
    let took = took.map_or_else(
        || "none has arrived yet".to_owned(),
        |took| format!("the last log took {:.1} s", took.as_secs_f64()),
    );
    match waiting {
        Some(age) => format!("{took}; one written {} ago is not delivered yet", span(age.as_secs())),
        None => took,
    }
}

/// The script.
pub(super) fn script(out: &mut String, snapshot: &Snapshot) {
    let reloads = &snapshot.reloads;
    begin(out, "script", "", "Script");
    row(out, "running", format!("{} since {}", snapshot.script, moment(snapshot.script_since, snapshot)));
    row(
        out,
        "reloads",
        format!("{} taken, {} refused, {} rolled back", reloads.taken, reloads.refused, reloads.rolled_back),
    );
    let logs = snapshot.total().pulled;
    let seconds: f64 = snapshot.sources.iter().map(|source| source.timings.script.seconds()).sum();
    if logs > 0 {
        #[expect(clippy::cast_precision_loss, reason = "microseconds for people")]
        let micros = seconds * 1e6 / logs as f64;
        row(out, "time for a log", format!("{micros:.1} µs, the wait for a thread included"));
    }
    if let Some((at, why)) = &snapshot.last_refused {
        row(out, "last refused", format!("{}: {why}", moment(*at, snapshot)));
    }
    end_list(out);
    let errors = snapshot.script_errors.iter().map(|(text, count)| ([text.as_str(), ""], *count));
    table(out, "Errors, by line", ["where and what", ""], errors);
    let reasons = snapshot.drop_reasons.by_count().into_iter().map(|(reason, logs)| ([reason, ""], thousands(logs)));
    table(out, "Dropped, by reason", ["reason", ""], reasons);
    out.push_str("</section>\n");
}

/// Dead letters.
pub(super) fn letters(out: &mut String, snapshot: &Snapshot) {
    begin(out, "letters", "", "Dead letters");
    let dir = &snapshot.letters_dir;
    match &snapshot.letters {
        None => row(out, "open", "not counted"),
        Some(letters) => {
            row(out, "open", thousands(letters.open));
            if letters.missed > 0 {
                row(out, "missed events", format!("{}, delivered by themselves", thousands(letters.missed)));
            }
            if letters.open > 0 {
                row(out, "newest", letters.newest.as_deref().unwrap_or("–"));
                let reasons = letters.reasons.iter().map(|(reason, count)| format!("{} {reason}", thousands(*count)));
                row(out, "by reason, on disk", reasons.collect::<Vec<_>>().join(", "));
                let _ =
                    writeln!(out, "<dt>to see why</dt><dd><code>forwarder dlq list --dir {}</code></dd>", Text(dir));
            }
        }
    }
    row(out, "directory", dir);
    end_list(out);
    out.push_str("</section>\n");
}

/// The ledger.
pub(super) fn ledger(out: &mut String, snapshot: &Snapshot) {
    let total = snapshot.total();
    let Counts { pulled, delivered, dropped, dead_lettered, in_flight, returned, gaps, .. } = total;
    let [pulled, delivered, dropped, dead_lettered, in_flight] =
        [pulled, delivered, dropped, dead_lettered, in_flight].map(thousands);
    let (class, balance) = match total.difference() {
        0 => ("good", "the ledger balances".to_owned()),
        difference => ("bad", format!("MISSING {difference}")),
    };
    let _ = writeln!(
        out,
        "<section aria-labelledby=\"ledger\"><h2 id=\"ledger\">Ledger</h2>\n<p>pulled <b>{pulled}</b> = delivered \
         <b>{delivered}</b> + dropped <b>{dropped}</b> + dead-lettered <b>{dead_lettered}</b> + in flight \
         <b>{in_flight}</b>: <span class=\"{class}\">{balance}</span></p>"
    );
    let memory = snapshot.memory;
    let full = if memory.is_full() { ": it delays the pulls" } else { "" };
    let _ = writeln!(out, "<p>{} of {} of run.memory are in use{full}.</p>", bytes(memory.used), bytes(memory.limit));
    if returned > 0 {
        let _ = writeln!(
            out,
            "<p>{} were returned to the group, for the next owner of their shard.</p>",
            thousands(returned)
        );
    }
    if gaps > 0 {
        let _ = writeln!(
            out,
            "<p>{} since the start: logs expired in SLS before they were pulled.</p>",
            count(gaps, "gap")
        );
    }
    out.push_str("</section>\n");
}

/// Begins a section with a definition list.
fn begin(out: &mut String, id: &str, name: &str, heading: &str) {
    let name = Text(name);
    let _ =
        writeln!(out, "<section aria-labelledby=\"{id}-{name}\"><h2 id=\"{id}-{name}\">{heading} {name}</h2>\n<dl>");
}

fn end_list(out: &mut String) {
    out.push_str("</dl>\n");
}

fn row(out: &mut String, name: &str, text: impl AsRef<str>) {
    let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", Text(name), Text(text));
}

/// A table of counts; empty if there are none.
fn table<'a>(
    out: &mut String,
    caption: &str,
    columns: [&str; 2],
    rows: impl Iterator<Item = ([&'a str; 2], impl Display)>,
) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let used = columns.iter().filter(|column| !column.is_empty()).count();
    let _ = write!(out, "<table class=\"text\"><caption>{caption}</caption><thead><tr>");
    for column in columns.iter().take(used).chain(&["times"]) {
        let _ = write!(out, "<th scope=\"col\">{column}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
    for (cells, count) in rows {
        out.push_str("<tr>");
        for cell in cells.iter().take(used) {
            let _ = write!(out, "<td>{}</td>", Text(cell));
        }
        let _ = writeln!(out, "<td>{count}</td></tr>");
    }
    out.push_str("</tbody></table>\n");
}

/// `2026-02-03 04:05:06 UTC (5 min)`.
fn moment(at: Instant, snapshot: &Snapshot) -> String {
    let ago = snapshot.at.saturating_duration_since(at).as_secs();
    format!("{} ({})", time(snapshot.unix(at)), span(ago))
}
