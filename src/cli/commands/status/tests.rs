//! The exit code and the table.

use super::look::Trouble;
use super::*;
use crate::core::cursor::Cursor;
use crate::settings;
use crate::sls::api::SavedAt;
use crate::sls::shard_state::{Seen, ShardPlace, judge};

const NOW: i64 = 1_000_000_000;

/// A source of which this was found.
fn named(found: Result<Group, Trouble>) -> Named {
    let of = |name: &str| (name.to_owned(), "x".into());
    let environment = ["SLS_ENDPOINT", "SLS_PROJECT", "SLS_LOGSTORE", "SLS_CG", "SLS_AK_ID", "SLS_AK_KEY"];
    let environment = environment.into_iter().map(of).collect();
    let (name, config, _) = settings::places(None, &Vec::new(), &environment, &machine()).unwrap().remove(0);
    Named { name, config, found }
}

fn trouble(code: u8) -> Named {
    named(Err(Trouble { code, what: String::new(), fix: String::new() }))
}

/// A group of one shard with a lag of two days, of logs that are kept for a week.
fn group() -> Group {
    let retention = Some(Duration::from_secs(7 * 86_400));
    let saved = SavedAt { shard: 3, cursor: Cursor::from_number(1), consumer: "a".to_owned(), micros: NOW * 1_000_000 };
    let place = ShardPlace::Log(NOW - 2 * 86_400);
    let seen = Seen { shard: 3, is_read_only: false, saved: Some(saved), place };
    let timeout = Duration::from_secs(60);
    Group { timeout, retention, shards: vec![judge(seen, NOW, timeout, retention)], notes: Vec::new(), hidden: None }
}

#[test]
fn the_exit_code_is_that_of_the_worst_source() {
    let code = |codes: &[u8]| exit_code(&codes.iter().map(|code| trouble(*code)).collect::<Vec<_>>());
    assert_eq!(code(&[DENIED, USAGE, UNREACHABLE]), USAGE);
    assert_eq!(code(&[UNREACHABLE, DENIED, TROUBLE]), DENIED);
    assert_eq!(code(&[TROUBLE, UNREACHABLE]), UNREACHABLE);
    assert_eq!(exit_code(&[named(Ok(group())), trouble(TROUBLE)]), TROUBLE);
    assert_eq!(exit_code(&[named(Ok(group()))]), 0);
    let empty = Group { shards: Vec::new(), ..group() };
    assert_eq!(exit_code(&[named(Ok(empty))]), TROUBLE, "nothing is read");
}

#[test]
fn lag_and_time_to_loss_stand_under_their_headings() {
    let lines = show::text(&named(Ok(group())), Look { paint: Paint(false), width: None });
    let cells: Vec<&str> = lines[3].split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(cells[..5], ["3", "catching up", "2 d", "5 d", "0 s ago"], "{lines:#?}");
}
