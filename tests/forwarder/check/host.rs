//! Faults of the settings, the script and the disk.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_the_settings_the_script_and_the_disk_is_named_with_its_fix() {
    let mut wrongs = Wrongs::default();
    type Seed = fn(&mut Site);
    let faults: [(&str, Seed, &str, &str, &str, i32); 20] = [
        ("no project", |site| site.set("SLS_PROJECT", ""), "fail", "sls.project is missing", "SLS_PROJECT", 2),
        (
            "a typo",
            |site| site.set("FORWARDER_HEC_TIMOUT", "1s"),
            "fail",
            "is not a setting",
            "FORWARDER_HEC_TIMEOUT",
            2,
        ),
        ("no token", |site| site.set("FORWARDER_HEC_TOKEN", ""), "fail", "hec.token", "FORWARDER_HEC_TOKEN", 2),
        (
            "a start in words",
            |site| site.set("FORWARDER_SLS_START", "soon"),
            "fail",
            "is not a position",
            "write begin",
            2,
        ),
        ("no script", |site| site.set("FORWARDER_SCRIPT", "x.lua"), "fail", "x.lua can't be read", "check the path", 2),
        (
            "the token is world-readable",
            |site| {
                site.write("token", TOKEN);
                site.chmod("token", 0o644);
                site.set("FORWARDER_HEC_TOKEN", "");
                site.set("FORWARDER_HEC_TOKEN_FILE", "token");
            },
            "warn",
            "a secret is world-readable",
            "docs/settings.md",
            0,
        ),
        (
            "no Lua",
            |site| drop(site.write("t.lua", "function process(log) retrun log end")),
            "fail",
            "t.lua:1",
            "correct the line",
            2,
        ),
        ("no process", |site| drop(site.write("t.lua", "x = 1")), "fail", "process", "correct the line", 2),
        (
            "a top level that fails",
            |site| drop(site.write("t.lua", "local x = nil .. 1")),
            "fail",
            "concatenate",
            "correct the line",
            2,
        ),
        (
            "a drop that drops nothing",
            |site| {
                let text = "function process(log)\n  if log.a then drop 'a' end\n  return { event = log }\nend\n";
                drop(site.write("t.lua", text));
            },
            "warn",
            "t.lua:2 calls drop and does not return its value",
            "write return drop",
            0,
        ),
        (
            "cases that fail",
            |site| drop(site.write("t.test.jsonl", r#"{"name": "a", "log": {"a": "1"}, "dropped": true}"#)),
            "fail",
            "1 of 1 case failed",
            "forwarder test --update",
            2,
        ),
        (
            "a case that is none",
            |site| drop(site.write("t.test.jsonl", "{\"name\":")),
            "fail",
            "line 1",
            "forwarder test",
            2,
        ),
        (
            "the dead letters are a file",
            |site| drop(site.write("dead-letters", "")),
            "fail",
            "dead_letters.dir dead-letters cannot be used",
            "set dead_letters.dir",
            2,
        ),
        (
            "the dead letters are world-writable",
            |site| {
                fs::create_dir(site.directory.path().join("dead-letters")).unwrap();
                site.chmod("dead-letters", 0o777);
            },
            "fail",
            "so others could replace files in it",
            "set dead_letters.dir",
            2,
        ),
        (
            "the state is a file",
            |site| drop(site.write("state", "")),
            "warn",
            "state.dir state cannot be used",
            "set state.dir",
            0,
        ),
        (
            "a log below a file",
            |site| site.set("FORWARDER_LOG_FILE", "t.lua/x"),
            "fail",
            "log.file t.lua/x",
            "set log.file",
            2,
        ),
        (
            "a log that is a link",
            |site| {
                std::os::unix::fs::symlink("/dev/null", site.directory.path().join("own.log")).unwrap();
                site.set("FORWARDER_LOG_FILE", "own.log");
            },
            "fail",
            "log.file own.log cannot be written to",
            "set log.file",
            2,
        ),
        (
            "the port of the page is taken",
            |site| {
                let taken = site.sls.address().to_string();
                site.set("FORWARDER_ADMIN_LISTEN", taken);
            },
            "warn",
            "another process already listens on admin.listen",
            "set another port",
            0,
        ),
        (
            "the page at an address of another machine",
            |site| site.set("FORWARDER_ADMIN_LISTEN", "192.0.2.1:9464"),
            "fail",
            "cannot be listened on",
            "an address of this machine",
            2,
        ),
        (
            "a file to trust without a root",
            |site| {
                let path = site.write("server.pem", CERTIFICATE);
                site.set("FORWARDER_HEC_CA_FILE", path);
            },
            "warn",
            "is issued by",
            "",
            0,
        ),
    ];
    for (name, seed, level, what, fix, code) in faults {
        let mut site = Site::new().await;
        seed(&mut site);
        wrongs.found(name, &site.check().await, level, what, fix, code);
    }
    wrongs.end();
}
