//! The view of `forwarder top`: what it shows, and what keys do.

use std::time::{Duration, Instant};

use super::*;
use crate::cli::commands::top::status::{Destination, Memory, Reason, RecentBatches, Source};
use crate::core::duration::roughly;

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
    let lines = view.lines((30, 120), Paint(false));
    assert_eq!(lines[28], format!("and {} more", 100 - order(&mut view).len()), "{lines:#?}");
    for _ in 0..50 {
        view.press(Key::PageDown);
    }
    assert_eq!(order(&mut view).last().unwrap(), "99");
    assert!(!view.lines((30, 120), Paint(false)).iter().any(|line| line.starts_with("and ")), "there are none below");
    view.press(Key::Up);
    assert_eq!(order(&mut view).last().unwrap(), "97", "a line says that two are below");
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

/// Two shards of this process and one of another, two sources, and a destination: `step` counts the readings.
fn measured(step: u64) -> Status {
    let shard = |shard, held, lag, delivered, dropped, dead_lettered, pulled| Shard {
        source: "Audit".to_owned(),
        shard,
        held,
        lag_seconds: Some(lag),
        delivered: delivered * step,
        dropped: dropped * step,
        dead_lettered: dead_lettered * step,
        pulled,
        in_flight: 5,
        ..Shard::default()
    };
    let source =
        |name: &str, joined| Source { name: name.to_owned(), joined, heartbeat_seconds: Some(3), ..Source::default() };
    Status {
        sources: vec![source("Audit", true), source("waf", false)],
        destinations: vec![Destination {
            name: "hec".to_owned(),
            address: "siem:8088".to_owned(),
            state: "up".to_owned(),
            seconds: Some(90),
            recent_batches: RecentBatches { seconds: 360, most_within_seconds: Some(0.25) },
            events: 40 * step,
            events_in_flight: 4,
            ..Destination::default()
        }],
        shards: vec![
            shard(0, true, 30, 20, 30, 10, 777),
            shard(1, true, 100, 200, 0, 0, 888),
            shard(2, false, 5_000, 400, 0, 0, 999),
        ],
        ..status()
    }
}

#[test]
fn each_figure_stands_under_its_heading_and_only_shards_of_this_process_count() {
    let mut view = View::new("unix:/x".to_owned());
    let began = Instant::now();
    view.take(Ok(measured(1)), began);
    view.take(Ok(measured(2)), began + Duration::from_secs(2));
    // A reading so soon after another one gives no rate of its own.
    view.take(Ok(measured(50)), began + Duration::from_millis(2_100));
    let lines = view.lines((40, 160), Paint(false));
    let cells = |start: &str| -> Vec<String> {
        let line = lines.iter().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {lines:#?}"));
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(ToOwned::to_owned).collect()
    };
    let time = |seconds| roughly(Duration::from_secs(seconds));
    assert_eq!(cells("Audit/0"), ["Audit/0", "delivering", &time(30), "30", "5", "777", "500"]);
    assert_eq!(cells("Audit/1"), ["Audit/1", "catching up", &time(100), "100", "5", "888", "0"]);
    assert!(!lines.iter().any(|line| line.starts_with("Audit/2")), "{lines:#?}");
    let title = format!("Paused  2 shards  130/s  lag {}", time(100));
    assert!(lines[0].starts_with(&title), "{title}: {lines:#?}");
    assert_eq!(cells("hec"), ["hec", "up", "20", "4", &time(90), "250 ms in 6 min", "siem:8088"]);
    assert_eq!(cells("waf")[..2], ["waf", "not joined"]);
    assert_eq!(cells("Audit  ")[..2], ["Audit".to_owned(), format!("{} ago", time(3))]);
    assert!(view.lines((40, 160), Paint(true))[0].starts_with(&Paint(true).red("Paused")));

    let order = |view: &mut View| -> Vec<String> {
        let lines = view.lines((40, 160), Paint(false));
        lines.iter().filter_map(|line| line.strip_prefix("Audit/")?.split(' ').next().map(ToOwned::to_owned)).collect()
    };
    view.press(Key::Char('s'));
    view.press(Key::Char('s'));
    assert_eq!(order(&mut view), ["1", "0"], "by rate");
    assert!("/audit/0".chars().all(|letter| view.press(Key::Char(letter))));
    assert_eq!(order(&mut view), ["0"], "the case of a name does not matter");
}
