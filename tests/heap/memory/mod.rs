//! How much heap memory a connection holds, compared with the formula of SPEC.md §10, for the
//! patterns that cost most and for random sizes.

use wsmux_testing::engine as support;

mod datagrams;
mod receive;
mod send;
mod sockets;

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// A sequence of sizes.
#[derive(Debug, Clone, Copy)]
enum Pattern {
    /// Repeats these sizes.
    Cycle(&'static [usize]),
    /// Begins with a size of 32 KiB, and then repeats these sizes.
    Behind32KiB(&'static [usize]),
    /// Random sizes of every magnitude. A third of them are at or next to a size at which a rule of
    /// the library changes, such as 512 or 4096. The number is the seed.
    Random(u64),
}

/// In earlier versions, each of these patterns made some queue hold several times the memory that
/// it should hold.
const PATTERNS: [Pattern; 14] = [
    Pattern::Behind32KiB(&[1, 4096]),
    Pattern::Cycle(&[1, 4096]),
    Pattern::Cycle(&[1, 1, 4096]),
    Pattern::Cycle(&[1, 511, 4096]),
    Pattern::Cycle(&[5, 4096]),
    Pattern::Cycle(&[1]),
    Pattern::Cycle(&[300]),
    Pattern::Cycle(&[4095, 4096]),
    Pattern::Cycle(&[1, 16_000]),
    Pattern::Cycle(&[16_000]),
    Pattern::Cycle(&[3_000, 1, 8_000]),
    Pattern::Random(1),
    Pattern::Random(2),
    Pattern::Random(3),
];

/// Generates the sizes of one pattern, without end.
struct Sizes {
    pattern: Pattern,
    nth: usize,
    random: StdRng,
}

impl Sizes {
    fn new(pattern: Pattern) -> Self {
        let seed = if let Pattern::Random(seed) = pattern { seed } else { 0 };
        Self { pattern, nth: 0, random: StdRng::seed_from_u64(seed) }
    }

    fn next(&mut self) -> usize {
        self.nth += 1;
        let cycle = |sizes: &[usize], nth: usize| sizes[nth % sizes.len()];
        match self.pattern {
            Pattern::Cycle(sizes) => cycle(sizes, self.nth - 1),
            Pattern::Behind32KiB(_) if self.nth <= 2 => 16 * 1024,
            Pattern::Behind32KiB(sizes) => cycle(sizes, self.nth - 3),
            Pattern::Random(_) => match self.random.random_range(0..3) {
                0 => [1, 2, 511, 512, 513, 4095, 4096, 4097][self.random.random_range(0..8)],
                _ => 1 + (self.random.random_range(0..16_000) >> self.random.random_range(0..14)),
            },
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end.max(1))
    }
}
