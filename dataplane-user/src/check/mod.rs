//! Is the site file right? Every error of it at once, or the site.
//!
//! Each pass reports what it finds and hands on what it could make out; a name
//! or number that is wrong itself is not reported again where it is used.

mod attachment;
mod budget;
mod filter;
mod host;
mod limit;
mod link;
mod mobile;
mod names;
mod network;
mod port;
mod prefix;
mod rate;
mod router;
mod session;
mod uplink;

#[cfg(test)]
pub(crate) mod tests;

use crate::config::diagnostic::Lines;
use crate::config::file::File;
use crate::config::tree::{NodeId, Tree};
use crate::config::{At, Diagnostic, Findings, NumberText, Placed, Reader, json};
use crate::model::{Ix, Number, NumberError, PortIx, Security, Site, Tenant};
use attachment::Attachments;
use names::{Lists, Names};

pub use limit::{ALL as LIMITS, Limit};

/// What became of a site file.
#[derive(Debug)]
pub struct Checked {
    /// Errors and warnings, sorted by position.
    pub diagnostics: Vec<Diagnostic>,
    /// The site, if there is no error.
    pub site: Option<Site>,
    tree: Tree,
    root: Option<NodeId>,
}

impl Checked {
    /// What the file says, as it is shown; `null` if nothing of it could be made out.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        self.root.map_or(serde_json::Value::Null, |root| json::of(&self.tree, root))
    }
}

/// Checks a site file, YAML or JSON, but for the room that rules take: that is known when they are
/// compiled.
pub fn check(text: &str) -> Checked {
    check_with(text, |_, _, _| ())
}

/// Is it written as a site file is? What its names mean is not asked: they may be others'.
pub fn shape(text: &str) -> Checked {
    let mut out = Findings::default();
    let (tree, root) = Tree::parse(text, &mut out);
    root.and_then(|root| Reader::file(&tree, root, &mut out));
    Checked { diagnostics: out.locate(text, &tree), site: None, tree, root }
}

/// Checks a site file, and compiles its rules to know whether they take too much room.
pub fn check_all(text: &str) -> Checked {
    check_with(text, budget::affordable)
}

fn check_with(text: &str, more: impl Fn(&mut Context<'_>, &Lists<'_>, &Site)) -> Checked {
    let mut out = Findings::default();
    let (tree, root) = Tree::parse(text, &mut out);
    let site = root.and_then(|root| {
        let file = Reader::file(&tree, root, &mut out)?;
        let country = file.country_code.optional();
        let lines = Lines::new(text);
        site(&mut Context { tree: &tree, lines, out: &mut out, country }, &file, more)
    });
    let site = site.filter(|_| !out.any_error());
    Checked { diagnostics: out.locate(text, &tree), site, tree, root }
}

