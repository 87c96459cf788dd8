//! Chance that is the same in every run.

/// `SplitMix64`.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same throws.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end` - 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.throw() % end
    }

    /// From 0 to 1.
    pub fn unit(&mut self) -> f64 {
        self.throw() as f64 / u64::MAX as f64
    }
}

/// Puts `items` into a random order.
pub fn shuffle<T>(items: &mut [T], dice: &mut Dice) {
    for last in (1..items.len()).rev() {
        let other = dice.below(last as u64 + 1);
        items.swap(last, usize::try_from(other).expect("it is below a usize"));
    }
}

/// Ranks from 0 on, of which rank n is asked for in proportion to 1 / (n + 1)^s.
#[derive(Debug, Clone)]
pub struct Zipf(Vec<f64>);

impl Zipf {
    /// Of `ranks` ranks with exponent `s`.
    pub fn new(ranks: u32, s: f64) -> Self {
        let mut sum = 0.0;
        let mut sums: Vec<f64> = (1..=ranks)
            .map(|rank| {
                sum += f64::from(rank).powf(-s);
                sum
            })
            .collect();
        for part in &mut sums {
            *part /= sum;
        }
        Self(sums)
    }

    /// Draws a rank.
    pub fn draw(&self, dice: &mut Dice) -> usize {
        let point = dice.unit();
        self.0.partition_point(|sum| *sum < point).min(self.0.len() - 1)
    }
}
