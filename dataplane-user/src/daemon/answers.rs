//! What does the daemon answer?

use std::{collections::BTreeMap, sync::Arc};

use dataplane_common::{
    Stop, limits,
    stage::conntrack::state,
    table::flow::{FlowKey, held},
    tables::Tally,
    wire,
};

use super::{Daemon, InForce, needs};
use crate::{
    address,
    compile::{self, ids::Kind},
    desired, frame,
    load::{self, Hooked, RefusedAt, StopCount, TestFrame},
    message,
    model::{self, AttachmentIx},
    protocol, trace,
    view::{
        Amount, Attachment, AttachmentCounters, Counters, Drop, Fill, Flow, Icmp, NextHop,
        RuleCounters, Session, Share, SharedCounters, Status, Trace, Unconfirmed,
    },
};

/// In the place of a hook.
const WAITING: &str = "waiting";

impl Daemon {
    /// `sekisho status`.
    pub fn status(&self) -> anyhow::Result<Status> {
        let mut attachments: Vec<_> = self
            .in_force
            .site
            .attachments
            .iter()
            .map(|(ix, at)| Attachment {
                interface: at.interface.to_string(),
                vlan: at.vlan,
                service_vlan: at.service_vlan,
                object: self.owner(ix),
                hook: self.hook(at.interface.as_str()).to_owned(),
                waiting_for: self.waiting_for(at.interface.as_str()),
            })
            .collect();
        attachments.sort_by(|a, b| {
            (&a.interface, a.service_vlan, a.vlan).cmp(&(&b.interface, b.service_vlan, b.vlan))
        });
        Ok(Status {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            site_version: self.dataplane.version(),
            config: self.options.config.as_ref().map(|config| config.display().to_string()),
            store: self.options.store.display().to_string(),
            applied: self.in_force.file.name.clone(),
            uptime_s: self.started.elapsed().as_secs(),
            looks: self.looks,
            flows_crowded_out: self.sweeping.crowded_out(),
            attachments,
            next_hops: self.next_hops(),
            tables: self.tables()?,
            shares: self.shares(),
            unconfirmed: self.unconfirmed(),
        })
    }

    fn unconfirmed(&self) -> Vec<Unconfirmed> {
        let told = |(scope, of): (Arc<str>, desired::Unconfirmed)| Unconfirmed {
            scope: scope.to_string(),
            revision: of.revision,
            until: desired::rfc3339(of.until_ms),
        };
        self.wanted.unconfirmed().into_iter().map(told).collect()
    }

    fn shares(&self) -> Vec<Share> {
        let sweeper = self.dataplane.sweeper();
        let of_tenant = sweeper.flow_table().of_tenant;
        let max = self.sweeping.flows_per_tenant();
        let share = |(tenant, number): (&str, u32)| {
            let held = of_tenant.get(number as usize)?.load();
            // A number below zero is none.
            let count = |held: i32| u64::try_from(held).unwrap_or(0);
            Some(Share {
                tenant: tenant.to_owned(),
                used: count(held::all(held)),
                max: max.into(),
                inbound: count(held::inbound(held)),
                inbound_max: held::inbound_max(max).into(),
            })
        };
        let mut shares: Vec<_> =
            self.in_force.compiled.ids.all(Kind::Tenant).filter_map(share).collect();
        shares.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        shares
    }

    fn next_hops(&self) -> Vec<NextHop> {
        let site = &self.in_force.site;
        let uplinks = site
            .uplinks
            .values()
            .flat_map(|uplink| uplink.next_hops.iter().map(|hop| (uplink.attachment, hop)));
        let accesses = site.accesses.values().map(|access| (access.attachment, &access.next_hop));
        let next_hops = uplinks.chain(accesses).map(|(ix, hop)| {
            let at = &site.attachments[ix];
            let link = (at.interface.to_string(), at.vlans(), hop.address);
            let watch = &self.neighbours.watch;
            let heard = watch.mac(&link);
            let [permanent, reachable, incomplete, failed] = NextHop::STATES;
            let state = match hop.mac {
                Some(_) => permanent,
                None if heard.is_some() => reachable,
                None if watch.is_dead(&link) => failed,
                None => incomplete,
            };
            let mac = hop.mac.map(|mac| mac.to_string()).or_else(|| heard.map(address::mac));
            NextHop { object: self.owner(ix), address: hop.address, mac, state: state.to_owned() }
        });
        let mut next_hops: Vec<_> = next_hops.collect();
        next_hops.sort_by(|a, b| (&a.object, a.address).cmp(&(&b.object, b.address)));
        next_hops
    }

