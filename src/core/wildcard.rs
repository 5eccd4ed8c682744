//! Names with wildcards: `*` stands for any text, `?` for one character.

/// Whether a name contains wildcards.
#[must_use]
pub fn has_wildcards(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Whether `pattern` matches a name. A pattern without wildcards matches only itself.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut next) = (0, 0);
    // The position after the last star, and the end of the text that it matches so far. It matches more if the rest
    // does not fit.
    let mut star: Option<(usize, usize)> = None;
    while next < name.len() {
        match pattern.get(at) {
            Some('*') => {
                at += 1;
                star = Some((at, next));
            }
            Some(one) if *one == '?' || *one == name[next] => {
                at += 1;
                next += 1;
            }
            _ => {
                let Some((behind, taken)) = star else { return false };
                star = Some((behind, taken + 1));
                (at, next) = (behind, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|one| *one == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_text_and_a_question_mark_one_character() {
        let all = ["audit-*", "*-logs", "a*t", "*", "?", "au?it", "audit", "a*b*c", "", "**y"];
        let of = |name: &str| all.into_iter().filter(|pattern| matches(pattern, name)).collect::<Vec<_>>();
        assert_eq!(of("audit-x"), ["audit-*", "*"]);
        assert_eq!(of("audit-"), ["audit-*", "*"]);
        assert_eq!(of("audit"), ["a*t", "*", "au?it", "audit"]);
        assert_eq!(of("waf-logs"), ["*-logs", "*"]);
        assert_eq!(of("abcbc"), ["*", "a*b*c"]);
        assert_eq!(of("y"), ["*", "?", "**y"]);
        assert_eq!(of(""), ["*", ""]);
        assert_eq!(of("xaudit-"), ["*"]);
        assert!(has_wildcards("audit-*") && has_wildcards("a?") && !has_wildcards("audit"));
    }

    #[test]
    fn a_pattern_of_many_stars_is_matched_quickly() {
        assert!(!matches(&"*a".repeat(50), &"a".repeat(49)));
        assert!(!matches(&("*a".repeat(30) + "b"), &"a".repeat(5_000)));
    }
}
