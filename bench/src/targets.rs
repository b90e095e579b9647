//! What must be reached? Every threshold stands here and nowhere else.
//!
//! Most are ratios of two figures of one run: absolute times are the reference machine's (2 vCPU
//! AMD EPYC, nested virtualisation).

use Bound::{AtLeast, AtMost};

use crate::results::{self, Row, Run};

/// A target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its number, and what it is of if there are several with it.
    pub id: &'static str,
    /// In words.
    pub what: &'static str,
    /// What has to be reached, what would be better, and which way that is.
    pub bound: Bound,
    /// What it is made of.
    pub of: Of,
}

/// What has to be reached, and what would be better.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// No more than that.
    AtMost(f64, f64),
    /// No less.
    AtLeast(f64, f64),
}

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// A figure by itself.
    One(Pick),
    /// The first divided by the second.
    Ratio(Pick, Pick),
    /// The first less the second.
    Net(Pick, Pick),
}

/// Which row: bench, device, case, then flows, rules, routes, of which 0 is any.
#[derive(Clone, Copy, Debug)]
pub struct Pick(&'static str, &'static str, &'static str, [u32; 3]);

/// What became of a target.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// The figure, what it was made of, and its unit; a ratio has none.
    Measured(f64, Vec<f64>, String),
    /// Why there is none.
    Missing(String),
}

impl Bound {
    /// Is it reached, and is it as good as it should be?
    #[must_use]
    pub const fn met(self, figure: f64) -> [bool; 2] {
        match self {
            Self::AtMost(must, aim) => [figure <= must, figure <= aim],
            Self::AtLeast(must, aim) => [figure >= must, figure >= aim],
        }
    }
}

impl Target {
    /// What the benchmarks say.
    #[must_use]
    pub fn outcome(&self, results: &[(Run, Vec<Row>)]) -> Outcome {
        let made = match self.of {
            Of::One(pick) => {
                pick.find(results).map(|(figure, unit)| (figure, vec![figure], unit.to_owned()))
            }
            Of::Ratio(of, by) => of.find(results).and_then(|(of, _)| {
                let (by, _) = by.find(results)?;
                Ok((of / by, vec![of, by], String::new()))
            }),
            Of::Net(of, less) => of.find(results).and_then(|(of, unit)| {
                let (less, _) = less.find(results)?;
                Ok((of - less, vec![of, less], unit.to_owned()))
            }),
        };
        match made {
            Ok((figure, parts, unit)) => Outcome::Measured(figure, parts, unit),
            Err(why) => Outcome::Missing(why),
        }
    }
}

impl Pick {
    fn find(self, results: &[(Run, Vec<Row>)]) -> Result<(f64, &str), String> {
        let Self(bench, device, case, wanted) = self;
        let Some((_, rows)) = results.iter().find(|(run, _)| run.bench == bench) else {
            return Err(format!("no run of {bench}, which `{}` makes", results::command(bench)));
        };
        let is_it = |row: &&Row| {
            let has = [row.flows, row.rules, row.routes];
            let fits = |(wanted, has)| wanted == 0 || wanted == has;
            row.device == device && row.case == case && wanted.into_iter().zip(has).all(fits)
        };
        let row = rows.iter().find(is_it).ok_or_else(|| format!("{bench}: no {device}: {case}"))?;
        match (row.figure, &row.missing) {
            (Some([median, ..]), _) => Ok((median, &row.unit)),
            (None, Some(why)) => Err(why.clone()),
            (None, None) => Err("not measured".to_owned()),
        }
    }
}

const fn path(device: &'static str, case: &'static str, of: [u32; 3]) -> Pick {
    Pick("path", device, case, of)
}

const fn ports(device: &'static str, case: &'static str) -> Pick {
    Pick("ports", device, case, [0; 3])
}

const fn ours(bench: &'static str, case: &'static str, of: [u32; 3]) -> Pick {
    Pick(bench, SEKISHO, case, of)
}

