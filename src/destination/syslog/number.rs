//! Numbers without an allocation.

/// Appends a number in decimal digits.
pub(super) fn number(number: usize, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_in_its_digits() {
        for given in [0, 7, 10, 191, 8_192, usize::MAX] {
            let mut out = b"<".to_vec();
            number(given, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("<{given}"));
        }
    }
}
