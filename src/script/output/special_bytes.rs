//! Finds the bytes that must be escaped in a JSON string: quotes, backslashes and control characters.
//!
//! Written so that the compiler generates a few vector instructions for each 16 bytes.

/// The special bytes among 64 bytes: one bit for each byte, the lowest for the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) quotes: u64,
    pub(crate) backslashes: u64,
    /// Whether all of them are ASCII without control characters.
    pub(crate) is_usual: bool,
}

/// The control characters among the first 64 bytes of a text: one bit for each, the lowest for the first.
pub(crate) fn controls(text: &[u8]) -> u64 {
    text.iter().take(64).rev().fold(0, |bits, &byte| bits << 1 | u64::from(byte < 0x20))
}

/// Number of bytes that [`Instructions::difficult`] processes.
pub(crate) const PIECE: usize = 32;

/// Operations on many bytes at once, by instruction set.
pub(crate) trait Instructions: Copy {
    /// The bytes that [`is_plain`] rejects: one bit for each byte, the lowest for the first.
    fn difficult(self, bytes: &[u8; PIECE]) -> u32;

    /// The special bytes among 64 bytes.
    fn marks(self, bytes: &[u8; 64]) -> Marks;

    /// For each bit, whether the number of set bits up to and including it is odd.
    fn parity(self, bits: u64) -> u64;
}

/// The instructions that every machine has.
#[derive(Clone, Copy)]
struct Anywhere;

impl Instructions for Anywhere {
    #[inline(always)]
    fn difficult(self, bytes: &[u8; PIECE]) -> u32 {
        let (halves, _) = bytes.as_chunks();
        u32::from(sixteen::difficult(&halves[0])) | u32::from(sixteen::difficult(&halves[1])) << 16
    }

    #[inline(always)]
    fn marks(self, bytes: &[u8; 64]) -> Marks {
        let (pieces, _) = bytes.as_chunks();
        let join =
            |byte| pieces.iter().rev().fold(0, |bits, piece| bits << 16 | u64::from(sixteen::equal(piece, byte)));
        let is_usual = !any(bytes, |byte| byte.cast_signed() < 0x20);
        Marks { quotes: join(b'"'), backslashes: join(b'\\'), is_usual }
    }

    #[inline(always)]
    fn parity(self, mut bits: u64) -> u64 {
        for shift in [1, 2, 4, 8, 16, 32] {
            bits ^= bits << shift;
        }
        bits
    }
}

/// Work that is faster with instructions that not every machine has.
pub(crate) trait Work {
    type Result;

    /// Does the work. Only inlined code, above all `run` itself, is compiled with these instructions.
    fn run(self, with: impl Instructions) -> Self::Result;
}

