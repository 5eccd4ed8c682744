//! Tests of the functions in a Lua state: their exact results, compared with Lua's own functions.

use mlua::{Function, LuaString, Value};

use super::*;

/// A Lua state with these functions in `string`, and Lua's own functions in `engine`.
fn vm() -> Lua {
    let lua = Lua::new();
    let string: Table = lua.globals().get("string").unwrap();
    let engine = lua.create_table().unwrap();
    for name in ["find", "match", "gmatch", "gsub"] {
        engine.set(name, string.get::<Function>(name).unwrap()).unwrap();
    }
    lua.globals().set("engine", engine).unwrap();
    install(&lua, &string).unwrap();
    lua
}

/// Runs a script that contains its own assertions.
fn check(script: &str) {
    if let Err(error) = vm().load(script).set_name("@test.lua").exec() {
        panic!("{error}\n{script}");
    }
}

/// The error raised by an expression.
fn error_of(expression: &str) -> String {
    let script = format!("local ok, why = pcall(function() return {expression} end) assert(not ok) return why");
    vm().load(script).set_name("@test.lua").eval().unwrap()
}

#[test]
fn find_gives_positions_and_captures() {
    check("local a, b = ('hello'):find('l+') assert(a == 3 and b == 4)");
    check("local a, b, c = ('k=v'):find('=(.)') assert(a == 2 and b == 3 and c == 'v')");
    check("assert(('a.b'):find('.', 1, true) == 2)");
    check("assert(select('#', ('x'):find('y')) == 1)");
    check("assert(('x'):find('', 2) == 2 and ('x'):find('', 3) == nil)");
    check(
        "assert(('abc'):find('b', -2) == 2 and ('abc'):find('a', -9) == 1 and ('abc'):find('b', math.mininteger) == 2)",
    );
}

#[test]
fn numbers_are_accepted_as_text_and_text_as_numbers() {
    check("assert(string.find(1234, 23) == 2)");
    check("assert(string.match(10 / 2, '%.0') == '.0')");
    check("assert(('abc'):find('b', '2') == 2 and ('abc'):find('b', 2.0) == 2)");
    check("assert(string.gsub(11, 1, 2) == '22')");
}

#[test]
fn match_gives_captures_or_the_whole_match() {
    check("assert(('GET /a?b'):match('^%u+') == 'GET')");
    check("local k, v = ('k = v'):match('(%w+)%s*=%s*(%w+)') assert(k == 'k' and v == 'v')");
    check("local p = ('abc'):match('b()') assert(p == 3 and math.type(p) == 'integer')");
    check("assert(('\"a\" b'):match([[(['\"])(.-)%1]]) == '\"')");
}

#[test]
fn an_empty_match_does_not_touch_the_match_before_it() {
    check("assert(('abc'):gsub('%w*', 'x') == 'x')");
    check("assert(('a b'):gsub('%w*', 'x') == 'x x')");
    check("local n = 0 for w in ('a,,b'):gmatch('[^,]*') do n = n + 1 end assert(n == 3)");
    check("assert(('abc'):gsub('', '-') == '-a-b-c-')");
}

#[test]
fn gmatch_takes_a_start_position_and_no_anchor() {
    check("local t = {} for w in ('a b c'):gmatch('%a', -3) do t[#t + 1] = w end assert(table.concat(t) == 'bc')");
    check("local n = 0 for _ in ('^a ^a'):gmatch('^a') do n = n + 1 end assert(n == 2)");
    check(
        "local t = {} for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do t[k] = v end assert(t.a == '1' and t.b == '2')",
    );
    check("local next = ('a'):gmatch('a') assert(next() == 'a' and next() == nil and next() == nil)");
}

#[test]
fn gsub_replaces_with_a_string_a_table_or_a_function() {
    check("local s, n = ('hello world'):gsub('o', '0') assert(s == 'hell0 w0rld' and n == 2)");
    check("assert(('abc'):gsub('%w', '%0%0', 2) == 'aabbc')");
    check("assert(('a b'):gsub('(%w) (%w)', '%2 %1 %%') == 'b a %')");
    check("assert(('$x $y'):gsub('%$(%w)', { x = 'one', y = false }) == 'one $y')");
    check("assert(('$x'):gsub('%$(%w)', setmetatable({}, { __index = function(_, k) return k .. k end })) == 'xx')");
    check("assert(('abc'):gsub('%w', function(c) if c == 'b' then return 1.5 end end) == 'a1.5c')");
    check("assert(('abc'):gsub('()', function(p) return p end) == '1a2b3c4')");
    check("local s, n = ('aaa'):gsub('^a', function() return 'b' end) assert(s == 'baa' and n == 1)");
    check("local s, n = ('aaa'):gsub('a', 'b', -1) assert(s == 'aaa' and n == 0)");
}

