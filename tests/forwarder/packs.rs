//! The packs turn their sample logs into the expected events.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forwarder::script::testing::cases;
use forwarder::script::{Config, Script};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/packs")
}

fn packs() -> Vec<PathBuf> {
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let mut packs: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "lua")).collect();
    packs.sort();
    packs
}

pub fn limits() -> Config {
    Config { timeout: Duration::from_secs(5), memory: 64 << 20, total: Arc::default(), vars: toml::Table::new() }
}

#[test]
fn every_pack_passes_its_cases() {
    let packs = packs();
    assert_eq!(packs.len(), 6, "{packs:?}");
    for pack in packs {
        let text = fs::read_to_string(cases::path_beside(&pack)).unwrap();
        let report = cases::run(&Script::read(&pack).unwrap(), &limits(), &text).unwrap();
        let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
        assert!(failures.is_empty(), "{}:\n{}", pack.display(), failures.join("\n"));
        assert!(report.passed >= 3, "{}", pack.display());
    }
}

#[test]
fn the_list_of_packs_is_complete() {
    let list = fs::read_to_string(folder().join("README.md")).unwrap();
    for pack in packs() {
        let name = pack.file_name().unwrap().to_str().unwrap();
        assert!(list.contains(&format!("[`{name}`]({name})")), "{name}");
    }
}
