//! Sources in the form of the vendor's script for several logstores: lists of endpoints, projects and logstores,
//! paired by position. Each pair of a project and a logstore becomes an item, as if written under `[[source]]`.

use super::keys;
use super::keys::Row;
use super::keys::source::SOURCES;
use super::problem::{Complaint, Problem};
use super::raw::Raw;
use super::typed::{Item, Layer, Typed, ValueOrigin, Values};

/// Endpoints, projects and logstores, in this order.
pub(super) const LISTS: [&Row; 3] = [&keys::sls::ENDPOINTS.row, &keys::sls::PROJECTS.row, &keys::sls::LOGSTORES.row];

/// The settings of one source in the lists.
const SINGLE: [&Row; 3] = [&keys::sls::ENDPOINT.row, &keys::sls::PROJECT.row, &keys::sls::LOGSTORE.row];

/// Splits the lists, if there are any; returns their problems.
pub(super) fn take(typed: &mut Typed) -> Vec<Problem> {
    let mut problems = Vec::new();
    match pairs(typed) {
        Ok(items) => typed.items.extend(items),
        Err(problem) => problems.push(problem),
    }
    problems
}

fn pairs(typed: &Typed) -> Result<Vec<Item>, Problem> {
    let given = LISTS.map(|row| typed.common.get(row.name));
    let Some(first) = given.iter().flatten().next() else { return Ok(Vec::new()) };
    let place = first.origin.to_string();
    if let Some(absent) = LISTS.iter().zip(&given).find_map(|(row, given)| given.is_none().then_some(row)) {
        let names = [absent.variable(), absent.also.first().map(ToString::to_string)].into_iter().flatten();
        let fix = format!("give {}, or leave the other lists out", names.collect::<Vec<_>>().join(" or "));
        return Err(Complaint::new(
            format!("there is no {}, and the other lists of sources are given", absent.name),
            fix,
        )
        .at(place));
    }
    if let Some(item) = typed.items.iter().find(|item| item.array.name == SOURCES.name) {
        let what = "sources are given as lists and as [[source]]";
        return Err(Complaint::new(what, "keep one of the two").at(format!("{place}, {}", item.place)));
    }
    if let Some(single) = SINGLE.iter().find_map(|row| typed.common.get(row.name)) {
        let what = "one source and lists of sources are both given";
        return Err(Complaint::new(what, "keep one of the two").at(format!("{place}, {}", single.origin)));
    }
    let origins = given.map(|given| given.map(|given| given.origin.to_string()).unwrap_or_default());
    let mut lists = [(); 3].map(|()| Vec::new());
    for ((list, given), origin) in lists.iter_mut().zip(&given).zip(&origins) {
        let text = given.map(|given| given.raw.text(false)).transpose();
        let text = text.map_err(|complaint| complaint.at(origin.clone()))?.unwrap_or_default();
        *list = split(&text, ';');
        // The list may end with a separator.
        while list.last().is_some_and(String::is_empty) {
            list.pop();
        }
    }
    let [endpoints, projects, logstores] = lists;
    let lengths = [endpoints.len(), projects.len(), logstores.len()];
    if lengths.iter().any(|length| *length != lengths[0]) {
        let what = format!(
            "{} endpoints, {} projects and {} lists of logstores are given, and they belong together in their order",
            lengths[0], lengths[1], lengths[2]
        );
        let last = lengths.iter().min().copied().unwrap_or_default();
        let unpaired = [endpoints.get(last), projects.get(last), logstores.get(last)].into_iter().flatten();
        let unpaired = unpaired.map(|text| format!("{text:?}")).collect::<Vec<_>>().join(" and ");
        return Err(Complaint::new(what, format!("give number {} of each: {unpaired} has no partner", last + 1))
            .at(origins.join(", ")));
    }
    let mut items = Vec::new();
    for (at, ((endpoint, project), logstores)) in endpoints.iter().zip(&projects).zip(&logstores).enumerate() {
        let logstores: Vec<String> =
            split(logstores, ',').into_iter().filter(|logstore| !logstore.is_empty()).collect();
        if endpoint.is_empty() || project.is_empty() || logstores.is_empty() {
            let what =
                format!("number {} of the lists of sources lacks its endpoint, its project or its logstores", at + 1);
            return Err(Complaint::new(what, "give all three, or leave all three out").at(origins.join(", ")));
        }
        for (number, logstore) in logstores.iter().enumerate() {
            let mut values = Values::default();
            for (row, (text, list)) in SINGLE.into_iter().zip([endpoint, project, logstore].into_iter().zip(&origins)) {
                let origin = ValueOrigin::Listed { number: at + 1, list: list.clone() };
                values.put(row, Layer::Item, origin, Raw::Text(text.clone()));
            }
            let label = format!("source {project}/{logstore}");
            let of_several = if logstores.len() > 1 { format!("logstore {} of ", number + 1) } else { String::new() };
            let place = format!("{of_several}item {} of {}", at + 1, origins[2]);
            items.push(Item { array: &SOURCES, label, place, values });
        }
    }
    Ok(items)
}

fn split(text: &str, at: char) -> Vec<String> {
    text.split(at).map(|part| part.trim().to_owned()).collect()
}
