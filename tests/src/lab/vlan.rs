//! How does a host speak with an 802.1Q tag, or with one of 802.1ad before it?
//!
//! By VLAN sub-interfaces where the kernel has 8021q. Where it has not, two small programs at
//! the host's own interface push and pop the tags; on the cable the frames are the same, because
//! `bpf_skb_vlan_push` leaves a tag where a sub-interface would (in the metadata if the
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

/// The tags of a host: a customer tag's VLAN, and that of a service tag before it, if any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tags {
    pub(super) service: Option<u16>,
    pub(super) customer: u16,
}

impl Tags {
    /// Protocol and VLAN of each, the outer one first.
    fn each(self) -> impl DoubleEndedIterator<Item = (u16, u16)> {
        self.service.map(|id| (SERVICE, id)).into_iter().chain([(CUSTOMER, self.customer)])
    }
}

/// Gives `link` these tags; packets are as long as they were without.
pub(super) fn tag(namespace: &Namespace, link: &str, tags: Tags, mtu: &str) -> Result<Vlan> {
    for (_, id) in tags.each() {
        ensure!((1..4095).contains(&id), "{id} is no VLAN id");
    }
    if let Some(interface) = sub_interface(namespace, link, tags, mtu)? {
        return Ok(Vlan::SubInterface(interface));
    }
    let links = namespace
        .in_ns(|| -> Result<_> {
            Ok([
                bpf::attach(&push(tags), link, Attach::TcxEgress)?,
                bpf::attach(&pop(tags), link, Attach::TcxIngress)?,
            ])
        })?
        .context("the kernel has no 8021q, and tags by program (Linux 6.6) did not work either")?;
    Ok(Vlan::Programs { interface: link.to_owned(), _links: links })
}

/// The VLAN device of a VLAN device, if this kernel has such devices.
fn sub_interface(
    namespace: &Namespace,
    link: &str,
    tags: Tags,
    mtu: &str,
) -> Result<Option<String>> {
    let mut on = link.to_owned();
    for (protocol, id) in tags.each() {
        let (name, number) = (format!("{on}.{id}"), id.to_string());
        let protocol = if protocol == SERVICE { "802.1ad" } else { "802.1q" };
        let add = ["ip", "link", "add", "link", &on, "name", &name, "type", "vlan"];
        let added = namespace.run(&[&add[..], &["proto", protocol, "id", &number]].concat())?;
        if !added.status.success() {
            let is_unknown = added.stderr.contains("Unknown device type");
            ensure!(is_unknown, "adding {name}: {}", added.stderr);
            return Ok(None);
        }
        namespace.run(&["ip", "link", "set", &name, "up"])?.ok()?;
        on = name;
    }
    namespace.run(&["ip", "link", "set", &on, "mtu", mtu])?.ok()?;
    Ok(Some(on))
}

/// ETH_P_8021Q and ETH_P_8021AD, IEEE 802.1Q-2022 table 9-1.
const CUSTOMER: u16 = 0x8100;
const SERVICE: u16 = 0x88a8;
/// TCX_DROP, <linux/bpf.h>.
const DROP: i32 = 2;

/// Tags what is sent, the inner tag first; what cannot be tagged is not sent.
fn push(tags: Tags) -> Vec<Instruction> {
    use bpf::*;
    let mut program = vec![mov_register(R6, R1)];
    for (protocol, id) in tags.each().rev() {
        program.extend([
            mov_register(R1, R6),
            mov(R2, i32::from(protocol.to_be())),
            mov(R3, i32::from(id)),
            call(SKB_VLAN_PUSH),
            jump_if_equal(R0, 0, 2),
            mov(R0, DROP),
            exit(),
        ]);
    }
    program.push(exit()); // with the helper's zero, TCX_PASS
    program
}

/// Untags what arrives with these tags; everything else is not for this host.
fn pop(tags: Tags) -> Vec<Instruction> {
    use bpf::*;
    let mut program = vec![mov_register(R6, R1)];
    for (protocol, id) in tags.each() {
        program.extend([
            load_word(R2, R6, SKB_VLAN_PRESENT),
            jump_if_equal(R2, 0, 8),
            load_word(R2, R6, SKB_VLAN_PROTO),
            jump_if_not_equal(R2, i32::from(protocol.to_be()), 6),
            load_word(R2, R6, SKB_VLAN_TCI),
            and(R2, 0xfff),
            jump_if_not_equal(R2, i32::from(id), 3),
            mov_register(R1, R6),
            call(SKB_VLAN_POP),
            jump_if_equal(R0, 0, 2),
            mov(R0, DROP),
            exit(),
        ]);
    }
    program.push(exit()); // with the helper's zero, TCX_PASS
    program
}
