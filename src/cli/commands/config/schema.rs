//! The JSON schema of the settings file, from the table of settings. TOML editors (taplo, Even Better TOML) read it.

use serde_json::{Map, Value, json};

use crate::settings::keys;
use crate::settings::keys::{Array, Default, Kind, Row, Scope};

/// The form of a duration: `"500ms"`, `"1.5h"`.
const DURATION: &str = r"^[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)$";

/// The form of one or two durations: `"100ms..1s"`.
const INTERVAL: &str = r"^[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)?(\s*\.\.\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)?)?$";

/// The form of a size: `"64MiB"`.
const SIZE: &str = r"^[0-9]+(\.[0-9]+)?\s*(B|kB|KB|KiB|MB|MiB|GB|GiB)$";

/// The whole schema.
pub(super) fn schema() -> Value {
    let mut tables = Map::new();
    for row in keys::all().filter(|row| row.scope != Scope::Item && !matches!(row.kind, Kind::EnvironmentSecret)) {
        let (table, name) = row.parts();
        let entry = tables.entry(table).or_insert_with(|| object(Map::new()));
        entry["properties"][name] = property(row);
    }
    // `script = "…"` at the top says the same as `file` under `[script]`.
    if let Some(script) = tables.get_mut("script") {
        *script = json!({ "anyOf": [{ "type": "string", "description": "the Lua script" }, script.take()] });
    }
    for array in keys::all_arrays() {
        let entry = tables.entry(array.name).or_insert_with(|| json!({ "type": "array", "items": { "anyOf": [] } }));
        if let Some(kinds) = entry["items"]["anyOf"].as_array_mut() {
            kinds.push(item(array));
        }
    }
    let mut schema = object(tables);
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "Settings of forwarder".into();
    schema
}

fn item(array: &Array) -> Value {
    let rows = keys::of_item(array).filter(|row| !matches!(row.kind, Kind::EnvironmentSecret));
    let mut item = object(rows.map(|row| (row.parts().1.to_owned(), property(row))).collect());
    if let Some(of_type) = array.of_type {
        item["properties"]["type"]["const"] = of_type.into();
    }
    item
}

fn object(properties: Map<String, Value>) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn property(row: &Row) -> Value {
    let mut property = match row.kind {
        Kind::Text | Kind::Path | Kind::Secret => json!({ "type": ["string", "integer"] }),
        Kind::List => json!({ "type": ["string", "array"], "items": { "type": "string" } }),
        Kind::Start => json!({ "type": ["string", "integer"] }),
        Kind::EnvironmentSecret => json!(false),
        Kind::Switch => json!({ "type": "boolean" }),
        Kind::Count(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Duration(_) => json!({ "type": "string", "pattern": DURATION }),
        Kind::Seconds(_) => json!({ "anyOf": [{ "type": "string", "pattern": DURATION }, { "type": "integer" }] }),
        Kind::Interval(_) => json!({ "anyOf": [{ "type": "string", "pattern": INTERVAL }, { "type": "integer" }] }),
        Kind::Size(..) => json!({ "type": "string", "pattern": SIZE }),
        Kind::OneOf(words) => json!({ "enum": words() }),
        Kind::Table => json!({ "type": "object" }),
    };
    if property.is_object() {
        property["description"] = row.meaning.into();
        if let Default::Is(default) = row.default {
            property["default"] = match row.kind {
                Kind::Switch => json!(default == "true"),
                Kind::Count(..) => default.parse::<u64>().map_or(json!(default), |number| json!(number)),
                _ => json!(default),
            };
        }
    }
    property
}
