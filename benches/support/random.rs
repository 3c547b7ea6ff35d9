//! Chance that is the same in every run.

/// SplitMix64 (Steele, Lea and Flood 2014): small, fast, and as even as a simulation needs.
pub struct Random(u64);

impl Random {
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, but not, `bound`.
    #[allow(clippy::cast_possible_truncation)] // the upper half of a product fits
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    /// From 0 up to, but not, 1.
    #[allow(clippy::cast_precision_loss)] // 53 bits are what a double holds
    pub fn part(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From `low` up to, but not, `high`.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // spans of time in milliseconds
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + ((high - low) as f64 * self.part()) as i64
    }
}

/// Ranks with a probability proportional to `1/rank`: Zipf's law with exponent 1.
pub struct Zipf(Vec<f64>);

impl Zipf {
    #[allow(clippy::cast_precision_loss)]
    pub fn new(ranks: usize) -> Self {
        let mut sum = 0.0;
        let sums = (1..=ranks).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self(sums.collect())
    }

    pub fn choose(&self, random: &mut Random) -> usize {
        let chosen = random.part() * self.0[self.0.len() - 1];
        self.0.partition_point(|&sum| sum <= chosen)
    }
}
