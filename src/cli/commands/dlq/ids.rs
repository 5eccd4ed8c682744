//! Which dead letters the typed ids mean.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::output::{DlqError, Output, for_each};
use crate::core::printable::printable;

/// The whole ids of the dead letters in `dir` that `typed` means. Dead letters of older versions were listed without
/// project and logstore; such an id is taken as long as it means dead letters of one logstore. If nothing has one of the
/// ids, the unreadable pieces are named in `notes`: the dead letter may be one of them.
///
/// # Errors
/// [`DlqError`]: nothing can be read, nothing has one of the ids, or one means dead letters of several logstores.
pub(super) fn resolve(dir: &Path, typed: &[String], notes: &mut dyn io::Write) -> Result<BTreeSet<String>, DlqError> {
    let mut meant: BTreeMap<&str, BTreeSet<String>> =
        typed.iter().map(|typed| (typed.as_str(), BTreeSet::new())).collect();
    if meant.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut unreadable = Vec::new();
    let mut output = Output { out: &mut io::sink(), notes: &mut unreadable, width: None };
    for_each(dir, &mut output, |letter, _| {
        let (id, place) = (letter.record.id(), letter.record.place());
        for typed in [id.as_str(), place.as_str()] {
            if let Some(ids) = meant.get_mut(typed) {
                ids.insert(id.clone());
            }
        }
        Ok(())
    })?;
    let shown = |id: &str| printable(id.as_bytes());
    for typed in typed {
        let ids = &meant[typed.as_str()];
        if ids.is_empty() {
            notes.write_all(&unreadable).map_err(DlqError::Output)?;
            return Err(DlqError::Unknown { dir: dir.to_owned(), id: shown(typed) });
        }
        if ids.len() > 1 {
            return Err(DlqError::Ambiguous { id: shown(typed), ids: ids.iter().map(|id| shown(id)).collect() });
        }
    }
    Ok(meant.into_values().flatten().collect())
}
