//! What are protocols called, and which have ports? (IANA "Assigned Internet Protocol Numbers".)

use dataplane_common::wire::protocol;

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

/// The number of a protocol that is given by its name or number.
#[must_use]
pub fn number(text: &str) -> Option<u8> {
    let text = text.to_ascii_lowercase();
    if text.bytes().all(|digit| digit.is_ascii_digit()) {
        return text.parse().ok();
    }
    // Neutron's other name of it, as in a site file.
    let text = if text == "ipv6-icmp" { "icmpv6" } else { &text };
    NAMES.iter().find(|(_, name)| *name == text).map(|(number, _)| *number)
}

/// Has it ports, and do we know where?
#[must_use]
pub const fn has_ports(number: u8) -> bool {
    matches!(
        number,
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP | protocol::UDPLITE
    )
}

/// The names, for whoever gave another.
#[must_use]
pub fn names() -> String {
    NAMES.map(|(_, name)| name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_number_are_the_same() {
        for (of, name) in NAMES {
            assert_eq!((number(name), number(&of.to_string())), (Some(of), Some(of)));
            assert_eq!(super::name(of), name);
        }
        let odd = ["SCTP", "ipv6-icmp", "0", "255", "256", "", "+6", "tpc"].map(number);
        assert_eq!(odd, [Some(132), Some(58), Some(0), Some(255), None, None, None, None]);
    }
}
