//! What is refused, and with which words: one change to an example each, and
//! every finding that follows from it, as `line:column path: message`.

use super::{MEC, TWO, WEB};

/// The example, what is replaced, by what, and what is found.
type Row = (&'static str, &'static str, &'static str, &'static [&'static str]);

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    (WEB, "version: 1\n", "version: 2\n", &[
        "3:10 version: `2` is not a number in range: write 1",
    ]),
    (WEB, "version: 1\n", "\n", &[
        "5:1 : missing field `version`",
    ]),
    (WEB, "version: 1\n", "version: 1\nversion: 1\n", &[
        "4:1 version: `version` is given twice",
    ]),
    (WEB, "version: 1\n", "version: 1\nlimits: {}\n", &[
        "4:1 limits: `limits` is not supported yet",
    ]),
    (WEB, "interface: tap-db-1", "interface: tap-db-1\n        tunnel: true", &[
        "39:9 tenants.shop.ports.db-1.tunnel: `tunnel` is not supported yet",
    ]),
    (WEB, "    routers:\n", "        limits: {}\n    routers:\n", &[
        "43:17 tenants.shop.ports.db-1.limits: neither direction has a limit",
    ]),
    (WEB, "    routers:\n", "        limits: 5\n    routers:\n", &[
        "43:17 tenants.shop.ports.db-1.limits: `5` is not a map of egress, ingress",
    ]),
    (WEB, "    routers:\n", "        limits: {egress: {burst_bytes: 5}, ingress: {bits_per_second: 999}}\n    routers:\n", &[
        "43:26 tenants.shop.ports.db-1.limits.egress: a limit without a rate",
        "43:71 tenants.shop.ports.db-1.limits.ingress.bits_per_second: `999` is not a number in range: write a whole number from 1000 to 400000000000",
    ]),
    (WEB, "    routers:\n", "        limits: {egress: {packets_per_second: 1, burst_packets: 86401, burst_bytes: 9}}\n    routers:\n", &[
        "43:65 tenants.shop.ports.db-1.limits.egress.burst_packets: 86401 takes more than a day at this rate",
        "43:85 tenants.shop.ports.db-1.limits.egress.burst_bytes: burst_bytes without bits_per_second",
    ]),
    (WEB, "      - name: edge\n", "      - name: edge\n        limits: {bits_per_secnod: 5000, packets_per_second: 0}\n", &[
        "45:18 tenants.shop.routers.edge.limits.bits_per_secnod: unknown field `bits_per_secnod`",
        "45:61 tenants.shop.routers.edge.limits.packets_per_second: `0` is not a number in range: write a whole number from 1 to 1000000000",
    ]),
    (MEC, "        access: mobile\n", "        access: mobile\n        limits: {}\n", &[
        "53:9 tenants.factory.lines.robot-1.limits: `limits` is not supported yet",
    ]),
    (WEB, "    routers:\n", "    ruoters:\n", &[
        "43:5 tenants.shop.ruoters: unknown field `ruoters`",
    ]),
    (WEB, "mtu: 1450", "mut: 1450", &[
        "13:9 tenants.shop.networks.back.mut: unknown field `mut`",
    ]),
    (WEB, "mtu: 1450", "mtu: big", &[
        "13:14 tenants.shop.networks.back.mtu: `big` is not a number in range: write a whole number from 576 to 9216",
    ]),
    (WEB, "mtu: 1450", "mtu: [1450]", &[
        "13:14 tenants.shop.networks.back.mtu: a list is not a number in range",
    ]),
    (WEB, "mtu: 1450", "colour: red", &[
        "13:9 tenants.shop.networks.back.colour: unknown field `colour`",
    ]),
    (WEB, "    networks:\n      - name: front", "    networks: front\n    address_groups2:\n      - name: front", &[
        "7:15 tenants.shop.networks: `front` is not a list",
        "8:5 tenants.shop.address_groups2: unknown field `address_groups2`",
    ]),
    (WEB, "fixed_ips: [10.0.1.11]", "fixed_ips: 10.0.1.11", &[
        "40:20 tenants.shop.ports.db-1.fixed_ips: `10.0.1.11` is not a list",
    ]),
    (WEB, "  - name: shop", "  - name: Shop", &[
        "6:11 tenants.Shop.name: `Shop` is not a name: 1 to 63 of a-z, 0-9, `-`, `_`, `.`, beginning with a letter or digit",
    ]),
    (WEB, "mtu: 1450", "mtu: 9217", &[
        "13:14 tenants.shop.networks.back.mtu: `9217` is not a number in range: write a whole number from 576 to 9216",
    ]),
    (WEB, "      - name: front\n", "      - name: front\n        mtu: 1279\n", &[
        "9:14 tenants.shop.networks.front.mtu: an MTU of 1279 is too small for an IPv6 subnet",
    ]),
    (WEB, "cidr: 10.0.1.0/24", "cidr: 10.0.1.1/24", &[
        "15:19 tenants.shop.networks.back.subnets.0.cidr: `10.0.1.1/24` is not an IPv4 or IPv6 prefix: host bits are set; did you mean 10.0.1.0/24?",
    ]),
    (WEB, "cidr: 10.0.1.0/24", "cidr: 10.0.1.0/33", &[
        "15:19 tenants.shop.networks.back.subnets.0.cidr: `10.0.1.0/33` is not an IPv4 or IPv6 prefix: the length must be from 0 to 32",
    ]),
    (WEB, "cidr: 10.0.1.0/24", "cidr: 224.0.0.0/24", &[
        "15:19 tenants.shop.networks.back.subnets.0.cidr: 224.0.0.0/24 cannot be a subnet: 224.0.0.0/4 is multicast",
    ]),
    (WEB, "cidr: 10.0.1.0/24", "cidr: 169.254.1.0/24", &[
        "15:19 tenants.shop.networks.back.subnets.0.cidr: 169.254.1.0/24 cannot be a subnet: 169.254.0.0/16 is link-local and never routed",
    ]),
    (WEB, "cidr: 10.0.1.0/24", "cidr: 240.0.0.0/24", &[
        "15:19 tenants.shop.networks.back.subnets.0.cidr: 240.0.0.0/24 cannot be a subnet: 240.0.0.0/4 is reserved",
    ]),
    (WEB, "cidr: 10.0.1.0/24", "cidr: 0.0.0.0/1", &[
        "15:19 tenants.shop.networks.back.subnets.0.cidr: 0.0.0.0/1 cannot be a subnet: 0.0.0.0/8 is no machine's",
    ]),
    (WEB, "cidr: 10.0.1.0/24", "cidr: 10.0.1.0/32", &[
        "15:19 tenants.shop.networks.back.subnets.0.cidr: 10.0.1.0/32 cannot be a subnet: it is a single address",
    ]),
    (WEB, "          - cidr: 2001:db8:1::/64", "          - cidr: fe80::/64", &[
        "11:19 tenants.shop.networks.front.subnets.1.cidr: fe80::/64 cannot be a subnet: fe80::/10 is link-local and never routed",
    ]),
    (WEB, "            blackhole: true", "            uplink: internet\n          - {destination: 169.254.169.254/32, uplink: internet}\n          - {destination: 127.0.0.0/8, blackhole: true}", &[
        "56:27 tenants.shop.routers.edge.routes.3.destination: 169.254.169.254/32 leads nowhere: 169.254.0.0/16 is link-local and never routed",
    ]),
    (WEB, "{prefix: 192.0.2.0/26, tenant: shop, router: edge}", "{prefix: 169.254.0.0/24, tenant: shop, router: edge}", &[
        "93:18 uplinks.internet.exports.0.prefix: 169.254.0.0/24 cannot be exported: 169.254.0.0/16 is link-local and never routed",
    ]),
    (WEB, "addresses: [198.51.100.2/30", "addresses: [0.0.0.2/30, 198.51.100.2/30", &[
        "87:17 uplinks.internet.addresses.0: `0.0.0.2/30` is not an address with its prefix length, as 192.0.2.2/24: it is a reserved address",
    ]),
    (MEC, "pools: [100.64.0.0/16, ", "pools: [240.0.0.0/16, ", &[
        "85:13 accesses.mobile.pools.0: 240.0.0.0/16 cannot be a pool: 240.0.0.0/4 is reserved",
    ]),
    (WEB, "gateway: 10.0.1.254", "gateway: 10.0.2.254", &[
        "16:22 tenants.shop.networks.back.subnets.0.gateway: the gateway 10.0.2.254 is no machine's address in 10.0.1.0/24",
    ]),
    (WEB, "gateway: 10.0.1.254", "gateway: 10.0.1.255", &[
        "16:22 tenants.shop.networks.back.subnets.0.gateway: the gateway 10.0.1.255 is no machine's address in 10.0.1.0/24",
    ]),
    (WEB, "          - cidr: 2001:db8:1::/64", "          - cidr: 2001:db8:1::/64\n          - cidr: 192.0.2.32/27", &[
        "12:13 tenants.shop.networks.front.subnets.2: the subnets of a network must not overlap",
    ]),
    (WEB, "      - name: back\n", "      - name: front\n", &[
        "12:15 tenants.shop.networks.front.name: there is another network `front`",
        "37:18 tenants.shop.ports.db-1.network: no network `back`",
        "47:22 tenants.shop.routers.edge.interfaces.1.network: no network `back`",
    ]),
    (WEB, "mac: 02:00:00:00:02:01", "mac: 02:zz", &[
        "39:14 tenants.shop.ports.db-1.mac: `02:zz` is not a station's MAC address: write six bytes as 02:00:00:00:00:01",
    ]),
    (WEB, "mac: 02:00:00:00:02:01", "mac: 01:00:5e:00:00:01", &[
        "39:14 tenants.shop.ports.db-1.mac: `01:00:5e:00:00:01` is not a station's MAC address: it is a multicast address (the first byte is odd)",
    ]),
    (WEB, "mac: 02:00:00:00:01:02", "mac: 02:00:00:00:01:01", &[
        "31:14 tenants.shop.ports.web-2.mac: 02:00:00:00:01:01 is taken in the network",
    ]),
    (WEB, "interface: tap-db-1", "interface: tap-database-one", &[
        "38:20 tenants.shop.ports.db-1.interface: `tap-database-one` is not an interface name: 1 to 15 visible ASCII characters without `/`, `:`, `%`",
    ]),
    (WEB, "interface: tap-db-1", "interface: lo", &[
        "38:20 tenants.shop.ports.db-1.interface: `lo` is not an interface name: it is the host's own loopback",
    ]),
    (WEB, "interface: tap-db-1", "interface: tap-web-1", &[
        "38:20 tenants.shop.ports.db-1.interface: tap-web-1 untagged belongs to another network, uplink or access",
    ]),
    (WEB, "interface: tap-db-1", "interface: eth1", &[
        "86:16 uplinks.internet.interface: eth1 untagged belongs to another network, uplink or access",
    ]),
    (WEB, "interface: tap-db-1", "interface: tap-db-1\n        vlan: 4095", &[
        "39:15 tenants.shop.ports.db-1.vlan: `4095` is not a number in range: write a whole number from 1 to 4094",
    ]),
    (WEB, "interface: tap-db-1", "interface: tap-db-1\n        hook: xpd", &[
        "39:15 tenants.shop.ports.db-1.hook: `xpd` is not auto, tcx or xdp",
    ]),
    (WEB, "network: back\n        interface", "network: bakc\n        interface", &[
        "37:18 tenants.shop.ports.db-1.network: no network `bakc`",
    ]),
    (WEB, "fixed_ips: [10.0.1.11]", "fixed_ips: [10.0.2.11]", &[
        "40:21 tenants.shop.ports.db-1.fixed_ips.0: 10.0.2.11 is in no subnet of the network",
    ]),
    (WEB, "fixed_ips: [10.0.1.11]", "fixed_ips: [10.0.1.254]", &[
        "40:21 tenants.shop.ports.db-1.fixed_ips.0: 10.0.1.254 is the gateway, which is the router's",
    ]),
    (WEB, "fixed_ips: [10.0.1.11]", "fixed_ips: [10.0.1.255]", &[
        "40:21 tenants.shop.ports.db-1.fixed_ips.0: 10.0.1.255 is the broadcast address of the subnet 10.0.1.0/24",
    ]),
    (WEB, "fixed_ips: [10.0.1.11]", "fixed_ips: [10.0.1.11, 10.0.1.11]", &[
        "40:32 tenants.shop.ports.db-1.fixed_ips.1: 10.0.1.11 is taken in the network",
    ]),
    (WEB, "fixed_ips: [10.0.1.11]", "fixed_ips: [127.0.0.1]", &[
        "40:21 tenants.shop.ports.db-1.fixed_ips.0: `127.0.0.1` is not a machine's IPv4 or IPv6 address: it is a loopback address",
    ]),
    (WEB, "fixed_ips: [10.0.1.11]", "fixed_ips: ['::ffff:10.0.1.11']", &[
        "40:21 tenants.shop.ports.db-1.fixed_ips.0: `::ffff:10.0.1.11` is not a machine's IPv4 or IPv6 address: write the IPv4 address 10.0.1.11 itself",
    ]),
    (WEB, "security_groups: [database]", "security_groups: [databse]", &[
        "41:27 tenants.shop.ports.db-1.security_groups.0: no security group `databse`",
    ]),
    (WEB, "security_groups: [database]", "security_groups: [database, database]", &[
        "41:37 tenants.shop.ports.db-1.security_groups.1: the group `database` is given twice",
    ]),
    (WEB, "security_groups: [database]", "security_groups: [database]\n        port_security: false", &[
        "41:27 tenants.shop.ports.db-1.security_groups.0: a port without port security has no security groups",
    ]),
    (WEB, "security_groups: [web]\n        # The", "port_security: false\n        # The", &[
        "27:13 tenants.shop.ports.web-1.allowed_address_pairs.0: a port without port security has no address pairs",
    ]),
    (WEB, "          - ip_address: 192.0.2.10\n      - name: web-2", "          - ip_address: 0.0.0.0/0\n      - name: web-2", &[
        "27:25 tenants.shop.ports.web-1.allowed_address_pairs.0.ip_address: the port may send from any address (0.0.0.0/0)",
    ]),
    (TWO, "    routers:\n      - name: r\n        mac", "      - name: v2\n        network: public\n        interface: eth0\n        vlan: 202\n        mac: 02:00:00:0d:00:0c\n        allowed_address_pairs: [{ip_address: 192.0.2.20, mac_address: 02:00:00:0d:00:0b}]\n    routers:\n      - name: r\n        mac", &[
        "75:71 tenants.red.ports.v2.allowed_address_pairs.0.mac_address: 02:00:00:0d:00:0b is another port's on the same attachment",
    ]),
    // A shared MAC works on attachments of their own.
    (TWO, "    routers:\n      - name: r\n        mac", "      - name: v2\n        network: public\n        interface: eth0\n        vlan: 203\n        mac: 02:00:00:0d:00:0c\n        allowed_address_pairs: [{ip_address: 192.0.2.20, mac_address: 02:00:00:0d:00:0b}]\n    routers:\n      - name: r\n        mac", &[]),
    (TWO, "    routers:\n      - name: r\n        mac", "      - name: v2\n        network: public\n        interface: eth0\n        vlan: 202\n        mac: 02:00:00:0d:00:0c\n        allowed_address_pairs: [{ip_address: 192.0.2.20, mac_address: 00:00:5e:00:01:01}, {ip_address: 192.0.2.21, mac_address: 00:00:5e:00:01:01}]\n    routers:\n      - name: r\n        mac", &[]),
    (TWO, "fixed_ips: [192.0.2.18]\n", "fixed_ips: [192.0.2.18]\n        allowed_address_pairs: [{ip_address: 192.0.2.20, mac_address: 00:00:5e:00:01:01}]\n      - {name: v2, network: public, interface: eth0, vlan: 202, mac: 02:00:00:0d:00:0c, allowed_address_pairs: [{ip_address: 192.0.2.20, mac_address: 00:00:5E:00:01:01}]}\n      - name: v3\n        network: public\n        interface: tap-v3\n        mac: 02:00:00:0d:00:0d\n", &[
        "70:151 tenants.red.ports.v2.allowed_address_pairs.0.mac_address: 00:00:5e:00:01:01 is another port's on the same attachment",
    ]),
    (WEB, "          - ip_address: 192.0.2.10\n      - name: web-2", "          - ip_address: 192.0.2.1\n          - {ip_address: 192.0.2.63, mac_address: 02:00:00:00:01:01}\n          - ip_address: 224.0.0.18\n          - ip_address: 192.0.2.9\n          - {ip_address: 192.0.2.9/32, mac_address: 02:00:00:00:01:01}\n      - name: web-2", &[
        "27:25 tenants.shop.ports.web-1.allowed_address_pairs.0.ip_address: 192.0.2.1 is the gateway, which is the router's",
        "28:26 tenants.shop.ports.web-1.allowed_address_pairs.1.ip_address: 192.0.2.63 is the broadcast address of the subnet 192.0.2.0/26",
        "29:25 tenants.shop.ports.web-1.allowed_address_pairs.2.ip_address: 224.0.0.18 cannot be a source: 224.0.0.0/4 is multicast",
        "31:13 tenants.shop.ports.web-1.allowed_address_pairs.4: the same pair stands there already",
    ]),
    (TWO, "fixed_ips: [192.0.2.18]\n", "fixed_ips: [192.0.2.18]\n        allowed_address_pairs: [{ip_address: 192.0.2.20, mac_address: 02:00:00:0d:ff:01}]\n", &[
        "69:71 tenants.red.ports.b.allowed_address_pairs.0.mac_address: 02:00:00:0d:ff:01 is the MAC of the network's router",
    ]),
    (TWO, "        mac: 02:00:00:0d:00:01\n        fixed_ips: [10.0.0.21]\n        port_security: false\n", "        mac: 02:00:00:0d:00:01\n        fixed_ips: [10.0.0.21]\n", &[
        "49:9 tenants.red.ports.gw-1: whoever sends from another MAC here passes without a check",
    ]),
    (TWO, "security_groups: [fast]", "security_groups: [fast, default]", &[
        "69:33 tenants.red.ports.b.security_groups.1: stateful and stateless groups must not be mixed",
    ]),
    (TWO, "vlan: 202", "vlan: 201", &[
        "65:20 tenants.red.ports.b.interface: eth0 VLAN 201 belongs to another network, uplink or access",
    ]),
    (TWO, "vlan: 202", "vlan: 201\n        service_vlan: 5", &[]),
    (TWO, "vlan: 202", "service_vlan: 202", &[
        "66:23 tenants.red.ports.b.service_vlan: service VLAN 202 without a VLAN in it",
    ]),
    (TWO, "vlan: 202", "vlan: 202\n        service_vlan: 4095", &[
        "67:23 tenants.red.ports.b.service_vlan: `4095` is not a number in range: write a whole number from 1 to 4094",
    ]),
    (TWO, "        vlan: 202", "        vlan: 201\n        service_vlan: 5\n        hook: tcx\n      - {name: c, network: inside, interface: eth0, vlan: 201, service_vlan: 5, mac: 02:00:00:0d:00:0c}\n      - {name: d, network: inside, interface: eth0, vlan: 201, service_vlan: 6, mac: 02:00:00:0d:00:0d}\n      - name: e\n        network: public\n        interface: veth-red-e", &[
        "63:9 tenants.red.ports.b: missing field `mac`",
        "69:47 tenants.red.ports.c.interface: eth0 VLAN 201 of service VLAN 5 belongs to another network, uplink or access",
    ]),
    (MEC, "    vlan: 300", "    vlan: 300\n    service_vlan: 30", &[]),
    (MEC, "    vlan: 300", "    service_vlan: 300", &[
        "82:19 accesses.mobile.service_vlan: service VLAN 300 without a VLAN in it",
    ]),
    (TWO, "vlan: 202", "vlan: 101", &[
        "65:20 tenants.red.ports.b.interface: eth0 VLAN 101 belongs to another network, uplink or access",
    ]),
    (TWO, "        vlan: 202", "        vlan: 202\n        hook: xdp\n      - name: c\n        network: public\n        interface: eth0\n        vlan: 202\n        mac: 02:00:00:0d:00:0c\n        hook: tcx\n      - name: d\n        network: public\n        interface: veth-red-d", &[
        "63:9 tenants.red.ports.b: missing field `mac`",
        "73:15 tenants.red.ports.c.hook: eth0 has another hook already",
    ]),
    (TWO, "interfaces: [{network: inside}, {network: public}]\n        routes: [{d", "interfaces: [{network: inside}, {network: publik}]\n        routes: [{d", &[
        "27:51 tenants.blue.routers.r.interfaces.1.network: no network `publik`",
    ]),
    (TWO, "subnets: [{cidr: 192.0.2.0/28}]", "subnets: [{cidr: 192.0.2.0/28}, {cidr: 10.0.0.128/25}]", &[
        "27:51 tenants.blue.routers.r.interfaces.1.network: the subnets of a router's networks must not overlap",
    ]),
    (TWO, "      - name: r\n        mac: 02:00:00:0d:ff:01\n", "      - name: other\n        interfaces: [{network: public}]\n      - name: r\n", &[
        "74:51 tenants.red.routers.r.interfaces.1.network: network `public` has a router already",
    ]),
    (TWO, "mac: 02:00:00:0d:ff:01", "mac: 02:00:00:0d:00:01", &[
        "53:14 tenants.red.ports.gw-1.mac: 02:00:00:0d:00:01 is the MAC of the network's router",
    ]),
    (TWO, "next_hops: [10.0.0.21, 10.0.0.22]", "next_hops: [10.0.0.21, 10.5.0.22]", &[
        "75:63 tenants.red.routers.r.routes.0.next_hops.1: the next hop 10.5.0.22 is on none of the router's subnets",
    ]),
    (TWO, "next_hops: [10.0.0.21, 10.0.0.22]", "next_hops: [10.0.0.21, 10.0.0.21]", &[
        "75:63 tenants.red.routers.r.routes.0.next_hops.1: the next hop 10.0.0.21 is given twice",
    ]),
    (TWO, "next_hops: [10.0.0.21, 10.0.0.22]", "next_hops: [10.0.0.21, 10.0.0.1]", &[
        "75:63 tenants.red.routers.r.routes.0.next_hops.1: the next hop 10.0.0.1 is not another machine's address",
    ]),
    (TWO, "next_hops: [10.0.0.21, 10.0.0.22]", "next_hops: [10.0.0.21, 2001:db8::1]", &[
        "75:63 tenants.red.routers.r.routes.0.next_hops.1: the next hop 2001:db8::1 is not of the family of 10.9.0.0/16",
    ]),
    (TWO, "next_hops: [10.0.0.21, 10.0.0.22]", "next_hops: [10.0.0.21, 10.0.0.99]", &[
        "75:63 tenants.red.routers.r.routes.0.next_hops.1: no port has the next hop's address 10.0.0.99",
    ]),
    (TWO, "    routers:\n      - name: r\n        mac: 02:00:00:0d:ff:01\n        interfaces: [{network: inside}, {network: public}]\n        routes:\n", "      - name: x\n        network: inside\n        interface: veth-red-x\n        mac: 02:00:00:0b:00:0c\n        allowed_address_pairs: [{ip_address: 10.0.0.96/28}, {ip_address: 10.0.0.98}]\n    routers:\n      - name: r\n        mac: 02:00:00:0d:ff:01\n        interfaces: [{network: inside}, {network: public}]\n        routes:\n          - {destination: 10.8.0.0/16, next_hops: [10.0.0.97, 10.0.0.98]}\n", &[
        "80:52 tenants.red.routers.r.routes.0.next_hops.0: no port has the next hop's address 10.0.0.97",
    ]),
    (TWO, "next_hops: [10.0.0.21, 10.0.0.22]", "next_hops: []", &[
        "75:13 tenants.red.routers.r.routes.0: the list of next hops is empty",
    ]),
    (TWO, "next_hops: [10.0.0.21, 10.0.0.22]", "next_hops: [10.0.0.21], blackhole: true", &[
        "75:13 tenants.red.routers.r.routes.0: a route leads to exactly one of next_hops, uplink, blackhole: true",
    ]),
    (TWO, "next_hops: [10.0.0.21, 10.0.0.22]", "next_hops: [10.0.0.21, 10.5.0.22], uplink: outsid", &[
        "75:13 tenants.red.routers.r.routes.0: a route leads to exactly one of next_hops, uplink, blackhole: true",
        "75:63 tenants.red.routers.r.routes.0.next_hops.1: the next hop 10.5.0.22 is on none of the router's subnets",
        "75:83 tenants.red.routers.r.routes.0.uplink: no uplink `outsid`",
    ]),
    (TWO, "{destination: 10.9.0.0/16, next_hops: [10.0.0.21, 10.0.0.22]}", "{destination: 10.9.0.0/16}", &[
        "75:13 tenants.red.routers.r.routes.0: a route leads to exactly one of next_hops, uplink, blackhole: true",
    ]),
    (TWO, "          - {destination: 0.0.0.0/0, uplink", "          - {destination: ::/0, uplink: outside}\n          - {destination: 0.0.0.0/0, uplink", &[
        "76:41 tenants.red.routers.r.routes.1.uplink: uplink `outside` has no IPv6 next hop",
    ]),
    (TWO, "{destination: 10.9.0.0/16,", "{destination: 0.0.0.0/0,", &[
        "76:27 tenants.red.routers.r.routes.1.destination: there is a route to 0.0.0.0/0 already",
    ]),
    (TWO, "{destination: 10.9.0.0/16,", "{destination: 10.0.0.0/24,", &[
        "75:27 tenants.red.routers.r.routes.0.destination: there is a route to 10.0.0.0/24 already",
    ]),
    (WEB, "            blackhole: true", "            uplink: internett", &[
        "55:21 tenants.shop.routers.edge.routes.2.uplink: no uplink `internett`",
    ]),
    (WEB, "direction: ingress, protocol: tcp, port_range_min: 80,", "protocol: tcp, port_range_min: 80,", &[
        "62:13 tenants.shop.security_groups.web.rules.0: missing field `direction`",
    ]),
    (WEB, "direction: ingress, protocol: tcp, port_range_min: 80,", "direction: in, protocol: tcp, port_range_min: 80,", &[
        "62:25 tenants.shop.security_groups.web.rules.0.direction: `in` is not ingress or egress",
    ]),
    (WEB, "direction: ingress, protocol: tcp, port_range_min: 80,", "direction: ingress, port_range_min: 80,", &[
        "62:50 tenants.shop.security_groups.web.rules.0.port_range_min: ports need a protocol",
    ]),
    (WEB, "direction: ingress, protocol: tcp, port_range_min: 80,", "direction: ingress, protocol: gre, port_range_min: 80,", &[
        "62:65 tenants.shop.security_groups.web.rules.0.port_range_min: protocol 47 has no ports",
    ]),
    (WEB, "direction: ingress, protocol: tcp, port_range_min: 80,", "direction: ingress, protocol: tpc, port_range_min: 80,", &[
        "62:44 tenants.shop.security_groups.web.rules.0.protocol: `tpc` is not an IP protocol: did you mean tcp?",
    ]),
    (WEB, "direction: ingress, protocol: tcp, port_range_min: 80,", "direction: ingress, protocol: 256, port_range_min: 80,", &[
        "62:44 tenants.shop.security_groups.web.rules.0.protocol: `256` is not an IP protocol: write any, 0 to 255, or one of ah, dccp, egp, esp, gre, hopopt, icmp, icmpv6, igmp, ipip, ipv6-encap, ipv6-frag, ipv6-icmp, ipv6-nonxt, ipv6-opts, ipv6-route, ospf, pgm, rsvp, sctp, tcp, udp, udplite, vrrp",
    ]),
    (WEB, "port_range_min: 80, port_range_max: 80", "port_range_min: 0, port_range_max: 80", &[
        "62:65 tenants.shop.security_groups.web.rules.0.port_range_min: 0 to 80 is not a range of ports",
    ]),
    (WEB, "port_range_min: 80, port_range_max: 80", "port_range_min: 81, port_range_max: 80", &[
        "62:65 tenants.shop.security_groups.web.rules.0.port_range_min: 81 to 80 is not a range of ports",
    ]),
    (WEB, "port_range_min: 80, port_range_max: 80", "port_range_min: 80", &[
        "62:65 tenants.shop.security_groups.web.rules.0.port_range_min: port_range_min and port_range_max belong together",
    ]),
    (WEB, "port_range_min: 80, port_range_max: 80", "icmp_type: 8", &[
        "62:60 tenants.shop.security_groups.web.rules.0.icmp_type: icmp_type needs protocol icmp",
    ]),
    (WEB, "port_range_min: 80, port_range_max: 80", "port_range_min: 443, port_range_max: 443", &[
        "63:13 tenants.shop.security_groups.web.rules.1: the same rule stands in the group already",
    ]),
    (WEB, "{direction: egress}", "{direction: egress, remote_ip_prefix: 0.0.0.0/0, ethertype: IPv6}", &[
        "69:51 tenants.shop.security_groups.web.rules.7.remote_ip_prefix: 0.0.0.0/0 is not of the rule's ethertype",
    ]),
    (WEB, "          - {direction: egress}\n", "          - {direction: egress}\n          - {direction: egress, remote_ip_prefix: 0.0.0.0/0, protocol: any, ethertype: ipv4}\n", &[
        "70:13 tenants.shop.security_groups.web.rules.8: the same rule stands in the group already",
    ]),
    (WEB, "protocol: icmp, icmp_type: 8", "protocol: icmp, icmp_code: 0", &[
        "65:61 tenants.shop.security_groups.web.rules.3.icmp_code: an ICMP code needs a type",
    ]),
    (WEB, "protocol: icmp, icmp_type: 8", "protocol: icmp, port_range_min: 256", &[
        "65:66 tenants.shop.security_groups.web.rules.3.port_range_min: 256 is no ICMP type or code",
    ]),
    (WEB, "protocol: icmp, icmp_type: 8", "protocol: icmp, icmp_type: 8, port_range_min: 8", &[
        "65:80 tenants.shop.security_groups.web.rules.3.port_range_min: icmp_type says the same",
    ]),
    (WEB, "protocol: icmp, icmp_type: 8", "protocol: ipv6-icmp", &[
        "65:44 tenants.shop.security_groups.web.rules.3.protocol: only IPv6 has this protocol",
    ]),
    (WEB, "protocol: vrrp, remote_group: web", "protocol: vrrp, remote_group: wbe", &[
        "67:64 tenants.shop.security_groups.web.rules.5.remote_group: no security group `wbe`",
    ]),
    (WEB, "protocol: vrrp, remote_group: web", "protocol: vrrp, remote_group_id: web", &[
        "67:50 tenants.shop.security_groups.web.rules.5.remote_group_id: unknown field `remote_group_id`",
    ]),
    (WEB, "protocol: vrrp, remote_group: web", "protocol: vrrp, remote_group: web, remote_ip_prefix: 10.0.0.0/8", &[
        "67:13 tenants.shop.security_groups.web.rules.5: a rule has one remote, this one has remote_ip_prefix, remote_group",
    ]),
    (WEB, "direction: ingress, protocol: tcp, port_range_min: 80, port_range_max: 80", "direction: ingress, protocol: tpc, port_range_min: 90, port_range_max: 80, icmp_type: 4", &[
        "62:44 tenants.shop.security_groups.web.rules.0.protocol: `tpc` is not an IP protocol: did you mean tcp?",
        "62:65 tenants.shop.security_groups.web.rules.0.port_range_min: 90 to 80 is not a range of ports",
        "62:100 tenants.shop.security_groups.web.rules.0.icmp_type: icmp_type needs protocol icmp",
    ]),
    // A mistyped icmp keeps its type and code, which need not be a range.
    (WEB, "direction: ingress, protocol: tcp, port_range_min: 80, port_range_max: 80", "direction: ingress, protocol: icpm, port_range_min: 8, port_range_max: 0", &[
        "62:44 tenants.shop.security_groups.web.rules.0.protocol: `icpm` is not an IP protocol: did you mean icmp?",
    ]),
    (WEB, "direction: ingress, protocol: tcp, port_range_min: 80, port_range_max: 80", "direction: ingress, protocol: 256, port_range_min: 90, port_range_max: 80, icmp_code: 4", &[
        "62:44 tenants.shop.security_groups.web.rules.0.protocol: `256` is not an IP protocol: write any, 0 to 255, or one of ah, dccp, egp, esp, gre, hopopt, icmp, icmpv6, igmp, ipip, ipv6-encap, ipv6-frag, ipv6-icmp, ipv6-nonxt, ipv6-opts, ipv6-route, ospf, pgm, rsvp, sctp, tcp, udp, udplite, vrrp",
        "62:100 tenants.shop.security_groups.web.rules.0.icmp_code: no protocol has both icmp_code and a range of ports",
    ]),
    (WEB, "direction: ingress, protocol: tcp, port_range_min: 80, port_range_max: 80", "direction: ingress, ethertype: IPv5, port_range_min: 90, port_range_max: 80, icmp_type: 4", &[
        "62:45 tenants.shop.security_groups.web.rules.0.ethertype: `IPv5` is not IPv4 or IPv6",
        "62:67 tenants.shop.security_groups.web.rules.0.port_range_min: ports need a protocol",
        "62:67 tenants.shop.security_groups.web.rules.0.port_range_min: 90 to 80 is not a range of ports",
        "62:102 tenants.shop.security_groups.web.rules.0.icmp_type: icmp_type needs protocol icmp",
    ]),
    (WEB, "port_range_min: 80, port_range_max: 80", "port_range_min: 0, port_range_max: 65536", &[
        "62:65 tenants.shop.security_groups.web.rules.0.port_range_min: 0 is not a port",
        "62:84 tenants.shop.security_groups.web.rules.0.port_range_max: `65536` is not a number in range: write a whole number from 0 to 65535",
    ]),
    (WEB, "protocol: icmp, icmp_type: 8", "protocol: ipv6-icmp, icmp_code: 8, remote_ip_prefix: \"::/0\"", &[
        "65:44 tenants.shop.security_groups.web.rules.3.protocol: only IPv6 has this protocol",
        "65:66 tenants.shop.security_groups.web.rules.3.icmp_code: an ICMP code needs a type",
        "65:87 tenants.shop.security_groups.web.rules.3.remote_ip_prefix: ::/0 is not of the rule's ethertype",
    ]),
    (WEB, "protocol: vrrp, remote_group: web", "protocol: vrrp, remote_group: wbe, remote_line: robbot, remote_address_group: admin", &[
        "67:13 tenants.shop.security_groups.web.rules.5: a rule has one remote, this one has remote_group, remote_address_group, remote_line",
        "67:64 tenants.shop.security_groups.web.rules.5.remote_group: no security group `wbe`",
        "67:82 tenants.shop.security_groups.web.rules.5.remote_line: no line `robbot`",
        "67:112 tenants.shop.security_groups.web.rules.5.remote_address_group: no address group `admin`",
    ]),
    (WEB, "remote_address_group: admins", "remote_address_group: admin", &[
        "68:111 tenants.shop.security_groups.web.rules.6.remote_address_group: no address group `admin`",
    ]),
    (WEB, "          - {direction: egress}\n", "          - {id: x, direction: egress}\n          - {id: x, direction: egress, protocol: tcp}\n", &[
        "70:18 tenants.shop.security_groups.web.rules.8.id: another rule has the id `x`",
    ]),
    (WEB, "203.0.113.0/28]", "203.0.113.0/280]", &[
        "82:35 tenants.shop.address_groups.admins.addresses.1: `203.0.113.0/280` is not an IPv4 or IPv6 address or prefix: the length must be from 0 to 32",
    ]),
    (WEB, "      - address: 198.51.100.1", "      - address: 198.51.100.9", &[
        "89:18 uplinks.internet.next_hops.0.address: the next hop 198.51.100.9 is on none of the link's prefixes",
    ]),
    (MEC, "    addresses: [172.16.1.2/30]", "    mac: 02:00:00:00:ff:02\n    addresses: [172.16.1.2/30]", &[
        "106:44 uplinks.headquarters.next_hops.0.mac: 02:00:00:00:ff:02 is our own MAC",
    ]),
    (WEB, "      - address: 198.51.100.1", "      - address: 198.51.100.2", &[
        "89:18 uplinks.internet.next_hops.0.address: the next hop 198.51.100.2 is our own address",
    ]),
    (WEB, "addresses: [198.51.100.2/30", "addresses: [198.51.100.2", &[
        "87:17 uplinks.internet.addresses.0: `198.51.100.2` is not an address with its prefix length, as 192.0.2.2/24: the length is missing",
    ]),
    (WEB, "addresses: [198.51.100.2/30", "addresses: [198.51.100.0/30", &[
        "87:17 uplinks.internet.addresses.0: 198.51.100.0/30 is no machine's address on a link",
    ]),
    (WEB, "{prefix: 192.0.2.0/26, tenant: shop, router: edge}", "{prefix: 192.0.2.0/25, tenant: shop, router: edge}", &[
        "93:18 uplinks.internet.exports.0.prefix: 192.0.2.0/25 is not behind the router",
    ]),
    (WEB, "{prefix: 192.0.2.0/26, tenant: shop, router: edge}", "{prefix: 192.0.2.0/26, tenant: shop}", &[
        "93:9 uplinks.internet.exports.0: an export names either tenant and router, or access",
    ]),
    (WEB, "{prefix: 192.0.2.0/26, tenant: shop, router: edge}", "{prefix: 192.0.2.0/26, tenant: shop, router: egde, access: mobile}", &[
        "93:9 uplinks.internet.exports.0: an export names either tenant and router, or access",
        "93:54 uplinks.internet.exports.0.router: no router `egde`",
        "93:68 uplinks.internet.exports.0.access: no access `mobile`",
    ]),
    (WEB, "{prefix: 192.0.2.0/26, tenant: shop, router: edge}", "{prefix: 192.0.2.0/26, tenant: shop, router: egde}", &[
        "93:54 uplinks.internet.exports.0.router: no router `egde`",
    ]),
    (WEB, "{prefix: 192.0.2.0/26, tenant: shop, router: edge}", "{prefix: 192.0.2.0/26, tenant: show, router: edge}", &[
        "93:40 uplinks.internet.exports.0.tenant: no tenant `show`",
    ]),
    (WEB, "protected: [203.0.113.128/25]", "host: {addresses: [{address: 127.0.0.1}, {address: 192.0.2.7}, {address: 198.51.100.2, protocol: tcp, port: 22, source_port: 53}]}", &[
        "95:34 uplinks.internet.host.addresses.0.address: `127.0.0.1` is not a machine's IPv4 or IPv6 address: it is a loopback address",
        "95:56 uplinks.internet.host.addresses.1.address: 192.0.2.7 is the host's, and 192.0.2.0/26 is not",
        "95:130 uplinks.internet.host.addresses.2.source_port: an entry has a port or a source_port",
    ]),
    (WEB, "protected: [203.0.113.128/25]", "host: {addresses: [{address: 198.51.100.9, port: 22}, {address: 198.51.100.9, protocol: icmp, port: 22}, {address: 198.51.100.9, sources: [\"2001:db8::/32\"]}, {protocol: tcp}], lcap: true}", &[
        "95:54 uplinks.internet.host.addresses.0.port: port needs a protocol",
        "95:105 uplinks.internet.host.addresses.1.port: protocol 1 has no ports",
        "95:144 uplinks.internet.host.addresses.2.sources.0: 2001:db8::/32 is not of the address's family",
        "95:163 uplinks.internet.host.addresses.3: missing field `address`",
        "95:181 uplinks.internet.host.lcap: unknown field `lcap`",
    ]),
    (WEB, "protected: [203.0.113.128/25]", "mac: 02:00:00:00:00:99\n    host: {addresses: [{address: 198.51.100.9, protocol: tcp, port: 0}]}", &[
        "95:10 uplinks.internet.mac: with addresses of the host the MAC is the interface's",
        "96:69 uplinks.internet.host.addresses.0.port: 0 is not a port",
    ]),
    (WEB, "protected: [203.0.113.128/25]", "protected: [192.0.2.0/24]", &[
        "95:17 uplinks.internet.protected.0: 192.0.2.0/24 is protected, and 192.0.2.0/26 is exported",
    ]),
    (TWO, "{prefix: 192.0.2.16/28, tenant: red", "{prefix: 192.0.2.0/28, tenant: red", &[
        "93:18 uplinks.outside.exports.1.prefix: 192.0.2.0/28 is not behind the router",
        "93:18 uplinks.outside.exports.1.prefix: the exports of an uplink must not overlap",
    ]),
    (TWO, "      - {prefix: 192.0.2.16/28", "      - {prefix: 192.0.2.0/29, tenant: blue, router: r}\n      - {prefix: 192.0.2.16/28", &[
        "93:18 uplinks.outside.exports.1.prefix: the exports of an uplink must not overlap",
    ]),
    (MEC, "prefix: 100.64.0.0/16, access: mobile", "prefix: 10.10.0.0/24, tenant: factory, router: floor", &[
        "74:17 tenants.factory.lines.tablet.uplink: uplink `headquarters` does not export a pool of the line's access",
        "107:18 uplinks.headquarters.exports.0.prefix: 10.10.0.0/24 belongs to a MEC-only network",
    ]),
    (MEC, "    addresses: [172.16.1.2/30]\n    next_hops: [{address: 172.16.1.1, mac: 02:00:00:00:ff:02}]\n    exports:\n      - {prefix: 100.64.0.0/16, access: mobile}", "    addresses: [100.64.128.2/30]\n    next_hops: [{address: 100.64.128.1, mac: 02:00:00:00:ff:02}]\n    exports:\n      - {prefix: 100.64.0.0/17, access: mobile}", &[
        "104:17 uplinks.headquarters.addresses.0: 100.64.128.2 is among the lines of 100.64.0.0/16",
        "105:27 uplinks.headquarters.next_hops.0.address: 100.64.128.1 is among the lines of 100.64.0.0/16",
    ]),
    (MEC, "prefix: 100.64.0.0/16, access: mobile", "prefix: 100.65.0.0/16, access: mobile", &[
        "107:18 uplinks.headquarters.exports.0.prefix: 100.65.0.0/16 is in no pool of the access",
    ]),
    (MEC, "  - tenant: factory", "  - {tenant: other, access: mobile, numbers: [+819099990002]}\n  - tenant: factory", &[
        "88:14 entitlements.0.tenant: no tenant `other`",
    ]),
    (MEC, "      - name: tablet\n        number: 090-1234-5700\n        access: mobile\n        uplink: headquarters\n    line_groups:\n      - name: robots\n        lines: [robot-1, 090-1234-5602]\n\naccesses:\n", "      - name: tablet\n        number: 090-1234-5700\n        access: mobile\n        uplink: headquarters\n      - {name: second, number: 090-1234-5701, access: other, network: control}\n    line_groups:\n      - name: robots\n        lines: [robot-1, 090-1234-5602]\n\naccesses:\n  - name: other\n    interface: eth3\n    addresses: [172.16.2.2/30]\n    next_hop: {address: 172.16.2.1}\n    pools: [100.64.128.0/17]\n", &[
        "75:32 tenants.factory.lines.second.number: tenant factory is not entitled to +819012345701 on this access",
        "75:55 tenants.factory.lines.second.access: the access's pools overlap those of another access of the router's lines",
    ]),
    (MEC, "entitlements:\n", "entitlements:\n  - {tenant: guest, access: mobile, numbers: [+819012345602]}\n", &[
        "88:14 entitlements.0.tenant: no tenant `guest`",
    ]),
    (MEC, "tenants:\n", "tenants:\n  - name: guest\n    lines: [{number: +819012345610, access: mobile, uplink: headquarters}]\n", &[
        "8:22 tenants.guest.lines.+819012345610.number: tenant guest is not entitled to +819012345610 on this access",
    ]),
    (MEC, "subnets:\n          - cidr: 10.20.0.0/24", "subnets: [10.20.0.0/24]", &[
        "15:19 tenants.factory.networks.office.subnets.0: `10.20.0.0/24` is not a map of cidr, gateway",
    ]),
    (MEC, "country_code: 81\n", "country_code: japan\n", &[
        "4:15 country_code: `japan` is not a country's telephone code, as 81",
    ]),
    (MEC, "number: +81 90 1234 5602", "number: 9012345602", &[
        "58:17 tenants.factory.lines.robot-2.number: `9012345602` is not a telephone number: it begins neither with `+`, nor with 0, nor with the site's country code",
    ]),
    (MEC, "number: +81 90 1234 5602", "number: anonymous", &[
        "58:17 tenants.factory.lines.robot-2.number: `anonymous` is not a telephone number: the number is withheld",
    ]),
    (MEC, "number: +81 90 1234 5602", "number: 090-1234-5601", &[
        "58:17 tenants.factory.lines.robot-2.number: +819012345601 is registered on this access already",
        "77:26 tenants.factory.line_groups.robots.lines.1: no line `+819012345602`",
        "96:30 sessions.090-1234-5602.number: no tenant has registered +819012345602 on this access",
    ]),
    (MEC, "number: +81 90 1234 5602", "number: 090-1234-5800", &[
        "58:17 tenants.factory.lines.robot-2.number: tenant factory is not entitled to +819012345800 on this access",
        "77:26 tenants.factory.line_groups.robots.lines.1: no line `+819012345602`",
        "96:30 sessions.090-1234-5602.number: no tenant has registered +819012345602 on this access",
    ]),
    (MEC, "      - name: stolen\n", "      - name: 819012345601\n", &[
        "66:15 tenants.factory.lines.819012345601.name: `819012345601` would be taken for a telephone number",
    ]),
    (MEC, "imsi: \"440101234567891\"", "imsi: \"44010123456\"", &[
        "53:15 tenants.factory.lines.robot-1.imsi: `44010123456` is not an IMSI of 14 or 15 digits",
    ]),
    (MEC, "      - name: stolen\n", "      - name: stolen\n        imsi: \"440101234567891\"\n", &[
        "67:15 tenants.factory.lines.stolen.imsi: another line of the access has this IMSI",
    ]),
    (MEC, "        network: control\n        fixed_ips: [100", "        network: control\n        router: floor\n        fixed_ips: [100", &[
        "50:9 tenants.factory.lines.robot-1: a line has exactly one destination: router, network or uplink",
    ]),
    (MEC, "        network: control\n        fixed_ips: [100", "        network: contrl\n        router: flor\n        uplink: headquarter\n        fixed_ips: [100", &[
        "50:9 tenants.factory.lines.robot-1: a line has exactly one destination: router, network or uplink",
        "54:18 tenants.factory.lines.robot-1.network: no network `contrl`",
        "55:17 tenants.factory.lines.robot-1.router: no router `flor`",
        "56:17 tenants.factory.lines.robot-1.uplink: no uplink `headquarter`",
    ]),
    (MEC, "        uplink: headquarters\n    line", "        uplink: headquarter\n    line", &[
        "74:17 tenants.factory.lines.tablet.uplink: no uplink `headquarter`",
    ]),
    (MEC, "      - {prefix: 100.64.0.0/16, access: mobile}\n", "      - {prefix: 10.20.0.0/24, tenant: factory, router: floor}\n", &[
        "74:17 tenants.factory.lines.tablet.uplink: uplink `headquarters` does not export a pool of the line's access",
    ]),
    (MEC, "          - network: control\n", "", &[
        "53:18 tenants.factory.lines.robot-1.network: network `control` has no router, so no line gets there",
        "59:18 tenants.factory.lines.robot-2.network: network `control` has no router, so no line gets there",
    ]),
    (MEC, "state: suspended", "state: off", &[
        "69:16 tenants.factory.lines.stolen.state: `off` is not active or suspended",
    ]),
    (MEC, "fixed_ips: [100.64.0.1, ", "fixed_ips: [100.66.0.1, ", &[
        "55:21 tenants.factory.lines.robot-1.fixed_ips.0: 100.66.0.1 is in no pool of the access",
        "95:57 sessions.090-1234-5601.addresses.0: 100.64.0.1 is not a fixed address of the line",
    ]),
    (MEC, "fixed_ips: [100.64.0.1, ", "fixed_ips: [100.64.0.0/31, ", &[
        "55:21 tenants.factory.lines.robot-1.fixed_ips.0: 100.64.0.0/31 is more than a line can have",
        "95:57 sessions.090-1234-5601.addresses.0: 100.64.0.1 is not a fixed address of the line",
    ]),
    (MEC, "lines: [robot-1, 090-1234-5602]", "lines: [robot-3, 090-1234-5603]", &[
        "77:17 tenants.factory.line_groups.robots.lines.0: no line `robot-3`",
        "77:26 tenants.factory.line_groups.robots.lines.1: no line `+819012345603`",
    ]),
    (MEC, "remote_line: maintenance", "remote_line: 090-1234-0000", &[
        "39:102 tenants.factory.security_groups.from-robots.rules.2.remote_line: no line `+819012340000`",
    ]),
    (MEC, "{from: 090-1234-5600, to: 090-1234-5799}", "{from: 090-1234-5799, to: 090-1234-5600}", &[
        "91:9 entitlements.0.numbers.0: +819012345799 to +819012345600 is not a range of numbers",
    ]),
    (MEC, "      - +819099990001\n", "      - +819099990001\n      - 090-1234-5750..090-1234-5850\n", &[
        "93:9 entitlements.0.numbers.2: a number is entitled to one tenant, and here is an overlap",
    ]),
    (MEC, "  - tenant: factory", "  - tenant: factor", &[
        "88:13 entitlements.0.tenant: no tenant `factor`",
    ]),
    (MEC, "pools: [100.64.0.0/16, ", "pools: [100.64.0.0/16, 100.64.1.0/24, ", &[
        "85:28 accesses.mobile.pools.1: the pools of an access must not overlap",
    ]),
    (MEC, "pools: [100.64.0.0/16, ", "pools: [100.64.0.0/16, 10.0.0.0/8, ", &[
        "85:28 accesses.mobile.pools.1: the pool 10.0.0.0/8 overlaps a subnet of a line's tenant",
        "85:28 accesses.mobile.pools.1: the pool 10.0.0.0/8 overlaps a subnet of a line's tenant",
    ]),
    (MEC, "      - name: floor\n", "      - name: floor\n        routes: [{destination: 100.64.0.0/16, blackhole: true}, {destination: 10.10.0.1/32, blackhole: true}]\n", &[
        "31:32 tenants.factory.routers.floor.routes.0.destination: 100.64.0.0/16 is the pool from which the tenant's lines come",
        "31:79 tenants.factory.routers.floor.routes.1.destination: there is a route to 10.10.0.1/32 already",
    ]),
    (MEC, "      - name: floor\n", "      - name: floor\n        routes: [{destination: 100.64.1.0/24, blackhole: true}]\n", &[
        "31:32 tenants.factory.routers.floor.routes.0.destination: 100.64.1.0/24 is a part of 100.64.0.0/16, and leads away",
    ]),
    (MEC, "pools: [100.64.0.0/16, ", "pools: [100.64.0.0/16, 172.16.0.0/24, ", &[
        "85:28 accesses.mobile.pools.1: 172.16.0.0/24 holds 172.16.0.2, an address of the link itself",
    ]),
    (MEC, "number: 090-1234-5700, addresses: [100.64.1.0]", "number: 090-1234-5701, addresses: [100.64.1.0]", &[
        "99:30 sessions.090-1234-5701.number: no tenant has registered +819012345701 on this access",
    ]),
    (MEC, "number: 090-1234-5700, addresses: [100.64.1.0]", "number: 090-1234-5700, addresses: [100.64.0.3]", &[
        "99:57 sessions.090-1234-5700.addresses.0: another session of the access has this address",
    ]),
    (MEC, "addresses: [100.64.0.1, \"2001:db8:64:1::/64\"]}\n  - {access: mobile, number: 090-1234-5602, addresses: [100.64.0.2]}", "addresses: [100.64.0.1]}\n  - {access: mobile, number: 090-1234-5602, addresses: [100.64.0.2, \"2001:db8:64:1::1\"]}", &[
        "96:69 sessions.090-1234-5602.addresses.1: 2001:db8:64:1::1 is kept for another line",
    ]),
    (MEC, "number: 090-1234-5700, addresses: [100.64.1.0]", "number: 090-1234-5700, addresses: [100.65.1.0]", &[
        "99:57 sessions.090-1234-5700.addresses.0: 100.65.1.0 is in no pool of the access",
    ]),
    (MEC, "number: 090-1234-5700, addresses: [100.64.1.0]", "number: 090-1234-5602, addresses: [100.64.1.0]", &[
        "99:30 sessions.090-1234-5602.number: +819012345602 has a session already",
    ]),
    (MEC, "number: 090-1234-5700, addresses: [100.64.1.0]", "number: 090-1234-5700, addresses: []", &[
        "99:5 sessions.090-1234-5700: addresses is empty",
    ]),
    (MEC, "number: 090-1234-5601, addresses: [100.64.0.1, ", "number: 090-1234-5601, addresses: [100.64.0.5, ", &[
        "95:57 sessions.090-1234-5601.addresses.0: 100.64.0.5 is not a fixed address of the line",
    ]),
    (MEC, "access: mobile, number: 090-1234-5700", "access: mobil, number: 090-1234-5700", &[
        "99:14 sessions.090-1234-5700.access: no access `mobil`",
    ]),
    (MEC, "next_hop: {address: 172.16.0.1}", "next_hop: {adress: 172.16.0.1}", &[
        "84:16 accesses.mobile.next_hop.adress: unknown field `adress`",
    ]),
    (MEC, "    interface: eth2\n    vlan: 300", "    interface: eth1", &[
        "102:16 uplinks.headquarters.interface: eth1 untagged belongs to another network, uplink or access",
    ]),
];