    fn tables(&self) -> anyhow::Result<Vec<Fill>> {
        let image = &self.in_force.compiled.image;
        let fill = |table: &str, used: usize, max: u32| Fill {
            table: table.to_owned(),
            used: used as u64,
            max: u64::from(max),
            largest_free: None,
        };
        // Number 0 of what is numbered is nobody's.
        let ids = &self.in_force.compiled.ids;
        let numbered =
            |table: &str, kind: Kind, max: u32| fill(table, ids.all(kind).count(), max - 1);
        let flows = self.dataplane.flows().count();
        let room = self.dataplane.room();
        let heap = Fill {
            largest_free: Some(u64::from(room.largest)),
            ..fill("heap_lines", room.used as usize, room.lines)
        };
        Ok(vec![
            fill("half_flows", flows, self.dataplane.sizes().flow_lines),
            heap,
            fill("datagrams", self.dataplane.datagram_table().live(), limits::DATAGRAMS),
            numbered("tenants", Kind::Tenant, limits::TENANTS_MAX),
            numbered("attachments", Kind::Attachment, limits::ATTACHMENTS_MAX),
            numbered("endpoints", Kind::Endpoint, limits::ENDPOINTS_MAX),
            numbered("zones", Kind::Zone, limits::ZONES_MAX),
            numbered("next_hops", Kind::NextHop, limits::NEXT_HOPS_MAX),
            numbered("policies", Kind::Policy, limits::POLICIES_MAX),
            numbered("meters", Kind::Meter, limits::METERS_MAX),
            fill("rules", image.rules.len(), limits::RULES_MAX),
        ])
    }

    /// `sekisho counters`.
    pub fn counters(&self) -> anyhow::Result<Counters> {
        let ids = &self.in_force.compiled.ids;
        let attachments_max = ids.all(Kind::Attachment).map(|(_, id)| id + 1).max().unwrap_or(0);
        let counted = self.dataplane.counters(attachments_max)?;
        let mut attachments = Vec::new();
        for (ix, at) in self.in_force.site.attachments.iter() {
            let vlans = at.vlans();
            let name = compile::attachment_name(at.interface.as_str(), vlans);
            let id = self.in_force.compiled.ids.number(Kind::Attachment, &name).unwrap_or(0);
            let of = counted.get(id as usize).copied().unwrap_or_default();
            attachments.push(AttachmentCounters {
                object: self.owner(ix),
                interface: at.interface.to_string(),
                vlan: at.vlan,
                service_vlan: at.service_vlan,
                received: amount(of.received),
                sent: amount(of.sent),
                answered: amount(of.answered),
                reported: amount(of.reported),
                heard: amount(of.heard),
                flooded: amount(of.flooded),
                copied: amount(of.copied),
                refused: of.refused.packets,
                parked: amount(of.parked),
                passed: amount(of.passed),
                own: self.neighbours.sender.sent(at.interface.as_str(), vlans),
            });
        }
        let mut shared = Vec::new();
        for RefusedAt { interface, packets, .. } in self.dataplane.refused()? {
            let mut here = attachments.iter_mut().filter(|at| at.interface == interface);
            match (here.next(), here.next()) {
                (Some(only), None) => only.refused += packets,
                (Some(_), Some(_)) => shared.push(SharedCounters { interface, refused: packets }),
                // Of a site before.
                (None, _) => {}
            }
        }
        attachments.sort_by(|a, b| {
            (&a.interface, a.service_vlan, a.vlan).cmp(&(&b.interface, b.service_vlan, b.vlan))
        });
        let rules = self.in_force.compiled.ids.all(Kind::Rule).map(|(name, id)| RuleCounters {
            rule: name.to_owned(),
            amount: amount(self.dataplane.total_of_rule(id)),
        });
        Ok(Counters { attachments, shared, rules: rules.collect() })
    }

