//! Which of several? The same again for the same seed, or as a fuzzer's input says.

/// A generator of numbers: those of its input first, then some that look random
/// (SplitMix64).
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
    input: Vec<u8>,
    /// Bytes of the input that are used up.
    used: usize,
}

impl Chance {
    /// Of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed, input: Vec::new(), used: 0 }
    }

    /// Of this input. A choice takes no more bytes than it needs, so that a changed byte
    /// is another choice and leaves the next ones as they were.
    #[must_use]
    pub fn of_input(input: &[u8]) -> Self {
        Self { state: 0, input: input.to_vec(), used: 0 }
    }

    /// Has all of the input been used up?
    #[must_use]
    pub const fn is_used_up(&self) -> bool {
        self.used >= self.input.len()
    }

    /// Of the seed in `SEKISHO_SEED`, or of the usual one; it is printed.
    #[must_use]
    pub fn of_environment() -> Self {
        let seed = std::env::var("SEKISHO_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or(20_260_101);
        println!("SEKISHO_SEED={seed}");
        Self::new(seed)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.number(size_of::<u64>())
    }

    /// Of so many bytes, if they come from the input.
    fn number(&mut self, bytes: usize) -> u64 {
        if !self.is_used_up()
            && let Some(taken) = self.input.get(self.used..self.used + bytes)
        {
            self.used += bytes;
            return taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        }
        self.used = self.input.len();
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        let bits = usize::BITS - (end - 1).leading_zeros();
        (self.number(bits.div_ceil(8) as usize) % end as u64) as usize
    }

    /// Does it happen, once in so many times?
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of them; there is one.
    pub fn of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_comes_first_and_only_as_much_as_is_needed() {
        let mut chance = Chance::of_input(&[7, 1, 2, 9]);
        assert_eq!((chance.below(1), chance.below(5), chance.below(300)), (0, 2, 258));
        assert!(!chance.is_used_up());
        assert_eq!((chance.below(256), chance.is_used_up()), (9, true));
        // And then as of a seed.
        assert_eq!(chance.any(), Chance::new(0).any());
    }
}
