//! A strict parser of RFC 3164 messages, independent of the program's code.

/// A parsed message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub priority: u8,
    pub hostname: String,
    /// Empty before CEF and LEEF.
    pub tag: String,
    pub procid: Option<String>,
    pub text: String,
}

/// Parses one message with this timestamp; panics if it is invalid.
pub fn message(bytes: &[u8], timestamp: &str) -> Message {
    let whole = std::str::from_utf8(bytes).expect("UTF-8");
    let (priority, rest) = whole.strip_prefix('<').and_then(|rest| rest.split_once('>')).expect("PRI");
    assert!(priority == "0" || !priority.starts_with('0'), "{whole}");
    let priority = priority.parse().expect("a number");
    assert!(priority <= 191, "{whole}");
    let rest = rest.strip_prefix(timestamp).unwrap_or_else(|| panic!("{timestamp} is expected in {whole}"));
    let (hostname, rest) = rest.strip_prefix(' ').and_then(|rest| rest.split_once(' ')).expect("HOSTNAME");
    assert!((1..=255).contains(&hostname.len()) && hostname.bytes().all(|byte| byte.is_ascii_graphic()), "{whole}");
    let end = rest.find([':', '[']).expect("the end of the tag");
    let (tag, rest) = rest.split_at(end);
    assert!((1..=32).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_graphic()), "{whole}");
    let (procid, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(procid, rest)| (Some(procid.to_owned()), rest)).expect("a ]"),
        None => (None, rest),
    };
    assert!(procid.iter().flat_map(|procid| procid.bytes()).all(|byte| byte.is_ascii_graphic()), "{whole}");
    let text = rest.strip_prefix(": ").expect("a colon and a space").to_owned();
    Message { priority, hostname: hostname.to_owned(), tag: tag.to_owned(), procid, text }
}
