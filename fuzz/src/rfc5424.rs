//! A strict parser of RFC 5424 messages and their frames, by the grammar of section 6, independent of the program's
//! code.

/// A parsed message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub facility: u8,
    pub severity: u8,
    /// The NILVALUE is `None`, here and below.
    pub timestamp: Option<String>,
    pub hostname: Option<String>,
    pub program: Option<String>,
    pub procid: Option<String>,
    pub msgid: Option<String>,
    pub elements: Vec<Element>,
    pub bom: bool,
    pub text: String,
}

/// Id, then names and values.
pub type Element = (String, Vec<(String, String)>);

/// Splits a stream by octet counts (RFC 6587 section 3.4.1).
pub fn counted(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while !stream.is_empty() {
        let digits = stream.iter().take_while(|byte| byte.is_ascii_digit()).count();
        assert!(digits > 0 && stream[0] != b'0', "no count: {}", stream.escape_ascii());
        let count: usize = std::str::from_utf8(&stream[..digits]).unwrap().parse().expect("a count");
        assert_eq!(stream[digits], b' ');
        messages.push(&stream[digits + 1..digits + 1 + count]);
        stream = &stream[digits + 1 + count..];
    }
    messages
}

/// Splits a stream at line feeds, like a receiver that also detects counts by the first octet of each frame.
pub fn lines(stream: &[u8]) -> Vec<&[u8]> {
    let mut messages: Vec<&[u8]> = stream.split(|&byte| byte == b'\n').collect();
    assert_eq!(messages.pop(), Some(&b""[..]), "the last line has no end");
    assert!(messages.iter().all(|message| message.first() == Some(&b'<')), "a frame that begins otherwise");
    messages
}

/// Parses one message; panics if it is invalid.
pub fn message(bytes: &[u8]) -> Message {
    let whole = bytes.escape_ascii().to_string();
    let mut rest = Rest(bytes);
    rest.expect("<");
    let priority = rest.until(b'>');
    assert!((1..=3).contains(&priority.len()) && (priority == "0" || !priority.starts_with('0')), "{whole}");
    let priority: u8 = priority.parse().expect("PRIVAL");
    assert!(priority <= 191, "{whole}");
    rest.expect("1 ");
    let timestamp = rest.field(40);
    timestamp.as_deref().into_iter().for_each(check_timestamp);
    let [hostname, program, procid, msgid] = [255, 48, 128, 32].map(|most| rest.field(most));
    let elements = rest.elements();
    let mut bom = false;
    if !rest.0.is_empty() {
        rest.expect(" ");
        if let Some(text) = rest.0.strip_prefix(b"\xef\xbb\xbf") {
            (bom, rest.0) = (true, text);
        }
    }
    let text = std::str::from_utf8(rest.0).expect("UTF-8").to_owned();
    let (facility, severity) = (priority / 8, priority % 8);
    Message { facility, severity, timestamp, hostname, program, procid, msgid, elements, bom, text }
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn expect(&mut self, what: &str) {
        let rest = self.0.strip_prefix(what.as_bytes());
        self.0 = rest.unwrap_or_else(|| panic!("{what:?} is expected at {}", self.0.escape_ascii()));
    }

    /// The text before this byte, which is skipped.
    fn until(&mut self, end: u8) -> String {
        let at = self.0.iter().position(|&byte| byte == end).expect("an end");
        let before = &self.0[..at];
        assert!(before.iter().all(u8::is_ascii_graphic), "not PRINTUSASCII: {}", before.escape_ascii());
        let before = String::from_utf8(before.to_vec()).unwrap();
        self.0 = &self.0[at + 1..];
        before
    }

    /// A header field and the space after it.
    fn field(&mut self, most: usize) -> Option<String> {
        let field = self.until(b' ');
        assert!((1..=most).contains(&field.len()), "{} characters: {field}", field.len());
        (field != "-").then_some(field)
    }

    fn elements(&mut self) -> Vec<Element> {
        let mut elements: Vec<Element> = Vec::new();
        if self.0.first() == Some(&b'-') {
            self.expect("-");
            return elements;
        }
        loop {
            self.expect("[");
            let id = self.name();
            assert!(elements.iter().all(|(other, _)| *other != id), "{id} twice");
            let mut pairs = Vec::new();
            while self.0.first() == Some(&b' ') {
                self.expect(" ");
                let name = self.name();
                self.expect("=\"");
                pairs.push((name, self.value()));
            }
            self.expect("]");
            elements.push((id, pairs));
            if self.0.first() != Some(&b'[') {
                return elements;
            }
        }
    }

    fn name(&mut self) -> String {
        let is_name = |byte: &&u8| byte.is_ascii_graphic() && !b"=]\"".contains(byte);
        let len = self.0.iter().take_while(is_name).count();
        assert!((1..=32).contains(&len), "no SD-NAME at {}", self.0.escape_ascii());
        let name = String::from_utf8(self.0[..len].to_vec()).unwrap();
        self.0 = &self.0[len..];
        name
    }

    fn value(&mut self) -> String {
        let mut value = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first().expect("a quote at the end of a value");
            self.0 = rest;
            match byte {
                b'"' => return String::from_utf8(value).expect("UTF-8"),
                b']' => panic!("a bare ] in a value"),
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first().expect("a character behind a backslash");
                    assert!(b"\"\\]".contains(&escaped), "an escape that there is not");
                    value.push(escaped);
                    self.0 = rest;
                }
                byte => value.push(byte),
            }
        }
    }
}

/// `2003-10-11T22:14:15[.003]Z` or with an offset.
fn check_timestamp(text: &str) {
    let bytes = text.as_bytes();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert!(shape.starts_with("0000-00-00T00:00:00"), "{text}");
    let mut tail = &shape[19..];
    if let Some(fraction) = tail.strip_prefix('.') {
        let digits = fraction.bytes().take_while(|byte| *byte == b'0').count();
        assert!((1..=6).contains(&digits), "{text}");
        tail = &fraction[digits..];
    }
    assert!(["Z", "+00:00", "-00:00"].contains(&tail), "{text}");
    let number = |at: usize| (bytes[at] - b'0') * 10 + bytes[at + 1] - b'0';
    assert!((1..=12).contains(&number(5)) && (1..=31).contains(&number(8)), "{text}");
    assert!(number(11) < 24 && number(14) < 60 && number(17) < 60, "{text}");
}

/// Undoes the program's escapes of control characters, and of `|` and `=` in pairs after `||`: `#` and three octal digits.
pub fn unescape(text: &str, controls: bool) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('#') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).filter(|code| code.bytes().all(|byte| (b'0'..=b'7').contains(&byte)));
        let code = code.and_then(|code| u8::from_str_radix(code, 8).ok()).filter(|code| match code {
            0 | b'#' | b'|' | b'=' => true,
            9 => false,
            code => controls && code.is_ascii_control(),
        });
        out.push(code.map_or('#', char::from));
        rest = &rest[at + if code.is_some() { 4 } else { 1 }..];
    }
    out + rest
}