    /// `sekisho drops`.
    pub fn drops(&self) -> anyhow::Result<Vec<Drop>> {
        let tenants = self.in_force.compiled.image.tenants.len() as u32;
        let mut stops = self.dataplane.stops(tenants)?;
        // What interfaces did not take is counted beside what programs count.
        let mut refused: BTreeMap<u32, u64> =
            (0..tenants).map(|tenant| (tenant, self.dataplane.refused_of(tenant))).collect();
        for at in self.dataplane.refused()? {
            let ifindex = self.ifindex(&at.interface);
            *refused.entry(self.in_force.compiled.tenant_at(ifindex)).or_default() += at.fresh;
        }
        for (tenant, packets) in refused {
            let of =
                |count: &&mut StopCount| (count.tenant, count.stop) == (tenant, Stop::TxRefused);
            match stops.iter_mut().find(of) {
                Some(count) => count.packets += packets,
                None => stops.push(StopCount { tenant, stop: Stop::TxRefused, packets }),
            }
        }
        let drops = stops.iter().filter(|count| count.packets > 0).map(|count| Drop {
            tenant: self.tenant(count.tenant),
            reason: count.stop.name().to_owned(),
            sentence: count.stop.sentence().trim().to_owned(),
            packets: count.packets,
        });
        Ok(drops.collect())
    }

    /// `sekisho flows`.
    pub fn flows(&self) -> anyhow::Result<Vec<Flow>> {
        let ids = &self.in_force.compiled.ids;
        // 0: none was asked; one that is no more permits nothing, and has no name.
        let rule = |id| ids.has(Kind::Rule, id).then(|| ids.name(Kind::Rule, id).to_owned());
        let flows = self.dataplane.flows().map(|half| Flow {
            tenant: self.tenant(half.tenant),
            zone: ids.name(Kind::Zone, half.key.zone()).to_owned(),
            src: address::ip(half.key.src).to_string(),
            dst: address::ip(half.key.dst).to_string(),
            protocol: protocol::name(half.key.protocol),
            ports: ports(&half.key),
            icmp: icmp(&half.key),
            direction: if half.is_reply { "reply" } else { "original" }.to_owned(),
            state: state::name(half.state).to_owned(),
            denied: half.denied.map(|stop| stop.name().to_owned()),
            amount: Amount { packets: half.packets, bytes: half.bytes },
            // A tick is 2^20 ns.
            idle_s: (u64::from(half.idle_ticks) << 20) / 1_000_000_000,
            egress_rule: rule(half.rule_egress),
            ingress_rule: rule(half.rule_ingress),
        });
        Ok(flows.collect())
    }

    /// `sekisho sessions`.
    pub fn sessions(&self, reveal: bool) -> anyhow::Result<Vec<Session>> {
        let site = &self.in_force.site;
        let sessions = site.sessions.iter().map(|session| {
            let line = &site.lines[session.line];
            Session {
                access: site.accesses[line.access].name.to_string(),
                tenant: site.tenants[line.tenant].name.to_string(),
                number: if reveal { line.number.to_string() } else { line.number.masked() },
                addresses: session.addresses.iter().map(ToString::to_string).collect(),
                state: match line.state {
                    model::LineState::Active => "active",
                    model::LineState::Suspended => "suspended",
                }
                .to_owned(),
                destination: self.destination(line),
            }
        });
        Ok(sessions.collect())
    }

    fn destination(&self, line: &model::Line) -> String {
        match line.destination {
            model::Destination::Router(ix) => {
                format!("router {}", self.in_force.site.routers[ix].name)
            }
            model::Destination::Network { network, .. } => {
                format!("network {}", self.in_force.site.networks[network].name)
            }
            model::Destination::Uplink(ix) => {
                format!("uplink {}", self.in_force.site.uplinks[ix].name)
            }
        }
    }