const SEKISHO: &str = "sekisho";
const REDIRECT: &str = "bare redirect";
/// The same where tcx is needed, as a tenant's port is an skb's.
const REDIRECT_PEER: &str = "bare redirect_peer";
const NFT: &str = "nft intervals";
const SOME: u32 = 1 << 14;
const MILLION: u32 = 1 << 20;

const fn established(what: &'static str, case: &'static str) -> Target {
    Target {
        id: "P1",
        what,
        bound: AtMost(1.35, 1.2),
        of: Of::Ratio(path(SEKISHO, case, [SOME, 0, 0]), path(REDIRECT, case, [SOME, 0, 0])),
    }
}

const fn at_port(what: &'static str, case: &'static str, bare: &'static str) -> Target {
    Target {
        id: "P1",
        what,
        bound: AtMost(1.35, 1.2),
        of: Of::Ratio(ports(SEKISHO, case), ports(bare, case)),
    }
}

const fn of_million(what: &'static str, case: &'static str) -> Target {
    Target {
        id: "P2",
        what,
        bound: AtMost(1.95, 1.7),
        of: Of::Ratio(path(SEKISHO, case, [MILLION, 0, 0]), path(REDIRECT, case, [MILLION, 0, 0])),
    }
}

const fn first(what: &'static str, rules: u32, must: f64, aim: f64) -> Target {
    let of = [0, rules, 0];
    Target {
        id: "P5",
        what,
        bound: AtMost(must, aim),
        of: Of::Net(
            path(SEKISHO, "new, port to port, IPv4, by rules", of),
            path(SEKISHO, "known, port to port, IPv4, by rules", of),
        ),
    }
}

const fn one(id: &'static str, what: &'static str, bound: Bound, pick: Pick) -> Target {
    Target { id, what, bound, of: Of::One(pick) }
}

