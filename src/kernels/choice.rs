//! Which of several ways a kernel takes. By itself a kernel decides by rules that were measured on some machines; `tune` measures on the one
//! at hand. Integers are the same bytes by every way. Floats are the same bytes for every size of blocks; by [`Method::Winograd`] they
//! differ from plain sums by a few roundings (see `conv_f32/winograd.rs`).

use alloc::format;
use core::fmt;

/// How a convolution goes about its windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// What the kernel's own rule says.
    #[default]
    Auto,
    /// A matrix product on rows that are copied, or on the input as it lies if windows are single pixels.
    Rows,
    /// A matrix product on windows of copied lines; integers only.
    Windows,
    /// Fewer products, by Winograd's method.
    Winograd,
}

/// The inner loops of a product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Inner {
    /// What the kernel's own rule says.
    #[default]
    Auto,
    /// Floats: tiles of four rows, which need fewer registers.
    Low,
    /// Floats: a quarter of the depth at a time, for a small first-level cache.
    Shallow,
    /// Integers: products of 16 bits, where those of 8 bits would be exact as well.
    Wide,
}

/// A way to compute a convolution or a matrix product. What does not apply to a node is ignored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Choice {
    /// How windows are read.
    pub method: Method,
    /// Sizes of blocks relative to the kernel's own, as a power of two from −2 to 2.
    pub blocks: i8,
    /// The inner loops.
    pub inner: Inner,
}

const METHODS: [Method; 4] = [Method::Auto, Method::Rows, Method::Windows, Method::Winograd];
const BLOCKS: [i8; 5] = [0, -1, 1, -2, 2];
const INNERS: [Inner; 4] = [Inner::Auto, Inner::Low, Inner::Shallow, Inner::Wide];

impl Choice {
    /// What the kernel's own rules say.
    pub const AUTO: Choice = Choice { method: Method::Auto, blocks: 0, inner: Inner::Auto };

    /// As a byte; 0 is [`Choice::AUTO`].
    pub fn to_byte(self) -> u8 {
        let blocks = BLOCKS.iter().position(|b| *b == self.blocks).unwrap_or(0);
        self.method as u8 | (self.inner as u8) << 2 | (blocks as u8) << 4
    }

    /// From a byte; what no release ever wrote is [`Choice::AUTO`].
    pub fn from_byte(byte: u8) -> Choice {
        match BLOCKS.get(usize::from(byte >> 4)) {
            Some(&blocks) => Choice { method: METHODS[usize::from(byte & 3)], inner: INNERS[usize::from(byte >> 2 & 3)], blocks },
            None => Choice::AUTO,
        }
    }

    /// A size of blocks, of which `usual` is the kernel's own.
    pub(super) fn scale(self, usual: usize) -> usize {
        match self.blocks {
            0.. => usual << self.blocks,
            _ => usual >> -self.blocks,
        }
    }
}

/// What a kernel was prepared to do, for comparisons: two choices that give the same need not both be measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Made {
    /// Never [`Method::Auto`], but for kernels that have no choice.
    pub method: Method,
    /// The inner loops; [`Inner::Auto`] is the usual one.
    pub inner: Inner,
    /// Sizes of the kernel's blocks, in units of its own.
    pub blocks: [usize; 2],
}

/// As reports have it: `rows [48, 1]`, `rows [48, 4], shallow`.
impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |name: &dyn fmt::Debug| format!("{name:?}").to_lowercase();
        write!(f, "{} {:?}", word(&self.method), self.blocks)?;
        if self.inner == Inner::Auto { Ok(()) } else { write!(f, ", {}", word(&self.inner)) }
    }
}

/// What is worth trying. Some of it does not apply to floats, some not to integers: that is [`Made`] as what applies is.
pub fn candidates() -> impl Iterator<Item = Choice> {
    let all = (1..=u8::MAX).map(Choice::from_byte);
    all.filter(|choice| choice.method != Method::Auto && (choice.blocks == 0 || choice.inner == Inner::Auto))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_name_every_choice() {
        for choice in candidates().chain([Choice::AUTO]) {
            assert_eq!(Choice::from_byte(choice.to_byte()), choice);
        }
        assert_eq!(Choice::AUTO.to_byte(), 0);
        assert_eq!(Choice::from_byte(0xF7), Choice::AUTO);
    }

    #[test]
    fn each_candidate_comes_once() {
        let all: Vec<Choice> = candidates().collect();
        assert!(all.iter().enumerate().all(|(i, choice)| *choice != Choice::AUTO && !all[..i].contains(choice)));
    }

    #[test]
    fn what_was_made_is_told_in_words() {
        let usual = Made { method: Method::Winograd, inner: Inner::Auto, blocks: [48, 64] };
        assert_eq!(usual.to_string(), "winograd [48, 64]");
        assert_eq!(Made { inner: Inner::Shallow, ..usual }.to_string(), "winograd [48, 64], shallow");
    }

    #[test]
    fn sizes_are_powers_of_two_of_the_usual_one() {
        let scaled = |blocks| Choice { blocks, ..Choice::AUTO }.scale(64);
        assert_eq!([-2, -1, 0, 1, 2].map(scaled), [16, 32, 64, 128, 256]);
    }
}
