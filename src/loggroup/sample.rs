//! Copies a few logs of a page into a smaller page.

use super::wire::{PageError, Wire};

/// Copies the first logs of a body, at most `most_logs` and about `most_bytes` of them, together with their groups.
/// Returns the new body and the number of logs.
///
/// # Errors
/// The body is not a `LogGroupList`.
pub fn sample(body: &[u8], most_logs: usize, most_bytes: usize) -> Result<(Vec<u8>, usize), PageError> {
    let mut copied = Vec::new();
    let mut logs = 0;
    let mut list = Wire::new(body, 0, body.len());
    while let Some((field, kind)) = list.tag()? {
        if field != 1 {
            list.skip(field, kind)?;
            continue;
        }
        let place = list.bytes(kind)?;
        let mut group = Vec::new();
        let mut wire = Wire::new(body, place.start, place.end);
        loop {
            let start = wire.at();
            let Some((field, kind)) = wire.tag()? else { break };
            wire.skip(field, kind)?;
            let bytes = &body[start..wire.at()];
            if field == 1 {
                if logs == most_logs || copied.len() + group.len() + bytes.len() > most_bytes {
                    continue;
                }
                logs += 1;
            }
            group.extend_from_slice(bytes);
        }
        copied.push(1 << 3 | 2);
        prost::encoding::encode_varint(group.len() as u64, &mut copied);
        copied.append(&mut group);
        if logs == most_logs || copied.len() >= most_bytes {
            break;
        }
    }
    Ok((copied, logs))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::loggroup::proto::{Log, LogGroup, LogGroupList, Pair};

    fn pair(key: &str, value: &str) -> Pair {
        Pair { key: key.into(), value: value.into() }
    }

    fn group(topic: &str, texts: &[&str]) -> LogGroup {
        let log = |text: &&str| Log { time: 7, contents: vec![pair("text", text)], time_ns: Some(5) };
        LogGroup {
            logs: texts.iter().map(log).collect(),
            topic: Some(topic.into()),
            tags: vec![pair("host", "h")],
            ..LogGroup::default()
        }
    }

    /// Checks what is left of these groups with this many logs and bytes.
    fn check(most_logs: usize, most_bytes: usize, expected: &[(&str, &[&str])]) {
        let long = "x".repeat(500);
        let groups = vec![group("a", &["1", "2"]), group("b", &[&long, "3", "4"])];
        let body = LogGroupList { groups }.encode_to_vec();
        let (copied, logs) = sample(&body, most_logs, most_bytes).unwrap();
        let expected: Vec<_> = expected.iter().map(|(topic, texts)| group(topic, texts)).collect();
        assert_eq!(logs, expected.iter().map(|group| group.logs.len()).sum::<usize>());
        assert_eq!(LogGroupList::decode(&copied[..]).unwrap(), LogGroupList { groups: expected });
    }

    #[test]
    fn a_sample_has_the_first_logs_with_topic_source_and_tags() {
        check(1, 10_000, &[("a", &["1"])]);
        check(2, 10_000, &[("a", &["1", "2"])]);
        check(4, 10_000, &[("a", &["1", "2"]), ("b", &["x".repeat(500).as_str(), "3"])]);
    }

    #[test]
    fn a_log_that_is_too_long_is_left_out() {
        check(100, 300, &[("a", &["1", "2"]), ("b", &["3", "4"])]);
    }

    #[test]
    fn bytes_that_are_not_a_page_are_an_error() {
        assert!(sample(b"\x0a\xff", 1, 100).is_err());
    }
}
