//! Which addresses name hosts and stations, for IPv4 and IPv6 alike?

/// An IP address of 16 bytes in network order; IPv4 is mapped (`::ffff:a.b.c.d`,
/// RFC 4291 section 2.5.5.2), so that there is one key type for both families.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord, Debug)]
pub struct Addr {
    // Two words rather than sixteen bytes: keys are hashed and compared by words.
    words: [u64; 2],
}

impl Addr {
    /// How long a prefix of one address is, bits.
    pub const BITS: u32 = 128;

    /// `::`, which no host has.
    pub const UNSPECIFIED: Self = Self { words: [0; 2] };

    /// IPv4's limited broadcast (RFC 919 section 7).
    pub const BROADCAST: Self = Self::v4([0xff; 4]);

    /// The address with these bytes, in network order.
    #[inline(always)]
    pub const fn v6(bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            words: [
                u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
                u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
            ],
        }
    }

    /// The mapped form of an IPv4 address.
    #[inline(always)]
    pub const fn v4(bytes: [u8; 4]) -> Self {
        let [a, b, c, d] = bytes;
        Self { words: [0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d])] }
    }

    /// The 16 bytes in network order.
    #[inline(always)]
    pub const fn bytes(&self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h] = self.words[0].to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = self.words[1].to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// The last four bytes: the IPv4 address of a mapped one.
    #[inline(always)]
    pub const fn v4_bytes(&self) -> [u8; 4] {
        let [_, _, _, _, a, b, c, d] = self.words[1].to_ne_bytes();
        [a, b, c, d]
    }

    /// The two words in memory order, for hashing.
    #[inline(always)]
    pub const fn words(&self) -> [u64; 2] {
        self.words
    }

    /// The address with these words.
    #[inline(always)]
    pub const fn from_words(words: [u64; 2]) -> Self {
        Self { words }
    }

    /// Is this a mapped IPv4 address?
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.words[0] == 0 && (self.words[1] & PREFIX_MAPPED_MASK) == PREFIX_MAPPED
    }

    /// 0 for IPv4, 1 for IPv6, without a branch: keys are made on every path, and the
    /// verifier would follow each twice.
    #[inline(always)]
    pub const fn family(&self) -> u32 {
        let difference = self.words[0] | ((self.words[1] & PREFIX_MAPPED_MASK) ^ PREFIX_MAPPED);
        ((difference | difference.wrapping_neg()) >> 63) as u32
    }

    /// Is every bit clear (`::`) or is it IPv4's 0.0.0.0?
    #[inline(always)]
    pub const fn is_unspecified(&self) -> bool {
        self.words[0] == 0 && (self.words[1] == 0 || self.words[1] == PREFIX_MAPPED)
    }

    /// Multicast, of either family, or IPv4's limited broadcast.
    #[inline(always)]
    pub const fn is_multicast(&self) -> bool {
        if self.is_v4() {
            let first = self.v4_bytes()[0];
            first & 0xf0 == 0xe0 || (first == 0xff && u32::from_ne_bytes(self.v4_bytes()) == !0)
        } else {
            self.words[0].to_ne_bytes()[0] == 0xff
        }
    }

    /// `fe80::/10` or 169.254.0.0/16: never routed (RFC 4291 section 2.5.6, RFC 3927 section 7).
    #[inline(always)]
    pub const fn is_link_local(&self) -> bool {
        if self.is_v4() {
            let [a, b, ..] = self.v4_bytes();
            a == 169 && b == 254
        } else {
            let [a, b, ..] = self.words[0].to_ne_bytes();
            a == 0xfe && b & 0xc0 == 0x80
        }
    }

    /// Addresses that no router accepts as a source or forwards to: 0.0.0.0/8,
    /// 127.0.0.0/8, class E, `::`, `::1` (RFC 1812 section 5.3.7, RFC 4291 section 2.5).
    /// Multicast is asked for separately.
    #[inline(always)]
    pub const fn is_martian(&self) -> bool {
        if self.is_v4() {
            let first = self.v4_bytes()[0];
            first == 0 || first == 127 || first >= 240
        } else {
            // Everything in ::/96 but the mapped range: unspecified, loopback and
            // the deprecated compatible addresses (RFC 4291 section 2.5.5.1).
            self.words[0] == 0
        }
    }

    /// Is the address inside `net/length_bits`? Lengths count from bit 0 of the
    /// 16 bytes: an IPv4 /24 is 120.
    #[inline(always)]
    pub const fn is_within(&self, net: &Self, length_bits: u8) -> bool {
        if length_bits > 128 {
            return false;
        }
        let (high, low) = if length_bits >= 64 { (64, length_bits - 64) } else { (length_bits, 0) };
        let difference_high = (self.words[0] ^ net.words[0]) & word_mask(high);
        let difference_low = (self.words[1] ^ net.words[1]) & word_mask(low);
        difference_high | difference_low == 0
    }
}

