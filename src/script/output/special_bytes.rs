//! Finds the bytes that a JSON string cannot hold as they are: quotes, backslashes and control characters.
//!
//! Written so that the compiler turns each step into a few instructions for 16 bytes at once.

/// The special bytes among 64: one bit for each, the lowest for the first byte.
#[inline]
pub(crate) fn of_64(bytes: &[u8; 64]) -> u64 {
    let (pieces, _) = bytes.as_chunks();
    pieces.iter().rev().fold(0, |bits, piece| bits << 16 | u64::from(sixteen::special(piece)))
}

/// What [`is_plain`] would not let pass among 16 bytes: one bit for each, the lowest for the first byte.
#[inline]
pub(crate) fn difficult_of_16(bytes: &[u8; 16]) -> u16 {
    sixteen::difficult(bytes)
}

#[cfg(target_arch = "x86_64")]
use sse2 as sixteen;

#[cfg(not(target_arch = "x86_64"))]
use portable as sixteen;

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the compiler asks for it even where the instructions are always there")]
mod sse2 {
    use std::arch::x86_64::*;

    #[inline]
    pub(crate) fn special(bytes: &[u8; 16]) -> u16 {
        // SAFETY: SSE2 is a part of x86-64.
        unsafe { special_bits(bytes) }
    }

    #[inline]
    pub(crate) fn difficult(bytes: &[u8; 16]) -> u16 {
        // SAFETY: SSE2 is a part of x86-64.
        unsafe { difficult_bits(bytes) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn special_bits(bytes: &[u8; 16]) -> u16 {
        let text = load(bytes);
        let control = _mm_cmpeq_epi8(_mm_min_epu8(text, _mm_set1_epi8(0x1f)), text);
        bits(_mm_or_si128(control, quotes(text)))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn difficult_bits(bytes: &[u8; 16]) -> u16 {
        let text = load(bytes);
        // Signed: what is not ASCII is negative.
        let control = _mm_cmplt_epi8(text, _mm_set1_epi8(0x20));
        bits(_mm_or_si128(control, quotes(text)))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn quotes(text: __m128i) -> __m128i {
        let is = |byte: u8| _mm_cmpeq_epi8(text, _mm_set1_epi8(byte.cast_signed()));
        _mm_or_si128(is(b'"'), is(b'\\'))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(bytes: &[u8; 16]) -> __m128i {
        let both = i128::from_le_bytes(*bytes);
        _mm_set_epi64x((both >> 64) as i64, both as i64)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn bits(flags: __m128i) -> u16 {
        _mm_movemask_epi8(flags) as u16
    }
}

/// For machines on which no instruction collects a bit of each byte.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    use super::{is_difficult, is_special};

    #[inline]
    pub(crate) fn special(bytes: &[u8; 16]) -> u16 {
        bits(bytes.map(is_special))
    }

    #[inline]
    pub(crate) fn difficult(bytes: &[u8; 16]) -> u16 {
        bits(bytes.map(is_difficult))
    }

    #[inline]
    fn bits(flags: [bool; 16]) -> u16 {
        let mut bits = 0;
        for (nth, eight) in flags.map(u8::from).as_chunks().0.iter().enumerate() {
            // The product moves the lowest bit of each byte into the highest byte, each to a place of its own.
            let picked = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            bits |= (picked as u16) << (8 * nth);
        }
        bits
    }
}

/// Where the first special byte is.
#[inline]
pub(crate) fn first(text: &[u8]) -> Option<usize> {
    let (pieces, tail) = text.as_chunks::<16>();
    let in_tail = |tail: &[u8]| tail.iter().position(|&byte| is_special(byte));
    match pieces.iter().position(|piece| any(piece, is_special)) {
        Some(nth) => in_tail(&text[nth * 16..]).map(|at| nth * 16 + at),
        None => in_tail(tail).map(|at| text.len() - tail.len() + at),
    }
}

/// Whether the text is ASCII without special bytes, so that it can stand between quotes as it is.
#[inline]
pub(crate) fn is_plain(text: &[u8]) -> bool {
    // What is left over at the end is looked at together with bytes before it, some of them a second time.
    if let Some(last) = text.last_chunk() {
        let (pieces, _) = text.as_chunks::<16>();
        !pieces.iter().any(|piece| any(piece, is_difficult)) && !any::<16>(last, is_difficult)
    } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        !any::<8>(first, is_difficult) && !any::<8>(last, is_difficult)
    } else {
        !text.iter().any(|&byte| is_difficult(byte))
    }
}

#[inline]
fn any<const N: usize>(bytes: &[u8; N], is: impl Fn(u8) -> bool) -> bool {
    // Without a way out in between, all of them are looked at at once.
    bytes.iter().fold(false, |any, &byte| any | is(byte))
}

#[inline]
fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// Special, or 0x80 and above, of which other characters than ASCII are made.
#[inline]
fn is_difficult(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte.cast_signed() < 0x20)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn must_be_escaped(byte: u8) -> bool {
        serde_json::to_vec(&char::from(byte).to_string()).unwrap().contains(&b'\\')
    }

    #[test]
    fn every_byte_is_taken_for_what_it_is() {
        for byte in 0..=255 {
            assert_eq!(is_special(byte), must_be_escaped(byte), "{byte}");
            assert_eq!(is_difficult(byte), must_be_escaped(byte) || !byte.is_ascii(), "{byte}");
        }
    }

    #[test]
    fn sixteen_bytes_are_taken_alike_with_and_without_special_instructions() {
        for byte in 0..=255 {
            for at in 0..16 {
                let mut bytes = [b'a'; 16];
                bytes[at] = byte;
                bytes[(at + 5) % 16] = b'"';
                let bits = |is: fn(u8) -> bool| (0..16).map(|nth| u16::from(is(bytes[nth])) << nth).sum::<u16>();
                assert_eq!((sixteen::special(&bytes), portable::special(&bytes)), (bits(is_special), bits(is_special)));
                let difficult = bits(is_difficult);
                assert_eq!((difficult_of_16(&bytes), portable::difficult(&bytes)), (difficult, difficult));
            }
        }
    }

    #[test]
    fn one_byte_is_found_at_every_place_of_every_length() {
        for len in 0..70 {
            assert!(is_plain(&vec![b'a'; len]));
            assert_eq!(first(&vec![b'a'; len]), None);
            for at in 0..len {
                for byte in [b'"', b'\\', 0, 0x1f, 0x20, 0x7f, 0x80, 0xff] {
                    let mut text = vec![b'~'; len];
                    text[at] = byte;
                    assert_eq!(is_plain(&text), !is_difficult(byte), "{byte} at {at} of {len}");
                    assert_eq!(first(&text), is_special(byte).then_some(at), "{byte} at {at} of {len}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn each_bit_stands_for_its_byte(text in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'a'), proptest::arbitrary::any::<u8>()], 64)) {
            let bits = of_64(text.first_chunk().unwrap());
            for (at, &byte) in text.iter().enumerate() {
                prop_assert_eq!(bits >> at & 1 == 1, is_special(byte));
            }
        }
    }
}
