//! Valid setups raise no alarm.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn valid_setups_raise_no_alarm_and_nothing_is_left_behind() {
    let mut wrongs = Wrongs::default();
    type Seed = fn(&mut Site);
    let set_ups: [(&str, Seed); 20] = [
        ("the plain one", |_| {}),
        ("from the end", |site| site.set("FORWARDER_SLS_START", "end")),
        ("with a filter", |site| site.set("FORWARDER_SLS_QUERY", "* | where status = '200'")),
        ("zstd", |site| site.set("FORWARDER_SLS_COMPRESSION", "zstd")),
        ("signature 4", |site| {
            site.set("FORWARDER_SLS_SIGNATURE", "v4");
            site.set("FORWARDER_SLS_REGION", "cn-hangzhou");
        }),
        ("with an index", |site| site.set("FORWARDER_HEC_INDEX", "main")),
        ("with cases that pass", |site| {
            let text = "function process(log) if log.a then return nil end return { event = log } end\n";
            drop(site.write("t.lua", text));
            drop(site.write("t.test.jsonl", r#"{"name": "a", "log": {"a": "1"}, "dropped": true}"#));
        }),
        ("with a page and a log", |site| {
            site.set("FORWARDER_ADMIN_LISTEN", "127.0.0.1:0");
            site.set("FORWARDER_LOG_FILE", "own.log");
        }),
        ("to a file", |site| {
            site.environment.remove("FORWARDER_HEC_URL");
            site.environment.remove("FORWARDER_HEC_TOKEN");
            site.set("FORWARDER_FILE_PATH", "out/events.jsonl");
        }),
        ("with a proxy for others", |site| {
            site.set("http_proxy", "http://127.0.0.1:1");
            site.set("no_proxy", "*");
        }),
        ("two sources", |site| {
            let [endpoint, project] =
                ["SLS_ENDPOINT", "SLS_PROJECT"].map(|name| site.environment.remove(name).unwrap());
            site.environment.remove("SLS_LOGSTORE");
            site.set("SLS_ENDPOINTS", format!("{endpoint};{endpoint}"));
            site.set("SLS_PROJECTS", format!("{project};q"));
            site.set("SLS_LOGSTORES", "l;m");
        }),
        ("a named consumer", |site| site.set("FORWARDER_SLS_CONSUMER", "me")),
        ("pages as they are", |site| site.set("FORWARDER_SLS_COMPRESSION", "none")),
        ("a time range", |site| {
            site.set("FORWARDER_SLS_START", "-2h");
            site.set("FORWARDER_SLS_UNTIL", "end");
        }),
        ("secrets in files", |site| {
            for (name, variable, secret) in [
                ("token", "FORWARDER_HEC_TOKEN", TOKEN),
                ("id", "SLS_AK_ID", "key-id"),
                ("secret", "SLS_AK_KEY", SECRET),
            ] {
                site.write(name, secret);
                site.chmod(name, 0o600);
                site.environment.remove(variable);
            }
            site.set("FORWARDER_HEC_TOKEN_FILE", "token");
            site.set("FORWARDER_SLS_ACCESS_KEY_ID_FILE", "id");
            site.set("FORWARDER_SLS_ACCESS_KEY_SECRET_FILE", "secret");
        }),
        ("a page at a socket", |site| {
            let socket = format!("unix:{}", site.directory.path().join("own.sock").display());
            site.set("FORWARDER_ADMIN_LISTEN", socket);
        }),
        ("compressed requests", |site| site.set("FORWARDER_HEC_GZIP", "true")),
        ("the vendor's bytes", |site| site.set("FORWARDER_HEC_COMPAT", "true")),
        ("dead letters of before", |site| {
            fs::create_dir(site.directory.path().join("dead-letters")).unwrap();
            site.chmod("dead-letters", 0o700);
        }),
        ("a settings file with two destinations", |site| {
            let url = site.environment.remove("FORWARDER_HEC_URL").unwrap();
            site.environment.remove("FORWARDER_HEC_TOKEN");
            site.write("token", TOKEN);
            site.chmod("token", 0o600);
            let hec = format!("[[destination]]\ntype = \"hec\"\nurl = \"{url}\"\ntoken_file = \"token\"\n");
            site.write("own.toml", hec + "[[destination]]\ntype = \"file\"\npath = \"events.jsonl\"\n");
            site.set("FORWARDER_CONFIG", "own.toml");
        }),
    ];
    for (name, seed) in set_ups {
        let mut site = Site::new().await;
        seed(&mut site);
        let before = files(site.directory.path());
        wrongs.sound(name, &site.check().await);
        assert_eq!(files(site.directory.path()), before, "{name}");
        assert_eq!(site.hec.counts().events, 0, "{name}");
    }
    wrongs.end();
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn healthy_receivers_and_a_running_forwarder_raise_no_alarm() {
    let mut wrongs = Wrongs::default();
    let server =
        |protocol| Receiver { identity: Some((CERTIFICATE.to_vec(), KEY.to_vec())), ..Receiver::new(protocol) };
    let mut site = Site::new().await;
    site.set("FORWARDER_SYSLOG_CA_FILE", trusted());
    for (receiver, protocol) in [
        (Receiver::new(Protocol::Udp), "udp"),
        (Receiver::new(Protocol::Tcp), "tcp"),
        (Receiver::new(Protocol::Relp), "relp"),
        (server(Protocol::Tls), "tls"),
    ] {
        if !matches!(protocol, "tls") {
            site.set("FORWARDER_SYSLOG_CA_FILE", "");
        } else {
            site.set("FORWARDER_SYSLOG_CA_FILE", trusted());
        }
        site.receiver(receiver, protocol).await;
        let (code, findings) = site.check().await;
        let failed: Vec<_> = findings.iter().filter(|finding| finding["level"] == "fail").collect();
        assert!(failed.is_empty() && code == 0, "{protocol}: {failed:#?}");
        assert_eq!(site.receivers.last().unwrap().counts().read, 0, "{protocol}");
    }
    let client_ca = Some(fs::read(certificate("issuer.pem")).unwrap());
    site.receiver(Receiver { client_ca, ..server(Protocol::Tls) }, "tls").await;
    let ours = [fs::read(certificate("client.pem")).unwrap(), fs::read(certificate("client.key")).unwrap()];
    let [cert, key] = ["client.pem", "client.key"].map(|name| name.to_owned());
    site.write(&cert, &ours[0]);
    site.write(&key, &ours[1]);
    site.chmod(&key, 0o600);
    site.set("FORWARDER_SYSLOG_CLIENT_CERT", cert);
    site.set("FORWARDER_SYSLOG_CLIENT_KEY", key);
    wrongs.sound("our certificate", &site.check().await);
    wrongs.end();
}

#[test]
fn the_readable_output_ends_with_a_summary() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forwarder"));
    let output = command.arg("check").env_clear().stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("fail  settings  sls.project is missing") && text.contains("fix: give --project"), "{text}");
    assert!(text.trim_end().rsplit('\n').next().unwrap().contains(" to correct, 0 warnings; "), "{text}");
}
