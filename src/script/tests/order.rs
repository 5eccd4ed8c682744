//! The lazy tables compared with a simple model: random scripts on random logs, and a model that keeps everything in
//! ordered lists.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

const KEYS: &[&str] = &["a", "b", "__time__", "__tag__:host", "new", "1", "", "j"];

/// One step of a script, on the log or on a decoded value inside of it.
#[derive(Debug, Clone)]
enum Step {
    /// Appends the value to the trace.
    Read(usize),
    Assign(usize, String),
    AssignNumber(usize, i32),
    Delete(usize),
    /// Appends keys and values to the trace.
    Walk,
    /// Deletes every field but one during the iteration.
    WalkAndDelete(usize),
    /// Appends `json.encode` to the trace.
    Encode,
    /// `log[key] = json.decode(log[key]) or log[key]`
    Decode(usize),
    /// Reads, assigns or deletes `log[key][inner]`, if that is an object.
    ReadInside(usize, usize),
    AssignInside(usize, usize, String),
    DeleteInside(usize, usize),
    /// Goes one level deeper: `log[key][inner][innermost] = true`.
    AssignDeep(usize, usize, usize),
    /// Appends to a decoded list.
    Append(usize, i32),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS.len();
    let text = || "[a-z\"\\\\\n]{0,4}";
    prop_oneof![
        key().prop_map(Step::Read),
        (key(), text()).prop_map(|(key, text)| Step::Assign(key, text)),
        (key(), any::<i32>()).prop_map(|(key, number)| Step::AssignNumber(key, number)),
        key().prop_map(Step::Delete),
        Just(Step::Walk),
        key().prop_map(Step::WalkAndDelete),
        Just(Step::Encode),
        key().prop_map(Step::Decode),
        Just(Step::Decode(KEYS.len() - 1)),
        (key(), key()).prop_map(|(key, inner)| Step::ReadInside(key, inner)),
        (key(), key(), text()).prop_map(|(key, inner, text)| Step::AssignInside(key, inner, text)),
        (key(), key()).prop_map(|(key, inner)| Step::DeleteInside(key, inner)),
        (key(), key(), key()).prop_map(|(key, inner, innermost)| Step::AssignDeep(key, inner, innermost)),
        (key(), any::<i32>()).prop_map(|(key, number)| Step::Append(key, number)),
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i16>().prop_map(|quarters| Value::from(f64::from(quarters) + 0.25)),
        "[a-z\"\\\\\n\u{4f60}]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let key = (0..KEYS.len()).prop_map(|key| KEYS[key].to_owned());
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    let key = (0..KEYS.len() - 1).prop_map(|key| KEYS[key].to_owned());
    let value = prop_oneof!["[a-z{\"\n]{0,4}", json().prop_map(|json| json.to_string())];
    (proptest::collection::vec((key, value), 0..5), json()).prop_map(|(mut fields, json)| {
        fields.push(("j".to_owned(), serde_json::to_string_pretty(&json).unwrap()));
        fields
    })
}

/// The script of these steps. `put` writes any scalar in a form that the model can produce too.
fn script(steps: &[Step]) -> String {
    let quote = |text: &str| {
        let mut quoted = String::from("\"");
        for byte in text.bytes() {
            write!(quoted, "\\{byte:03}").unwrap();
        }
        quoted + "\""
    };
    let key = |key: usize| quote(KEYS[key]);
    let mut text = String::from(
        "local out\n\
         local function put(v) out[#out + 1] = type(v) == 'table' and json.encode(v) or v == nil and 'nil' or json.encode(v) end\n\
         local function inside(log, k) local v = log[k] if type(v) == 'table' and #v == 0 and tostring(v):sub(1, 1) == '{' then return v end end\n\
         local function list(log, k) local v = log[k] if type(v) == 'table' and tostring(v):sub(1, 1) == '[' then return v end end\n\
         function process(log) out = {}\n",
    );
    for step in steps {
        match step {
            Step::Read(k) => writeln!(text, "put(log[{}])", key(*k)),
            Step::Assign(k, v) => writeln!(text, "log[{}] = {}", key(*k), quote(v)),
            Step::AssignNumber(k, v) => writeln!(text, "log[{}] = {v}", key(*k)),
            Step::Delete(k) => writeln!(text, "log[{}] = nil", key(*k)),
            Step::Walk => writeln!(text, "for k, v in pairs(log) do put(k) put(v) end"),
            Step::WalkAndDelete(k) => {
                writeln!(text, "for k, v in pairs(log) do if k ~= {} then log[k] = nil end end", key(*k))
            }
            Step::Encode => writeln!(text, "put(log)"),
            Step::Decode(k) => writeln!(text, "log[{0}] = json.decode(log[{0}]) or log[{0}]", key(*k)),
            Step::ReadInside(k, i) => {
                writeln!(text, "do local v = inside(log, {}) if v then put(v[{}]) end end", key(*k), key(*i))
            }
            Step::AssignInside(k, i, v) => {
                writeln!(text, "do local v = inside(log, {}) if v then v[{}] = {} end end", key(*k), key(*i), quote(v))
            }
            Step::DeleteInside(k, i) => {
                writeln!(text, "do local v = inside(log, {}) if v then v[{}] = nil end end", key(*k), key(*i))
            }
            Step::AssignDeep(k, i, d) => writeln!(
                text,
                "do local v = inside(log, {}) v = v and inside(v, {}) if v then v[{}] = true end end",
                key(*k),
                key(*i),
                key(*d)
            ),
            Step::Append(k, v) => {
                writeln!(text, "do local v = list(log, {}) if v then v[#v + 1] = {v} end end", key(*k))
            }
        }
        .unwrap();
    }
    text + "out[#out + 1] = json.encode(log) return { event = { trace = json.array(out), log = log } } end"
}

/// An object whose deleted members keep their positions.
#[derive(Default, Clone)]
struct Model(Vec<(String, Option<Node>)>);

#[derive(Clone)]
enum Node {
    Scalar(Value),
    Object(Model),
    List(Vec<Node>),
}

impl Node {
    fn of(value: Value) -> Self {
        match value {
            Value::Object(pairs) => {
                Self::Object(Model(pairs.into_iter().map(|(key, value)| (key, Some(Self::of(value)))).collect()))
            }
            Value::Array(items) => Self::List(items.into_iter().map(Self::of).collect()),
            scalar => Self::Scalar(scalar),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Scalar(value) => value.clone(),
            Self::Object(model) => model.value(),
            Self::List(items) => items.iter().map(Self::value).collect(),
        }
    }
}

impl Model {
    fn get(&self, key: &str) -> Option<&Node> {
        self.0.iter().find(|(known, _)| known == key)?.1.as_ref()
    }