fn site(
    cx: &mut Context<'_>,
    file: &File,
    more: impl Fn(&mut Context<'_>, &Lists<'_>, &Site),
) -> Option<Site> {
    cx.limit(file.tenants.items(), limit::TENANTS);
    let lists = Lists::new(cx, file);
    let names = Names::new(cx, file, &lists);
    let mut attachments = Attachments::default();

    let legs = router::legs(cx, &lists, &names);
    let segments = network::segments(cx, &lists, &legs);
    router::subnets_apart(cx, &legs, &segments);
    let routers = router::routers(cx, file, &lists, &names, &legs, &segments);
    let groups = filter::groups(cx, &lists, &names);
    let address_groups = filter::address_groups(cx, &lists);
    let ports = port::ports(cx, &lists, &names, &legs, &segments, &mut attachments);
    let gates = mobile::accesses(cx, file, &mut attachments);
    let inside = uplink::Inside {
        names: &names,
        legs: &legs,
        routers: &routers,
        segments: &segments,
        gates: &gates,
    };
    let uplinks = uplink::uplinks(cx, file, &inside, &mut attachments);
    let entitled = mobile::entitlements(cx, file, &names);
    let around = mobile::Around {
        names: &names,
        legs: &legs,
        gates: &gates,
        uplinks: &uplinks,
        entitled: &entitled,
    };
    let registry = mobile::lines(cx, &lists, &around);
    let line_groups = mobile::line_groups(cx, &lists, &names);
    let sessions = session::sessions(cx, file, &names, &gates, &registry);
    mobile::pools_apart(cx, &gates, &lists, &registry, &segments);

    let tenants = file.tenants.items().iter();
    let mut groups: Vec<_> = all(groups)?;
    let ports: Vec<_> = all(ports)?;
    for (position, port) in ports.iter().enumerate() {
        if let Security::On { groups: members, .. } = &port.security {
            for group in members {
                groups[group.position()].ports.push(PortIx::new(position));
            }
        }
    }
    let site = Site {
        country_code: cx.country.flatten().map(|code| code.0),
        tenants: all(tenants.map(|t| t.name.value().map(|name| Tenant { name })))?,
        attachments: attachments.table(),
        networks: all(segments.into_iter().map(|segment| segment.network))?,
        ports: ports.into(),
        routers: all(routers)?,
        groups: groups.into(),
        address_groups: all(address_groups)?,
        lines: all(registry.lines)?,
        line_groups: all(line_groups)?,
        uplinks: all(uplinks.into_iter().map(|uplink| uplink.uplink))?,
        accesses: all(gates.into_iter().map(|gate| gate.access))?,
        entitlements: all(entitled.list)?,
        sessions: all(sessions)?,
    };
    router::next_hops_known(cx, &lists, &site);
    network::floods_affordable(cx, &lists, &site);
    if !cx.out.any_error() {
        more(cx, &lists, &site);
    }
    Some(site)
}

/// All of them, or none if one could not be made out.
fn all<T, C: From<Vec<T>>>(parts: impl IntoIterator<Item = Option<T>>) -> Option<C> {
    parts.into_iter().collect::<Option<Vec<T>>>().map(C::from)
}

/// What every pass needs.
struct Context<'a> {
    tree: &'a Tree,
    lines: Lines<'a>,
    out: &'a mut Findings,
    /// `None`: the country code is wrong, so a national number may be right.
    country: Option<Option<crate::config::CountryCode>>,
}

impl Context<'_> {
    /// Reports an error, with what is allowed or was meant.
    fn error(&mut self, place: NodeId, message: impl Into<String>, help: &str) {
        let found = self.out.error(place, message);
        if !help.is_empty() {
            found.help(help);
        }
    }

    /// Another place of the file, for a message.
    fn see(&self, node: NodeId) -> String {
        format!("{} (line {})", self.tree.path(node), self.line(node))
    }

    fn line(&self, node: NodeId) -> usize {
        self.lines.line_of(self.tree.node(node).span.start).0
    }

    /// Reports a list that is too long.
    fn limit<T: Placed>(&mut self, list: &[T], limit: Limit) {
        if let Some(excess) = list.get(limit.max) {
            let message = format!("{} {}", list.len(), limit.what);
            let help = format!("at most {} are supported ({})", limit.max, limit.name);
            self.error(excess.node(), message, &help);
        }
    }

    fn number(&mut self, at: &At<NumberText>) -> Option<Number> {
        self.number_of(&at.value.0, at.node)
    }

    fn number_of(&mut self, text: &str, node: NodeId) -> Option<Number> {
        match Number::parse(text, self.country.flatten().map(|code| code.0)) {
            Ok(number) => Some(number),
            Err(NumberError::NoCountry) if self.country.is_none() => None,
            Err(error) => {
                let text = crate::config::tree::quote(text);
                let message = format!("`{text}` is not a telephone number: {error}");
                self.error(node, message, "the international spelling always works: +819012345678");
                None
            }
        }
    }
}
