//! The site of most stories: two tenants with the same addresses and MACs, a router each.
//!
//! ```text
//!   a 10.0.0.10 ─┐ inside        public
//!   c 10.0.0.30 ─┴── 10.0.0.0/24 ── r ── 10.1.0.0/24 ── b 10.1.0.10      (blue)
//!   a 10.0.0.10 ──── 10.0.0.0/24 ── r ── 10.1.0.0/24 ── b 10.1.0.10      (red)
//! ```
//! In IPv6 the prefixes are `fd00::/64` and `fd00:1::/64`. `a` and `c` may send anything and
//! receive nothing but answers; `b` is a server.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use sekisho_tests::build::ip;
use sekisho_tests::lab::HostBuilder;
use sekisho_tests::{Capture, Host, Lab};

/// The MAC of both tenants' routers.
pub const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const A: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
pub const B: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];
pub const C: [u8; 6] = [2, 0, 0, 0, 0, 0x0c];

pub const A_ADDRESSES: [&str; 2] = ["10.0.0.10", "fd00::10"];
pub const B_ADDRESSES: [&str; 2] = ["10.1.0.10", "fd00:1::10"];
pub const C_ADDRESSES: [&str; 2] = ["10.0.0.30", "fd00::30"];

/// Blue's part of the site, then red's. Rules have a line each, so that a story can take one out.
const SITE: &str = r#"
version: 1
tenants:
  - name: blue
    networks:
      - {name: inside, subnets: [{cidr: 10.0.0.0/24}, {cidr: "fd00::/64"}]}
      - {name: public, subnets: [{cidr: 10.1.0.0/24}, {cidr: "fd00:1::/64"}]}
    routers:
      - {name: r, mac: 02:00:00:00:00:01, interfaces: [{network: inside}, {network: public}]}
    ports:
      - {name: a, network: inside, interface: blue-a, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10, "fd00::10"], security_groups: [client]}
      - {name: c, network: inside, interface: blue-c, mac: 02:00:00:00:00:0c, fixed_ips: [10.0.0.30, "fd00::30"], security_groups: [client]}
      - {name: b, network: public, interface: blue-b, mac: 02:00:00:00:00:0b, fixed_ips: [10.1.0.10, "fd00:1::10"], security_groups: [server]}
    security_groups:
      - name: client
        rules:
          - {id: out-v4, direction: egress}
          - {id: out-v6, direction: egress, ethertype: IPv6}
      - name: server
        rules:
          - {id: blue-tcp-v4, direction: ingress, protocol: tcp, port_range_min: 7000, port_range_max: 7009}
          - {id: blue-tcp-v6, direction: ingress, ethertype: IPv6, protocol: tcp, port_range_min: 7000, port_range_max: 7009}
          - {id: blue-udp-v4, direction: ingress, protocol: udp, port_range_min: 7000, port_range_max: 7009}
          - {id: blue-udp-v6, direction: ingress, ethertype: IPv6, protocol: udp, port_range_min: 7000, port_range_max: 7009}
          - {id: blue-echo-v4, direction: ingress, protocol: icmp, icmp_type: 8}
          - {id: blue-echo-v6, direction: ingress, ethertype: IPv6, protocol: ipv6-icmp, icmp_type: 128}

  - name: red
    networks:
      - {name: inside, subnets: [{cidr: 10.0.0.0/24}, {cidr: "fd00::/64"}]}
      - {name: public, subnets: [{cidr: 10.1.0.0/24}, {cidr: "fd00:1::/64"}]}
    routers:
      - {name: r, mac: 02:00:00:00:00:01, interfaces: [{network: inside}, {network: public}]}
    ports:
      - {name: a, network: inside, interface: red-a, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10, "fd00::10"], security_groups: [client]}
      - {name: b, network: public, interface: red-b, mac: 02:00:00:00:00:0b, fixed_ips: [10.1.0.10, "fd00:1::10"], security_groups: [server]}
    security_groups:
      - name: client
        rules:
          - {id: out-v4, direction: egress}
          - {id: out-v6, direction: egress, ethertype: IPv6}
      - name: server
        rules:
          - {id: red-tcp-v4, direction: ingress, protocol: tcp, port_range_min: 7000, port_range_max: 7009}
          - {id: red-tcp-v6, direction: ingress, ethertype: IPv6, protocol: tcp, port_range_min: 7000, port_range_max: 7009}
          - {id: red-udp-v4, direction: ingress, protocol: udp, port_range_min: 7000, port_range_max: 7009}
          - {id: red-udp-v6, direction: ingress, ethertype: IPv6, protocol: udp, port_range_min: 7000, port_range_max: 7009}
          - {id: red-echo-v4, direction: ingress, protocol: icmp, icmp_type: 8}
          - {id: red-echo-v6, direction: ingress, ethertype: IPv6, protocol: ipv6-icmp, icmp_type: 128}
