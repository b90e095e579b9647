//! A site in force on a host, and what the reference expects of it.

use std::collections::BTreeSet;
use std::time::Instant;

use dataplane_common::{Stop, addr::Mac as Bytes, work::job};
use dataplane_user::{
    claims::Claims,
    compile::{self, Compiled, Facts, Interface, attachment_name, ids::Kind},
    model::{AttachmentIx, Mac, Owner, Site},
};

use crate::{
    check,
    drive::Passed,
    reference::{Announcement, Branch, Claim, Flood, Party, Question, Reference, Traffic},
    world::Sent,
};

mod frames;
mod questions;
mod shouts;

/// A compiled site.
pub struct Trial {
    /// What it was made from.
    pub site: Site,
    /// Its records.
    pub compiled: Compiled,
    /// What ports announced, as the reference knows it.
    pub claims: Vec<Claim>,
    facts: Facts,
}

/// Interfaces have numbers from here on.
pub const IFINDEX_FIRST: u32 = 11;
/// And are so many at most.
pub const INTERFACES: u32 = 60;
/// Half-flows that a tenant may have.
const FLOWS_PER_TENANT: u32 = 64;

impl Trial {
    /// This site, after another version of it.
    #[must_use]
    pub fn new(site: Site, previous: Option<&Self>) -> Self {
        let mut facts = previous.map_or_else(Facts::default, |trial| trial.facts.clone());
        facts.flows_per_tenant = FLOWS_PER_TENANT;
        plug(&mut facts, &site);
        assert!(facts.interfaces.len() < INTERFACES as usize, "too many interfaces");
        let nothing = Compiled::default();
        let before = previous.map_or(&nothing, |trial| &trial.compiled);
        if !facts.claims.is_empty() {
            facts.claims = Claims::new(facts.claims).held_in(&site);
        }
        let compiled = compile::compile(&site, &facts, before);
        let claims = previous.map_or_else(Vec::new, |trial| Claim::holding(&trial.claims, &site));
        Self { site, compiled, claims, facts }
    }

    /// The same site after an announcement, as the daemon puts it in force.
    #[must_use]
    pub fn announced(&self, said: &Announcement) -> Self {
        let mut claims = Claims::new(self.facts.claims.clone());
        claims.follow(&self.site);
        let at = self.site.ports[said.port].attachment;
        claims.announced(&self.site, at, said.address, Bytes(said.mac.octets()));
        claims.due(Instant::now());
        let facts = Facts { claims: claims.held().clone(), ..self.facts.clone() };
        let compiled = compile::compile(&self.site, &facts, &self.compiled);
        let claims = self.reference().after(said);
        Self { site: self.site.clone(), compiled, claims, facts }
    }

