//! How is each kind of word written?

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use schemars::{Schema, json_schema};

use super::record::{Scalar, nearest};
use crate::model::{Direction, Ethertype, Hook, Imsi, Interface, LineState, Mac, MacError, Name};

/// Free text.
#[derive(Debug, Clone)]
pub struct Text(pub String);

/// A country's telephone code.
#[derive(Debug, Clone, Copy)]
pub struct CountryCode(pub u16);

/// A telephone number as it was written: only the site's country code tells
/// which number it is.
#[derive(Debug, Clone)]
pub struct NumberText(pub String);

/// One number, or the first and the last of a range, as they were written.
#[derive(Debug, Clone)]
pub struct NumbersText {
    /// The number or the first one.
    pub from: String,
    /// The last one.
    pub to: Option<String>,
}

/// An address that a machine can have.
#[derive(Debug, Clone, Copy)]
pub struct Host(pub IpAddr);

/// A prefix without host bits.
#[derive(Debug, Clone, Copy)]
pub struct Prefix(pub IpNetwork);

/// A machine's address and the length of its link's prefix.
#[derive(Debug, Clone, Copy)]
pub struct Cidr(pub IpNetwork);

/// An address or a prefix; host bits are masked, as Neutron does.
#[derive(Debug, Clone, Copy)]
pub struct Block(pub IpNetwork);

/// An IP protocol, as a rule names it.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    /// `None`: any.
    pub number: Option<u8>,
    /// Written by a name that only IPv6 has.
    pub ipv6_name: bool,
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy)]
pub struct Ordinal<const MIN: u16, const MAX: u16>(pub u16);

/// A whole number from `MIN` to `MAX`, which may be large.
#[derive(Debug, Clone, Copy)]
pub struct Count<const MIN: u64, const MAX: u64>(pub u64);

/// Protocol names that Neutron knows.
const PROTOCOLS: &[(&str, u8)] = &[
    ("ah", 51),
    ("dccp", 33),
    ("egp", 8),
    ("esp", 50),
    ("gre", 47),
    ("hopopt", 0),
    ("icmp", 1),
    ("icmpv6", 58),
    ("igmp", 2),
    ("ipip", 4),
    ("ipv6-encap", 41),
    ("ipv6-frag", 44),
    ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ipv6-route", 43),
    ("ospf", 89),
    ("pgm", 113),
    ("rsvp", 46),
    ("sctp", 132),
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("vrrp", 112),
];

fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    // `parse` alone would take "+5", and 010, which is 8 to YAML 1.1.
    let good = text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    good.then(|| text.parse().ok()).flatten()
}

fn pattern(pattern: &str) -> Schema {
    json_schema!({ "type": "string", "pattern": pattern })
}

/// A word may stand without quotes where YAML calls it a number or `true`; we read the word.
fn word_schema(limits: Schema) -> Schema {
    let mut schema = limits;
    schema.insert("type".into(), serde_json::json!(["string", "number", "boolean"]));
    schema
}

/// An `ipv4` format alone would hide that IPv6 is as good.
fn address_schema() -> Schema {
    json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+$" })
}

fn network_schema() -> Schema {
    json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$" })
}

/// A telephone number may stand without quotes, where YAML calls it a number.
fn number_schema() -> Schema {
    json_schema!({ "type": ["string", "number"] })
}

impl Scalar for Text {
    const WHAT: &'static str = "text of at most 255 characters";

    fn parse(text: &str) -> Result<Self, String> {
        if text.chars().nth(255).is_some() { Err(String::new()) } else { Ok(Text(text.into())) }
    }

    fn schema() -> Schema {
        word_schema(json_schema!({ "maxLength": 255 }))
    }
}

impl Scalar for Name {
    const WHAT: &'static str = "a name";

    fn parse(text: &str) -> Result<Self, String> {
        Name::new(text).ok_or_else(|| {
            "1 to 63 of a-z, 0-9, `-`, `_`, `.`, beginning with a letter or digit".into()
        })
    }

    fn schema() -> Schema {
        word_schema(pattern("^[a-z0-9][a-z0-9_.-]{0,62}$"))
    }
}

impl Scalar for Interface {
    const WHAT: &'static str = "an interface name";

    fn parse(text: &str) -> Result<Self, String> {
        if text == "lo" {
            return Err("it is the host's own loopback".into());
        }
        Interface::new(text)
            .ok_or_else(|| "1 to 15 visible ASCII characters without `/`, `:`, `%`".into())
    }