#[test]
fn errors_are_strings_that_name_the_line_of_the_script() {
    assert_eq!(error_of("('a'):find('%')"), "test.lua:1: malformed pattern (ends with '%')");
    assert_eq!(error_of("('a'):match('[a')"), "test.lua:1: malformed pattern (missing ']')");
    assert_eq!(error_of("('a'):gsub('a', '%2')"), "test.lua:1: invalid capture index %2");
    assert_eq!(error_of("('a'):gsub('a', '%x')"), "test.lua:1: invalid use of '%' in replacement string");
    assert_eq!(
        error_of("('a'):gsub('a', function() return {} end)"),
        "test.lua:1: invalid replacement value (a table)"
    );
    assert_eq!(
        error_of("(function() for _ in ('a'):gmatch('%f') do end end)()"),
        "test.lua:1: missing '[' after '%f' in pattern"
    );
}

#[test]
fn the_longest_error_message_fits() {
    assert!(PatternError::TooManySteps(u64::MAX).to_string().len() <= MAX_MESSAGE_BYTES);
}

#[test]
fn a_bad_argument_is_reported_as_the_engine_reports_it() {
    for call in [
        "string.find(nil, 'a')",
        "string.find('a')",
        "string.find('a', {})",
        "('a'):find(nil)",
        "('a'):find('a', 'x')",
        "('a'):find('a', 1.5)",
        "('a'):match(true)",
        "('a'):gmatch(print)",
        "('a'):gsub('a', nil)",
        "('a'):gsub('a', true)",
        "('a'):gsub('a', 'b', {})",
        "('a'):gsub('a', print, '1.5')",
        "string.gsub(setmetatable({}, { __name = 'Log' }), 'a', 'b')",
    ] {
        let engine = format!("(function() string = engine getmetatable('').__index = engine return {call} end)()");
        assert_eq!(error_of(call), error_of(&engine), "{call}");
    }
}

#[test]
fn errors_of_a_callback_pass_through_unchanged() {
    check("local t = {} local ok, why = pcall(string.gsub, 'a', 'a', function() error(t) end) assert(why == t)");
    check("local ok, why = pcall(string.gsub, 'a', 'a', function() error('x', 0) end) assert(why == 'x')");
}

#[test]
fn a_time_limit_inside_a_callback_ends_the_script() {
    let lua = vm();
    lua.set_hook(mlua::HookTriggers::new().every_nth_instruction(10_000), |_, _| Err(mlua::Error::runtime("killed")))
        .unwrap();
    let endless = "('a'):gsub('a', function() while true do end end)";
    let error = lua.load(endless).exec().unwrap_err();
    assert!(error.to_string().contains("killed"), "{error}");
}

#[test]
fn no_text_can_stall_a_pattern() {
    let too_complex = "pattern too complex for this text (";
    for call in [
        "string.find(('a'):rep(3000), '.-.-.-.-b$')",
        "string.find(('a'):rep(60000), '.-.-.-.-b$')",
        "string.gsub(('a'):rep(3000), '.-.-.-.-b$', '')",
        "string.gsub(('a'):rep(3000), '.-.-.-.-b$', print)",
        "string.match(('a'):rep(40), ('a?'):rep(40) .. ('a'):rep(40))",
        "(function() for _ in ('a'):rep(3000):gmatch('.-.-.-.-b$') do end end)()",
        "string.find(('('):rep(100000), '%b()')",
    ] {
        let error = error_of(call);
        assert!(error.contains(too_complex), "{call}: {error}");
    }
}

#[test]
fn a_single_pass_over_a_long_text_is_allowed() {
    check("local s, n = ('GET /1 '):rep(300000):gsub('%d+', 'N') assert(n == 300000 and #s == 2100000)");
    check("assert(not ('x'):rep(4000000):find('%d'))");
}

#[test]
fn results_count_towards_the_memory_of_the_vm() {
    let lua = vm();
    lua.set_memory_limit(16 << 20).unwrap();
    for replacement in ["('%0'):rep(1000)", "function() return ('y'):rep(1000) end"] {
        let script = format!("local s = ('x'):rep(100000) return pcall(string.gsub, s, 'x', {replacement})");
        let (ok, why): (bool, String) = lua.load(script).eval().unwrap();
        assert!(!ok && why.contains("not enough memory"), "{why}");
    }
}

#[test]
fn the_nesting_limit_is_that_of_the_engine() {
    check("assert(('a'):rep(300):find(('a?'):rep(198) .. 'a'))");
    let error = error_of("('a'):rep(300):find(('a?'):rep(200) .. 'a')");
    assert!(error.ends_with("pattern too complex"), "{error}");
}

