//! How scripts see a log, and decoded JSON.

use super::*;

const HEAD: &str = r#"{"__time__":"1700000000","__topic__":"t","__source__":"s","__tag__:host":"h""#;

/// The log after `process`.
#[track_caller]
fn left(body: &str, fields: &[(&str, &str)], expected: &str) {
    check(&format!("{body} return {{ event = log }}"), fields, &format!("{HEAD}{expected}}}"));
}

#[test]
fn reading_does_not_change_the_log() {
    left("", &[("a", "1"), ("b", "2")], r#","a":"1","b":"2""#);
    left("local x = log.a .. log.b .. tostring(log.none)", &[("a", "1"), ("b", "2")], r#","a":"1","b":"2""#);
    check("return log.a .. log['__tag__:host'] .. log.__time__", &[("a", "1")], r#""1h1700000000""#);
    check("return type(log) .. #log", &[], r#""table0""#);
}

#[test]
fn fields_can_be_assigned_deleted_and_assigned_again() {
    left("log.a = 'x'", &[("a", "1"), ("b", "2")], r#","a":"x","b":"2""#);
    left("log.a = nil", &[("a", "1"), ("b", "2")], r#","b":"2""#);
    left("log.a = nil log.a = 'y'", &[("a", "1"), ("b", "2")], r#","a":"y","b":"2""#);
    left("log.z = 'z' log.y = 'y'", &[("a", "1")], r#","a":"1","z":"z","y":"y""#);
    left("log.z = 'z' log.z = nil log.y = nil", &[("a", "1")], r#","a":"1""#);
    left(
        "log.a = 5 log.b = 2.5 log.c = true log.d = json.null log.e = {}",
        &[],
        r#","a":5,"b":2.5,"c":true,"d":null,"e":{}"#,
    );
    check("log.a = nil return tostring(log.a)", &[("a", "1")], r#""nil""#);
    check("log.a = { 1 } log.a[2] = 2 return { event = log.a }", &[("a", "1")], "[1,2]");
}

#[test]
fn next_refuses_a_key_that_the_array_does_not_have() {
    check("return tostring(next(json.decode('[1.50]'), 1))", &[], r#""nil""#);
    for place in ["0", "-2", "math.maxinteger", "'a'", "1.5"] {
        let body = format!("return tostring(next(json.decode('[1.50]'), {place}))");
        check(&body, &[], "! s.lua:1: next: no such key in this JSON array");
    }
}

#[test]
fn whole_numbers_as_keys_are_written_as_digits() {
    left("log[1] = 'one' log[2.0] = 'two'", &[], r#","1":"one","2":"two""#);
    left("log['1'] = log[1] .. '!'", &[("1", "x")], r#","1":"x!""#);
    left("log[1] = nil", &[("1", "x")], "");
    check("return tostring(log[1.5]) .. tostring(log[true])", &[], r#""nilnil""#);
    check("log[1.5] = 1", &[], "! s.lua:1: the keys of a log are strings");
    left("table.insert(log, 'first')", &[], r#","1":"first""#);
}

#[test]
fn pairs_follows_the_dict_order_and_then_added_fields() {
    let walk =
        "local out = {} for k, v in pairs(log) do out[#out + 1] = k .. '=' .. v end return table.concat(out, ' ')";
    check(walk, &[("b", "1"), ("a", "2")], r#""__time__=1700000000 __topic__=t __source__=s __tag__:host=h b=1 a=2""#);
    check(
        &format!("log.x = 9 log.b = nil log.a = 3 {walk}"),
        &[("b", "1"), ("a", "2")],
        r#""__time__=1700000000 __topic__=t __source__=s __tag__:host=h a=3 x=9""#,
    );
    check("for k in pairs(log) do log[k] = nil end return { event = log }", &[("b", "1")], "{}");
    check("for k, v in pairs(log) do log[k] = v .. '!' end return log.b", &[("b", "1")], r#""1!""#);
    check(
        "local n = 0 for k in pairs(log) do for l in pairs(log) do n = n + 1 end end return tostring(n)",
        &[("b", "1")],
        r#""25""#,
    );
    check(
        "return tostring(next(log)) .. next(log, '__time__') .. tostring(next(log, 'b'))",
        &[("b", "1")],
        r#""__time____topic__nil""#,
    );
    check("next(log, 'none')", &[], "! s.lua:1: next: the log has no such field");
    check(
        "local t = {} t[1], t.x = 1, 2 local n = 0 for _ in next, t do n = n + 1 end return tostring(n)",
        &[],
        r#""2""#,
    );
}

#[test]
fn a_key_that_is_written_twice_has_one_field_with_the_last_value() {
    check(
        "local n = 0 for k in pairs(log) do n = n + 1 end return n .. log.a",
        &[("a", "1"), ("b", "2"), ("a", "3")],
        r#""63""#,
    );
    left("", &[("a", "1"), ("b", "2"), ("a", "3")], r#","a":"3","b":"2""#);
}

#[test]
fn bytes_stay_unchanged_until_they_become_json() {
    let mut hook =
        hook("function process(log) assert(#log.a == 3) assert(log.a == '\\xff\\0b') return { event = log.a } end");
    assert_eq!(outcome(&mut hook, &page_of(&[vec![(b"a", b"\xff\0b")]])), ["\"\u{fffd}\\u0000b\""]);
}

#[test]
fn a_log_cannot_be_used_after_process_has_returned() {
    let late = "this log was used after process() returned: copy what you need later";
    for (body, expected) in [
        ("return old.a", format!("! s.lua:1: {late}")),
        ("old.a = 1", format!("! s.lua:1: {late}")),
        ("for k in pairs(old) do end", format!("! s.lua:1: {late}")),
        ("return json.encode(old)", "! s.lua:1: json.encode: value: this is the log of an earlier call and its fields are gone; copy what you need later".to_owned()),
        ("return { event = { x = old } }", "! s.lua: process returned a value that cannot be sent: event.x: this is the log of an earlier call and its fields are gone; copy what you need later".to_owned()),
        ("return old", "! s.lua: process returned a value that cannot be sent: the value: this is the log of an earlier call".to_owned()),
    ] {
        let mut hook = hook(&format!("function process(log) if not old then old = log return 'kept' end {body} end"));
        assert_eq!(outcome(&mut hook, &page_of(&[vec![(b"a", b"1")], vec![(b"a", b"2")]])), [r#""kept""#, &expected]);
    }
}

#[test]
fn a_table_made_after_the_script_has_forgotten_the_log_is_not_taken_for_it() {
    let body = "log = nil
                for i = 1, 50000 do
                  local text = json.encode({ i })
                  if text ~= '[' .. i .. ']' then return text end
                end
                return 'all are lists'";
    check(body, &[("a", "1")], r#""all are lists""#);
}

#[test]
fn a_log_inside_itself_is_an_error() {
    check(
        "log.me = log return { event = log }",
        &[],
        &format!(
            "! s.lua: process returned a value that cannot be sent: event{}.m…: nested deeper than 64 tables, or inside itself",
            ".me".repeat(26)
        ),
    );
}

#[test]
fn json_encode_and_kv_keep_the_order_of_the_dict() {
    check(
        "return json.encode(log)",
        &[("b", "1"), ("a", "\"")],
        &serde_json::to_string(&format!("{HEAD},\"b\":\"1\",\"a\":\"\\\"\"}}")).unwrap(),
    );
    check(
        "log.__time__ = nil log.a = { x = 1 } return kv(log, '||')",
        &[("b", "1"), ("a", "2")],
        r#""||__topic__=t||__source__=s||__tag__:host=h||b=1||a={\"x\":1}""#,
    );
    check("return kv({ b = 1, a = 'x', c = true }, ' ')", &[], r#"" a=x b=1 c=true""#);
    check("return kv(json.decode(log.j), ' ')", &[("j", r#"{"b":1.0,"a":"x\n","c":[1]}"#)], r#"" b=1.0 a=x\n c=[1]""#);
    check("kv(log)", &[], "! s.lua:1: kv takes a table and the separator to put before each pair: kv(log, \"||\")");
}

#[test]
fn text_of_a_log_is_its_pairs_of_a_string_its_bytes_and_of_other_values_json() {
    let text = |body: &str| {
        let script = Script::from_text("s.lua", format!("function process(log) {body} end"));
        let mut hook = Hook::load(&script, &config(), Arc::new(Text), meta()).unwrap();
        let made = hook.run(&page_of(&[vec![(b"a", b"1\xff")]])).unwrap();
        made.events().get(0).to_vec()
    };
    assert_eq!(text("return log"), b"||__time__=1700000000||__topic__=t||__source__=s||__tag__:host=h||a=1\xff");
    assert_eq!(text("return log.a"), b"1\xff");
    assert_eq!(text("return { message = 'm', event = log }"), b"m");
    assert_eq!(text("return { event = { x = 1 } }"), br#"{"x":1}"#);
}

const J: (&str, &str) =
    ("j", r#"{ "z":1, "a":{"q":"\u4f60\/","n":12345678901234567890.0, "e":[]}, "l":[1,{"x":2}, 1e2] }"#);

/// `log.j` after it was decoded into `d` and `body` was run.
#[track_caller]
fn decoded(body: &str, expected: &str) {
    let body = format!("local d = json.decode(log.j) {body} log.j = d return {{ event = log.j }}");
    check(&body, &[J], expected);
}

#[test]
fn unchanged_decoded_json_is_written_as_it_was_read() {
    decoded("", J.1);
    decoded("local x = d.a.q .. d.l[2].x .. d.z .. #d.l for k in pairs(d.a) do end", J.1);
    decoded("assert(d.a == d.a and d.l[2] == d.l[2] and d.none == nil)", J.1);
    decoded("d.none = nil", J.1);
    check("log.j = json.decode(log.j) return { event = log.j }", &[("j", "{\"a\":\r\n\t[1,\n2]}")], r#"{"a":[1,2]}"#);
    check("log.j = json.decode(log.j) return { event = log.j }", &[("j", " \n{\"a\": 1} \n")], r#"{"a": 1}"#);
}

#[test]
fn a_change_inside_decoded_json_keeps_order_numbers_and_neighbours() {
    decoded("d.a.q = 'w'", r#"{"z":1,"a":{"q":"w","n":12345678901234567890.0,"e":[]},"l":[1,{"x":2}, 1e2]}"#);
    decoded("d.l[2].x = 3", r#"{"z":1,"a":{"q":"\u4f60\/","n":12345678901234567890.0, "e":[]},"l":[1,{"x":3},1e2]}"#);
    decoded(
        "d.z = nil d.new = true d.z = 5",
        r#"{"z":5,"a":{"q":"\u4f60\/","n":12345678901234567890.0, "e":[]},"l":[1,{"x":2}, 1e2],"new":true}"#,
    );
    decoded("d.a.n = nil d.a.e[1] = 'x' d.l = nil", r#"{"z":1,"a":{"q":"你/","e":["x"]}}"#);
    decoded("table.insert(d.l, 2, 'in') d.a = nil", r#"{"z":1,"l":[1,"in",{"x":2},100]}"#);
    decoded("table.remove(d.l, 1) d.a = nil", r#"{"z":1,"l":[{"x":2},100]}"#);
    decoded("d.a = d.a.e", r#"{"z":1,"a":[],"l":[1,{"x":2}, 1e2]}"#);
    decoded("local l = d.l d.l = nil d.k = l l[1] = 7 d.a = nil", r#"{"z":1,"k":[7,{"x":2},1e2]}"#);
}

#[test]
fn an_object_reads_the_same_before_and_after_its_members_are_listed() {
    let one = "local d = json.decode(log.j) local early = d.a.e local n, z, none = d.a.n, d.z, d.none";
    let list = "for k in pairs(d) do end for k in pairs(d.a) do end";
    let same = "assert(d.a.e == early and d.a.n == n and d.z == z and d.none == none)";
    check(&format!("{one} {list} {same} return {{ event = d }}"), &[J], J.1);
    // Enough reads that the members are listed.
    check(&format!("{one} {same} {same} {same} return {{ event = d }}"), &[J], J.1);
    check(
        &format!("{one} early[1] = d.z {same} d.z = nil return {{ event = d }}"),
        &[J],
        r#"{"a":{"q":"你/","n":12345678901234567890.0,"e":[1]},"l":[1,{"x":2}, 1e2]}"#,
    );
    let twice = ("j", r#"{"a":{"x":1},"\u0062":{"y":2},"a":{"x":3},"b":{"y":4}}"#);
    check("local d = json.decode(log.j) return d.a.x .. d.b.y .. d.a.x", &[twice], r#""343""#);
    check(
        "local d = json.decode(log.j) d.a.x = 5 d.b.y = 6 return { event = d }",
        &[twice],
        r#"{"a":{"x":5},"b":{"y":6}}"#,
    );
}

#[test]
fn fields_of_the_group_are_written_for_each_group() {
    let log = |contents: &[(&str, &str)]| proto::Log {
        time: 1,
        contents: contents.iter().map(|(key, value)| pair(key.as_bytes(), value.as_bytes())).collect(),
        time_ns: None,
    };
    let group = |topic: &str, host: &str| proto::LogGroup {
        logs: vec![log(&[("k", "1")]), log(&[("k", ""), ("__topic__", "own")]), log(&[("k", "2")]), log(&[])],
        topic: Some(topic.into()),
        source: None,
        machine_uuid: None,
        tags: vec![pair(b"host", host.as_bytes())],
    };
    let mut both = page(group("a\"", "h"));
    both.body = [both.body, page(group("b", "i")).body].concat().into();
    let line = |topic: &str, host: &str, k: &str| {
        format!(r#"{{"__time__":"1","__topic__":"{topic}","__source__":"","__tag__:host":"{host}"{k}}}"#)
    };
    let lines = |topic: &str, host: &str| {
        [
            line(topic, host, r#","k":"1""#),
            line("own", host, r#","k":"""#),
            line(topic, host, r#","k":"2""#),
            line(topic, host, ""),
        ]
    };
    let mut hook = hook("function process(log) return { event = log } end");
    let expected = [lines("a\\\"", "h"), lines("b", "i")].concat();
    assert_eq!(outcome(&mut hook, &both), expected);
    assert_eq!(outcome(&mut hook, &page(group("c", "h"))), lines("c", "h"));
}

#[test]
fn a_field_without_a_value_is_not_mistaken_for_one_of_the_group() {
    let plain = b"\x0a\x02\x08\x01".as_slice();
    let empty = b"\x0a\x0f\x08\x01\x12\x0b\x0a\x09__topic__".as_slice();
    let group = [plain, empty, plain, b"\x1a\x01a"].concat();
    let mut page = page(proto::LogGroup::default());
    page.body = [b"\x0a".as_slice(), [group.len() as u8].as_slice(), group.as_slice()].concat().into();
    let mut hook = hook("function process(log) return { event = log } end");
    let line = |topic: &str| format!(r#"{{"__time__":"1","__topic__":"{topic}","__source__":""}}"#);
    assert_eq!(outcome(&mut hook, &page), [line("a"), line(""), line("a")]);
}

#[test]
fn a_repeated_key_of_decoded_json_has_its_last_value() {
    check(
        "local d = json.decode(log.j) d.x = d.a return { event = d }",
        &[("j", r#"{"a":1.0,"b":2,"a":3}"#)],
        r#"{"a":3,"b":2,"x":3}"#,
    );
    check("return { event = json.decode(log.j) }", &[("j", r#"{"a":1.0,"b":2,"a":3}"#)], r#"{"a":1.0,"b":2,"a":3}"#);
}

#[test]
fn decoded_values_iterate_like_tables() {
    check(
        "local o = {} for k, v in pairs(json.decode(log.j)) do o[#o + 1] = k .. type(v) end return table.concat(o, ' ')",
        &[J],
        r#""znumber atable ltable""#,
    );
    check(
        "local o = {} for i, v in ipairs(json.decode('[5,\"x\",null,true]')) do o[#o + 1] = i .. tostring(v) end return table.concat(o, ' ', 1, 2)",
        &[],
        r#""15 2x""#,
    );
    check(
        "local n = 0 for i, v in pairs(json.decode('[5,6]')) do n = n + i * v end return tostring(n)",
        &[],
        r#""17""#,
    );
    check("return next(json.decode('{\"a\":1}')) .. tostring(next(json.decode('{}')))", &[], r#""anil""#);
    check("return tostring(json.decode('[1, 2]'))", &[], r#""[1, 2]""#);
    check("local d = json.decode('{\"1\":\"x\"}') return d[1] .. tostring(d[true])", &[], r#""xnil""#);
    check("json.decode('[1]').x = 1", &[], "! s.lua:1: a JSON array takes only whole numbers from 1 as keys");
    check("json.decode('{}')[true] = 1", &[], "! s.lua:1: the keys of a JSON object are strings");
}

#[test]
fn text_that_is_not_json_gives_nil_and_a_reason() {
    #[track_caller]
    fn refused(argument: &str, expected: &str) {
        check(
            &format!("local v, why = json.decode({argument}) return tostring(v) .. ' ' .. why"),
            &[],
            &format!("\"nil json.decode: {expected}\""),
        );
    }
    refused("'{\"a\":nul}'", "not JSON at line 1, column 9");
    for bad in ["", "{", "[1..2]", "{\"a\" 1}", "\"\\\\x\"", "01", "[1,]", "nul", "{} {}", "\"\\n\""] {
        let got = process(&format!("local v, why = json.decode('{bad}') return tostring(v)"), &[]);
        assert_eq!(got, [r#""nil""#], "{bad}");
    }
    refused("nil", "expected a string, not nil");
    refused("5", "expected a string, not a number");
    refused("json.decode('{}')", "expected a string, not a table");
    refused("'[1,\\n 1e999]'", "a number beyond 1.8e308, which most readers refuse, at line 2, column 2");
    refused("('9'):rep(400)", "a number beyond 1.8e308, which most readers refuse, at line 1, column 1");
    check("log.j = json.decode(log.j) or log.j return { event = log.j }", &[("j", "{oops")], r#""{oops""#);
    check("log.none = json.decode(log.none) or log.none return log.__source__", &[], r#""s""#);
}

#[test]
fn json_scalars_are_lua_values() {
    check(
        "return tostring(json.decode('5')) .. tostring(json.decode('1.5')) .. tostring(json.decode('true'))",
        &[],
        r#""51.5true""#,
    );
    check(r#"return json.decode('"a\\u0041\\n"')"#, &[], r#""aA\n""#);
    check(
        "return tostring(json.decode('null') == json.null) .. tostring(json.decode('9007199254740993'))",
        &[],
        r#""true9007199254740993""#,
    );
}

#[test]
fn json_with_invalid_utf8_is_repaired() {
    let mut hook = hook("function process(log) return { event = assert(json.decode(log.a)) } end");
    assert_eq!(outcome(&mut hook, &page_of(&[vec![(b"a", b"{\"a\":\"\xff\"}")]])), ["{\"a\":\"\u{fffd}\"}"]);
}

#[test]
fn tables_of_the_script_are_written_in_one_order() {
    let many: String = (10..40).rev().map(|n| format!("k{n} = {n},")).collect();
    let sorted: Vec<String> = (10..40).map(|n| format!("\"k{n}\":{n}")).collect();
    check(&format!("return {{ event = {{ {many} }} }}"), &[], &format!("{{{}}}", sorted.join(",")));
    check("return { event = { b = 1, a = { 1, 'x', { c = true } } } }", &[], r#"{"a":[1,"x",{"c":true}],"b":1}"#);
    check(
        "return { event = { json.array(), {}, json.array({ 1 }), json.null, 10 / 2, 2^53, 1e300, -0.5 } }",
        &[],
        "[[],{},[1],null,5,9007199254740992,1e+300,-0.5]",
    );
}

#[test]
fn json_nested_deeper_than_64_levels_is_not_decoded_unless_the_script_asks_for_it() {
    let body = |levels: &str| {
        format!("local value, why = json.decode(log.j{levels}) if value then return {{ event = value }} end return why")
    };
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}1{}", r#"{"[":"#.repeat(levels), "}".repeat(levels));
    for make in [nested, objects] {
        check(&body(""), &[("j", &make(64))], &make(64));
        check(&body(""), &[("j", &make(65))], r#""json.decode: nested deeper than 64 levels""#);
        check(&body(", 200"), &[("j", &make(200))], &make(200));
        check(&body(", 200"), &[("j", &make(201))], r#""json.decode: nested deeper than 200 levels""#);
        check(&body(", 3"), &[("j", &make(4))], r#""json.decode: nested deeper than 3 levels""#);
    }
    check(&body(""), &[("j", &nested(200_000))], r#""json.decode: nested deeper than 64 levels""#);
    check(&body(""), &[("j", &"[".repeat(200_000))], r#""json.decode: not JSON at line 1, column 200000""#);
}
