//! Why was a packet not forwarded?

macro_rules! stops {
    ($($(#[doc = $sentence:literal])+ $variant:ident = $name:literal,)+) => {
        /// The named reason for which a packet was not forwarded. Every packet that
        /// does not leave has exactly one, each is counted per tenant, and each is
        /// raised in one place.
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum Stop { $($(#[doc = $sentence])+ $variant,)+ }

        impl Stop {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The reason as `sekisho drops` and the metrics name it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The reason as a sentence.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => concat!($($sentence),+)),+ }
            }
        }
    };
}

stops! {
    // attach
    /// No port, uplink or access is configured for this interface and VLAN.
    NoAttachment = "no_attachment",
    /// The frame has other tags than one customer tag, or a service tag and then one, each
    /// with a VLAN.
    TagUnsupported = "tag_unsupported",
    /// The frame is addressed to another station of the link.
    NotForUs = "not_for_us",
    /// The source MAC belongs to no port of the attachment.
    UnknownStation = "unknown_station",
    // parse
    /// The frame is shorter than its headers say, or than an Ethernet header.
    Truncated = "truncated",
    /// The frame is neither IPv4, IPv6 nor ARP.
    EthertypeUnsupported = "ethertype_unsupported",
    /// The IP header contradicts itself or its checksum is wrong.
    BadHeader = "bad_header",
    /// The IPv4 packet names its own route (RFC 7126 section 4).
    SourceRoute = "source_route",
    /// The chain of IPv6 extension headers is too long or holds one that is refused.
    ExtensionRefused = "extension_refused",
    /// A fragment that is empty, too long, or not the last and no multiple of eight bytes.
    FragmentBad = "fragment_bad",
    /// A first fragment too short to hold the transport header (RFC 1858, RFC 7112).
    FragmentTiny = "fragment_tiny",
    /// The TCP, UDP or ICMP header is cut short or contradicts itself, or a neighbour message's
    /// checksum is wrong.
    BadTransport = "bad_transport",
    // admit
    /// The source address can be nobody's: loopback, multicast, reserved, the destination's.
    MartianSource = "martian_source",
    /// The source address is not one of the port's.
    SpoofedAddress = "spoofed_address",
    /// An ARP packet claims an address or MAC that is not the port's.
    SpoofedArp = "spoofed_arp",
    /// A neighbour message claims an address that is not the port's, or passed a router.
    SpoofedNeighbour = "spoofed_neighbour",
    /// An ARP packet that asks for nothing that we answer.
    ArpUnanswered = "arp_unanswered",
    /// A neighbour message that asks for nothing that we answer.
    NeighbourUnanswered = "neighbour_unanswered",
    /// A router advertisement or redirect from somebody who is no router of ours.
    RouterMessage = "router_message",
    /// Broadcast or multicast that no other port of its network takes, or that comes from
    /// elsewhere than a port at tcx.
    Multicast = "multicast",
    /// The tenant's ports, or those on a NIC's link, say more often than they may that they have
    /// an address now.
    ClaimRate = "claim_rate",
    /// The tenant sends more broadcast and multicast than may be copied, or than rules may be
    /// looked at for.
    FloodRate = "flood_rate",
    /// A DHCP server's message from a port that is not marked as one.
    DhcpServer = "dhcp_server",
    /// No live session has the source address on this access.
    NoSession = "no_session",
    /// The line is suspended.
    LineSuspended = "line_suspended",
    // fragment
    /// A fragment came, and the first one of its datagram did not come in time or was stopped.
    FragmentEarly = "fragment_early",
    /// The fragment came twice, or after all of its datagram.
    FragmentDuplicate = "fragment_duplicate",
    /// Fragments overlap or end twice, which is an attack: no more of the datagram (RFC 5722).
    FragmentOverlap = "fragment_overlap",
    /// The tenant has as many datagrams of which pieces are missing as it may have.
    FragmentQuota = "fragment_quota",
    /// Both buckets of the table of datagrams are full.
    FragmentTableFull = "fragment_table_full",
    // flow
    /// The packet does not fit the state of its connection.
    ConnectionState = "connection_state",
    /// A reset outside the receiver's window.
    ResetOutsideWindow = "reset_outside_window",
    /// An ICMP reply or error that belongs to no known flow.
    IcmpUnrelated = "icmp_unrelated",
    /// The answer to a flow comes from somebody to whom it was not sent.
    FlowOwner = "flow_owner",
    /// Both buckets of the flow table are full.
    FlowTableFull = "flow_table_full",
    /// The tenant has as many flows as it may have.
    FlowQuota = "flow_quota",
    // route
    /// The router has no route to the destination.
    NoRoute = "no_route",
    /// The route to the destination is a black hole.
    Blackhole = "blackhole",
    /// Nobody has the destination address in its network.
    UnknownDestination = "unknown_destination",
    /// The frame is addressed to a MAC that does not have the destination address.
    WrongStation = "wrong_station",
    /// No next hop of the route can be reached.
    NextHopUnresolved = "next_hop_unresolved",
    /// A link-local, loopback, reserved or broadcast destination is not forwarded.
    DestinationUnroutable = "destination_unroutable",
    /// It is for the router itself, which answers nothing but echo requests.
    ToRouter = "to_router",
    /// The last hop: the TTL or hop limit is used up.
    TtlExceeded = "ttl_exceeded",
    /// The packet is larger than the next link; its sender has to fragment it.
    TooBig = "too_big",
    /// The network is closed to uplinks.
    MecOnly = "mec_only",
    /// The provider keeps the destination out of tenants' reach.
    ProtectedDestination = "protected_destination",
    /// The source or destination is not exported to this uplink.
    NotExported = "not_exported",
    /// The way back to the source does not lead through this uplink (RFC 3704).
    ReversePath = "reverse_path",
    /// The line is not attached to this destination.
    LineDestination = "line_destination",
    // filter
    /// No rule of the sender's security groups permits it.
    EgressDenied = "egress_denied",
    /// No rule of the receiver's security groups permits it.
    IngressDenied = "ingress_denied",
    /// From one line to another without a rule that names lines.
    LineToLine = "line_to_line",
    /// It is for the host, and nothing that is listed as the host's permits it.
    HostDenied = "host_denied",
    // limit
    /// The sender's port, its router or the receiver's port has carried as much as its limit lets
    /// pass now.
    OverLimit = "over_limit",
    // emit
    /// The output interface is absent.
    OutputAbsent = "output_absent",
    /// The kernel refused to change the packet's size or tag.
    ResizeRefused = "resize_refused",
    /// The XDP program's decision did not reach the delivering program.
    DeliveryMissing = "delivery_missing",
    /// A stage of the program is not loaded.
    StageMissing = "stage_missing",
    /// The kernel did not take the packet after it was sent: the receiver's ring or queue is full,
    /// its end is down, or it has no room for a packet of that size.
    TxRefused = "tx_refused",
    /// A table lacks a record that another one promises.
    TableMissing = "table_missing",
}

/// How many reasons there are.
pub const STOPS: usize = Stop::ALL.len();

/// Entries of the stop counters that each tenant has: a power of two, so that a
/// program can index them without a division.
pub const STOPS_STRIDE: u32 = 64;
/// What stands for none.
const NO_STOP: u32 = STOPS_STRIDE - 1;
const _: () = assert!(STOPS <= NO_STOP as usize);

/// Every number that a masked byte can have.
static BY_NUMBER: [Stop; STOPS_STRIDE as usize] = {
    let mut stops = [Stop::TableMissing; STOPS_STRIDE as usize];
    let mut number = 0;
    while number < STOPS {
        stops[number] = Stop::ALL[number];
        number += 1;
    }
    stops
};

impl Stop {
    /// An outcome as a number.
    #[must_use]
    #[inline(always)]
    pub fn number(outcome: Result<(), Self>) -> u32 {
        outcome.map_or_else(|stop| stop as u32, |()| NO_STOP)
    }

    /// The outcome with this [number](Self::number).
    #[inline(always)]
    pub fn outcome(number: u32) -> Result<(), Self> {
        if number == NO_STOP { Ok(()) } else { Err(Self::from_number(number)) }
    }

    /// The reason with this number; a number that is none's is a defect of ours.
    #[must_use]
    #[inline(always)]
    pub fn from_number(number: u32) -> Self {
        BY_NUMBER[(number & (STOPS_STRIDE - 1)) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_words_and_sentences_end() {
        let mut names: Vec<_> = Stop::ALL.iter().map(|stop| stop.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STOPS);
        for (number, stop) in Stop::ALL.iter().enumerate() {
            assert_eq!(Stop::from_number(number as u32), *stop);
            assert!(stop.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            assert!(stop.sentence().trim().ends_with('.'), "{}", stop.sentence());
        }
        assert_eq!(Stop::from_number(STOPS as u32), Stop::TableMissing);
    }
}