/// A small seeded generator: the same cases in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn pick<'a>(&mut self, choices: &[&'a [u8]]) -> &'a [u8] {
        self.one_of(choices)
    }

    fn subject(&mut self) -> Vec<u8> {
        let long = if self.below(40) == 0 { 80 } else { 14 };
        (0..self.below(long))
            .map(|_| match self.below(30) {
                0 => u8::try_from(self.below(256)).unwrap(),
                _ => self.one_of(b"aaab(()[]19 .-=%\0\n\x80\xffZ_"),
            })
            .collect()
    }

    fn class(&mut self, pattern: &mut Vec<u8>) {
        match self.below(12) {
            0..4 => pattern.extend(self.pick(&[b"a", b"b", b"1", b"=", b" ", b"\0", b"\xff"])),
            4 => pattern.push(b'.'),
            5..8 => {
                pattern.push(b'%');
                pattern.push(self.one_of(b"acdglpsuwxzACDGLPSUWXZ.%-()[]^$q"));
            }
            8..11 => self.set(pattern),
            _ => pattern.push(u8::try_from(self.below(256)).unwrap()),
        }
    }

    fn set(&mut self, pattern: &mut Vec<u8>) {
        pattern.extend(self.pick(&[b"[", b"[", b"[^", b"[]", b"[^]"]));
        for _ in 0..=self.below(3) {
            pattern.extend(self.pick(&[
                b"a",
                b"b",
                b"a-b",
                b"1-9",
                b"%a",
                b"%S",
                b"%]",
                b"%-",
                b"-",
                b"^",
                b"\0-\x20",
                b"z-a",
                b"%a-b",
                b"\x80-\xff",
            ]));
        }
        // Some sets stay unclosed.
        if self.below(40) != 0 {
            pattern.push(b']');
        }
    }

    /// Mostly well-formed patterns that use the whole language.
    fn pattern(&mut self) -> Vec<u8> {
        let mut pattern = Vec::new();
        if self.below(5) == 0 {
            pattern.push(b'^');
        }
        let mut open = 0;
        for _ in 0..self.below(7) {
            match self.below(24) {
                0..3 => {
                    pattern.push(b'(');
                    open += 1;
                }
                3 | 4 if open > 0 => {
                    pattern.push(b')');
                    open -= 1;
                }
                5 => pattern.extend(b"()"),
                6 => pattern.extend(self.pick(&[b"%b()", b"%bab", b"%baa", b"%b", b"%b\0\0", b"%b("])),
                7 => {
                    pattern.extend(b"%f");
                    if self.below(8) != 0 {
                        self.set(&mut pattern);
                    }
                }
                8 => pattern.extend(self.pick(&[b"%1", b"%2", b"%0", b"%9"])),
                9 => pattern.extend(self.pick(&[b"$", b")", b"%", b"^", b"*", b"-", b"["])),
                _ => {
                    self.class(&mut pattern);
                    pattern.extend(self.pick(&[b"", b"", b"", b"*", b"+", b"-", b"?"]));
                }
            }
        }
        if self.below(12) != 0 {
            pattern.extend(std::iter::repeat_n(b')', open));
        }
        if self.below(6) == 0 {
            pattern.push(b'$');
        }
        pattern
    }

    fn replacement(&mut self) -> Vec<u8> {
        let mut replacement = Vec::new();
        for _ in 0..self.below(4) {
            replacement.extend(self.pick(&[b"x", b"%0", b"%1", b"%1", b"%2", b"%%", b"<>", b"\0"]));
        }
        if self.below(20) == 0 {
            replacement.extend(self.pick(&[b"%", b"%9", b"%a", b"%\0"]));
        }
        replacement
    }
}

/// `FORWARDER_FUZZ_CASES` sets the number of cases, `FORWARDER_FUZZ_SEED` the seed.
#[test]
fn random_patterns_match_as_in_the_engine() {
    let setting = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let cases = setting("FORWARDER_FUZZ_CASES").unwrap_or(120_000);
    let mut random = Random(setting("FORWARDER_FUZZ_SEED").unwrap_or(20_240_229));
    let lua = vm();
    let compare: Function = lua.load(include_str!("compare.lua")).set_name("=compare").eval().unwrap();

    let operations = ["find", "plain", "match", "gmatch", "gsub", "gsub_function", "gsub_table"];
    let (mut errors, mut out_of_steps) = (0_u64, 0_u64);
    for case in 0..cases {
        let operation = operations[random.below(operations.len())];
        let (subject, pattern, replacement) = (random.subject(), random.pattern(), random.replacement());
        let n = match random.below(3) {
            0 => Value::Integer(i64::try_from(random.below(24)).unwrap() - 12),
            _ => Value::Nil,
        };
        let text = |bytes: &[u8]| lua.create_string(bytes).unwrap();
        let outcome: LuaString =
            compare.call((operation, text(&subject), text(&pattern), text(&replacement), n)).unwrap();
        match &*outcome.as_bytes() {
            b"same" => {}
            b"error" => errors += 1,
            b"steps" => out_of_steps += 1,
            difference => panic!("case {case}: {}", String::from_utf8_lossy(difference)),
        }
    }
    println!("{cases} cases, 0 differences, {errors} of them errors, {out_of_steps} out of steps");
    // The test is useless if the generator makes almost only errors, or almost none.
    assert!(errors > cases / 50 && errors < cases / 2, "{errors} errors");
    assert!(out_of_steps < cases / 1000, "{out_of_steps} out of steps");
}