    /// `sekisho trace`.
    pub fn trace(&mut self, question: &trace::Question) -> anyhow::Result<Trace> {
        let InForce { site: model, compiled: site, .. } = &self.in_force;
        let mut asked = match question {
            trace::Question::Described(described) => trace::frame(model, site, described)?,
            trace::Question::Captured { interface, vlan, service_vlan, frame } => {
                let vlans = vlan.map(|vlan| wire::ethernet::vlans(service_vlan.unwrap_or(0), vlan));
                match trace::captured(model, site, interface, vlans, frame) {
                    Ok(asked) => asked,
                    Err(error @ trace::Error::OwnTag { .. }) => {
                        return Ok(Trace::untraceable(frame::describe(frame), error.to_string()));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let at = self.in_force.attached.iter().find(|at| at.interface.index == asked.at.ifindex);
        let hooked = at.map_or(Hooked::Tcx, |at| at.hooked);
        let packet = frame::describe(&asked.bytes);
        if let (trace::Question::Captured { .. }, Some(at)) = (question, at) {
            trace::first_segment(model, &at.interface.name, at.interface.mtu_bytes, &mut asked);
        }
        let frame = TestFrame::new(hooked, asked.at.ifindex, &asked.bytes);
        let traced = match self.dataplane.trace_run(frame) {
            Ok(traced) => traced,
            // What the kernel does not take says nothing of the frames after it.
            Err(
                error @ (load::Error::FrameShort { .. }
                | load::Error::FrameLong { .. }
                | load::Error::TestRun { .. }),
            ) => return Ok(Trace::untraceable(packet, message::of(&error.into()))),
            Err(error) => return Err(error.into()),
        };
        let rules_of = |half: u32| {
            let cold = self.dataplane.flow_table().cold.get(half as usize)?;
            Some([cold.rule_egress.load(), cold.rule_ingress.load()])
        };
        let mut told = trace::tell(&self.in_force.compiled, packet, &traced.notes, rules_of);
        told.steps.splice(..0, asked.steps);
        Ok(told)
    }

    fn tenant(&self, id: u32) -> String {
        if id == 0 {
            "-".to_owned()
        } else {
            self.in_force.compiled.ids.name(Kind::Tenant, id).to_owned()
        }
    }

    /// The number of an attached interface; 0: it is absent.
    fn ifindex(&self, interface: &str) -> u32 {
        let at = self.in_force.attached.iter().find(|at| at.interface.name == interface);
        at.map_or(0, |at| at.interface.index)
    }

    fn hook(&self, interface: &str) -> &'static str {
        let at = self.in_force.attached.iter().find(|at| at.interface.name == interface);
        at.map_or(WAITING, |at| at.hooked.name())
    }

    /// Why the interface is not attached.
    fn waiting_for(&self, interface: &str) -> Option<String> {
        if self.hook(interface) != WAITING {
            return None;
        }
        let refused = self.in_force.refused.get(interface).cloned();
        Some(refused.unwrap_or_else(|| "there is no such interface".to_owned()))
    }

    /// What is plugged in there.
    fn owner(&self, ix: AttachmentIx) -> String {
        needs::owner(&self.in_force.site, ix)
    }
}

/// The ports of a flow whose protocol has some.
fn ports(key: &FlowKey) -> Option<[u16; 2]> {
    let ports = [key.src_port, key.dst_port].map(u16::from_be_bytes);
    (icmp(key).is_none() && ports != [0; 2]).then_some(ports)
}

/// What a flow of ICMP queries is known by.
fn icmp(key: &FlowKey) -> Option<Icmp> {
    let is_icmp = matches!(key.protocol, wire::protocol::ICMP | wire::protocol::ICMPV6);
    let [kind, code] = key.dst_port;
    is_icmp.then(|| Icmp { kind, code, id: u16::from_be_bytes(key.src_port) })
}

fn amount(tally: Tally) -> Amount {
    Amount { packets: tally.packets, bytes: tally.bytes }
}
