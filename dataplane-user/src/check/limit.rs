//! How much is too much? Each limit by name, so that a refusal can give it.

/// A limit of a list.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The name in messages and in the manual.
    pub name: &'static str,
    /// What is counted.
    pub what: &'static str,
    /// How many are allowed.
    pub max: usize,
}

macro_rules! limits {
    ($($NAME:ident = $max:literal, $what:literal;)*) => {
        $(pub(super) const $NAME: Limit =
            Limit { name: stringify!($NAME), what: $what, max: $max };)*
        /// Every limit of the site file.
        pub const ALL: &[Limit] = &[$($NAME),*];
    };
}

limits! {
    TENANTS = 1023, "tenants";
    SUBNETS_PER_NETWORK = 16, "subnets of a network";
    FIXED_IPS_PER_PORT = 64, "fixed addresses of a port";
    ADDRESS_PAIRS_PER_PORT = 10, "allowed address pairs of a port";
    GROUPS_PER_PORT = 16, "security groups of a port or line";
    GROUPS_PER_TENANT = 64, "security groups of a tenant";
    RULES_PER_POLICY = 100_000, "rules of a port's or line's security groups";
    PREFIXES_PER_ADDRESS_GROUP = 10_000, "addresses of an address group";
    INTERFACES_PER_ROUTER = 256, "interfaces of a router";
    ROUTES_PER_ROUTER = 1_048_576, "routes of a router";
    NEXT_HOPS = 16, "next hops";
    ADDRESSES_PER_LINK = 16, "own addresses of a link";
    EXPORTS_PER_UPLINK = 4096, "exports of an uplink";
    PROTECTED_PER_UPLINK = 1024, "protected prefixes of an uplink";
    POOLS_PER_ACCESS = 64, "pools of an access";
    LINES_PER_LINE_GROUP = 100_000, "lines of a line group";
    ENTRIES_PER_HOST = 16, "addresses of the host on a link";
    SOURCES_PER_HOST_ENTRY = 32, "sources of an address of the host";
    ADDRESSES_PER_LINE = 8, "addresses of a line";
}
