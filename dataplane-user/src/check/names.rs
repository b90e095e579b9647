//! Who is meant? Names become indexes: an object's index is its position in
//! the file among all objects of its kind.

use std::collections::HashMap;

use super::{Context, limit};
use crate::config::file::{
    AddressGroup, File, Line, LineGroup, Network, Port, Router, SecurityGroup, Tenant,
};
use crate::config::tree::{NodeId, quote};
use crate::config::{At, Field, NumberText, Placed, nearest};
use crate::model::{
    AccessIx, AddressGroupIx, GroupIx, Ix, LineGroupIx, LineIx, Name, NetworkIx, Number, PortIx,
    RouterIx, TenantIx, UplinkIx,
};

/// An object of the file and its tenant.
type Owned<'a, T> = (TenantIx, &'a T);

/// The tenants' objects by kind, in the order of their indexes.
pub(super) struct Lists<'a> {
    pub tenants: &'a [Tenant],
    pub networks: Vec<Owned<'a, Network>>,
    pub ports: Vec<Owned<'a, Port>>,
    pub routers: Vec<Owned<'a, Router>>,
    /// `None`: the tenant's `default`, which it did not define.
    pub groups: Vec<(TenantIx, Option<&'a SecurityGroup>)>,
    pub address_groups: Vec<Owned<'a, AddressGroup>>,
    pub lines: Vec<Owned<'a, Line>>,
    /// The lines' numbers.
    pub numbers: Vec<Option<Number>>,
    pub line_groups: Vec<Owned<'a, LineGroup>>,
}

impl<'a> Lists<'a> {
    pub fn new(cx: &mut Context<'_>, file: &'a File) -> Self {
        let tenants: Vec<_> = file.tenants.items().iter().enumerate().collect();
        macro_rules! list {
            ($field:ident) => {
                tenants
                    .iter()
                    .flat_map(|(ix, tenant)| {
                        tenant.$field.items().iter().map(|item| (TenantIx::new(*ix), item))
                    })
                    .collect()
            };
        }
        let mut groups = Vec::new();
        for (ix, tenant) in &tenants {
            let own = tenant.security_groups.items();
            cx.limit(own, limit::GROUPS_PER_TENANT);
            groups.extend(own.iter().map(|group| (TenantIx::new(*ix), Some(group))));
            let default = Name::default_group();
            if !own.iter().any(|group| group.name.value().as_ref() == Some(&default)) {
                groups.push((TenantIx::new(*ix), None));
            }
        }
        let lines: Vec<Owned<'a, Line>> = list!(lines);
        let numbers = lines.iter().map(|(_, line)| cx.number(line.number.given()?)).collect();
        Lists {
            tenants: file.tenants.items(),
            networks: list!(networks),
            ports: list!(ports),
            routers: list!(routers),
            groups,
            address_groups: list!(address_groups),
            lines,
            numbers,
            line_groups: list!(line_groups),
        }
    }
}

/// The names of one kind in one place.
pub(super) struct Scope<I> {
    what: &'static str,
    names: HashMap<Name, (I, NodeId)>,
    /// False: the list or a name in it is wrong, so nobody knows all names.
    whole: bool,
}

impl<I: Ix> Scope<I> {
    fn new(what: &'static str, whole: bool) -> Self {
        Scope { what, names: HashMap::new(), whole }
    }

    fn add(&mut self, cx: &mut Context<'_>, name: &Field<At<Name>>, ix: I) {
        self.whole &= !name.is_broken();
        let Some(at) = name.given() else { return };
        if let Some((_, first)) = self.names.get(&at.value) {
            let message = format!("there is another {} `{}`", self.what, at.value);
            let help = format!("the first is {}", cx.see(*first));
            cx.error(at.node, message, &help);
        } else {
            self.names.insert(at.value.clone(), (ix, at.node));
        }
    }

    /// The object that is meant.
    pub fn find(&self, cx: &mut Context<'_>, at: &At<Name>) -> Option<I> {
        if let Some((ix, _)) = self.names.get(&at.value) {
            return Some(*ix);
        }
        self.unknown(cx, at.value.as_str(), at.node);
        None
    }

    fn unknown(&self, cx: &mut Context<'_>, word: &str, node: NodeId) {
        let known = || self.names.keys().map(Name::as_str);
        let help = match nearest(word, known()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if !self.whole => return,
            None if self.names.is_empty() => format!("no {} is defined here", self.what),
            None => {
                const SHOWN_MAX: usize = 10;
                let mut some: Vec<_> = known().collect();
                some.sort_unstable();
                let more = if some.len() > SHOWN_MAX { ", …" } else { "" };
                some.truncate(SHOWN_MAX);
                format!("defined here: {}{more}", some.join(", "))
            }
        };
        cx.error(node, format!("no {} `{}`", self.what, quote(word)), &help);
    }
}

