//! The fuzz targets without a fuzzer: every committed input, and a fixed sequence of mutations of them.
//!
//! `docs/fuzzing.md` describes how to search with a fuzzer.

use std::path::{Path, PathBuf};

#[path = "../../fuzz/src/lib.rs"]
pub mod targets;

/// Mutations of each corpus; `FORWARDER_FUZZ_MUTATIONS` overrides it. The gate uses 20,000.
const MUTATIONS: usize = 2_000;

/// Mutates inputs. SplitMix64: the same mutations on every machine.
struct Mutator {
    seed: u64,
}

impl Mutator {
    fn number(&mut self, below: usize) -> usize {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % below as u64) as usize
    }

    fn next(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.number(corpus.len())].clone();
        for _ in 0..=self.number(4) {
            let at = self.number(input.len() + 1);
            let end = (at + 1 + self.number(8)).min(input.len());
            match self.number(6) {
                0 => input.truncate(at),
                1 => input.insert(at, self.number(256) as u8),
                2 => drop(input.drain(at..end)),
                3 => {
                    let again = input[at..end].to_vec();
                    input.splice(at..at, again);
                }
                4 => {
                    let other = &corpus[self.number(corpus.len())];
                    let from = self.number(other.len() + 1);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
                _ => {
                    if let Some(byte) = input.get_mut(at) {
                        *byte ^= 1 << self.number(8);
                    }
                }
            }
        }
        input.truncate(4096);
        input
    }
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

#[track_caller]
fn check(target: &str, run: fn(&[u8])) {
    let mutations = std::env::var("FORWARDER_FUZZ_MUTATIONS");
    let mutations = mutations.map_or(MUTATIONS, |text| text.parse().expect("a number"));
    let corpus = corpus(target);
    assert!(!corpus.is_empty(), "no corpus of {target}");
    for (file, input) in &corpus {
        run_named(run, input, || file.display().to_string());
    }
    let inputs: Vec<Vec<u8>> = corpus.into_iter().map(|(_, input)| input).collect();
    let mut mutator = Mutator { seed: 1 };
    for _ in 0..mutations {
        let input = mutator.next(&inputs);
        run_named(run, &input, || input.escape_ascii().to_string());
    }
}

/// Prints the input for which a target panicked.
fn run_named(run: fn(&[u8]), input: &[u8], name: impl Fn() -> String) {
    struct Tell<F: Fn() -> String>(F);
    impl<F: Fn() -> String> Drop for Tell<F> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the input: {}", (self.0)());
            }
        }
    }
    let _tell = Tell(name);
    run(input);
}

#[test]
fn pages_are_decoded_as_by_another_decoder() {
    check("pull_body", targets::pull_body);
}

#[test]
fn replies_of_sls_are_parsed_as_by_another_parser() {
    check("sls_reply", targets::sls_reply);
}

#[test]
fn every_event_is_accepted_or_rejected_whatever_a_collector_replies() {
    check("hec_reply", targets::hec_reply);
}

#[test]
fn whatever_a_hook_returns_is_one_line_that_hec_understands() {
    check("lua_event", targets::lua_event);
}

#[test]
fn patterns_match_as_in_the_engine() {
    check("pattern", targets::pattern);
}

#[test]
fn written_lines_can_be_read_back() {
    check("siem_line", targets::siem_line);
}

proptest::proptest! {
    /// Texts of the special characters of the formats.
    #[test]
    fn values_of_special_characters_stay_unchanged(
        head in proptest::array::uniform6("[a|\\\\\n\r= ]{0,6}"),
        fields in proptest::collection::vec(("[ab_. =\"-]{0,4}", "[ab=|\\\\\n\r\t^\" \u{7f}\u{0}]{0,8}"), 0..6),
    ) {
        let fields = fields.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())).collect();
        for delimiter in [b'\t', b'^'] {
            targets::check_lines(&head.clone().map(String::into_bytes), &fields, delimiter);
        }
    }
}

#[test]
fn every_event_is_one_syslog_message() {
    check("syslog_message", targets::syslog_message);
}
