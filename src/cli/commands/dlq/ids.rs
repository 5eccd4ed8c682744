//! Which dead letters the typed ids mean.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::output::{DlqError, Output, for_each};
use crate::core::printable::printable;

/// The whole ids of the dead letters in `dir` that `typed` means. Dead letters of older versions were listed without
/// project and logstore; such an id is taken as long as it means dead letters of one logstore.
///
/// # Errors
/// [`DlqError`]: nothing can be read, nothing has one of the ids, or one means dead letters of several logstores.
pub(super) fn resolve(dir: &Path, typed: &[String]) -> Result<BTreeSet<String>, DlqError> {
    let mut meant: BTreeMap<&str, BTreeSet<String>> =
        typed.iter().map(|typed| (typed.as_str(), BTreeSet::new())).collect();
    if meant.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut nowhere = Output { out: &mut io::sink(), notes: &mut io::sink(), width: None };
    for_each(dir, &mut nowhere, |letter, _| {
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
            return Err(DlqError::Unknown { dir: dir.to_owned(), id: shown(typed) });
        }
        if ids.len() > 1 {
            return Err(DlqError::Ambiguous { id: shown(typed), ids: ids.iter().map(|id| shown(id)).collect() });
        }
    }
    Ok(meant.into_values().flatten().collect())
}
