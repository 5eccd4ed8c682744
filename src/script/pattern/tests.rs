use proptest::prelude::*;

use super::*;

fn search(text: &[u8], pattern: &[u8], steps: u64) -> Result<Option<Match>, PatternError> {
    Matcher::new(text, pattern, steps).next(0, None)
}

#[test]
fn a_pattern_that_backtracks_heavily_runs_out_of_steps() {
    let text = [b'a'; 3000];
    assert_eq!(search(&text, b".-.-.-.-b$", 1000), Err(PatternError::TooManySteps(1000)));
    assert_eq!(
        search(&text[..30], &[b"a?".repeat(30), b"a".repeat(30)].concat(), 1_000_000),
        Err(PatternError::TooManySteps(1_000_000))
    );
}

#[test]
fn every_kind_of_repetition_is_counted() {
    let text = [b'('; 100_000];
    for pattern in ["%b()", ".*b", ".+b", ".-b", "[(]*b", "(.*)%1%1b", "(.-)%1b"] {
        let outcome = search(&text, pattern.as_bytes(), 1_000_000);
        assert_eq!(outcome, Err(PatternError::TooManySteps(1_000_000)), "{pattern}");
    }
}

#[test]
fn bytes_read_within_one_step_are_counted() {
    let nested = [b"(".repeat(3000), b")".repeat(3000)].concat();
    let limit = 1_000_000;
    assert_eq!(search(&nested, b"%b()x", limit), Err(PatternError::TooManySteps(limit)));
    assert_eq!(search(&[b'a'; 20_000], b"^(.*)%1b", limit), Err(PatternError::TooManySteps(limit)));
}

#[test]
fn a_single_pass_fits_into_the_limit() {
    let text = [b'a'; 2_000_000];
    for pattern in ["%d", "[^a]", ".*", "(a+)$", "b", "^.-$", "a-b?$"] {
        let mut matcher = Matcher::new(&text, pattern.as_bytes(), step_limit(text.len()));
        assert!(matcher.next(0, None).is_ok(), "{pattern}");
    }
}

#[test]
fn the_step_limit_covers_all_searches_of_a_matcher() {
    let mut matcher = Matcher::new(b"abcdef", b"%w", 10);
    let mut last = None;
    for end in 1..=5 {
        let found = matcher.next(last.unwrap_or(0), last).unwrap().unwrap();
        assert_eq!(found.end, end);
        last = Some(end);
    }
    assert_eq!(matcher.next(5, last), Err(PatternError::TooManySteps(10)));
}

#[test]
fn a_bracket_first_in_a_set_is_a_member_of_it() {
    assert_eq!(search(b"a]", b"[]]", 100), Ok(Some(Match { start: 1, end: 2 })));
    assert_eq!(search(b"]a", b"[^]]", 100), Ok(Some(Match { start: 1, end: 2 })));
}

#[test]
fn positions_are_written_in_full() {
    for n in [0, 7, 10, 907, usize::MAX] {
        push_decimal(n, &mut |digits: &[u8]| assert_eq!(digits, n.to_string().as_bytes()));
    }
}

proptest! {
    #[test]
    fn no_pattern_or_text_panics(
        text in proptest::collection::vec(0_u8..128, 0..40),
        pattern in "[a%(){}.*+?^$bf1\\[\\]-]{0,12}",
        replacement: Vec<u8>,
    ) {
        let mut matcher = Matcher::new(&text, pattern.as_bytes(), 10_000);
        if let Ok(Some(found)) = matcher.next(0, None) {
            prop_assert!(found.start <= found.end && found.end <= text.len());
            let _ = matcher.expand(&replacement, found, |_| {});
            for index in 0..=MAX_CAPTURES {
                let _ = matcher.capture(index, found);
            }
        }
        let _ = Matcher::without_anchor(&text, &replacement, 10_000).next(text.len(), None);
    }
}
