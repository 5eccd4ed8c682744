//! A snapshot as a web page.
//!
//! One document that loads nothing else and works on a phone. Its `<main>` is rendered here, for the page and for
//! each event of the stream that updates it; the script only replaces the old one. Texts from servers, scripts and
//! settings are escaped by [`Text`], and the content security policy allows only this script and this style.

mod graph;
mod sections;
mod shards;
mod words;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::headline::Headline;
use super::history::History;
use super::reason::{Effect, Reason, State};
use super::snapshot::{Snapshot, SourceSnapshot};
use super::verdict::{Verdict, verdict};
use crate::core::count::count;
use words::{Text, time};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Time until the browser requests the next event, in milliseconds.
const RETRY: u32 = 2_000;

/// The content security policy.
pub(super) fn policy() -> String {
    let digest = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; form-action \
         'none'; frame-ancestors 'none'",
        digest(STYLE),
        digest(SCRIPT)
    )
}

/// The page.
pub(super) fn html(snapshot: &Snapshot, history: &History) -> String {
    let verdict = verdict(snapshot);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>forwarder {}</h1><p id=\"live\" class=\"soft\" role=\"status\">as of the last load</p>\
         <label hidden>Shards with <input id=\"filter\" type=\"search\" placeholder=\"paused, audit/3 …\"></label></header>\n\
         {}\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        Text(title(&verdict)),
        env!("CARGO_PKG_VERSION"),
        main(snapshot, history, &verdict)
    )
}

/// The same as an event of a stream (<https://html.spec.whatwg.org/multipage/server-sent-events.html>). The stream
/// ends after one event, and the browser reconnects by itself: no connection is held open.
pub(super) fn event(snapshot: &Snapshot, history: &History) -> String {
    let mut out = format!("retry: {RETRY}\n");
    for line in main(snapshot, history, &verdict(snapshot)).lines() {
        let _ = writeln!(out, "data: {line}");
    }
    out.push('\n');
    out
}

fn title(verdict: &Verdict) -> String {
    match verdict.problems() {
        0 => format!("{} – forwarder", verdict.headline),
        problems => format!("{}, {} – forwarder", verdict.headline, count(problems as u64, "problem")),
    }
}

fn main(snapshot: &Snapshot, history: &History, verdict: &Verdict) -> String {
    let mut out = format!("<main data-title=\"{}\">\n", Text(title(verdict)));
    for SourceSnapshot { who, .. } in &snapshot.sources {
        let _ = writeln!(
            out,
            "<p class=\"soft\">{} / {}, group {}, consumer {}</p>",
            Text(&who.project),
            Text(&who.logstore),
            Text(&who.group),
            Text(&who.consumer)
        );
    }
    write_verdict(&mut out, verdict);
    sections::hour(&mut out, history);
    for source in &snapshot.sources {
        shards::write(&mut out, source, snapshot, history);
    }
    out.push_str("<div class=\"cards\">\n");
    for source in &snapshot.sources {
        sections::sls(&mut out, source, snapshot);
    }
    for destination in &snapshot.destinations {
        sections::destination(&mut out, destination, snapshot);
    }
    sections::script(&mut out, snapshot);
    sections::letters(&mut out, snapshot);
    sections::ledger(&mut out, snapshot);
    let _ = write!(
        out,
        "<section aria-labelledby=\"machines\"><h2 id=\"machines\">For machines</h2>\n<p><a href=\"/metrics\">/metrics</a>, <a \
         href=\"/ready\">/ready</a>, <a href=\"/live\">/live</a>; /status is JSON when asked for</p>\n<p><small>{}</small></p>\
         </section>\n</div>\n</main>",
        time(snapshot.now)
    );
    out
}

fn write_verdict(out: &mut String, verdict: &Verdict) {
    let class = match (&verdict.headline, verdict.state()) {
        (Headline::Lost | Headline::Losing(_) | Headline::Paused, _) | (_, State::Stopped) => "bad",
        (_, State::Trouble) | (Headline::CatchingUp(_) | Headline::Late, _) => "warn",
        (Headline::Delivering, State::Well) => "good",
        _ => "",
    };
    let _ = writeln!(
        out,
        "<section class=\"verdict {class}\" aria-live=\"polite\" aria-labelledby=\"verdict\"><h2 id=\"verdict\">{}</h2>",
        Text(verdict.headline.to_string())
    );
    if verdict.reasons.is_empty() {
        let words = match verdict.headline {
            Headline::CatchingUp(_) | Headline::Late => "Logs are delivered late; see the lag below.",
            _ => "All is well.",
        };
        let _ = writeln!(out, "<p>{words}</p>");
    } else {
        out.push_str("<ul>\n");
        for Reason { text, effect, consequence, remedy, .. } in &verdict.reasons {
            let _ = write!(out, "<li>{}", Text(text));
            for (label, words) in [("So", *consequence), ("Do", remedy)] {
                if !words.is_empty() {
                    let _ = write!(out, "<br><small>{label}: {}</small>", Text(words));
                }
            }
            if *effect == Effect::Lost {
                out.push_str("<br><button data-post=\"/gaps/acknowledge\">Acknowledge the gap</button>");
            }
            out.push_str("</li>\n");
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</section>\n");
}
