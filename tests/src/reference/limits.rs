//! How much may pass? README, "Limits of ports and routers": buckets that fill with time.
//!
//! Written as buckets of tokens in floating point, and not as the product reckons: what is too
//! near to tell is left open.

use std::collections::HashMap;

use dataplane_user::model::{Destination, Limit, Rate, RouterIx, Site};

use super::{Party, Question};

/// So much asks to pass.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Packets on the wire.
    pub packets: u32,
    /// Their bytes there.
    pub bytes: u32,
}

/// Is there room?
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Room {
    /// There is none.
    None,
    /// It cannot be told.
    Open,
    /// There is.
    Enough,
}

/// Whose limit: a direction of a port, or a router; the tenant and the name.
type Whose = (&'static str, String, String);

/// The buckets of a site's limits, as full as they are.
#[derive(Default, Debug)]
pub struct Buckets {
    of: HashMap<Whose, (Limit, [Option<Bucket>; 2])>,
    now_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_ns: f64,
    size: f64,
    tokens: f64,
    at_ns: u64,
    /// Nothing came back since it was full: then its tokens are whole numbers.
    is_whole: bool,
    /// Else this cannot be told apart.
    near: f64,
}

impl Bucket {
    fn new(rate: Rate, per_token: f64, near: f64, now_ns: u64) -> Self {
        let size = rate.burst as f64;
        let per_ns = rate.per_second as f64 / per_token / 1e9;
        // As if it had been idle for ever.
        Self { per_ns, size, tokens: 2.0 * size + 100.0, at_ns: now_ns, is_whole: true, near }
    }

    /// The bucket as it is now, and by how much it would have overflown.
    fn now(&self, now_ns: u64) -> (Self, f64) {
        let tokens = self.tokens + (now_ns - self.at_ns) as f64 * self.per_ns;
        let over = tokens - self.size;
        let is_whole = over > self.near || self.is_whole && now_ns == self.at_ns;
        (Self { tokens: tokens.min(self.size), at_ns: now_ns, is_whole, ..*self }, over)
    }

    /// One that is full lets anything pass, however large.
    fn room(&self, now_ns: u64, amount: f64) -> Room {
        let (now, over) = self.now(now_ns);
        let margin = (now.tokens - amount).max(over);
        match margin {
            _ if !now.is_whole && margin.abs() <= self.near => Room::Open,
            _ if margin < 0.0 => Room::None,
            _ => Room::Enough,
        }
    }

    fn take(&mut self, now_ns: u64, amount: f64) {
        *self = self.now(now_ns).0;
        self.tokens -= amount;
    }
}

impl Buckets {
    /// Time goes by.
    pub fn pass(&mut self, ns: u64) {
        self.now_ns += ns;
    }

    /// This site is in force: a limit that it shares with the one before goes on, every other
    /// is full.
    pub fn follow(&mut self, site: &Site) {
        let mut limits = HashMap::new();
        for port in site.ports.values() {
            let tenant = site.tenants[port.tenant].name.to_string();
            for (direction, limit) in
                [("egress", port.limits.egress), ("ingress", port.limits.ingress)]
            {
                limits.insert((direction, tenant.clone(), port.name.to_string()), limit);
            }
        }
        for router in site.routers.values() {
            let tenant = site.tenants[router.tenant].name.to_string();
            limits.insert(("router", tenant, router.name.to_string()), router.limits);
        }
        let mut of = HashMap::new();
        for (whose, limit) in limits {
            let Some(limit) = limit else { continue };
            let before = self.of.remove(&whose).filter(|(before, _)| *before == limit);
            let new = [
                limit.bits.map(|rate| Bucket::new(rate, 8.0, 2.0, self.now_ns)),
                limit.packets.map(|rate| Bucket::new(rate, 1.0, 0.001, self.now_ns)),
            ];
            of.insert(whose, before.unwrap_or((limit, new)));
        }
        self.of = of;
    }

    /// Has everybody room whom it concerns that this packet goes to that receiver?
    #[must_use]
    pub fn room(&self, site: &Site, question: &Question, to: Party, load: Load) -> Room {
        let of = concerned(site, question, to);
        let buckets = of.iter().filter_map(|whose| self.of.get(whose));
        let rooms = buckets.flat_map(|(_, [bits, packets])| {
            let bits = bits.map(|of| of.room(self.now_ns, load.bytes.into()));
            let packets = packets.map(|of| of.room(self.now_ns, load.packets.into()));
            bits.into_iter().chain(packets)
        });
        rooms.min().unwrap_or(Room::Enough)
    }

    /// Does any limit concern it?
    #[must_use]
    pub fn is_limited(&self, site: &Site, question: &Question, to: Party) -> bool {
        concerned(site, question, to).iter().any(|whose| self.of.contains_key(whose))
    }

    /// It went there.
    pub fn take(&mut self, site: &Site, question: &Question, to: Party, load: Load) {
        for whose in concerned(site, question, to) {
            let Some((_, [bits, packets])) = self.of.get_mut(&whose) else { continue };
            if let Some(bits) = bits {
                bits.take(self.now_ns, load.bytes.into());
            }
            if let Some(packets) = packets {
                packets.take(self.now_ns, load.packets.into());
            }
        }
    }
}

/// Whose limits a packet concerns: the sender's, the receiver's, and that of the router between
/// them, if it passes one.
fn concerned(site: &Site, question: &Question, to: Party) -> Vec<Whose> {
    let mut all = Vec::new();
    for (direction, party) in [("egress", question.from), ("ingress", to)] {
        if let Party::Port(ix) = party {
            let port = &site.ports[ix];
            let tenant = site.tenants[port.tenant].name.to_string();
            all.push((direction, tenant, port.name.to_string()));
        }
    }
    if question.station.is_none()
        && let Some(ix) = router_of(site, question.from).or_else(|| router_of(site, to))
    {
        let router = &site.routers[ix];
        let tenant = site.tenants[router.tenant].name.to_string();
        all.push(("router", tenant, router.name.to_string()));
    }
    all
}

fn router_of(site: &Site, party: Party) -> Option<RouterIx> {
    match party {
        Party::Port(ix) => site.networks[site.ports[ix].network].router,
        Party::Line(ix) => match site.lines[ix].destination {
            Destination::Router(router) | Destination::Network { router, .. } => Some(router),
            Destination::Uplink(_) => None,
        },
        Party::Uplink(_) => None,
    }
}