/// All of them.
pub const ALL: &[Target] = &[
    established("known, access to uplink, IPv4 ÷ bare redirect", "known, access to uplink, IPv4"),
    established("known, access to uplink, IPv6 ÷ bare redirect", "known, access to uplink, IPv6"),
    established(
        "known, access to uplink, TCP both ways ÷ bare redirect",
        "known, access to uplink, TCP both ways",
    ),
    at_port(
        "known, access to port, IPv4 ÷ bare redirect_peer",
        "known, access to port, IPv4",
        REDIRECT_PEER,
    ),
    at_port(
        "known, access to port, IPv6 ÷ bare redirect_peer",
        "known, access to port, IPv6",
        REDIRECT_PEER,
    ),
    at_port(
        "known, access to port, TCP both ways ÷ bare redirect_peer",
        "known, access to port, TCP both ways",
        REDIRECT_PEER,
    ),
    at_port(
        "known, access to port, IPv4 ÷ bare redirect (at XDP)",
        "known, access to port, IPv4",
        REDIRECT,
    ),
    at_port(
        "known, port to port, IPv4 ÷ bare redirect_peer",
        "known, port to port, IPv4",
        REDIRECT_PEER,
    ),
    at_port(
        "known, port to port, IPv6 ÷ bare redirect_peer",
        "known, port to port, IPv6",
        REDIRECT_PEER,
    ),
    at_port(
        "known, port to port, TCP both ways ÷ bare redirect_peer",
        "known, port to port, TCP both ways",
        REDIRECT_PEER,
    ),
    at_port(
        "known, port to port, IPv4 ÷ bare redirect (at XDP)",
        "known, port to port, IPv4",
        REDIRECT,
    ),
    of_million("the same with 1M flows, access to uplink, IPv4", "known, access to uplink, IPv4"),
    of_million("the same with 1M flows, access to uplink, IPv6", "known, access to uplink, IPv6"),
    of_million(
        "the same with 1M flows, access to uplink, TCP both ways",
        "known, access to uplink, TCP both ways",
    ),
    Target {
        id: "P3",
        what: "known, 16k flows: nftables ÷ sekisho",
        bound: AtLeast(5.0, 6.0),
        of: Of::Ratio(
            path(NFT, "known, access to uplink, IPv4", [SOME, 0, 0]),
            path(SEKISHO, "known, access to uplink, IPv4", [SOME, 0, 0]),
        ),
    },
    Target {
        id: "P4",
        what: "known: 100k rules ÷ 10 rules",
        bound: AtMost(1.05, 1.0),
        of: Of::Ratio(
            path(SEKISHO, "known, access to uplink, IPv4, by rules", [0, 100_000, 0]),
            path(SEKISHO, "known, access to uplink, IPv4, by rules", [0, 10, 0]),
        ),
    },
    first("first packet, net of a known one: 10 rules", 10, 250.0, 180.0),
    first("first packet, net of a known one: 10k rules", 10_000, 350.0, 260.0),
    first("first packet, net of a known one: 100k rules", 100_000, 450.0, 380.0),
    one(
        "P6",
        "classifier, 10k rules, 4k flows",
        AtMost(75.0, 50.0),
        ours("classify", "usual rules, 4k flows", [0, 10_000, 0]),
    ),
    one(
        "P6",
        "classifier, 10k rules, 1M flows",
        AtMost(120.0, 90.0),
        ours("classify", "usual rules, 1M flows", [0, 10_000, 0]),
    ),
    one(
        "P6",
        "classifier, 100k rules, 4k flows",
        AtMost(100.0, 66.0),
        ours("classify", "usual rules, 4k flows", [0, 100_000, 0]),
    ),
    one(
        "P6",
        "classifier, 100k rules, 1M flows",
        AtMost(300.0, 220.0),
        ours("classify", "usual rules, 1M flows", [0, 100_000, 0]),
    ),
    one(
        "P6",
        "classifier, 1k policies of 100 rules, 4k flows",
        AtMost(120.0, 80.0),
        ours("classify", "1k policies of usual rules, 4k flows", [0, 100, 0]),
    ),
    one(
        "P6",
        "classifier, 1k policies of 100 rules, 1M flows",
        AtMost(350.0, 250.0),
        ours("classify", "1k policies of usual rules, 1M flows", [0, 100, 0]),
    ),
    Target {
        id: "P7",
        what: "new flows at 10k rules: nftables intervals ÷ sekisho",
        bound: AtLeast(5.0, 7.0),
        of: Of::Ratio(
            path(NFT, "new, access to uplink, IPv4, by rules", [0, 10_000, 0]),
            path(SEKISHO, "new, access to uplink, IPv4, by rules", [0, 10_000, 0]),
        ),
    },
    one(
        "P8",
        "routes, 1M IPv4, 4k destinations",
        AtMost(60.0, 37.0),
        ours("lookup", "IPv4, 4k destinations", [0, 0, 1_000_000]),
    ),
    one(
        "P8",
        "routes, 1M IPv4, 1M destinations",
        AtMost(180.0, 100.0),
        ours("lookup", "IPv4, 1M destinations", [0, 0, 1_000_000]),
    ),
    one(
        "P8",
        "routes, 200k IPv6, 1M destinations",
        AtMost(350.0, 200.0),
        ours("lookup", "IPv6, 1M destinations", [0, 0, 200_000]),
    ),
    one(
        "P8",
        "routes, 1M IPv4, load (ms)",
        AtMost(1000.0, 1000.0),
        ours("lookup", "IPv4, load", [0, 0, 1_000_000]),
    ),
    one(
        "P11",
        "compile and publish 100k rules, 10k ports, 1k tenants (ms)",
        AtMost(2000.0, 700.0),
        ours("compile", "compile and publish", [0, 100_000, 0]),
    ),
    one(
        "P11",
        "cold start, default sizes (ms)",
        AtMost(5000.0, 3000.0),
        ours("compile", "cold start", [0; 3]),
    ),
    one(
        "P12",
        "registered lines, all tables full at once",
        AtLeast(1e6, 1e7),
        ours("capacity", "lines", [0; 3]),
    ),
    one(
        "P12",
        "live sessions, all tables full at once",
        AtLeast(1e6, 4e6),
        ours("capacity", "sessions", [0; 3]),
    ),
    one(
        "P12",
        "flows, all tables full at once",
        AtLeast(4e6, 16e6),
        ours("capacity", "flows", [0; 3]),
    ),
    one(
        "P13",
        "memory of a flow (bytes)",
        AtMost(192.0, 160.0),
        ours("capacity", "bytes of a flow", [0; 3]),
    ),
    one(
        "P13",
        "memory of a rule (bytes)",
        AtMost(64.0, 32.0),
        ours("classify", "usual rules, memory of a rule", [0, 100_000, 0]),
    ),
    one(
        "P13",
        "memory of a line with a session (bytes)",
        AtMost(192.0, 128.0),
        ours("capacity", "bytes of a line", [0; 3]),
    ),
    bulk(
        "default offloads: sekisho ÷ nftables",
        "bulk TCP, port to port, default offloads",
        1.0,
        1.1,
    ),
    bulk(
        "1500-byte segments: sekisho ÷ nftables",
        "bulk TCP, port to port, 1500-byte segments",
        1.3,
        1.5,
    ),
    Target {
        id: "P16",
        what: "small packets, port to port: nftables ÷ sekisho",
        bound: AtLeast(1.8, 2.2),
        of: Of::Ratio(
            ports(NFT, "known, port to port, IPv4"),
            ports(SEKISHO, "known, port to port, IPv4"),
        ),
    },
    Target {
        id: "P17",
        what: "both directions: one CPU ÷ two CPUs",
        bound: AtLeast(1.7, 1.9),
        of: Of::Ratio(
            ports(SEKISHO, "known, access to uplink, IPv4 both ways, one CPU"),
            ports(SEKISHO, "known, access to uplink, IPv4 both ways, two CPUs"),
        ),
    },
    one(
        "P18",
        "re-admission of a flow after an unrelated change, net",
        AtMost(40.0, 15.0),
        ours("program", "re-admission, net of a known packet", [0; 3]),
    ),
    Target {
        id: "P19",
        what: "XDP NIC to port, 16k flows: nftables ÷ sekisho",
        bound: AtLeast(2.2, 2.6),
        of: Of::Ratio(
            ports(NFT, "known, access to port, IPv4"),
            ports(SEKISHO, "known, access to port, IPv4"),
        ),
    },
];

const fn bulk(what: &'static str, case: &'static str, must: f64, aim: f64) -> Target {
    let of = Of::Ratio(ports(SEKISHO, case), ports(NFT, case));
    Target { id: "P15", what, bound: AtLeast(must, aim), of }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_made_of_the_rows_of_its_case() {
        let run = Run {
            bench: "path".into(),
            machine: String::new(),
            kernel: String::new(),
            commit: String::new(),
            cut_short: None,
        };
        let case = "known, access to uplink, IPv4";
        let row =
            |device: &str, flows, ns| Row::ns(device, case).of(flows, 10, 1).samples(vec![ns]);
        let rows =
            vec![row(SEKISHO, 1, 1.0), row(SEKISHO, SOME, 390.0), row(REDIRECT, SOME, 300.0)];
        let results = [(run, rows)];
        let target = &ALL[0];
        let outcome = target.outcome(&results);
        assert_eq!(outcome, Outcome::Measured(1.3, vec![390.0, 300.0], String::new()));
        assert_eq!(target.bound.met(1.3), [true, false]);
        assert!(matches!(ALL[1].outcome(&results), Outcome::Missing(_)));
        assert_eq!(AtLeast(5.0, 6.0).met(4.9), [false, false]);
    }
}
