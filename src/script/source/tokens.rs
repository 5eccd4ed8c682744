//! Splits a Lua text into tokens, only as far as is needed to find the files that a script names: names, texts, and
//! single characters for everything else (Lua 5.4 reference manual, section 3.1).

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A name or a keyword.
    Name(&'a [u8]),
    /// The raw text between the quotes, with escapes not decoded.
    Text(&'a [u8]),
    /// Any other character except white space.
    Other(u8),
}

impl<'a> Token<'a> {
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Name(bytes) | Self::Text(bytes) => bytes,
            Self::Other(_) => b"",
        }
    }
}

/// Iterates over the tokens of a text, without white space and comments. A text that is not Lua has tokens as well.
#[derive(Clone)]
pub(crate) struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// `[[…]]` or `[=[…]=]`, if the rest begins with one.
    fn long_text(&mut self) -> Option<&'a [u8]> {
        let level = self.rest.strip_prefix(b"[")?.iter().take_while(|byte| **byte == b'=').count();
        if self.rest.get(level + 1) != Some(&b'[') {
            return None;
        }
        self.take(level + 2);
        let close = [b"]".as_slice(), &b"=".repeat(level), b"]"].concat();
        let end = memchr::memmem::find(self.rest, &close).unwrap_or(self.rest.len());
        let text = self.take(end);
        self.take(close.len());
        Some(text)
    }

    fn quoted(&mut self, quote: u8) -> &'a [u8] {
        let mut len = 0;
        while let Some(&byte) = self.rest.get(len) {
            match byte {
                b'\\' => len += 2,
                b'\n' => break,
                _ if byte == quote => break,
                _ => len += 1,
            }
        }
        let text = self.take(len);
        self.take(1);
        text
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let first = *self.rest.first()?;
            if self.rest.starts_with(b"--") {
                self.take(2);
                if self.long_text().is_none() {
                    let line = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
                    self.take(line);
                }
            } else if first.is_ascii_whitespace() {
                self.take(1);
            } else if first.is_ascii_alphanumeric() || first == b'_' {
                let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
                let len = self.rest.iter().take_while(is_part).count();
                return Some(Token::Name(self.take(len)));
            } else if let b'"' | b'\'' = first {
                self.take(1);
                return Some(Token::Text(self.quoted(first)));
            } else if let Some(text) = self.long_text() {
                return Some(Token::Text(text));
            } else {
                self.take(1);
                return Some(Token::Other(first));
            }
        }
    }
}
