//! The last good version of the script, kept for a start with a broken script file.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, warn};

use super::reload::Saved;
use crate::core::state_dir::StateDir;
use crate::script::{HookError, Hooks, Script};

/// Its name in the state directory, with a suffix if the process has several scripts.
pub(super) fn name(which: Option<&str>) -> String {
    match which {
        None => "last-good-script.json".to_owned(),
        Some(which) => format!("last-good-script-{which}.json"),
    }
}

/// Maximum size: a script and its files, in base64.
const MAX_BYTES: u64 = 160 << 20;

/// Time between two checks of the running version.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The hooks that the program starts with.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) hooks: Hooks,
    /// The version in the script's file, if it was refused: it is not tried again until the file changes.
    pub(super) refused: Option<String>,
}

/// Starts with the version in the script's file. If that cannot be used, and the last good version of the same file
/// was kept, starts with that one and logs an error.
///
/// # Errors
/// The version in the file cannot be read or does not load, and there is no other.
pub(super) fn start(
    file: Saved,
    state: &StateDir,
    kept_as: &str,
    hooks: impl Fn(Script) -> Result<Hooks, HookError>,
) -> Result<Started, HookError> {
    let identity = file.identity();
    let made = hooks(file.script.clone());
    let is_other = |kept: &Script| kept.name == file.script.name && kept.version != file.script.version;
    let kept = kept(state, kept_as).unwrap_or_else(|why| {
        warn!("{why}");
        None
    });
    let Some(kept) = kept.filter(is_other) else {
        return Ok(Started { hooks: made?, refused: None });
    };
    let why = match made {
        Err(fault) => fault.to_string(),
        Ok(hooks) => match hooks.trial(file.script).run(&file.cases, false) {
            Ok(_) => return Ok(Started { hooks, refused: None }),
            Err(refused) => refused.to_string(),
        },
    };
    let version = kept.version.clone();
    let hooks = hooks(kept)?;
    let why = format!("running the last good version of the script, {version}, because its file cannot be used: {why}");
    error!("LAST GOOD SCRIPT: {why}");
    hooks.say(Some(why));
    Ok(Started { hooks, refused: Some(identity) })
}

/// Keeps the running version whenever it changes. Never returns. What cannot be read is replaced without another warning:
/// [`start`] has read it, too.
pub(super) async fn keep(hooks: &Hooks, state: StateDir, kept_as: &str) {
    let mut kept = kept(&state, kept_as).ok().flatten().map(|script| script.version);
    let mut was_told = false;
    loop {
        let running = hooks.script();
        if kept.as_ref() != Some(&running.version) {
            let (state, script, name) = (state.clone(), Arc::clone(&running), kept_as.to_owned());
            let written = tokio::task::spawn_blocking(move || state.write(&name, &script.to_kept())).await;
            match written.expect("writing does not panic") {
                Ok(()) => kept = Some(running.version.clone()),
                Err(error) if !was_told => {
                    was_told = true;
                    warn!("cannot keep the running script for the next start: {error}");
                }
                Err(_) => {}
            }
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// The version that was kept, or why it is not used.
fn kept(state: &StateDir, kept_as: &str) -> Result<Option<Script>, String> {
    match state.read(kept_as, MAX_BYTES) {
        Ok(None) => Ok(None),
        Ok(Some(content)) => match Script::from_kept(&content) {
            Some(script) => Ok(Some(script)),
            None => Err(format!("{kept_as} in the state directory is damaged and is not used")),
        },
        Err(error) => Err(format!("the last good script cannot be read from the state directory: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::reload::tests::hooks_of;
    use crate::core::test_log::log;

    const GOOD: &str = "function process(log) return log end";

    fn saved(text: &str, cases: &str) -> Saved {
        Saved { script: Script::from_text("s.lua", text), cases: cases.to_owned() }
    }

    /// The text of the version that runs, and the warning about it.
    fn started(file: Saved, state: &StateDir) -> Result<(String, Option<String>), HookError> {
        let Started { hooks, .. } = start(file, state, &name(None), hooks_of)?;
        Ok((String::from_utf8(hooks.script().text.clone()).unwrap(), hooks.reloads().trouble))
    }

    fn with_kept(text: &str) -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        state.write(&name(None), &Script::from_text("s.lua", text).to_kept()).unwrap();
        (dir, state)
    }

    #[test]
    fn the_last_good_version_runs_when_the_current_one_does_not_load_or_fails_its_cases() {
        let (_dir, state) = with_kept(GOOD);
        let case = r#"{"name": "a", "log": {"x": "1"}, "dropped": true}"#;
        for (file, why) in [
            (saved("function process(log) return", ""), "s.lua:1"),
            (saved("function process(log) return log.x end", case), "its tests fail"),
        ] {
            let (text, warning) = started(file, &state).unwrap();
            assert_eq!(text, GOOD);
            assert!(warning.as_ref().is_some_and(|warning| warning.contains(why)), "{why}: {warning:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_version_that_cannot_be_used_is_told_once() {
        let (_log, lines) = log();
        let (_dir, state) = with_kept(GOOD);
        state.write(&name(None), b"{").unwrap();
        let Started { hooks, .. } = start(saved(GOOD, ""), &state, &name(None), hooks_of).unwrap();
        let _ = tokio::time::timeout(POLL_INTERVAL / 2, keep(&hooks, state, &name(None))).await;
        assert_eq!(lines.text().matches("is damaged and is not used").count(), 1, "{}", lines.text());
    }

    #[test]
    fn a_good_version_runs_whatever_was_kept() {
        let (_dir, state) = with_kept(GOOD);
        let better = "function process(log) return {event = log} end";
        assert_eq!(started(saved(better, ""), &state).unwrap(), (better.to_owned(), None));
    }

    #[test]
    fn the_last_good_version_of_another_file_does_not_replace_a_broken_one() {
        let (_dir, state) = with_kept(GOOD);
        let other = Saved { script: Script::from_text("other.lua", "function"), cases: String::new() };
        assert!(started(other, &state).is_err());
    }

    #[test]
    fn a_broken_version_is_an_error_when_nothing_usable_was_kept() {
        assert!(started(saved("function", ""), &StateDir::none()).is_err());
        let (_dir, state) = with_kept(GOOD);
        state.write(&name(None), b"{").unwrap();
        assert!(started(saved("function", ""), &state).is_err());
    }
}
