//! How are keys hashed, so that nobody outside can choose where they lie?
//!
//! By multilinear hashing with half the multiplications (Lemire and Kaser, "Strongly universal
//! string hashing is fast", The Computer Journal 57, 2014): whatever two keys one chooses without
//! the secret, they collide by chance alone. Its multiplications do not wait for each other. But
//! sums of keys that follow each other are equally far apart, and may fall into few places: so the
//! sum is mixed.

/// The longest key, in words.
const WORDS_MAX: usize = 5;

/// The random numbers that keys are hashed with.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Secret {
    /// One, and two more for each word of a key.
    pub words: [u64; 1 + 2 * WORDS_MAX],
}

impl Secret {
    /// Drawn from this seed by SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom
    /// number generators", OOPSLA 2014).
    #[must_use]
    pub const fn of(seed: [u64; 2]) -> Self {
        let mut words = [0; 1 + 2 * WORDS_MAX];
        let (mut at, mut state) = (0, seed[0]);
        while at < words.len() {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            words[at] = mixed(mixed(state) ^ seed[1]);
            at += 1;
        }
        Self { words }
    }

    /// The hash of a key with these words.
    #[inline(always)]
    #[must_use]
    pub const fn hash<const N: usize>(&self, words: &[u64; N]) -> u64 {
        const { assert!(N <= WORDS_MAX) };
        let mut sum = self.words[0];
        let mut at = 0;
        while at < N {
            let low = (words[at] & 0xffff_ffff).wrapping_add(self.words[1 + 2 * at]);
            let high = (words[at] >> 32).wrapping_add(self.words[2 + 2 * at]);
            sum = sum.wrapping_add(low.wrapping_mul(high));
            at += 1;
        }
        mixed(sum)
    }
}

/// SplitMix64's finaliser.
const fn mixed(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_splitmix() {
        // The first of seed 0, as published with xoshiro (vigna, splitmix64.c).
        assert_eq!(mixed(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
        let words = Secret::of([1, 2]).words;
        assert!((1..words.len()).all(|at| !words[..at].contains(&words[at])));
        assert_ne!(Secret::of([1, 3]).words[0], words[0]);
    }

    #[test]
    fn keys_that_follow_each_other_are_spread() {
        let mut most = 0;
        for number in 0..500 {
            let secret = Secret::of([number, 5]);
            let mut load = [[0_u8; 1024]; 2];
            for at in 0..600 {
                let hash = secret.hash(&[7, 8, 9, 10, 0x11_0000_0000 + at]);
                load[0][(hash & 1023) as usize] += 1;
                load[1][(hash >> 32 & 1023) as usize] += 1;
            }
            most = load.as_flattened().iter().copied().max().unwrap_or(0).max(most);
        }
        // 0.6 on average; 10 in one of a million places has a chance of one in 3000.
        assert!(most < 10, "{most}");
    }

    #[test]
    fn nobody_knows_without_the_secret_which_keys_collide() {
        // Differences that a multiplication of whole words would let through for every secret.
        let base = [0x2020_2020_2020_2020, 7, 0, 9, u64::MAX];
        let mut collisions = 0;
        for number in 1..2000 {
            let secret = Secret::of([number, !number]);
            for (first, second) in [(1 << 63, 1 << 63), (1 << 63, 1 << 31), (1, 1), (1 << 32, 1)] {
                let other = [base[0] ^ first, base[1] ^ second, base[2], base[3], base[4]];
                collisions += u32::from(secret.hash(&other) >> 46 == secret.hash(&base) >> 46);
            }
        }
        // Of 8000 pairs one in 2^18 by chance.
        assert!(collisions <= 1, "{collisions}");
    }
}
