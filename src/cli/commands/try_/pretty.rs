//! Formats JSON over several lines with unchanged tokens: no digit of a number is lost.

use serde::de::IgnoredAny;

/// Deeper values stay on one line, whatever their length.
const MAX_LEVELS: usize = 64;

/// The lines of a JSON value, or `None` if the text is not JSON. Values that fit into `width` stay on one line.
pub(super) fn lines(text: &str, width: usize) -> Option<Vec<String>> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut lines = Vec::new();
    let mut rest = text.trim();
    value(&mut rest, "", "", width, &mut lines);
    Some(lines)
}

/// Writes the value at the beginning of `rest`, after `lead` (its key) and before the rest of its line.
fn value(rest: &mut &str, indent: &str, lead: &str, width: usize, lines: &mut Vec<String>) {
    let whole = take(rest);
    let (open, close) = match whole.as_bytes().first() {
        Some(b'{') => ('{', '}'),
        Some(b'[') => ('[', ']'),
        _ => return lines.push(format!("{indent}{lead}{whole}")),
    };
    let is_empty = whole[1..whole.len() - 1].trim().is_empty();
    if is_empty
        || indent.len() >= 2 * MAX_LEVELS
        || lead.len() + whole.len() + indent.len() <= width && !indent.is_empty()
    {
        return lines.push(format!("{indent}{lead}{whole}"));
    }
    lines.push(format!("{indent}{lead}{open}"));
    let deeper = format!("{indent}  ");
    let mut inside = whole[1..whole.len() - 1].trim();
    while !inside.is_empty() {
        let key = if open == '{' {
            let key = take(&mut inside);
            inside = inside.trim_start().trim_start_matches(':').trim_start();
            format!("{key}: ")
        } else {
            String::new()
        };
        value(&mut inside, &deeper, &key, width, lines);
        inside = inside.trim_start();
        if let Some(more) = inside.strip_prefix(',') {
            lines.last_mut().expect("the item exists").push(',');
            inside = more.trim_start();
        }
    }
    lines.push(format!("{indent}{close}"));
}

/// Takes one token or whole value from the front of valid JSON.
fn take<'a>(rest: &mut &'a str) -> &'a str {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut end = rest.len();
    for (at, byte) in rest.bytes().enumerate() {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    in_text = false;
                    if depth == 0 {
                        end = at + 1;
                        break;
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' | b':' if depth == 0 => {
                end = at;
                break;
            }
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    end = at + 1;
                    break;
                }
            }
            _ => {}
        }
    }
    let (token, after) = rest.split_at(end);
    *rest = after;
    token.trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_nesting_is_followed_only_to_a_limit() {
        let text = format!("{}{}", "[".repeat(400_000), "]".repeat(400_000));
        let lines = lines(&text, 80).unwrap();
        assert_eq!(lines.len(), 2 * MAX_LEVELS + 1);
        assert_eq!(lines[MAX_LEVELS].trim().len(), text.len() - 2 * MAX_LEVELS);
    }

    fn check(text: &str, width: usize, expected: &str) {
        assert_eq!(lines(text, width).unwrap().join("\n"), expected, "{text}");
    }

    #[test]
    fn long_objects_are_spread_over_lines_and_short_ones_stay_on_one() {
        check(
            r#"{"time":12345678901234567890.10,"event":{"a":"{,\"","b":[1, 2],"c":{}},"x":[]}"#,
            20,
            "{\n  \"time\": 12345678901234567890.10,\n  \"event\": {\n    \"a\": \"{,\\\"\",\n    \"b\": [1, 2],\n    \"c\": {}\n  },\n  \"x\": []\n}",
        );
        check(r#"{"a":{"b":1}}"#, 40, "{\n  \"a\": {\"b\":1}\n}");
        check("\"text\"", 5, "\"text\"");
        check("{}", 5, "{}");
        check("-1e5", 1, "-1e5");
    }

    #[test]
    fn text_that_is_not_json_is_not_pretty_printed() {
        assert_eq!(lines("<13>1 - - - - - -", 80), None);
        assert_eq!(lines("{", 80), None);
    }
}
