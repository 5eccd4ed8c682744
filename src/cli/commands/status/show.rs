//! Formats the result as text and as JSON.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::look::{Group, Trouble, who};
use super::readers::Named;
use crate::cli::columns::{Column, table};
use crate::core::count::count;
use crate::core::duration::{in_words, roughly};
use crate::core::printable::{excerpt, printable};
use crate::script::Paint;
use crate::sls::shard_state::{ShardPlace, ShardReport, ShardState};

const COLUMNS: [Column; 7] = [
    Column::number("SHARD", 0),
    Column::text("STATE", 1),
    Column::number("LAG", 2),
    Column::number("LOSS IN", 3),
    Column::number("SAVED", 4),
    Column::text("CHECKPOINT", 6),
    Column::text("SAVED BY", 5),
];

/// How lines are formatted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) paint: Paint,
    /// Columns of the terminal, if it is one.
    pub(super) width: Option<usize>,
}

/// The lines about one source.
pub(super) fn text(Named { config, found, .. }: &Named, look: Look) -> Vec<String> {
    let paint = look.paint;
    let mut lines = vec![paint.bold(&format!("consumer group {}", who(config)))];
    let group = match found {
        Ok(group) => group,
        Err(trouble) => {
            lines.extend(self::trouble(trouble, paint));
            return lines;
        }
    };
    let Group { timeout, retention, shards, notes, hidden } = group;
    lines.push(format!(
        "{}, a timeout of {}{}",
        count(shards.len() as u64, "shard"),
        in_words(*timeout),
        retention.map_or_else(String::new, |kept| format!(", logs are kept {}", roughly(kept)))
    ));
    if shards.is_empty() {
        lines.push("the logstore has no shards yet: a new one gets them within minutes".to_owned());
    } else {
        let rows: Vec<Vec<String>> = shards.iter().map(|judged| row(judged, paint)).collect();
        lines.extend(table(&COLUMNS, &rows, look.width));
    }
    for state in ShardState::ALL {
        let with: Vec<&ShardReport> = shards.iter().filter(|judged| judged.state == state).collect();
        if let (Some(remedy), [first, ..]) = (state.remedy(), &with[..]) {
            let which = match &with[..] {
                [_] => format!("shard {}", first.seen.shard),
                more => count(more.len() as u64, "shard"),
            };
            lines.push(format!("{} ({which}): {remedy}", paint.red(state.label())));
        }
    }
    if let Some(hidden) = hidden {
        lines.extend(trouble(hidden, paint));
    }
    lines.extend(notes.iter().map(|note| format!("note: {}", printable(note))));
    lines
}

fn trouble(Trouble { what, fix, .. }: &Trouble, paint: Paint) -> [String; 2] {
    [format!("{}  {}", paint.red("fail"), printable(what)), format!("      fix: {}", printable(fix))]
}

fn row(judged: &ShardReport, paint: Paint) -> Vec<String> {
    let ShardReport { seen, state, lag, to_loss, saved_ago } = judged;
    let none = || "-".to_owned();
    let state = match state {
        ShardState::Unknown | ShardState::CatchingUp | ShardState::New => paint.yellow(state.label()),
        state if state.is_trouble() => paint.red(state.label()),
        state => paint.green(state.label()),
    };
    let checkpoint = match (&seen.saved, seen.place) {
        (None, _) => none(),
        (Some(_), ShardPlace::End) => "end".to_owned(),
        (Some(_), ShardPlace::Log(second)) => time(second),
        (Some(_), ShardPlace::Expired) => "expired".to_owned(),
        (Some(saved), ShardPlace::Hidden) => excerpt(&saved.cursor.when()),
    };
    vec![
        seen.shard.to_string(),
        state,
        lag.map_or_else(none, roughly),
        to_loss.map_or_else(none, roughly),
        saved_ago.map_or_else(none, |ago| format!("{} ago", roughly(ago))),
        checkpoint,
        match &seen.saved {
            Some(saved) if !saved.consumer.is_empty() => excerpt(&saved.consumer),
            _ => none(),
        },
    ]
}

fn time(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| second.to_string(), |time| time.to_string())
}

/// The same as JSON.
pub(super) fn json(Named { name, config, found }: &Named) -> Value {
    let mut value = json!({
        "source": name,
        "project": config.project,
        "logstore": config.logstore,
        "group": config.group,
    });
    let trouble = |Trouble { what, fix, .. }: &Trouble| json!({ "what": what, "fix": fix });
    match found {
        Err(why) => value["failed"] = trouble(why),
        Ok(Group { timeout, retention, shards, notes, hidden }) => {
            value["group_timeout_seconds"] = timeout.as_secs().into();
            value["retention_seconds"] = retention.map(|kept| kept.as_secs()).into();
            value["shards"] = shards.iter().map(shard).collect();
            value["notes"] = notes.clone().into();
            if let Some(why) = hidden {
                value["failed"] = trouble(why);
            }
        }
    }
    value
}

fn shard(ShardReport { seen, state, lag, to_loss, saved_ago }: &ShardReport) -> Value {
    let received_at = match seen.place {
        ShardPlace::Log(second) => Some(second),
        ShardPlace::End | ShardPlace::Expired | ShardPlace::Hidden => None,
    };
    json!({
        "shard": seen.shard,
        "state": state.label(),
        "trouble": state.is_trouble(),
        "read_only": seen.is_read_only,
        "lag_seconds": lag.map(|lag| lag.as_secs()),
        "seconds_to_loss": to_loss.map(|left| left.as_secs()),
        "checkpoint": seen.saved.as_ref().map(|saved| saved.cursor.as_str()),
        "next_log_received_at": received_at,
        "saved_by": seen.saved.as_ref().map(|saved| &saved.consumer),
        "saved_seconds_ago": saved_ago.map(|ago| ago.as_secs()),
    })
}