    fn schema() -> Schema {
        word_schema(json_schema!({ "minLength": 1, "maxLength": 15 }))
    }
}

impl Scalar for Mac {
    const WHAT: &'static str = "a station's MAC address";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: MacError| error.to_string())
    }

    fn schema() -> Schema {
        pattern("^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$")
    }
}

impl Scalar for bool {
    const WHAT: &'static str = "true or false";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            _ => Err(String::new()),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["boolean", "string"],
            "pattern": "^(true|True|TRUE|false|False|FALSE)$" })
    }
}

impl<const MIN: u16, const MAX: u16> Scalar for Ordinal<MIN, MAX> {
    const WHAT: &'static str = "a number in range";

    fn parse(text: &str) -> Result<Self, String> {
        match digits(text) {
            Some(value) if (MIN..=MAX).contains(&value) => Ok(Ordinal(value)),
            _ if MIN == MAX => Err(format!("write {MIN}")),
            _ => Err(format!("write a whole number from {MIN} to {MAX}")),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": MIN, "maximum": MAX,
            "pattern": "^(0|[1-9][0-9]{0,4})$" })
    }
}

impl<const MIN: u64, const MAX: u64> Scalar for Count<MIN, MAX> {
    const WHAT: &'static str = "a number in range";

    fn parse(text: &str) -> Result<Self, String> {
        match digits(text) {
            Some(value) if (MIN..=MAX).contains(&value) => Ok(Count(value)),
            _ => Err(format!("write a whole number from {MIN} to {MAX}")),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": MIN, "maximum": MAX,
            "pattern": "^[1-9][0-9]{0,12}$" })
    }
}

impl Scalar for CountryCode {
    const WHAT: &'static str = "a country's telephone code, as 81";

    fn parse(text: &str) -> Result<Self, String> {
        let code = text.strip_prefix('+').unwrap_or(text);
        match digits(code) {
            Some(value @ 1..=999) if !code.starts_with('0') => Ok(CountryCode(value)),
            _ => Err(String::new()),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": 1, "maximum": 999,
            "pattern": "^\\+?[1-9][0-9]{0,2}$" })
    }
}

impl Scalar for NumberText {
    const WHAT: &'static str = "a telephone number";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(NumberText(text.into()))
    }

    fn schema() -> Schema {
        number_schema()
    }
}

impl Scalar for NumbersText {
    const WHAT: &'static str = "a telephone number, a range A..B, or a map of from, to";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text.split_once("..") {
            Some((from, to)) => NumbersText { from: from.into(), to: Some(to.into()) },
            None => NumbersText { from: text.into(), to: None },
        })
    }

    fn schema() -> Schema {
        number_schema()
    }
}

impl Scalar for Imsi {
    const WHAT: &'static str = "an IMSI of 14 or 15 digits";

    fn parse(text: &str) -> Result<Self, String> {
        Imsi::new(text).ok_or_else(String::new)
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"], "pattern": "^[0-9]{14,15}$" })
    }
}

/// An address that has no second spelling as a family of its own.
fn address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| String::new())?;
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("write the IPv4 address {} itself", address.to_canonical()))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(address),
    }
}

/// An address and a length; the length of a lone address is its whole.
fn cidr(text: &str) -> Result<(IpNetwork, bool), String> {
    let (head, length) = match text.split_once('/') {
        Some((head, length)) => (head, Some(length)),
        None => (text, None),
    };
    let address = address(head)?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let bits = match length {
        None => whole,
        Some(length) => digits(length)
            .filter(|bits| *bits <= whole)
            .ok_or_else(|| format!("the length must be from 0 to {whole}"))?,
    };
    let network = IpNetwork::new(address, bits).map_err(|error| error.to_string())?;
    Ok((network, length.is_some()))
}

/// The prefix itself, host bits gone.
fn masked(network: IpNetwork) -> IpNetwork {
    // The length is already known to fit the family.
    IpNetwork::new(network.network(), network.prefix()).unwrap_or(network)
}

fn host(address: IpAddr) -> Result<IpAddr, String> {
    let what = if address.is_multicast() {
        "it is a multicast address"
    } else if address.is_loopback() {
        "it is a loopback address"
    } else if address.is_unspecified() {
        "it is the unspecified address"
    } else if address == IpAddr::from([255; 4]) {
        "it is the broadcast address"
    } else if crate::address::addr(address).is_martian() {
        "it is a reserved address"
    } else {
        return Ok(address);
    };
    Err(what.into())
}

