//! Facilities and severities by name and number (RFC 5424 section 6.2.1).

/// Table 1 of RFC 5424, with the names of `syslog.conf`; the index is the code.
pub const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// Table 2 of RFC 5424, with the names of `syslog.conf`; the index is the code.
pub const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Other names of severities.
const SYNONYMS: [(&str, u8); 8] = [
    ("emergency", 0),
    ("panic", 0),
    ("critical", 2),
    ("fatal", 2),
    ("error", 3),
    ("warn", 4),
    ("informational", 6),
    ("information", 6),
];

/// The code of a facility: its name in any case, or 0 to 23.
#[must_use]
pub fn facility(text: &[u8]) -> Option<u8> {
    code(text, &FACILITIES)
}

/// The code of a severity: its name in any case, or 0 to 7.
#[must_use]
pub fn severity(text: &[u8]) -> Option<u8> {
    let synonym =
        || SYNONYMS.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(text)).map(|(_, code)| *code);
    code(text, &SEVERITIES).or_else(synonym)
}

fn code(text: &[u8], names: &[&str]) -> Option<u8> {
    let number = match *text {
        [one @ b'0'..=b'9'] => Some(one - b'0'),
        [ten @ b'1'..=b'9', one @ b'0'..=b'9'] => Some((ten - b'0') * 10 + one - b'0'),
        _ => None,
    };
    match number {
        Some(number) => Some(number).filter(|&number| usize::from(number) < names.len()),
        None => names.iter().position(|name| name.as_bytes().eq_ignore_ascii_case(text)).map(|place| place as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_case_and_numbers_are_accepted() {
        let check = |text: &str, expected: [Option<u8>; 2]| {
            assert_eq!([facility(text.as_bytes()), severity(text.as_bytes())], expected, "{text}");
        };
        check("user", [Some(1), None]);
        check("LOCAL7", [Some(23), None]);
        check("alert", [Some(14), Some(1)]);
        check("Warning", [None, Some(4)]);
        check("warn", [None, Some(4)]);
        check("ERROR", [None, Some(3)]);
        check("critical", [None, Some(2)]);
        check("0", [Some(0), Some(0)]);
        check("7", [Some(7), Some(7)]);
        check("8", [Some(8), None]);
        check("23", [Some(23), None]);
        for wrong in ["", "24", "007", "-1", "+1", "1 ", "users", "255", "local8"] {
            check(wrong, [None, None]);
        }
    }
}
