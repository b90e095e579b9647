//! How much may pass?

/// What a port may send and receive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// What it sends.
    pub egress: Option<Limit>,
    /// What it receives.
    pub ingress: Option<Limit>,
}

/// A limit has at least one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Bits on the wire; the burst is in bytes.
    pub bits: Option<Rate>,
    /// Packets, each segment of a large one.
    pub packets: Option<Rate>,
}

/// How much in the long run, and at once. What the burst is takes a day at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub per_second: u64,
    /// At least 1.
    pub burst: u64,
}
