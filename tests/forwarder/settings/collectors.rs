//! The settings of Splunk's collectors.

use std::time::Duration;

use forwarder::destination::hec::Token;

use super::{CANARY, MINIMAL, Typed, hec, only_url};

#[test]
fn the_collector_of_the_vendors_variables_is_host_port_and_https() {
    let text =
        "script = \"scripts/transform.lua\"\n[hec]\nhost = \"1.2.3.4\"\nport = 80\nhttps = false\ntimeout = 120\n";
    let settings = Typed::new().set("FORWARDER_HEC_TOKEN", CANARY).good(text);
    assert_eq!(only_url(&settings), "http://1.2.3.4:80");
    assert_eq!(hec(&settings).timeout, Duration::from_secs(120));
    assert_eq!(settings.warnings, ["logs and the HEC token travel in plain text: http://1.2.3.4:80 is not https://"]);
    let settings = Typed::new().set("FORWARDER_HEC_TOKEN", CANARY).good(&text.replace("1.2.3.4", "::1"));
    assert_eq!(only_url(&settings), "http://[::1]:80");
    assert!(settings.warnings.is_empty(), "loopback needs no TLS");
}

#[test]
fn a_malformed_proxy_variable_is_a_warning_that_names_it_without_its_password() {
    let typed = Typed::new()
        .set("https_proxy", &format!("http//user:{CANARY}@proxy.example:3128"))
        .set("HTTP_PROXY", "http://proxy.example:3128");
    let warnings = typed.good(MINIMAL).warnings;
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.starts_with("the environment variable https_proxy is not the URL of an HTTP proxy"), "{warning}");
    assert!(!warning.contains(CANARY), "{warning}");
}

#[test]
fn a_url_in_the_environment_overrides_a_host_in_the_file() {
    let text = "script = \"scripts/transform.lua\"\n[hec]\nhost = \"1.2.3.4\"\nport = 80\ntoken_file = \"hec.token\"\n";
    let settings = Typed::new().flag("hec.url", "https://splunk.example:8088/").good(text);
    assert_eq!(only_url(&settings), "https://splunk.example:8088");
}

#[test]
fn one_setting_lists_several_collectors_each_with_its_weight() {
    let url = "https://a.example:8088, https://b.example:8088 weight=3,https://[2001:db8::1]:443/";
    let settings = Typed::new().flag("hec.url", url).good(MINIMAL);
    let members: Vec<_> = hec(&settings).members.iter().map(|member| (member.url.as_str(), member.weight)).collect();
    assert_eq!(
        members,
        [("https://a.example:8088", 1), ("https://b.example:8088", 3), ("https://[2001:db8::1]:443", 1)]
    );
    let text = MINIMAL.replace(
        "http://127.0.0.1:8088\"",
        "https://a.example:8088\", \"https://b.example:8088 weight=3\", \"https://[2001:db8::1]:443\"]",
    );
    let as_array = Typed::new().good(&text.replace("url = \"", "url = [\""));
    assert_eq!(hec(&as_array).members, hec(&settings).members, "or an array in the file");
    let error = Typed::new().error(&MINIMAL.replace("\"http://127.0.0.1:8088\"", "[\"https://a:1\", 2]"));
    assert!(error.contains("an array with something else than text is not text"), "{error}");
    for (url, wrong) in [
        ("https://a:1, https://a:1 weight=2", "https://a:1 is named twice"),
        ("https://a:1, ", "not a URL"),
        ("https://a:1 weight=0", "is not a URL, or a URL and its weight"),
        ("https://a:1 https://b:1", "is not a URL, or a URL and its weight"),
    ] {
        let problems = Typed::new().flag("hec.url", url).load(MINIMAL).unwrap_err().to_string();
        assert!(problems.contains(wrong), "{url}: {problems}");
    }
}

#[test]
fn requests_are_compressed_unless_all_collectors_are_on_this_machine() {
    for (url, gzip) in [
        ("http://127.0.0.1:8088", false),
        ("https://localhost:8088,http://[::1]:8088", false),
        ("https://splunk.example:8088", true),
        ("http://127.0.0.1:8088, https://splunk.example:8088", true),
    ] {
        assert_eq!(hec(&Typed::new().flag("hec.url", url).good(MINIMAL)).gzip, gzip, "{url}");
    }
    let typed = Typed::new().flag("hec.url", "https://splunk.example:8088").set("FORWARDER_HEC_GZIP", "false");
    assert!(!hec(&typed.good(MINIMAL)).gzip);
}

#[test]
fn a_second_token_is_read_from_a_file_beside_the_first() {
    let typed = Typed::new();
    std::fs::write(typed.path("next.token"), "next").unwrap();
    let settings = typed.good(&MINIMAL.replace("[hec]\n", "[hec]\nnext_token_file = \"next.token\"\n"));
    let Token::Files(files) = &hec(&settings).token else { panic!("files") };
    assert_eq!(*files, [typed.path("hec.token"), typed.path("next.token")]);
}
