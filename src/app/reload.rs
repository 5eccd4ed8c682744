//! Watches the script's file, and puts what was saved in force.
//!
//! The truth is the content, read every two seconds: editors, git and Kubernetes replace files in many ways, and all of
//! them end in other content under the same name.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::script::{HookError, Script};
use crate::shard::Parts;

const POLL: Duration = Duration::from_secs(2);

/// Never returns.
pub(super) async fn watch<S, K>(parts: Arc<Parts<S, K>>, path: PathBuf) {
    let mut reading = Reading::default();
    loop {
        sleep(POLL).await;
        let script = match read(path.clone()).await {
            Ok(script) => script,
            Err(fault) => {
                if !std::mem::replace(&mut reading.unreadable, true) {
                    warn!("the script can't be read, the version in force stays: {fault}");
                }
                continue;
            }
        };
        reading.unreadable = false;
        let in_force = parts.hooks.script().version.clone();
        if !reading.is_worth_a_try(&script.version, &in_force) {
            continue;
        }
        let version = script.version.clone();
        match parts.hooks.replace(script) {
            Ok(()) => info!(%version, was = %in_force, "script reloaded: every shard takes it up with its next page"),
            Err(fault) => error!(%version, %in_force, "script refused, the version in force stays: {fault}"),
        }
    }
}

/// A file may lie on a network that hangs.
async fn read(path: PathBuf) -> Result<Script, HookError> {
    let name = path.display().to_string();
    let joined = tokio::task::spawn_blocking(move || Script::read(Path::new(&path))).await;
    joined.unwrap_or_else(|panic| panic!("reading {name} failed: {panic}"))
}

/// What the polls have seen.
#[derive(Debug, Default)]
struct Reading {
    /// Content of the last poll.
    last: Option<String>,
    /// Content that was tried last: a refused version is not tried again until the file changes.
    tried: Option<String>,
    unreadable: bool,
}

impl Reading {
    /// Whether this content is new, and has stood still for two polls: then it is not being written just now.
    fn is_worth_a_try(&mut self, version: &str, in_force: &str) -> bool {
        let stands_still = self.last.replace(version.to_owned()).as_deref() == Some(version);
        if version == in_force {
            self.tried = None;
            return false;
        }
        let is_new = self.tried.as_deref() != Some(version);
        if stands_still && is_new {
            self.tried = Some(version.to_owned());
        }
        stands_still && is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the contents seen, poll by poll, are tried, while version `a` is in force.
    fn check(polls: &[&str], expected: &[usize]) {
        let mut reading = Reading::default();
        let tried: Vec<usize> = polls
            .iter()
            .enumerate()
            .filter(|(_, version)| reading.is_worth_a_try(version, "a"))
            .map(|(at, _)| at)
            .collect();
        assert_eq!(tried, expected, "{polls:?}");
    }

    #[test]
    fn a_file_that_was_only_touched_is_left_alone() {
        check(&["a", "a", "a"], &[]);
    }

    #[test]
    fn new_content_is_tried_once_it_stands_still() {
        check(&["a", "b", "b", "b", "b"], &[2]);
        check(&["a", "half", "whole", "whole"], &[3]);
    }

    #[test]
    fn refused_content_is_tried_again_only_after_the_file_has_changed() {
        check(&["b", "b", "b", "c", "c", "b", "b"], &[1, 4, 6]);
        check(&["b", "b", "a", "b", "b"], &[1, 4]);
    }
}