/// The first `bits` bits of a word in network order.
#[inline(always)]
const fn word_mask(bits: u8) -> u64 {
    if bits == 0 {
        0
    } else {
        // `bits` is 1 to 64 here, so the shift is 0 to 63.
        (!0_u64 << ((64 - bits) & 63)).to_be()
    }
}

const PREFIX_MAPPED: u64 = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);
const PREFIX_MAPPED_MASK: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

/// Bits that the mapped form puts in front of an IPv4 prefix length.
pub const V4_PREFIX_OFFSET_BITS: u8 = 96;

/// An Ethernet address.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord, Debug)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The address in one word, which no two have the same.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// The address of such a word.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        let [a, b, c, d, e, f, _, _] = word.to_ne_bytes();
        Self([a, b, c, d, e, f])
    }

    /// The group bit: broadcast or multicast (IEEE 802-2014 section 8.2).
    #[inline(always)]
    pub const fn is_multicast(&self) -> bool {
        self.0[0] & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn classes_of_addresses() {
        let v4 = |text: &str| Addr::v4(text.parse::<Ipv4Addr>().unwrap().octets());
        let v6 = |text: &str| Addr::v6(text.parse::<Ipv6Addr>().unwrap().octets());
        assert!(v4("10.0.0.1").is_v4() && !v6("2001:db8::1").is_v4());
        assert_eq!(v4("10.0.0.1"), v6("::ffff:10.0.0.1"));
        for text in ["::", "::1", "::10.0.0.1", "::fffe:0:1", "8000::", "2001:db8::ffff:0:1"] {
            assert_eq!(v6(text).family(), 1, "{text}");
        }
        assert_eq!((v4("0.0.0.0").family(), v4("255.255.255.255").family()), (0, 0));
        assert!(v4("224.0.0.1").is_multicast() && v4("255.255.255.255").is_multicast());
        assert!(!v4("255.255.255.254").is_multicast() && v6("ff02::1").is_multicast());
        assert!(v4("169.254.3.4").is_link_local() && v6("fe80::1").is_link_local());
        assert!(v6("::1").is_martian() && v6("::").is_martian() && v4("127.0.0.1").is_martian());
        assert!(v4("0.1.2.3").is_martian() && v4("240.0.0.1").is_martian());
        assert!(!v4("1.0.0.1").is_martian() && !v6("2001:db8::1").is_martian());
        assert!(v4("0.0.0.0").is_unspecified() && v6("::").is_unspecified());
        assert!(!v4("0.0.0.1").is_unspecified() && !v6("::1").is_unspecified());
    }

    #[test]
    fn prefixes_of_every_length() {
        let net = Addr::v6([0x55; 16]);
        for length in 0..=128_u8 {
            let mut bytes = [0x55; 16];
            if length < 128 {
                bytes[usize::from(length / 8)] ^= 0x80 >> (length % 8);
            }
            assert!(Addr::v6(bytes).is_within(&net, length), "{length}");
            if length > 0 {
                let mut bytes = [0x55; 16];
                bytes[usize::from((length - 1) / 8)] ^= 0x80 >> ((length - 1) % 8);
                assert!(!Addr::v6(bytes).is_within(&net, length), "{length}");
            }
        }
        assert!(!net.is_within(&net, 129));
    }
}
