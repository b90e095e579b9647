//! The file's text.

use super::{Port, Spec, Tenant};

impl Spec {
    /// As YAML.
    #[must_use]
    pub fn yaml(&self) -> String {
        let mut text = String::from("version: 1\n");
        let mut section = |name: &str, items: Vec<String>| {
            if !items.is_empty() {
                text.push_str(&format!("{name}:\n"));
                items.iter().for_each(|item| text.push_str(&format!("  - {item}\n")));
            }
        };
        section("tenants", self.tenants.iter().map(tenant).collect());
        let uplinks = self.uplinks.iter().map(|up| {
            let exports = up.exports.iter().map(|(to, rest)| format!("{{prefix: '{to}', {rest}}}"));
            format!(
                "{{name: {}, interface: {}, vlan: {}, service_vlan: {}, addresses: {}, next_hops: {}, exports: {}, \
                 protected: {}{}}}",
                up.name,
                up.name,
                up.vlan,
                up.service_vlan,
                quoted(&up.addresses),
                list(up.next_hops.iter().map(neighbour)),
                list(exports),
                quoted(&up.protected),
                host(&up.host)
            )
        });
        section("uplinks", uplinks.map(without_vlan_0).collect());
        let accesses = self.accesses.iter().map(|at| {
            format!(
                "{{name: {}, interface: {}, addresses: {}, next_hop: {}, pools: {}{}}}",
                at.name,
                at.name,
                quoted(&at.addresses),
                neighbour(&at.next_hop),
                quoted(&at.pools),
                host(&at.host)
            )
        });
        section("accesses", accesses.collect());
        let lines = self.tenants.iter().flat_map(|of| of.lines.iter().map(move |line| (of, line)));
        let entitled = lines.map(|(of, line)| {
            let (tenant, access, number) = (&of.name, &line.access, &line.number);
            format!("{{tenant: {tenant}, access: {access}, numbers: ['{number}']}}")
        });
        section("entitlements", entitled.collect());
        let sessions = self.sessions.iter().map(|session| {
            let (access, number) = (&session.access, &session.number);
            let addresses = quoted(&session.addresses);
            format!("{{access: {access}, number: '{number}', addresses: {addresses}}}")
        });
        section("sessions", sessions.collect());
        text
    }
}

fn tenant(of: &Tenant) -> String {
    let mut text = format!("name: {}\n", of.name);
    let mut section = |name: &str, items: Vec<String>| {
        if !items.is_empty() {
            text.push_str(&format!("    {name}:\n"));
            items.iter().for_each(|item| text.push_str(&format!("      - {item}\n")));
        }
    };
    let networks = of.networks.iter().map(|net| {
        let subnets = list(net.subnets.iter().map(|cidr| format!("{{cidr: '{cidr}'}}")));
        format!("{{name: {}, mec_only: {}, subnets: {subnets}}}", net.name, net.mec_only)
    });
    section("networks", networks.collect());
    section("ports", of.ports.iter().map(port).collect());
    let routers = of.routers.iter().map(|router| {
        let interfaces = list(router.interfaces.iter().map(|net| format!("{{network: {net}}}")));
        let routes = router.routes.iter();
        let routes = list(routes.map(|(to, rest)| format!("{{destination: '{to}', {rest}}}")));
        let limits = router.limits.as_ref().map_or(String::new(), |of| format!(", limits: {of}"));
        format!("{{name: {}, interfaces: {interfaces}, routes: {routes}{limits}}}", router.name)
    });
    section("routers", routers.collect());
    let groups = of.groups.iter().map(|group| {
        let rules = list(group.rules.iter().map(|rule| format!("{{{rule}}}")));
        format!("{{name: {}, stateful: {}, rules: {rules}}}", group.name, group.stateful)
    });
    section("security_groups", groups.collect());
    let sets = of.address_groups.iter();
    let sets = sets.map(|(name, all)| format!("{{name: {name}, addresses: {}}}", quoted(all)));
    section("address_groups", sets.collect());
    let lines = of.lines.iter().map(|line| {
        let state = if line.suspended { "suspended" } else { "active" };
        let groups = line
            .groups
            .as_ref()
            .map_or(String::new(), |groups| format!(", security_groups: {}", quoted(groups)));
        format!(
            "{{name: {}, number: '{}', access: {}, state: {state}, {}{groups}}}",
            line.name, line.number, line.access, line.destination
        )
    });
    section("lines", lines.collect());
    let sets = of.line_groups.iter();
    let sets = sets.map(|(name, all)| format!("{{name: {name}, lines: {}}}", quoted(all)));
    section("line_groups", sets.collect());
    text
}

fn port(port: &Port) -> String {
    let pairs = port.pairs.iter().map(|(addr, mac)| {
        let mac = mac.as_ref().map_or(String::new(), |mac| format!(", mac_address: '{mac}'"));
        format!("{{ip_address: '{addr}'{mac}}}")
    });
    let security = match &port.groups {
        Some(groups) => format!("security_groups: {}", quoted(groups)),
        None => "port_security: false".to_owned(),
    };
    let limits = match port.limits.as_slice() {
        [] => String::new(),
        limits => format!(", limits: {{{}}}", limits.join(", ")),
    };
    without_vlan_0(format!(
        "{{name: {}, network: {}, interface: {}, vlan: {}, service_vlan: {}, mac: '{}', fixed_ips: {}, \
         allowed_address_pairs: {}, {security}, dhcp_server: {}{limits}}}",
        port.name,
        port.network,
        port.interface,
        port.vlan,
        port.service_vlan,
        port.mac,
        quoted(&port.fixed_ips),
        list(pairs),
        port.dhcp_server
    ))
}

fn without_vlan_0(text: String) -> String {
    text.replace(" vlan: 0,", "").replace(" service_vlan: 0,", "")
}

fn neighbour((address, mac): &(String, Option<String>)) -> String {
    let mac = mac.as_ref().map_or(String::new(), |mac| format!(", mac: '{mac}'"));
    format!("{{address: '{address}'{mac}}}")
}

fn host(entries: &[String]) -> String {
    let entries = list(entries.iter().map(|entry| format!("{{{entry}}}")));
    if entries == "[]" { String::new() } else { format!(", host: {{addresses: {entries}}}") }
}

fn quoted(all: &[String]) -> String {
    list(all.iter().map(|text| format!("'{text}'")))
}

fn list(all: impl Iterator<Item = String>) -> String {
    format!("[{}]", all.collect::<Vec<_>>().join(", "))
}