"#;

/// A site file that stories edit.
#[derive(Clone, Debug)]
pub struct Site(pub String);

impl Site {
    pub fn town() -> Self {
        Self(SITE.to_owned())
    }

    /// With every line left out that contains one of these words.
    pub fn without(&self, words: &[&str]) -> Self {
        let mut text = String::new();
        for line in self.0.lines().filter(|line| !words.iter().any(|word| line.contains(word))) {
            text.push_str(line);
            text.push('\n');
        }
        assert_ne!(text.lines().count(), self.0.lines().count(), "no line has {words:?}");
        Self(text)
    }

    /// With another text in place of one that is there.
    pub fn with(&self, from: &str, to: &str) -> Self {
        assert!(self.0.contains(from), "the site has no {from:?}");
        Self(self.0.replace(from, to))
    }

    /// With more lines after the one that contains a word.
    pub fn after(&self, word: &str, more: &str) -> Self {
        let line = self.0.lines().find(|line| line.contains(word));
        let line = line.unwrap_or_else(|| panic!("the site has no line with {word:?}"));
        self.with(line, &format!("{line}\n{more}"))
    }
}

/// The hosts of the town.
pub struct Town {
    pub blue_a: Host,
    pub blue_b: Host,
    pub blue_c: Host,
    pub red_a: Host,
    pub red_b: Host,
}

impl Town {
    pub fn build(lab: &Lab) -> Result<Self> {
        Ok(Self {
            blue_a: host(lab, "blue-a", A, A_ADDRESSES)?,
            blue_b: host(lab, "blue-b", B, B_ADDRESSES)?,
            blue_c: host(lab, "blue-c", C, C_ADDRESSES)?,
            red_a: host(lab, "red-a", A, A_ADDRESSES)?,
            red_b: host(lab, "red-b", B, B_ADDRESSES)?,
        })
    }
}

/// Blue's `b` once more, after its interface went.
pub fn again_b(lab: &Lab) -> Result<Host> {
    named(lab.host("blue-b2").interface("blue-b"), B, B_ADDRESSES)
}

/// A tenant's host in /24 and /64 networks, with the first address of each as its gateway.
pub fn host(lab: &Lab, name: &str, mac: [u8; 6], addresses: [&str; 2]) -> Result<Host> {
    named(lab.host(name), mac, addresses)
}

fn named(host: HostBuilder<'_>, mac: [u8; 6], [v4, v6]: [&str; 2]) -> Result<Host> {
    host.mac(&text(mac))
        .address(&format!("{v4}/24"))
        .address(&format!("{v6}/64"))
        .gateway(gateway(v4))
        .gateway(gateway(v6))
        .build()
}

/// The first address of the network.
fn gateway(of: &str) -> IpAddr {
    match ip(of) {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            [a, b, c, 1].into()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            [a, b, c, d, 0, 0, 0, 1].into()
        }
    }
}

pub fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// What arrived was well-formed, and something did arrive.
pub fn judged(capture: Capture) -> Result<()> {
    let faults = capture.stop()?.judge()?;
    ensure!(faults.is_empty(), "arrived damaged: {faults:?}");
    Ok(())
}

/// Nothing that has these bytes in it arrives.
pub fn contains(frame: &[u8], marker: &[u8]) -> bool {
    frame.windows(marker.len()).any(|window| window == marker)
}

/// The MAC that a host sends with.
pub fn mac(host: &Host) -> Result<[u8; 6]> {
    mac_from(host.mac())
}

/// That of our side of its cable.
pub fn mac_of(lab: &Lab, interface: &str) -> Result<[u8; 6]> {
    let text = lab.dut().run(&["ip", "-j", "link", "show", "dev", interface])?.ok()?;
    let shown: serde_json::Value = serde_json::from_str(&text)?;
    mac_from(shown.pointer("/0/address").and_then(|mac| mac.as_str()).context("no MAC")?)
}

fn mac_from(text: &str) -> Result<[u8; 6]> {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    bytes.collect::<Result<Vec<_>, _>>()?.try_into().ok().context("no MAC")
}
