//! Every function of the library when memory or time runs out anywhere inside of it.

use super::*;

/// One call of each function, with arguments for which it has something to do.
const CALLS: &[&str] = &[
    "log.a = log.b log.b = nil log.new = 'x' for k, v in pairs(log) do log[k] = v end",
    "for k in pairs(log) do for l, v in pairs(log) do end log[k] = nil end",
    "json.encode(log) kv(log, '||') tostring(log)",
    "local d = json.decode(log.json) for i = 1, 9 do local _ = d.b.c end d.list[4] = 1 json.encode(d)",
    "local d = json.decode(log.json) d.b.c.d = 'x' d.new = { 1 } kv(d, '|') for k, v in pairs(d) do end",
    "local d = json.decode(log.json) for i, v in ipairs(d.list) do d.list[i] = { v } end json.encode(d)",
    "json.decode('\\xff{') json.decode('[\"\\xff\"]') json.decode('\"a\\\\u00e9\"') json.decode(' [1.50, 1e400] ')",
    "json.encode(json.array()) json.array({ 1 }) pcall(json.encode, print) pcall(json.encode, { [1.5] = 1 })",
    "table.concat({ 'a', 'b' }, ', ') table.sort({ 3, 1, 2 }) table.sort({ 'b', 'a' }, function(a, b) return a > b end)",
    "table.insert({ 1, 2 }, 1, 0) table.remove({ 1, 2 }, 1) table.move({ 1, 2, 3 }, 1, 3, 5) table.unpack({ 1, 2 })",
    "table.pack(1, 2) table.copy(log) table.copy({ a = 1 }) select('#', table.unpack({}, 1, 200))",
    "('x'):rep(300, ','); ('x'):upper():lower():reverse():byte(1, -1) string.char(65, 66); ('%5d %q %s'):format(1, 'a', 'b')",
    "('a=1 b=2'):gsub('(%w+)=(%w+)', '%2=%1'); ('a b'):gsub('%w', function(x) return x .. x end); ('a'):gsub('a', { a = 'b' })",
    "for k, v in ('a=1 b=2'):gmatch('(%w+)=(%w+)') do end ('abc'):find('b', 1, true); ('abc'):match('()b()') pcall(string.find, 'a', '[')",
    "string.pack('>s4i8', 'abc', 7) string.unpack('>i4', '\\0\\0\\0\\1') string.packsize('i8') string.format('%s', 1.5)",
    "utf8.char(228, 8364) utf8.codepoint('äö', 1, -1) utf8.len('äö') utf8.offset('äö', 2) for p, c in utf8.codes('äö') do end",
    "re.find('a1', '[0-9]') re.match('k=v', '(k)=(v)') re.captures('k=v', '(?P<k>k)=(v)') re.escape('a.b') pcall(re.find, 'a', '(')",
    "re.gsub('a1b2', '[0-9]', '<%0>') re.gsub('a1', '[0-9]', function(x) return x end) for a in re.gmatch('a1b2', '[0-9]') do end",
    "base64.decode(base64.encode('abc')) hex.decode(hex.encode('abc')) hex.decode('0g') url.decode(url.encode('a b'))",
    "url.parse('https://u@h:1/p?q=1#f') url.query('a=1&b=2') ip.parse('10.0.0.1') ip.in_cidr('10.0.0.1', { '10.0.0.0/8' })",
    "pcall(ip.in_cidr, '10.0.0.1', 'x') ip.is_private('10.0.0.1') hash.sha256('a') hash.hmac_sha1('k', 'v') hash.md5('a')",
    "time.parse('2024-01-02T03:04:05Z') time.parse('x') time.format(0, '%Y', 'Asia/Shanghai') time.now() pcall(time.format, 0, '%')",
    "cef.encode{ vendor = 'v', product = 'p', version = '1', id = 'i', name = 'n', extension = log } pcall(cef.encode, {})",
    "leef.encode{ vendor = 'v', product = 'p', version = '1', id = 'i', attributes = { a = {}, b = 1 } } logfmt.encode(log)",
    "logger.info('x', 1, {}) logger.debug(log) print(nil, true, json.null)",
    "for k, v in pairs(settings) do end local _ = settings.list pcall(function() settings.x = 1 end)",
    "pcall(error, { code = 1 }) xpcall(error, function(e) return tostring(e) end, 'x') pcall(error, setmetatable({}, { __tostring = function() error('y') end }))",
    "pcall(require, 'none') pcall(require, 5) pcall(lookup.csv, 'none.csv', 'k') tostring(print) tonumber('0x10') math.random()",
    "local t = setmetatable({}, { __index = function(_, k) return k end, __len = function() return 3 end }) local _ = #t, t.x, tostring(t)",
    "setmetatable({}, { __name = 'N', __concat = function() return 'x' end, __lt = function() return true end }) state.x = { log.b }",
];

