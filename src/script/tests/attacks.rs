//! What a script cannot do to the program, by accident or not.

use super::*;

/// The CPU time of this thread so far: other tests on a busy machine do not count.
pub(super) fn computed() -> Duration {
    crate::script::engine::time_limit::computing()
}

/// Expects that the log is stopped for this reason, in about the time that it may take, and that the next log is
/// processed.
#[track_caller]
fn stopped(body: &str, expected: &str) {
    let took = refused(body, expected, &config());
    // CPU time, which a busy host makes longer.
    assert!(took < config().timeout * 10, "{body} took {took:?}");
}

/// As [`stopped`], for a body that is slow if memory access is slow: the time limit must not be what stops it.
#[track_caller]
fn too_much(body: &str, expected: &str) {
    let patient = Config { timeout: Duration::from_secs(20), ..config() };
    refused(body, expected, &patient);
}

#[track_caller]
fn refused(body: &str, expected: &str, config: &Config) -> Duration {
    let text = format!("function process(log) if log.bad then {body} end return 'fine' end");
    let mut hook = Hook::load(&Script::from_text("s.lua", text), config, Arc::new(Plain), meta()).unwrap();
    let page = page_of(&[vec![(b"bad", b"a")], vec![]]);
    let start = computed();
    let got = outcome(&mut hook, &page);
    let took = computed() - start;
    assert_eq!(got.len(), 2, "{got:?}");
    assert!(got[0].starts_with("! ") && got[0].contains(expected), "{body}\n{}", got[0]);
    assert_eq!(got[1], r#""fine""#);
    took
}

const TIME: &str = "s.lua:1: stopped after 200ms of computing (script.timeout)";
const MEMORY: &str = "s.lua: out of memory: one Lua VM may use 67108864 bytes (script.memory), and all together \
    1073741824 (script.total_memory)";

#[test]
fn loops_are_stopped() {
    stopped("while true do end", TIME);
    stopped("for i = 1, math.huge do end", TIME);
    stopped("local function f() end while true do f() end", TIME);
    stopped("repeat local x = log.bad until false", TIME);
    stopped("::top:: goto top", TIME);
    stopped("local function f() return f() end f()", TIME);
}

#[test]
fn pcall_cannot_swallow_the_time_limit() {
    stopped("while true do pcall(function() while true do end end) end", TIME);
    stopped("pcall(function() while true do end end) while true do end", TIME);
    stopped("while true do xpcall(function() while true do end end, function() while true do end end) end", TIME);
    stopped("while true do pcall(error) end", TIME);
    stopped("local function f() pcall(f) f() end f()", TIME);
    stopped("while true do pcall(pcall, pcall, function() while true do end end) end", TIME);
}

#[test]
fn metamethods_are_stopped() {
    stopped("tostring(setmetatable({}, { __tostring = function() while true do end end }))", TIME);
    stopped(
        "local t = setmetatable({}, { __index = function(t, k) return t[k .. 'a'] end }) pcall(function() return t.a end) while true do local _ = t.a end",
        "s.lua:1:",
    );
    stopped("local t = setmetatable({}, { __index = function() while true do end end }) return t.x", TIME);
    stopped("local t = setmetatable({}, { __len = function() while true do end end }) return #t", TIME);
    stopped("for k in setmetatable({}, { __call = function() return 1 end }) do end", TIME);
    stopped("local x <close> = setmetatable({}, { __index = {} })", "got a non-closable value");
    stopped(
        "local mt = {} local x <close> = (function() local o = setmetatable({}, mt) mt.__close = function() while true do end end return o end)()",
        TIME,
    );
    stopped(
        "local mt = {} local t = setmetatable({}, mt) mt.__close = function() while true do end end while true do local x <close> = t end",
        TIME,
    );
}

#[test]
fn long_calls_of_the_library_are_stopped() {
    stopped("local t = {} for i = 1, 100000 do t[i] = 'xxxxxxxxxx' end while true do table.concat(t) end", TIME);
    stopped("table.sort({ 3, 2, 1, 5, 4, 9, 8 }, function() while true do end end)", TIME);
    stopped(
        "local t = {} for i = 1, 1000 do t[i] = i end while true do table.sort(t, function(a, b) return b < a end) end",
        TIME,
    );
    stopped("while true do ('x'):rep(1000000) end", TIME);
    stopped("while true do json.decode(log.bad) json.encode(log) kv(log, '||') end", TIME);
    stopped("for k in pairs(log) do while true do next(log) end end", TIME);
    stopped("local d = json.decode('[1]') while true do d[1] = #d end", TIME);
    stopped("(''):rep(math.maxinteger) while true do end", TIME);
    stopped("('x'):gsub('x', function() while true do end end)", TIME);
    stopped("while true do ('x'):gsub('x', 'y') end", TIME);
}

#[test]
fn uninterruptible_library_calls_refuse_huge_arguments() {
    stopped("table.move({}, 1, 1 << 53, 2)", "table.move takes at most 4000000 items");
    stopped("table.move({}, '1', '9007199254740992', 2)", "table.move takes at most 4000000 items");
    let set = |call: &str| stopped(&format!("local t, p = ('x'):rep(100000), ('y'):rep(100000) {call}"), "s.lua:1: ");
    set("t:find('[' .. p .. ']')");
    set("t:find('[^' .. p .. ']*z')");
    set("t:find('[^' .. p .. ']-z')");
    set("t:find('%f[' .. p .. ']')");
    // A table with 45 items whose length is 4 << 40.
    let holes = "local t = {1, 1, 1, 1} for k = 2, 40 do t[4 << k] = 1 end t[8] = 1 t[5] = 1";
    stopped(&format!("{holes} table.remove(t, 1)"), "table.remove shifts at most 4000000 items");
    stopped(&format!("{holes} table.insert(t, 1, 'x')"), "table.insert shifts at most 4000000 items");
    let ends = format!("function process(log) {holes} table.insert(t, 'x') table.remove(t) return 'fine' end");
    let mut hook = Hook::load(&Script::from_text("s.lua", ends), &config(), Arc::new(Plain), meta()).unwrap();
    assert_eq!(outcome(&mut hook, &page_of(&[vec![]])), [r#""fine""#], "nothing is shifted at the end");
    stopped(
        "table.insert(setmetatable({}, { __len = function() return 1 << 53 end }), 1, 'x')",
        "__len cannot be used here",
    );
    stopped(
        "table.remove(setmetatable({}, { __len = function() return 1 << 53 end }), 1)",
        "__len cannot be used here",
    );
    stopped("table.sort(setmetatable({}, { __len = function() return 1 << 30 end }))", "__len cannot be used here");
    stopped(
        "local s, long, t = ('a'):rep(1000000), {}, {} for i = 1, 40 do long[i] = s .. i end \
         for i = 1, 20000 do t[i] = long[i % 40 + 1] end table.sort(t)",
        TIME,
    );
    stopped("local t = {} for i = 1, 300000 do t[i] = i * 7919 % 300007 end table.sort(t)", TIME);
    stopped("local s = ('a'):rep(10000000) s:find('a-b')", "s.lua:1: stopped after 200ms");
    stopped("local s = ('a'):rep(25000000) while true do s:find('b?c') end", "s.lua:1: stopped after 200ms");
    stopped("local s = '[' .. ('1,'):rep(2000000) .. '1]' local n = #json.decode(s)", TIME);
    stopped("table.unpack({}, 1, 1e8)", "too many results to unpack");
}

#[test]
fn recursion_ends_in_an_error() {
    too_much("local function f() return 1 + f() end f()", "s.lua");
    too_much(
        "local function f(a, b, c, d, e) local g, h, i, j = 1, 2, 3, 4 return 1 + f() + g end f()",
        "stack overflow",
    );
    too_much("local function f() pcall(f) end f() error('end')", "s.lua:1: end");
    too_much("local t = {} for i = 1, 300 do t = { t } end json.encode(t)", "nested deeper than 64 tables");
    too_much("local f f = function() return tostring(setmetatable({}, { __tostring = f })) end f()", "stack overflow");
}

#[test]
fn memory_is_bounded() {
    too_much("local s = 'x' while true do s = s .. s end", MEMORY);
    too_much("local t = {} while true do t[#t + 1] = {} end", MEMORY);
    too_much("local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end", MEMORY);
    too_much("('x'):rep(1500000000)", MEMORY);
    too_much("('x'):rep(1e10)", "resulting string too large");
    too_much("('x'):rep(1 << 62, 'yyy')", "resulting string too large");
    too_much("local t = {} for i = 1, 200 do t[i] = ('x'):rep(300000) end table.concat(t)", MEMORY);
    too_much(
        "string.format(('%s'):rep(200), table.unpack(setmetatable({}, { __index = function() return ('x'):rep(300000) end }), 1, 200))",
        MEMORY,
    );
}

#[test]
fn all_vms_together_have_a_limit_too() {
    let total = Arc::new(TotalMemory::new(16 << 20));
    let config = Config { timeout: Duration::from_secs(20), total: Arc::clone(&total), ..config() };
    let text = "function process(log) if log.keep then kept = ('x'):rep(6 << 20) end return 'fine' end";
    let vm = || Hook::load(&Script::from_text("s.lua", text), &config, Arc::new(Plain), meta()).unwrap();
    let (mut one, mut other) = (vm(), vm());
    let (keep, small, fine) = (page_of(&[vec![(b"keep", b"")]]), page_of(&[vec![]]), [r#""fine""#.to_owned()]);
    assert_eq!(outcome(&mut one, &keep), fine);
    assert_eq!(outcome(&mut other, &keep), [format!("! {}", MEMORY.replace("1073741824", "16777216"))]);
    assert_eq!(outcome(&mut other, &small), fine, "the rest of the memory is for everybody");
    drop(one);
    assert_eq!(outcome(&mut other, &keep), fine);
    drop(other);
    assert_eq!(total.taken(), 0);
}

/// Each state without room costs a log, so that no page is started forever.
#[test]
fn a_state_without_room_for_a_log_fails_that_log() {
    let mut hook = hook("function process(log) return 'fine' end");
    hook.limit_memory(0);
    assert_eq!(outcome(&mut hook, &page_of(&[vec![], vec![]])), [format!("! {MEMORY}"), r#""fine""#.to_owned()]);
    hook.limit_memory(0);
    assert_eq!(outcome(&mut hook, &page_of(&[])), Vec::<String>::new());
}

#[test]
fn memory_is_not_left_to_the_next_log() {
    let patient = Config { timeout: Duration::from_secs(20), ..config() };
    let script = Script::from_text(
        "s.lua",
        "function process(log) if log.bad then keep = {} while true do keep[#keep + 1] = {} end end return tostring(keep) end",
    );
    let mut hook = Hook::load(&script, &patient, Arc::new(Plain), meta()).unwrap();
    let got = outcome(&mut hook, &page_of(&[vec![(b"bad", b"")], vec![]]));
    assert_eq!(got, [format!("! {MEMORY}"), r#""nil""#.to_owned()]);
}

#[test]
fn values_put_into_a_log_are_freed_with_it() {
    let patient = Config { timeout: Duration::from_secs(20), ..config() };
    let script =
        Script::from_text("s.lua", "function process(log) log[log.name] = ('x'):rep(25000000) return 'fine' end");
    let mut hook = Hook::load(&script, &patient, Arc::new(Plain), meta()).unwrap();
    let page = page_of(&[vec![(b"name", b"a"), (b"a", b"")], vec![(b"name", b"name")], vec![(b"name", b"new")]]);
    assert_eq!(outcome(&mut hook, &page), [r#""fine""#; 3]);
}

#[test]
fn memory_outside_lua_is_bounded_too() {
    stopped("for i = 1, 1e9 do log['k' .. i] = 1 end", "s.lua:1: ");
    too_much("for i = 1, 1e9 do log[('k'):rep(300000) .. i] = 1 end", "cannot add more than 10000 fields");
    too_much(
        "local t = {} for i = 1, 40 do t = { t, t, t, t } end return { event = t }",
        "one log may become 32 MiB of events",
    );
    too_much(
        "local s, t = ('x'):rep(1000000), {} for i = 1, 1000 do t[i] = s end return { event = t }",
        "one log may become 32 MiB of events",
    );
    too_much(
        "local s, t = ('x'):rep(1000000), {} for i = 1, 1000 do t[i] = s end return t",
        "one log may become 32 MiB of events",
    );
    too_much(
        "local s, t = ('x'):rep(1000000), {} for i = 1, 1000 do t[i] = s end json.encode(t)",
        "one log may become 32 MiB of events",
    );
    too_much("local s = ('\\1'):rep(8000000) return { event = s }", "one log may become 32 MiB of events");
    too_much("local t = { 'x' } for i = 1, 500000 do t[i * 1000] = t end return t", "a list with holes");
    stopped("local t = {} for i = 1, 40 do t = { t, t, t, t } end return { event = t }", "s.lua");
    stopped("local t = {} for i = 1, 40 do t = { t, t, t, t } end json.encode(t)", "s.lua");
}

#[test]
fn a_result_that_would_be_too_long_is_refused_before_it_is_written() {
    let mut hook = hook("function process() return { event = ('\\1'):rep(8000000) } end");
    let made = hook.run(&page_of(&[vec![]])).unwrap();
    assert_eq!((made.failed.len(), made.events().len()), (1, 0));
    assert!(made.events().weight() < 1 << 20, "48 MB of \\u0001");
}

#[test]
fn a_page_of_bad_logs_affects_only_its_logs() {
    let mut hook = hook("function process(log) if log.bad then while true do end end return 'fine' end");
    let logs: Vec<Vec<(&[u8], &[u8])>> =
        (0..9).map(|n| if n % 3 == 0 { vec![(&b"bad"[..], &b""[..])] } else { vec![] }).collect();
    let made = hook.run(&page_of(&logs)).unwrap();
    assert_eq!(made.failed.iter().map(|failed| failed.log).collect::<Vec<_>>(), [0, 3, 6]);
    assert_eq!((made.events().len(), made.logs, made.dropped), (6, 9, 0));
}

#[test]
fn the_top_level_has_the_limits_of_a_log() {
    let fault = |text: &str| try_hook(text).map(|_| ()).unwrap_err().fault.to_string();
    assert_eq!(fault("\nwhile true do end"), "s.lua:2: stopped after 2s of computing (script.timeout)");
    assert_eq!(
        fault("pcall(function() while true do end end) function process() end"),
        "s.lua:1: stopped after 2s of computing (script.timeout)"
    );
    assert_eq!(fault("local s = 'x' while true do s = s .. s end"), MEMORY);
}

#[test]
fn functions_that_reach_the_machine_or_escape_the_limits_do_not_exist() {
    let names = [
        "io",
        "os",
        "package",
        "debug",
        "coroutine",
        "load",
        "loadstring",
        "loadfile",
        "dofile",
        "collectgarbage",
        "rawget",
        "rawset",
        "rawlen",
        "warn",
        "string.dump",
        "table.foreach",
    ];
    for name in names {
        check(&format!("return tostring({name})"), &[], r#""nil""#);
    }
    for name in ["__gc", "__close", "__mode"] {
        let body = format!("setmetatable({{}}, {{ {name} = function() while true do end end }})");
        check(&body, &[], "! s.lua:1: a script cannot use the metamethods __gc, __close and __mode");
    }
}

#[test]
fn no_script_can_change_the_library() {
    check("getmetatable('').__index = {}", &[], "! s.lua:1: attempt to index a boolean value");
    check("setmetatable('', {})", &[], "! s.lua:1: bad argument #1 to 'setmetatable' (table expected, got string)");
    check("string.rep = error", &[], "! s.lua:1: the library `string` cannot be changed");
    check("json.decode = error", &[], "! s.lua:1: the library `json` cannot be changed");
    check("return tostring(getmetatable(string))", &[], r#""false""#);
    check("setmetatable(string, {})", &[], "! s.lua:1: cannot change a protected metatable");
    check("setmetatable(log, {})", &[], "! s.lua:1: cannot change a protected metatable");
    check("setmetatable(json.decode('{}'), {})", &[], "! s.lua:1: cannot change a protected metatable");
    check("return tostring(getmetatable(log))", &[], r#""false""#);
    check("string = nil return ('x'):upper()", &[], r#""X""#);
    check("_G.process = nil return log.k", &[("k", "v")], r#""v""#);
}

#[test]
fn patterns_on_hostile_text_are_stopped() {
    stopped("(('a'):rep(3000)):find('.-.-.-.-b$')", "s.lua:1:");
    stopped("(('a'):rep(60000)):find('.-.-.-.-b$')", "s.lua:1:");
    stopped("(('a'):rep(3000)):match('.-.-.-.-b$')", "s.lua:1:");
    stopped("(('a'):rep(3000)):gsub('.-.-.-.-b$', '')", "s.lua:1:");
    stopped("for _ in (('a'):rep(3000)):gmatch('.-.-.-.-b$') do end", "s.lua:1:");
    stopped("(('a'):rep(30)):find(('a?'):rep(30) .. ('a'):rep(30) .. 'b')", "s.lua:1:");
    stopped("while true do pcall(string.find, ('a'):rep(3000), '.-.-.-.-b$') end", "s.lua:1:");
}

/// The engine's own function takes quadratic time for this, inside C code that nothing can stop.
#[test]
fn plain_search_in_hostile_text_takes_linear_time() {
    check("return tostring((('a'):rep(1000000)):find(('a'):rep(500000) .. 'b', 1, true))", &[], r#""nil""#);
}

#[test]
fn regular_expressions_are_stopped() {
    stopped("re.find('a', '(a{1000}){1000}')", "pattern too large when compiled");
    stopped("re.find('a', '((((a{9}){9}){9}){9}){9}')", "pattern too large when compiled");
    stopped("re.find('a', ('('):rep(2000) .. (')'):rep(2000))", "malformed pattern");
    stopped("re.find('a', '(?u)' .. ('\\\\w'):rep(1000))", "pattern too large when compiled");
    stopped("re.find(('a'):rep(1000000), '(a?){150}a{150}b')", "is too long for a pattern of");
    stopped("while true do re.find(('a'):rep(3000), '(a*)*b') end", TIME);
    stopped("while true do pcall(re.gsub, ('a'):rep(100000), 'a', 'b') end", TIME);
    stopped("re.gsub('x', 'x', function() while true do end end)", TIME);
    stopped("re.gsub('x', 'x', setmetatable({}, { __index = function() while true do end end }))", TIME);
    stopped("for _ in re.gmatch(('a'):rep(100000), '') do while true do end end", TIME);
    stopped("local n = 0 while true do n = n + 1 re.find('a', 'a' .. n) end", TIME);
    // Each of many matches searches all of the remaining text.
    stopped("re.gsub(('a'):rep(100000), 'a*b|a', 'c')", TIME);
    stopped("re.gsub(('a'):rep(100000), 'a*b|a', function() end)", TIME);
    stopped("for _ in re.gmatch(('a'):rep(100000), 'a*b|a') do end", TIME);
}

/// A pattern and a text that need the maximum number of simultaneous states.
#[test]
fn the_longest_search_is_stopped_by_the_time_limit() {
    let mut seed = 1_u32;
    let mut bit = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if seed >> 31 == 1 { '1' } else { '0' }
    };
    let text: String = (0..17_000).map(|_| bit()).collect();
    let start = computed();
    let got = process("return tostring(re.find(log.text, '[01]*1[01]{1000}2'))", &[("text", &text)]);
    let took = computed() - start;
    assert!(got[0] == r#""nil""# || got[0] == format!("! {TIME}"), "{got:?}");
    assert!(took > Duration::from_millis(20) && took < config().timeout * 10, "{took:?}");
}

#[test]
fn uninterruptible_calls_refuse_long_texts() {
    too_much("re.gsub(('a'):rep(1000000), 'a', ('b'):rep(1000))", "the result is longer than 16 MiB");
    let functions = [
        "re.find(s, 'y')",
        "url.encode(s)",
        "url.decode(s)",
        "url.parse(s)",
        "url.query(s)",
        "hex.encode(s)",
        "hex.decode(s)",
        "base64.encode(s)",
        "base64.decode(s)",
        "hash.sha256(s)",
        "hash.hmac_sha256('k', s)",
        "ip.parse(s)",
        "time.parse(s)",
    ];
    for function in functions {
        too_much(&format!("local s = ('x'):rep(17000000) return tostring({function})"), "text of more than 16 MiB");
    }
    too_much("for i = 1, 100 do log[i] = url.encode(('\\0'):rep(1000000)) end", "memory");
}

#[test]
fn encoders_refuse_more_than_their_limits() {
    let header = "vendor = 'v', product = 'p', version = '1', id = 'i', name = 'n'";
    let fields = "local s, t = ('x'):rep(1000000), {} for i = 1, 100 do t[i] = { 'k', s } end";
    too_much(&format!("{fields} cef.encode{{ {header}, extension = t }}"), "fields of more than 16 MiB together");
    too_much(&format!("{fields} logfmt.encode(t)"), "fields of more than 16 MiB together");
    too_much(
        "local s, t = ('='):rep(1000000), {} for i = 1, 15 do t[i] = { 'k', s } end
         cef.encode{ vendor = 'v', product = 'p', version = '1', id = 'i', name = 'n', extension = t }",
        "cef.encode: more than 16 MiB",
    );
    stopped("local t = {} for i = 1, 10001 do t[i] = { 'k', 'v' } end logfmt.encode(t)", "more than 10000 fields");
    stopped("local t = {} for i = 1, 10001 do t['k' .. i] = 1 end logfmt.encode(t)", "more than 10000 fields");
    stopped(
        "logfmt.encode(setmetatable({}, { __pairs = function() return function() return 'k', 'v' end end }))",
        "more than 10000 fields",
    );
    stopped(
        "logfmt.encode(setmetatable({}, { __index = function() return { 'k', 'v' } end, __len = function() return 1 << 53 end }))",
        "more than 10000 fields",
    );
    stopped("cef.encode(setmetatable({}, { __index = function() while true do end end }))", TIME);
    stopped("local t = {} t.t = t logfmt.encode({ a = t })", "logfmt.encode: `a`: ");
    stopped(
        "local t = {} for i = 1, 10001 do t[i] = '10.0.0.0/8' end ip.in_cidr('::1', t)",
        "a list of 10001 networks",
    );
    stopped("while true do logfmt.encode(log) ip.in_cidr('10.0.0.1', '10.0.0.0/8') end", TIME);
}
