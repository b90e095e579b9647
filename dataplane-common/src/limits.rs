//! How much fits into the tables? Userland refuses a site that exceeds a limit
//! before it changes anything; the memory is reckoned in the test below.

/// Lines of the heap: 64 MiB.
pub const HEAP_LINES: u32 = 1 << 20;

/// Attachments, their outputs and counters.
pub const ATTACHMENTS_MAX: u32 = 1 << 14;
/// Ports, lines with sessions, uplinks.
pub const ENDPOINTS_MAX: u32 = 1 << 22;
/// Networks, routers, uplinks, accesses.
pub const ZONES_MAX: u32 = 1 << 20;
/// Routes of all zones together.
pub const ROUTES_MAX: u32 = 1 << 23;
/// Next hops.
pub const NEXT_HOPS_MAX: u32 = 1 << 23;
// In flows their numbers have 24 bits.
const _: () = assert!(ZONES_MAX < 1 << 24 && NEXT_HOPS_MAX < 1 << 24);
/// Tenants, the provider included.
pub const TENANTS_MAX: u32 = 1024;
/// Policies: distinct combinations of security groups.
pub const POLICIES_MAX: u32 = 1 << 20;
/// Rules of all policies together.
pub const RULES_MAX: u32 = 1 << 18;
/// Meters: what ports send, what ports receive, routers; some of them rest for a version.
pub const METERS_MAX: u32 = 1 << 16;
/// Half-flows unless the operator says otherwise: 128k flows.
pub const FLOW_LINES: u32 = 1 << 18;
/// Half-flows of a tenant unless the operator says otherwise.
pub const FLOWS_PER_TENANT: u32 = 1 << 16;

/// Datagrams of which fragments are under way, a power of two.
pub const DATAGRAMS: u32 = 4096;
/// Those of a tenant that are not complete; as many more may come in by uplinks.
pub const DATAGRAMS_PER_TENANT: u32 = DATAGRAMS / 8;
/// Fragments of a tenant that wait for their first one, in the ring or with the daemon; as
/// many more may come in by uplinks.
pub const PARKED_PER_TENANT: u32 = 128;
/// Those that wait with the daemon: the shares of 32 tenants. Of more, whoever has most
/// waits least.
pub const PARKED_MAX: usize = 4096;
/// Those that the daemon has not yet read, bytes (2120 a piece): a power of two and a
/// multiple of pages. What comes in by uplinks, for whomever, has half of it at most. No one
/// tenant fills it, nor do strangers; four tenants together could, while the daemon does not
/// read.
pub const PARKED_BYTES: u32 = 1 << 20;

/// Notes of datagrams of which the daemon has just sent fragments in again, a power of two:
/// more than it sends in at a time.
pub const AGAIN: u32 = 512;

/// What was heard and the daemon has not yet read, bytes (40 a piece): a power of two
/// and a multiple of pages, and more than all tenants and a thousand links may tell at once.
pub const HEARD_BYTES: u32 = 1 << 23;
const _: () = assert!(HEARD_BYTES / 40 > TENANTS_MAX * CLAIMS_BURST + 1000 * HEARD_BURST);
/// MACs a second that the daemon hears from one NIC's link: its next hops answer once a second.
pub const HEARD_PER_SECOND: u32 = 100;
/// Such MACs at once.
pub const HEARD_BURST: u32 = 64;
/// Addresses a second of which a tenant's ports may tell the daemon that they have them now.
pub const CLAIMS_PER_SECOND: u32 = 10;
/// Such addresses at once.
pub const CLAIMS_BURST: u32 = 100;

/// Ports of a network in which broadcast and multicast are forwarded.
pub const FLOOD_PORTS_OF_NETWORK: u32 = 1024;
/// Copies of a tenant's broadcast and multicast frames a second; a frame counts as one for
/// each port of its network, whether that gets it or not, and for the rules that are looked at.
pub const COPIES_PER_SECOND: u32 = 10_000;
/// Copies at once, and what a frame may cost at most: more than a network has ports.
pub const COPIES_BURST: u32 = 2048;
const _: () = assert!(COPIES_BURST > FLOOD_PORTS_OF_NETWORK);
/// So many rules count as one copy, but each that asks an address group counts as one by itself:
/// the longest prefix of many that are alike takes nearly as long as a copy.
pub const RULES_PER_COPY: u32 = 16;

/// ICMP errors a second that are made for a tenant.
pub const REPORTS_PER_SECOND: u32 = 100;
/// ICMP errors that may be made at once.
pub const REPORTS_BURST: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{datagram, flow, heap, meter};

    #[test]
    fn memory_of_the_arrays() {
        assert_eq!(heap::LINE_BYTES * HEAP_LINES as usize, 64 << 20);
        let flows =
            size_of::<flow::FlowLine>() + size_of::<flow::FlowCold>() + size_of::<flow::FlowMore>();
        assert_eq!(flows * FLOW_LINES as usize, 40 << 20);
        assert_eq!(size_of::<meter::Meter>() * METERS_MAX as usize, 4 << 20);
        assert!(size_of::<datagram::Datagram>() * (DATAGRAMS as usize) < 9 << 20);
        let parked = size_of::<datagram::Parked>() + datagram::PARKED_BYTES_MAX as usize;
        assert!(parked * PARKED_MAX < 9 << 20);
        // The ring holds what three tenants may park, and what strangers leave of it is
        // more than one may.
        let pieces = PARKED_BYTES / (parked as u32 + 8);
        assert!(3 * PARKED_PER_TENANT < pieces && PARKED_PER_TENANT < pieces / 2);
    }
}