const JSON: &[u8] = br#"{"a":1.50,"b":{"c":{"d":null},"e":"\u00e9"},"list":[1,{"x":true},"s"],"k\n":0}"#;

/// The step between two limits on memory, and the number of rounds with a limit on time. With 16 and 100, each test
/// takes some minutes.
const STEP: usize = 1999;
const ROUNDS: usize = 2;

fn set(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |value| value.parse().unwrap())
}

fn config_with_vars() -> Config {
    Config { vars: "list = [1, 2]\nname = 'x'".parse().unwrap(), ..config() }
}

fn page_of_bad_and_good() -> Page {
    page_of(&[vec![(b"bad", b"1"), (b"a", b"1"), (b"b", b"2"), (b"json", JSON)], vec![(b"b", b"2")]])
}

#[test]
fn memory_may_run_out_anywhere() {
    let page = page_of_bad_and_good();
    for call in CALLS {
        let body =
            format!("function process(log) if log.bad then {call} end return {{ event = log, host = log.b }} end");
        let script = Script::from_text("s.lua", body);
        let mut hook = Hook::load(&script, &config_with_vars(), Arc::new(Plain), meta()).unwrap();
        let whole = outcome(&mut hook, &page);
        assert!(!whole[0].starts_with('!'), "{call}: {}", whole[0]);
        let mut failed = 0;
        for more in (0..32_000).step_by(set("SIEGE_STEP", STEP)) {
            hook.limit_memory(more);
            let got = outcome(&mut hook, &page);
            assert_eq!(got.len(), 2, "{call}: {got:?}");
            failed += usize::from(got[0] != whole[0]);
            // The first log may have left so much behind that the second one has no room.
            assert!(got[1] == whole[1] || got[1].contains("out of memory"), "{call} {more}: {}", got[1]);
            hook.unlimit_memory();
            assert_eq!(outcome(&mut hook, &page), whole, "{call} {more}");
        }
        assert!(failed > 0, "{call}: the memory was enough");
    }
}

#[test]
fn time_may_run_out_anywhere() {
    let page = page_of_bad_and_good();
    let calls: Vec<String> = CALLS.iter().map(|call| format!("function(log) {call} end")).collect();
    let config = Config { timeout: Duration::from_millis(1), ..config_with_vars() };
    for nth in 1..=CALLS.len() {
        let body = format!(
            "local calls = {{ {} }}
             function process(log) if log.bad then while true do pcall(calls[{nth}], log) end end return 'fine' end",
            calls.join(", ")
        );
        let mut hook = Hook::load(&Script::from_text("s.lua", body), &config, Arc::new(Plain), meta()).unwrap();
        for _ in 0..set("SIEGE_ROUNDS", ROUNDS) {
            let got = outcome(&mut hook, &page);
            assert!(got[0].contains("stopped after 1ms"), "{}: {}", CALLS[nth - 1], got[0]);
            assert_eq!(got[1], r#""fine""#);
        }
    }
}
