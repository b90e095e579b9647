//! What are protocols called? (IANA "Assigned Internet Protocol Numbers".)

/// Names of the protocols that people name.
const NAMES: [(u8, &str); 12] = [
    (1, "icmp"),
    (2, "igmp"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "icmpv6"),
    (89, "ospf"),
    (132, "sctp"),
    (136, "udplite"),
];

/// The protocol's name, or its number.
#[must_use]
pub fn name(number: u8) -> String {
    let known = NAMES.iter().find(|(of, _)| *of == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}
