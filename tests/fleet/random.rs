//! Random choices that can be repeated.

/// SplitMix64.
pub struct Random(u64);

impl Random {
    /// By the environment variable `FLEET_SEED`, or by chance; what it is, is printed.
    pub fn by_seed(of: &str) -> Self {
        let seed = std::env::var("FLEET_SEED").ok().map_or_else(crate::now, |seed| seed.parse().unwrap());
        println!("{of}: FLEET_SEED={seed}");
        Self(seed)
    }

    /// Another one, with choices of its own.
    pub fn another(&mut self) -> Self {
        Self(self.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    pub fn millis(&mut self, from: u64, to: u64) -> std::time::Duration {
        crate::millis(from + self.next() % (to - from))
    }
}