/// The names inside a tenant.
pub(super) struct Within {
    pub networks: Scope<NetworkIx>,
    pub routers: Scope<RouterIx>,
    pub groups: Scope<GroupIx>,
    pub address_groups: Scope<AddressGroupIx>,
    pub line_groups: Scope<LineGroupIx>,
    lines: Scope<LineIx>,
    numbers: HashMap<Number, Vec<LineIx>>,
}

/// All names.
pub(super) struct Names {
    pub tenants: Scope<TenantIx>,
    pub uplinks: Scope<UplinkIx>,
    pub accesses: Scope<AccessIx>,
    within: Vec<Within>,
}

impl Names {
    pub fn new(cx: &mut Context<'_>, file: &File, lists: &Lists<'_>) -> Self {
        let mut tenants = Scope::new("tenant", file.tenants.whole());
        let mut within = Vec::new();
        let mut ports = Vec::new();
        for (ix, tenant) in file.tenants.items().iter().enumerate() {
            tenants.add(cx, &tenant.name, TenantIx::new(ix));
            ports.push(Scope::<PortIx>::new("port", true));
            within.push(Within {
                networks: Scope::new("network", tenant.networks.whole()),
                routers: Scope::new("router", tenant.routers.whole()),
                groups: Scope::new("security group", tenant.security_groups.whole()),
                address_groups: Scope::new("address group", tenant.address_groups.whole()),
                line_groups: Scope::new("line group", tenant.line_groups.whole()),
                lines: Scope::new("line", tenant.lines.whole()),
                numbers: HashMap::new(),
            });
        }
        macro_rules! add {
            ($field:ident) => {
                for (ix, (tenant, item)) in lists.$field.iter().enumerate() {
                    within[tenant.position()].$field.add(cx, &item.name, Ix::new(ix));
                }
            };
        }
        add!(networks);
        add!(routers);
        add!(address_groups);
        add!(lines);
        add!(line_groups);
        for (ix, (tenant, port)) in lists.ports.iter().enumerate() {
            ports[tenant.position()].add(cx, &port.name, Ix::new(ix));
        }
        for (ix, (tenant, group)) in lists.groups.iter().enumerate() {
            let groups = &mut within[tenant.position()].groups;
            match group {
                Some(group) => groups.add(cx, &group.name, Ix::new(ix)),
                None => {
                    let at = file.tenants.items()[tenant.position()].node;
                    groups.names.insert(Name::default_group(), (Ix::new(ix), at));
                }
            }
        }
        for (ix, ((tenant, _), number)) in lists.lines.iter().zip(&lists.numbers).enumerate() {
            let within = &mut within[tenant.position()];
            match number {
                Some(number) => within.numbers.entry(*number).or_default().push(LineIx::new(ix)),
                None => within.lines.whole = false,
            }
        }
        let mut uplinks = Scope::new("uplink", file.uplinks.whole());
        for (ix, uplink) in file.uplinks.items().iter().enumerate() {
            uplinks.add(cx, &uplink.name, Ix::new(ix));
        }
        let mut accesses = Scope::new("access", file.accesses.whole());
        for (ix, access) in file.accesses.items().iter().enumerate() {
            accesses.add(cx, &access.name, Ix::new(ix));
        }
        Names { tenants, uplinks, accesses, within }
    }

    /// The names inside a tenant.
    pub fn of(&self, tenant: TenantIx) -> &Within {
        &self.within[tenant.position()]
    }
}

/// Whether a word that stands for a line is its name; else it is its number.
pub(super) fn is_name_of_line(word: &str) -> bool {
    word.bytes().any(|c| c.is_ascii_lowercase())
}

impl Within {
    /// The security group that a port without the field is in.
    pub fn default_group(&self) -> Option<GroupIx> {
        self.groups.names.get(&Name::default_group()).map(|(ix, _)| *ix)
    }

    /// The line that is meant: by name if the word has a letter, else by number.
    pub fn line(&self, cx: &mut Context<'_>, at: &At<NumberText>) -> Option<LineIx> {
        let word = at.value.0.as_str();
        if is_name_of_line(word)
            && let Some(name) = Name::new(word)
        {
            return self.lines.find(cx, &At { value: name, node: at.node() });
        }
        let number = cx.number(at)?;
        match self.numbers.get(&number).map(Vec::as_slice) {
            Some([line]) => Some(*line),
            Some(_) => {
                let message = format!("{number} is a line on more than one access");
                cx.error(at.node, message, "give the lines names and use one of them here");
                None
            }
            None => {
                self.lines.unknown(cx, &number.to_string(), at.node);
                None
            }
        }
    }
}