    fn object(&mut self, key: &str) -> Option<&mut Model> {
        match self.0.iter_mut().find(|(known, _)| known == key)?.1.as_mut()? {
            Node::Object(model) => Some(model),
            _ => None,
        }
    }

    fn set(&mut self, key: &str, node: Option<Node>) {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = node,
            None if node.is_some() => self.0.push((key.to_owned(), node)),
            None => {}
        }
    }

    fn value(&self) -> Value {
        let live = self.0.iter().filter_map(|(key, node)| Some((key.clone(), node.as_ref()?.value())));
        Value::Object(live.collect::<Map<_, _>>())
    }
}

/// The expected result of [`script`].
fn model(steps: &[Step], fields: &[(String, String)]) -> Value {
    let mut log = Model::default();
    let text = |text: &str| Some(Node::Scalar(text.into()));
    let head = [("__time__", "1700000000"), ("__topic__", "t"), ("__source__", "s"), ("__tag__:host", "h")];
    for (key, value) in head {
        log.set(key, text(value));
    }
    for (key, value) in fields {
        log.set(key, text(value));
    }
    let mut trace: Vec<Value> = Vec::new();
    let put = |node: Option<&Node>| Value::from(node.map_or("nil".to_owned(), |node| node.value().to_string()));
    for step in steps {
        match step {
            Step::Read(k) => trace.push(put(log.get(KEYS[*k]))),
            Step::Assign(k, v) => log.set(KEYS[*k], text(v)),
            Step::AssignNumber(k, v) => log.set(KEYS[*k], Some(Node::Scalar((*v).into()))),
            Step::Delete(k) => log.set(KEYS[*k], None),
            Step::Walk => {
                for (key, node) in &log.0 {
                    if node.is_some() {
                        trace.push(Value::from(Value::from(key.as_str()).to_string()));
                        trace.push(put(node.as_ref()));
                    }
                }
            }
            Step::WalkAndDelete(k) => {
                for (key, node) in &mut log.0 {
                    if key != KEYS[*k] {
                        *node = None;
                    }
                }
            }
            Step::Encode => trace.push(Value::from(log.value().to_string())),
            Step::Decode(k) => {
                if let Some(Node::Scalar(Value::String(text))) = log.get(KEYS[*k])
                    && let Ok(value) = serde_json::from_str::<Value>(text)
                    // `false` is decoded, and then `or` selects the text.
                    && value != Value::Bool(false)
                {
                    log.set(KEYS[*k], Some(Node::of(value)));
                }
            }
            Step::ReadInside(k, i) => {
                if let Some(inner) = log.object(KEYS[*k]) {
                    trace.push(put(inner.get(KEYS[*i])));
                }
            }
            Step::AssignInside(k, i, v) => {
                if let Some(inner) = log.object(KEYS[*k]) {
                    inner.set(KEYS[*i], text(v));
                }
            }
            Step::DeleteInside(k, i) => {
                if let Some(inner) = log.object(KEYS[*k]) {
                    inner.set(KEYS[*i], None);
                }
            }
            Step::AssignDeep(k, i, d) => {
                if let Some(inner) = log.object(KEYS[*k]).and_then(|inner| inner.object(KEYS[*i])) {
                    inner.set(KEYS[*d], Some(Node::Scalar(true.into())));
                }
            }
            Step::Append(k, v) => {
                if let Some((_, Some(Node::List(items)))) = log.0.iter_mut().find(|(key, _)| key == KEYS[*k]) {
                    items.push(Node::Scalar((*v).into()));
                }
            }
        }
    }
    trace.push(Value::from(log.value().to_string()));
    let mut event = Map::new();
    event.insert("log".to_owned(), log.value());
    event.insert("trace".to_owned(), trace.into());
    Value::Object(event)
}

/// Traces contain JSON as text, which may be copied with its white space or written again: after parsing, they must be
/// the same, including the order.
fn parsed(value: &Value) -> Value {
    match value {
        Value::String(text) if text != "nil" => serde_json::from_str(text).unwrap(),
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn lazy_tables_behave_like_ordered_lists(steps in proptest::collection::vec(step(), 0..14), logs in proptest::collection::vec(fields(), 1..3)) {
        let mut hook = hook(&script(&steps));
        let page = page_of(&logs.iter().map(|fields| fields.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())).collect()).collect::<Vec<_>>());
        let got = outcome(&mut hook, &page);
        prop_assert_eq!(got.len(), logs.len());
        for (got, fields) in got.iter().zip(&logs) {
            let expected = model(&steps, fields);
            let got: Value = serde_json::from_str(got).map_err(|error| TestCaseError::fail(format!("{got}: {error}")))?;
            // `Value` compares objects without their order, their text does not.
            prop_assert_eq!(got["log"].to_string(), expected["log"].to_string());
            let traces = |value: &Value| value["trace"].as_array().unwrap().iter().map(|text| parsed(text).to_string()).collect::<Vec<_>>();
            prop_assert_eq!(traces(&got), traces(&expected));
        }
    }
}