/// Does the work with the best instructions of this machine.
#[inline]
pub(crate) fn with_best_instructions<W: Work>(work: W) -> W::Result {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = avx2::Here::look() {
        return avx2.run(work);
    }
    work.run(Anywhere)
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
    pub(crate) fn difficult(bytes: &[u8; 16]) -> u16 {
        // SAFETY: SSE2 is a part of x86-64.
        unsafe { difficult_bits(bytes) }
    }

    #[inline]
    pub(crate) fn equal(bytes: &[u8; 16], byte: u8) -> u16 {
        // SAFETY: SSE2 is a part of x86-64.
        unsafe { equal_bits(bytes, byte) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn equal_bits(bytes: &[u8; 16], byte: u8) -> u16 {
        bits(is(load(bytes), byte))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn difficult_bits(bytes: &[u8; 16]) -> u16 {
        let text = load(bytes);
        // Signed comparison: non-ASCII bytes are negative.
        let control = _mm_cmplt_epi8(text, _mm_set1_epi8(0x20));
        bits(_mm_or_si128(control, _mm_or_si128(is(text, b'"'), is(text, b'\\'))))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn is(text: __m128i, byte: u8) -> __m128i {
        _mm_cmpeq_epi8(text, _mm_set1_epi8(byte.cast_signed()))
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

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "asks for instructions that not every machine has, behind a look whether this one has them"
)]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Instructions, Marks, PIECE, Work};

    /// Proof that this machine has the instructions.
    #[derive(Clone, Copy)]
    pub(super) struct Here(());

    impl Here {
        #[inline]
        pub(super) fn look() -> Option<Self> {
            let has_all = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("pclmulqdq");
            has_all.then_some(Self(()))
        }

        #[inline]
        pub(super) fn run<W: Work>(self, work: W) -> W::Result {
            // SAFETY: the machine has these instructions.
            unsafe { run_here(self, work) }
        }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,pclmulqdq")]
    fn run_here<W: Work>(here: Here, work: W) -> W::Result {
        work.run(here)
    }

    impl Instructions for Here {
        #[inline(always)]
        fn difficult(self, bytes: &[u8; PIECE]) -> u32 {
            // SAFETY: the machine has these instructions.
            unsafe { difficult_here(bytes) }
        }

        #[inline(always)]
        fn marks(self, bytes: &[u8; 64]) -> Marks {
            // SAFETY: the machine has these instructions.
            unsafe { marks_here(bytes) }
        }

        #[inline(always)]
        fn parity(self, bits: u64) -> u64 {
            // SAFETY: the machine has these instructions.
            unsafe { parity_here(bits) }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn difficult_here(bytes: &[u8; PIECE]) -> u32 {
        let text = load(bytes);
        // Signed comparison: non-ASCII bytes are negative.
        let control = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), text);
        let quotes = _mm256_or_si256(is(text, b'"'), is(text, b'\\'));
        _mm256_movemask_epi8(_mm256_or_si256(control, quotes)).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn marks_here(bytes: &[u8; 64]) -> Marks {
        let (halves, _) = bytes.as_chunks();
        let [low, high] = [load(&halves[0]), load(&halves[1])];
        let join = |byte| bits(is(low, byte)) | bits(is(high, byte)) << 32;
        // Signed comparison: non-ASCII bytes are negative.
        let unusual = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), _mm256_min_epi8(low, high));
        Marks { quotes: join(b'"'), backslashes: join(b'\\'), is_usual: bits(unusual) == 0 }
    }

    /// The carry-less product with a number whose bits are all set.
    #[inline]
    #[target_feature(enable = "pclmulqdq")]
    fn parity_here(bits: u64) -> u64 {
        let product = _mm_clmulepi64_si128(_mm_set_epi64x(0, bits.cast_signed()), _mm_set1_epi8(-1), 0);
        _mm_cvtsi128_si64(product).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn is(text: __m256i, byte: u8) -> __m256i {
        _mm256_cmpeq_epi8(text, _mm256_set1_epi8(byte.cast_signed()))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn bits(flags: __m256i) -> u64 {
        u64::from(_mm256_movemask_epi8(flags).cast_unsigned())
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8; 32]) -> __m256i {
        // SAFETY: reads the 32 bytes, which need not be aligned.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }
}

/// For machines without an instruction that collects one bit of each byte.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    use super::is_difficult;

    #[inline]
    pub(crate) fn equal(bytes: &[u8; 16], byte: u8) -> u16 {
        bits(bytes.map(|found| found == byte))
    }

    #[inline]
    pub(crate) fn difficult(bytes: &[u8; 16]) -> u16 {
        bits(bytes.map(is_difficult))
    }

    #[inline]
    fn bits(flags: [bool; 16]) -> u16 {
        let mut bits = 0;
        for (nth, eight) in flags.map(u8::from).as_chunks().0.iter().enumerate() {
            // The product moves the lowest bit of each byte into the highest byte, each to a different position.
            let picked = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            bits |= (picked as u16) << (8 * nth);
        }
        bits
    }
}

/// The position of the first special byte.
#[inline]
pub(crate) fn first(text: &[u8]) -> Option<usize> {
    let (pieces, tail) = text.as_chunks::<16>();
    let in_tail = |tail: &[u8]| tail.iter().position(|&byte| is_special(byte));
    match pieces.iter().position(|piece| any(piece, is_special)) {
        Some(nth) => in_tail(&text[nth * 16..]).map(|at| nth * 16 + at),
        None => in_tail(tail).map(|at| text.len() - tail.len() + at),
    }
}

/// Whether the text is ASCII without special bytes, so that it can be copied between quotes unchanged.
#[inline]
pub(crate) fn is_plain(text: &[u8]) -> bool {
    // The rest at the end is checked together with bytes before it, some of them a second time.
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
    // Without an early exit, all bytes are checked at once.
    bytes.iter().fold(false, |any, &byte| any | is(byte))
}

#[inline]
fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// Special, or 0x80 and above: a part of a non-ASCII character, or invalid.
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
    fn every_byte_is_classified_correctly() {
        for byte in 0..=255 {
            assert_eq!(is_special(byte), must_be_escaped(byte), "{byte}");
            assert_eq!(is_difficult(byte), must_be_escaped(byte) || !byte.is_ascii(), "{byte}");
        }
    }

    #[test]
    fn sixteen_bytes_are_classified_alike_with_and_without_simd() {
        for byte in 0..=255 {
            for at in 0..16 {
                let mut bytes = [b'a'; 16];
                bytes[at] = byte;
                bytes[(at + 5) % 16] = b'"';
                let bits = |is: fn(u8) -> bool| (0..16).map(|nth| u16::from(is(bytes[nth])) << nth).sum::<u16>();
                let quotes = bits(|byte| byte == b'"');
                assert_eq!((sixteen::equal(&bytes, b'"'), portable::equal(&bytes, b'"')), (quotes, quotes));
                let difficult = bits(is_difficult);
                assert_eq!((sixteen::difficult(&bytes), portable::difficult(&bytes)), (difficult, difficult));
            }
        }
    }

    #[test]
    fn a_special_byte_is_found_at_every_position_of_every_length() {
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

    /// The results of all [`Instructions`] for these bytes.
    struct Look([u8; 64]);

    impl Work for Look {
        type Result = (u32, Marks, u64);

        fn run(self, with: impl Instructions) -> Self::Result {
            let (pieces, _) = self.0.as_chunks();
            (
                with.difficult(&pieces[0]),
                with.marks(&self.0),
                with.parity(u64::from_le_bytes(*self.0.first_chunk().unwrap())),
            )
        }
    }

    fn bits(text: &[u8], is: impl Fn(u8) -> bool) -> u64 {
        text.iter().enumerate().map(|(at, &byte)| u64::from(is(byte)) << at).sum()
    }

    proptest! {
        #[test]
        fn each_bit_stands_for_its_byte_with_every_instruction_set(
            text in proptest::array::uniform32(prop_oneof![Just(b'"'), Just(b'\\'), b' '..b'~', proptest::arbitrary::any::<u8>()]),
            more in proptest::array::uniform32(prop_oneof![Just(b'"'), b' '..b'~']),
        ) {
            let all: [u8; 64] = std::array::from_fn(|at| if at < 32 { text[at] } else { more[at - 32] });
            let number = u64::from_le_bytes(*all.first_chunk().unwrap());
            let expected = (
                bits(&text, is_difficult) as u32,
                Marks {
                    quotes: bits(&all, |byte| byte == b'"'),
                    backslashes: bits(&all, |byte| byte == b'\\'),
                    is_usual: all.iter().all(|byte| (0x20..0x80).contains(byte)),
                },
                (0..64).map(|at| u64::from((number << (63 - at)).count_ones() % 2) << at).sum(),
            );
            prop_assert_eq!(with_best_instructions(Look(all)), expected);
            prop_assert_eq!(Look(all).run(Anywhere), expected);
            prop_assert_eq!(controls(&all), bits(&all, |byte| byte < 0x20));
            prop_assert_eq!(controls(&all[..7]), bits(&all[..7], |byte| byte < 0x20));
        }
    }
}