impl Scalar for Host {
    const WHAT: &'static str = "a machine's IPv4 or IPv6 address";

    fn parse(text: &str) -> Result<Self, String> {
        host(address(text)?).map(Host)
    }

    fn schema() -> Schema {
        address_schema()
    }
}

impl Scalar for Prefix {
    const WHAT: &'static str = "an IPv4 or IPv6 prefix";

    fn parse(text: &str) -> Result<Self, String> {
        let (network, _) = cidr(text)?;
        let prefix = masked(network);
        if network.ip() == prefix.ip() {
            Ok(Prefix(prefix))
        } else {
            Err(format!("host bits are set; did you mean {prefix}?"))
        }
    }

    fn schema() -> Schema {
        network_schema()
    }
}

impl Scalar for Cidr {
    const WHAT: &'static str = "an address with its prefix length, as 192.0.2.2/24";

    fn parse(text: &str) -> Result<Self, String> {
        let (network, with_length) = cidr(text)?;
        host(network.ip())?;
        if with_length { Ok(Cidr(network)) } else { Err("the length is missing".into()) }
    }

    fn schema() -> Schema {
        pattern("^[0-9A-Fa-f:.]+/[0-9]{1,3}$")
    }
}

impl Scalar for Block {
    const WHAT: &'static str = "an IPv4 or IPv6 address or prefix";

    fn parse(text: &str) -> Result<Self, String> {
        cidr(text).map(|(network, _)| Block(masked(network)))
    }

    fn schema() -> Schema {
        network_schema()
    }
}

impl Scalar for Protocol {
    const WHAT: &'static str = "an IP protocol";

    fn parse(text: &str) -> Result<Self, String> {
        let name = text.to_ascii_lowercase();
        if name == "any" {
            return Ok(Protocol { number: None, ipv6_name: false });
        }
        if let Some(number) = digits(&name) {
            return Ok(Protocol { number: Some(number), ipv6_name: false });
        }
        Protocol::named(&name).ok_or_else(|| match Protocol::nearest(&name) {
            Some(meant) => format!("did you mean {meant}?"),
            None => {
                let names: Vec<_> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
                format!("write any, 0 to 255, or one of {}", names.join(", "))
            }
        })
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"], "minimum": 0, "maximum": 255 })
    }
}

impl Protocol {
    fn named(name: &str) -> Option<Self> {
        let (_, number) = PROTOCOLS.iter().find(|(known, _)| *known == name)?;
        Some(Protocol { number: Some(*number), ipv6_name: name.contains("v6") })
    }

    fn nearest(name: &str) -> Option<&'static str> {
        nearest(name, PROTOCOLS.iter().map(|(name, _)| *name))
    }

    /// The protocol that a word is probably a misspelling of.
    pub fn meant(word: &str) -> Option<Self> {
        Self::nearest(&word.to_ascii_lowercase()).and_then(Self::named)
    }
}

/// A value that is one of a few words.
macro_rules! words {
    ($Type:ty, $what:literal, $fold:ident, $pattern:literal, $($word:literal => $value:expr),*) => {
        impl Scalar for $Type {
            const WHAT: &'static str = $what;

            fn parse(text: &str) -> Result<Self, String> {
                match text.$fold().as_str() {
                    $($word => Ok($value),)*
                    _ => Err(String::new()),
                }
            }

            fn schema() -> Schema {
                pattern($pattern)
            }
        }
    };
}

words!(Hook, "auto, tcx or xdp", to_owned, "^(auto|tcx|xdp)$",
    "auto" => Hook::Auto, "tcx" => Hook::Tcx, "xdp" => Hook::Xdp);
words!(LineState, "active or suspended", to_owned, "^(active|suspended)$",
    "active" => LineState::Active, "suspended" => LineState::Suspended);
words!(Direction, "ingress or egress", to_owned, "^(ingress|egress)$",
    "ingress" => Direction::Ingress, "egress" => Direction::Egress);
words!(Ethertype, "IPv4 or IPv6", to_ascii_lowercase, "^[Ii][Pp][Vv][46]$",
    "ipv4" => Ethertype::Ipv4, "ipv6" => Ethertype::Ipv6);
