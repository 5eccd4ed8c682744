//! The documentation names only existing files, settings, messages and faults.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use forwarder::core::secret::Secret;
use forwarder::emulator::credentials;
use forwarder::emulator::credentials::CredentialsEmulator;
use forwarder::emulator::hec;
use forwarder::emulator::hec::HecEmulator;
use forwarder::emulator::sls;
use forwarder::emulator::sls::SlsEmulator;
use forwarder::settings::keys;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Every page of the documentation, with its name.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs =
        fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let mut paths: Vec<_> =
        docs.chain(["README.md", "CONTRIBUTING.md", "scripts/packs/README.md"].map(|name| root.join(name))).collect();
    paths.sort();
    assert!(paths.len() > 10);
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The texts in backquotes, and the words of code blocks.
fn code(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2).chain(page.split("\n```").skip(1).step_by(2).flat_map(str::split_whitespace))
}

#[test]
fn every_link_has_a_target() {
    let mut seen = 0;
    for (path, page) in pages() {
        let links = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.exists(), "{} leads to {link}", path.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let mut headings = text.lines().filter_map(|line| line.strip_prefix('#')).map(slug);
                assert!(headings.any(|slug| slug == heading), "{} leads to {link}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} links");
}

/// The anchor of a heading, as GitHub makes it.
fn slug(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_setting_and_variable_in_the_documentation_exists() {
    let variables: BTreeSet<_> = keys::all()
        .flat_map(|key| key.variable().into_iter().chain(key.also.iter().map(ToString::to_string)))
        .chain([keys::CONFIG.to_owned()])
        .collect();
    let mut seen = BTreeSet::new();
    for (path, page) in pages() {
        // These pages name variables that the tests read.
        let is_for_tests = ["docs/performance.md", "docs/reliability.md", "docs/fuzzing.md", "CONTRIBUTING.md"]
            .iter()
            .any(|page| path.ends_with(page));
        for word in code(&page).flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && !"_.".contains(c))) {
            let is_variable = ["FORWARDER_", "SLS_", "ALIBABA_CLOUD_"].iter().any(|prefix| word.starts_with(prefix));
            if is_variable && !is_for_tests && !["FORWARDER_", "ALIBABA_CLOUD_"].contains(&word) {
                assert!(variables.contains(word), "{word} in {}", path.display());
                seen.insert(word.to_owned());
            }
            // `log` and `script` are names in Lua, too.
            let is_setting = ["sls.", "hec.", "syslog.", "dead_letters.", "run.", "admin."];
            let is_file =
                [".lua", ".token", ".toml", ".md", ".py", ".rs", ".jsonl"].iter().any(|end| word.ends_with(end));
            if is_setting.iter().any(|table| word.starts_with(table)) && !is_file && !word.ends_with('.') {
                assert!(keys::find(word).is_some(), "{word} in {}", path.display());
                seen.insert(word.to_owned());
            }
        }
    }
    assert!(seen.len() > 100, "{seen:?}");
}

/// The first column of the README's table of messages, piece by piece: the text for `…` and `N` varies.
#[test]
fn every_message_that_the_readme_explains_exists_in_the_program() {
    let readme = include_str!("../../README.md");
    let (_, troubles) = readme.split_once("\n## Troubleshooting\n").unwrap();
    let (troubles, _) = troubles.split_once("\n## ").unwrap();
    let mut program = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut program);
    let cells = troubles.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    let messages: Vec<_> = cells.filter_map(|cell| cell.split('`').next()).collect();
    assert!(messages.len() >= 7, "{messages:?}");
    for piece in messages.iter().flat_map(|message| message.split('…')).flat_map(|message| message.split(" N ")) {
        assert!(program.contains(piece.trim()), "{piece:?}");
    }
}

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, text),
            false => *text += &fs::read_to_string(&path).unwrap(),
        }
    }
}

/// The emulators accept each fault in the tables of the page.
#[tokio::test]
async fn every_fault_of_the_rehearsal_can_be_triggered() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rehearsal.md")).unwrap();
    let (of_hec, rest) = page.split_once("## Faults of SLS").unwrap();
    let (of_sls, of_keys) = rest.split_once("## Temporary keys").unwrap();
    let hec = HecEmulator::start(hec::Config::new(Secret::new("t"))).await.unwrap();
    let sls = SlsEmulator::start(sls::Config::default()).await.unwrap();
    sls.put("demo-project", "audit", 0, []).unwrap();
    let group = r#"{"consumerGroup": "siem", "timeout": 60, "order": false}"#;
    let sls_address = sls.address().to_string();
    let created = post(&sls_address, "demo-project.localhost", "/logstores/audit/consumergroups", group).await;
    assert!(created.starts_with("HTTP/1.1 200"), "{created}");
    let hec_address = hec.url().trim_start_matches("http://").to_owned();
    let keys = CredentialsEmulator::start(credentials::Config::default()).await.unwrap();
    let keys_address = keys.url().trim_start_matches("http://").to_owned();
    let mut ordered = 0;
    for (part, address) in [(of_hec, hec_address), (of_sls, sls_address), (of_keys, keys_address)] {
        for row in part.lines().filter(|line| line.starts_with("| ") && line.contains("`{")) {
            let order = row.split('`').nth(1).unwrap();
            // A collector that is down would not receive the other faults.
            if order.contains("\"do\": \"refuse\"") || order.contains("\"kill\"") {
                continue;
            }
            let reply = post(&address, &address, "/_emulator/faults", order).await;
            assert!(reply.starts_with("HTTP/1.1 200"), "{order}: {reply}");
            ordered += 1;
        }
    }
    assert_eq!(ordered, 28);
    keys.stop().await;
    sls.stop().await;
    hec.stop().await;
}

pub async fn post(address: &str, host: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}