    /// What the site means.
    #[must_use]
    pub fn reference(&self) -> Reference<'_> {
        Reference::new(&self.site, &self.claims)
    }

    /// The number of an interface of the site.
    #[must_use]
    pub fn ifindex(&self, interface: &str) -> u32 {
        self.facts.interfaces[interface].ifindex
    }

    fn own(&self, stated: Option<Mac>, interface: Interface) -> [u8; 6] {
        stated.map_or(interface.mac.0, Mac::octets)
    }

    fn attachment(&self, party: Party) -> AttachmentIx {
        match party {
            Party::Port(ix) => self.site.ports[ix].attachment,
            Party::Line(ix) => self.site.accesses[self.site.lines[ix].access].attachment,
            Party::Uplink(ix) => self.site.uplinks[ix].attachment,
        }
    }

    /// Compares what became of the packet with what may; answers the branch that it took.
    pub fn judge<'b>(
        &self,
        branches: &'b [Branch],
        question: &Question,
        passed: &Passed,
        told: Option<Stop>,
    ) -> Result<&'b Branch, String> {
        let stop = passed.stop.or(told);
        if let Some(stop) = stop {
            let fits = branches.iter().find(|branch| branch.stops.contains(&stop));
            return fits.ok_or_else(|| format!("stopped: {}", stop.name()));
        }
        if passed.work.job == job::PASS {
            let fits = branches.iter().find(|branch| branch.is_hosts && branch.stops.is_empty());
            return fits.ok_or_else(|| "passed up".to_owned());
        }
        if passed.work.job != 0 {
            let is_echo = matches!(question.traffic, Traffic::Query { kind: 8 | 128, .. });
            let only = BTreeSet::from([Stop::ToRouter]);
            let fits = branches.iter().find(|b| b.is_ours && b.stops == only && is_echo);
            return fits.ok_or_else(|| "answered".to_owned());
        }
        let frame = passed.packet.laid_out();
        let output = passed.work.output;
        let fits = branches.iter().find(|branch| {
            let Some((party, mac)) = branch.receiver.filter(|_| branch.stops.is_empty()) else {
                return false;
            };
            // Within a network the frame keeps its MACs, which the reference has compared.
            let mac = mac.map(Mac::octets);
            self.output(party) == Some(output) && mac.is_some_and(|mac| frame[..6] == mac)
        });
        fits.ok_or_else(|| {
            let name = self.compiled.ids.name(Kind::Attachment, output);
            format!("delivered to {name}, MAC {:02x?}", &frame[..6])
        })
    }

    /// Compares the copies of a frame to many with those that may be made.
    pub fn judge_flood(
        &self,
        flood: &Flood,
        sent: &Sent,
        passed: &Passed,
        told: Option<Stop>,
    ) -> Result<(), String> {
        if let Some(stop) = passed.stop.or(told) {
            let fits = flood.stops.contains(&stop);
            return if fits { Ok(()) } else { Err(format!("stopped: {}", stop.name())) };
        }
        let is_heard = passed.work.job == job::HEAR && flood.copies.is_empty();
        if !passed.is_flooded && !is_heard {
            return Err("neither copied nor stopped".to_owned());
        }
        let place = |at: &AttachmentIx| {
            let of = &self.site.attachments[*at];
            (self.facts.interfaces[of.interface.as_str()].ifindex, of.vlans())
        };
        let expected: Vec<_> = flood.copies.iter().map(place).collect();
        let copies = passed.packet.copies().iter();
        let copies: Vec<_> = copies.map(|(to, copy)| ((*to, check::vlans(copy)), copy)).collect();
        let is_changed = |copy: &[u8]| check::untagged(copy) != check::untagged(&sent.frame);
        if copies.iter().any(|(_, copy)| is_changed(copy)) {
            return Err("a copy is changed".to_owned());
        }
        let mut places: Vec<_> = copies.iter().map(|(place, _)| *place).collect();
        let mut wanted = expected;
        places.sort_unstable();
        wanted.sort_unstable();
        if !flood.stops.is_empty() || places != wanted {
            return Err(format!("copied to {places:?}, wanted {wanted:?}"));
        }
        Ok(())
    }

    fn output(&self, party: Party) -> Option<u32> {
        let at = &self.site.attachments[self.attachment(party)];
        let name = attachment_name(at.interface.as_str(), at.vlans());
        self.compiled.ids.number(Kind::Attachment, &name)
    }

    /// The same packet on another version of the site, if its sender is still there with its
    /// MAC.
    #[must_use]
    pub fn again(&self, question: &Question, before: &Self) -> Option<Question> {
        let from = self.same(question.from, before)?;
        if let Party::Port(ix) = from {
            // A MAC that is the port's no more is nobody's, or anybody's.
            let port = &self.site.ports[ix];
            let pairs = port.address_pairs.iter().map(|pair| pair.mac);
            pairs.chain([port.mac]).find(|mac| Some(*mac) == question.mac)?;
        }
        if let Party::Line(ix) = from {
            let owner = self.reference().session(self.site.lines[ix].access, question.src)?;
            return Some(Question { from: Party::Line(owner), ..*question });
        }
        Some(Question { from, ..*question })
    }

    /// The same end on another version of the site.
    #[must_use]
    pub fn same(&self, party: Party, before: &Self) -> Option<Party> {
        match party {
            Party::Port(ix) => {
                let port = &before.site.ports[ix];
                let tenant = &before.site.tenants[port.tenant].name;
                let mut ports = self.site.ports.iter();
                let found = ports.find(|(_, other)| {
                    other.name == port.name && self.site.tenants[other.tenant].name == *tenant
                });
                found.map(|(ix, _)| Party::Port(ix))
            }
            Party::Line(ix) => {
                let number = before.site.lines[ix].number;
                let mut lines = self.site.lines.iter();
                let found = lines.find(|(_, other)| other.number == number).map(|(ix, _)| ix);
                let has_session = |ix: &_| self.site.sessions.iter().any(|of| of.line == *ix);
                found.filter(has_session).map(Party::Line)
            }
            Party::Uplink(ix) => {
                let name = &before.site.uplinks[ix].name;
                let mut uplinks = self.site.uplinks.iter();
                uplinks.find(|(_, other)| other.name == *name).map(|(ix, _)| Party::Uplink(ix))
            }
        }
    }
}

/// Every interface of the site is there.
pub fn plug(facts: &mut Facts, site: &Site) {
    for at in site.attachments.values() {
        let next = IFINDEX_FIRST + facts.interfaces.len() as u32;
        let is_nic = !matches!(at.owner, Owner::Network(_));
        let [_, _, a, b] = next.to_be_bytes();
        facts.interfaces.entry(at.interface.as_str().to_owned()).or_insert(Interface {
            ifindex: next,
            mac: Bytes([2, 0, 0, 0xee, a, b]),
            output_kind: if is_nic { 3 } else { 1 },
            mtu_bytes: 1500,
        });
    }
}
