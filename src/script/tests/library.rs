//! Library functions that need the log, JSON, or the files of the script.

use std::fs;

use super::*;

#[test]
fn encoders_write_the_log_in_its_order() {
    check(
        "return logfmt.encode(log)",
        &[("b", "x y"), ("a", "1")],
        r#""__time__=1700000000 __topic__=t __source__=s __tag__:host=h b=\"x y\" a=1""#,
    );
    check(
        "for k in pairs(log) do if k:sub(1, 2) == '__' then log[k] = nil end end
         return cef.encode{ vendor = 'v', product = 'p', version = '1', id = 'i', name = 'n', severity = 3, extension = log }",
        &[("b=", "x=y"), ("a", "1")],
        r#""CEF:0|v|p|1|i|n|3|b_x3D_=x\\=y a=1""#,
    );
    check(
        "log.user = { name = 'ada', ids = { 1, 2 } } log.gone = json.null
         for k in pairs(log) do if k:sub(1, 2) == '__' then log[k] = nil end end return logfmt.encode(log)",
        &[("user", "")],
        r#""user=\"{\\\"ids\\\":[1,2],\\\"name\\\":\\\"ada\\\"}\"""#,
    );
    check(
        "return logfmt.encode(json.decode(log.text))",
        &[("text", r#"{"z":12345678901234567890,"a":null,"m":true,"list":[1]}"#)],
        r#""z=12345678901234567890 m=true list=[1]""#,
    );
    check("return logfmt.encode{ { '1', log['1'] } }", &[("1", "one")], r#""1=one""#);
    // A field of the log with the name 1 does not make the log a list.
    check("return (logfmt.encode(log):match(' 1=.*'))", &[("1", "one")], r#"" 1=one""#);
}

/// Each example of the page is the top level of its own script, beside the two files that the page shows.
#[test]
fn every_example_of_the_documentation_holds() {
    let page = fs::read_to_string("docs/hook-library.md").unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (fence, file) in [("```csv\n", "hosts.csv"), ("```json\n", "owners.json")] {
        let content = page.split_once(fence).and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
        fs::write(folder.path().join(file), content).unwrap();
    }
    let vars = "index = 'main' \n hosts = { db = 'db-1' }".parse().unwrap();
    let config = Config { vars, ..config() };
    let examples: Vec<&str> = page.split("```lua\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert!(examples.len() > 45, "{} examples", examples.len());
    let path = folder.path().join("test.lua");
    for example in examples {
        fs::write(&path, format!("{example}\nprocess = process or function() end")).unwrap();
        let script = Script { name: "test.lua".to_owned(), ..Script::read(&path).unwrap() };
        let mut hook =
            Hook::load(&script, &config, Arc::new(Plain), meta()).unwrap_or_else(|error| panic!("{error}\n{example}"));
        let made = hook.run(&page_of(&[vec![(b"user", b"ada"), (b"uri", b"/x?a=1 user=root")]])).unwrap();
        assert!(made.failed.is_empty(), "{:?}\n{example}", made.failed);
    }
}

#[test]
fn errors_name_the_line_of_the_script() {
    check("\nre.match(log.gone, 'a')", &[], "! s.lua:2: bad argument #1 to 'match' (string expected, got nil)");
    check("\n\ncef.encode{ vendor = 1 }", &[], "! s.lua:3: cef.encode: `product` must be a string, not nil");
    check("re.x = 1", &[], "! s.lua:1: the library `re` cannot be changed");
}

/// The result of a script beside these files for one log, or why it does not load.
fn beside(files: &[(&str, &str)], script: &str) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let path = folder.path().join("s.lua");
    fs::write(&path, script).unwrap();
    run(&path)
}

fn run(path: &std::path::Path) -> Result<Vec<String>, String> {
    let script = Script { name: "s.lua".to_owned(), ..Script::read(path).unwrap() };
    let hook = Hook::load(&script, &config(), Arc::new(Plain), meta());
    let mut hook = hook.map_err(|error| error.fault.to_string())?;
    Ok(outcome(&mut hook, &page_of(&[vec![(b"ip", b"10.0.0.1")]])))
}

const HOSTS: (&str, &str) = ("hosts.csv", "ip,host,owner\n10.0.0.1,db-1,ada\n10.0.0.2,\"web, 2\",eve\n");

#[test]
fn a_csv_file_is_looked_up_by_its_key() {
    let script =
        "local hosts = lookup.csv('hosts.csv', 'ip') function process(log) return { event = hosts[log.ip] } end";
    assert_eq!(beside(&[HOSTS], script).unwrap(), [r#"{"host":"db-1","ip":"10.0.0.1","owner":"ada"}"#]);
    let script = "local host = lookup.csv('hosts.csv', 'ip', 'host')
        function process(log) return host[log.ip] .. ' ' .. host['10.0.0.2'] .. ' ' .. tostring(host.none) end";
    assert_eq!(beside(&[HOSTS], script).unwrap(), [r#""db-1 web, 2 nil""#]);
    let script = "local host = lookup.csv('hosts.csv', 'ip', 'host')
        function process(log) local all = {} for ip, name in pairs(host) do all[#all + 1] = ip .. '=' .. name end
        return table.concat(all, ';') end";
    assert_eq!(beside(&[HOSTS], script).unwrap(), [r#""10.0.0.1=db-1;10.0.0.2=web, 2""#]);
}

#[test]
fn a_json_file_is_looked_up_by_its_keys_and_loses_no_digit() {
    let owners = (
        "owners.json",
        r#"{"10.0.0.1": {"id": 12345678901234567890, "tags": ["b", "a"]}, "n": 5, "t": "x", "7": true}"#,
    );
    let script = "local owners = lookup.json('owners.json')
        function process(log) return { event = { owners[log.ip], owners.n, owners.t, owners.none == nil, owners[14 / 2] } } end";
    assert_eq!(
        beside(&[owners], script).unwrap(),
        [r#"[{"id": 12345678901234567890, "tags": ["b", "a"]},5,"x",true,true]"#]
    );
}

#[test]
fn a_looked_up_value_is_a_copy_and_the_table_is_read_only() {
    let script = "local hosts = lookup.csv('hosts.csv', 'ip') function process(log)
        hosts[log.ip].host = 'mine'
        local ok, why = pcall(function() hosts.x = 1 end)
        return hosts[log.ip].host .. ' ' .. why .. ' ' .. tostring(getmetatable(hosts)) end";
    let message =
        "db-1 s.lua:3: the table of hosts.csv cannot be written to: change the file, or keep it in a local false";
    assert_eq!(beside(&[HOSTS], script).unwrap(), [format!("\"{message}\"")]);
}

#[test]
fn an_unreadable_table_makes_the_script_invalid() {
    #[track_caller]
    fn refuses(files: &[(&str, &str)], call: &str, expected: &str) {
        let message = beside(files, &format!("local t = {call} function process(log) return 'fine' end")).unwrap_err();
        assert_eq!(message, format!("while the script was loaded: s.lua:1: {expected}"));
    }
    refuses(&[], "lookup.csv('none.csv', 'ip')", "lookup.csv: none.csv: no such file beside the script");
    refuses(
        &[HOSTS],
        "lookup.csv('hosts.csv', 'id')",
        "lookup.csv: hosts.csv: there is no column 'id'; there are ip, host, owner",
    );
    refuses(&[HOSTS], "lookup.csv('hosts.csv')", "bad argument #2 to 'csv' (string expected, got nil)");
    refuses(
        &[("t.csv", "k,v\n1\n")],
        "lookup.csv('t.csv', 'k')",
        "lookup.csv: t.csv: line 2 has 1 columns, and the header 2",
    );
    refuses(
        &[("t.json", "[1]")],
        "lookup.json('t.json')",
        "lookup.json: t.json: it is not a JSON object: invalid type: sequence, expected a map at line 1 column 0",
    );
    refuses(
        &[("t.json", "{\"k\": [1e999]}")],
        "lookup.json('t.json')",
        "lookup.json: t.json: \"k\": a number beyond 1.8e308, which most readers refuse, at line 1, column 2",
    );
    refuses(
        &[HOSTS],
        "lookup.csv('hosts' .. '.csv', 'ip')",
        "lookup.csv: hosts.csv: it was not loaded with the script: write its name as a literal in quotes",
    );
}

#[cfg(unix)]
#[test]
fn a_lookup_cannot_leave_the_directory_of_the_script() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("scripts");
    fs::create_dir(&inside).unwrap();
    fs::write(folder.path().join("secret.csv"), "k,v\n1,2\n").unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret.csv"), inside.join("link.csv")).unwrap();
    std::os::unix::fs::symlink(folder.path(), inside.join("up")).unwrap();
    let absolute = folder.path().join("secret.csv").display().to_string();
    for file in ["../secret.csv", &absolute, "./../secret.csv", "up/secret.csv", "link.csv", "/etc/passwd", "/dev/zero"]
    {
        for call in [format!("lookup.csv('{file}', 'k')"), format!("lookup.json('{file}')")] {
            let path = inside.join("s.lua");
            fs::write(&path, format!("local t = {call} function process(log) return 'fine' end")).unwrap();
            let message = run(&path).unwrap_err();
            let refused = [
                "expected the name of a file beside the script or in a directory below it",
                "it is a link that leads out of",
            ];
            assert!(refused.iter().any(|why| message.contains(why)), "{call}: {message}");
        }
    }
}

#[test]
fn tables_that_are_too_large_make_the_script_invalid() {
    let rows: String = (0..900_000).map(|n| format!("{n},{n:012}\n")).collect();
    let script = "local t = lookup.csv('t.csv', 'k') function process(log) return 'fine' end";
    let message = beside(&[("t.csv", &format!("k,v\n{rows}"))], script).unwrap_err();
    assert!(message.ends_with("lookup.csv: t.csv: a script may look things up in 16 MiB"), "{message}");
}
