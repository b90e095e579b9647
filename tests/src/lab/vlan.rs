//! How does a host speak with an 802.1Q tag?
//!
//! By a VLAN sub-interface where the kernel has 8021q. Where it has not, two small programs at
//! the host's own interface push and pop the tag; on the cable the frames are the same, because
//! `bpf_skb_vlan_push` leaves the tag where a sub-interface would (in the metadata if the
//! interface has `txvlan` on, in the frame if not).

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};

use super::Namespace;
use crate::sys::bpf::{self, Attach, Instruction};

/// What makes a host's frames tagged, for as long as it lives.
#[derive(Debug)]
pub(super) enum Vlan {
    SubInterface(String),
    Programs { interface: String, _links: [OwnedFd; 2] },
}

impl Vlan {
    /// The interface that has the host's addresses.
    pub(super) fn interface(&self) -> &str {
        match self {
            Self::SubInterface(interface) | Self::Programs { interface, .. } => interface,
        }
    }
}

/// Gives `link` the tag `id`.
pub(super) fn tag(namespace: &Namespace, link: &str, id: u16) -> Result<Vlan> {
    ensure!((1..4095).contains(&id), "{id} is no VLAN id");
    let (name, number) = (format!("{link}.{id}"), id.to_string());
    let add = ["ip", "link", "add", "link", link, "name", &name, "type", "vlan", "id", &number];
    let added = namespace.run(&add)?;
    if added.status.success() {
        namespace.run(&["ip", "link", "set", &name, "up"])?.ok()?;
        return Ok(Vlan::SubInterface(name));
    }
    ensure!(added.stderr.contains("Unknown device type"), "adding {name}: {}", added.stderr);
    let links = namespace
        .in_ns(|| -> Result<_> {
            Ok([
                bpf::attach(&push(id), link, Attach::TcxEgress)?,
                bpf::attach(&pop(id), link, Attach::TcxIngress)?,
            ])
        })?
        .context("the kernel has no 8021q, and tags by program (Linux 6.6) did not work either")?;
    Ok(Vlan::Programs { interface: link.to_owned(), _links: links })
}

/// ETH_P_8021Q, IEEE 802.1Q-2022 table 9-1.
const TPID: u16 = 0x8100;
/// TCX_DROP, <linux/bpf.h>.
const DROP: i32 = 2;

/// Tags what is sent; what cannot be tagged is not sent.
fn push(id: u16) -> [Instruction; 7] {
    use bpf::*;
    [
        mov(R2, i32::from(TPID.to_be())),
        mov(R3, i32::from(id)),
        call(SKB_VLAN_PUSH),
        jump_if_equal(R0, 0, 2),
        mov(R0, DROP),
        exit(),
        exit(), // with the helper's zero, TCX_PASS
    ]
}

/// Untags what arrives with this tag; everything else is not for this host.
fn pop(id: u16) -> [Instruction; 10] {
    use bpf::*;
    [
        load_word(R2, R1, SKB_VLAN_PRESENT),
        jump_if_equal(R2, 0, 5),
        load_word(R2, R1, SKB_VLAN_TCI),
        and(R2, 0xfff),
        jump_if_not_equal(R2, i32::from(id), 2),
        call(SKB_VLAN_POP),
        jump_if_equal(R0, 0, 2),
        mov(R0, DROP),
        exit(),
        exit(), // with the helper's zero, TCX_PASS
    ]
}
