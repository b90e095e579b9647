//! Would the host be cut off from its operator?
//!
//! An interface that is given to sekisho is lost to the host, but for what `host:` lists.
//! One by which the host reaches the world, or by which its operator is logged in right
//! now, is not taken by mistake.

use std::net::{IpAddr, SocketAddr};

use crate::{
    desired::log::By,
    load::{self, Attach, Interfaces, Ways},
    model::{HostShare, Site},
};

/// Who asks for a site, and how earnestly.
#[derive(Clone, Default, Debug)]
pub struct Asker {
    /// Take interfaces that the host needs, too.
    pub force: bool,
    /// The connection by which the asker is logged in, as sshd(8) tells it: the client's
    /// address and port, the server's address and port.
    pub ssh_connection: Option<String>,
    /// Who it is, for the log.
    pub by: By,
}

impl Asker {
    /// Whoever runs this process.
    #[must_use]
    pub fn here(force: bool) -> Self {
        let ssh_connection = std::env::var("SSH_CONNECTION").ok();
        Self { force, ssh_connection, ..Self::default() }
    }

    fn ssh(&self) -> Option<Ssh> {
        let words: Vec<_> = self.ssh_connection.as_ref()?.split_whitespace().collect();
        let &[client, _, server, port] = words.as_slice() else { return None };
        let server = SocketAddr::new(server.parse().ok()?, port.parse().ok()?);
        Some(Ssh { client: client.parse().ok()?, server })
    }
}

/// A login over the network.
struct Ssh {
    client: IpAddr,
    server: SocketAddr,
}

/// What the host needs, as it is now.
pub struct Lifeline {
    ways: Ways,
    ssh: Option<(Ssh, Option<u32>)>,
}

impl Lifeline {
    /// None: nothing is to be looked after.
    pub fn look(asker: &Asker) -> Result<Option<Self>, load::Error> {
        if asker.force {
            return Ok(None);
        }
        let ways = Ways::look()?;
        let ssh = match asker.ssh() {
            Some(ssh) => {
                let way = Ways::to(ssh.client)?;
                Some((ssh, way))
            }
            None => None,
        };
        Ok(Some(Self { ways, ssh }))
    }

    /// Refuses an interface that the host cannot do without, unless enough of it is the
    /// host's.
    pub fn check(&self, site: &Site, attach: &Attach, now: &Interfaces) -> Result<(), load::Error> {
        // One that is absent carries nothing.
        let Some(found) = now.get(&attach.interface) else { return Ok(()) };
        let of = || shares(site, &attach.interface);
        let (interface, wanted_by) = (attach.interface.clone(), attach.wanted_by.clone());
        // What stands on the interface goes with it.
        let parts = now.with_parts(found);
        if let Some((ssh, way)) = &self.ssh {
            let (own, port) = (ssh.server.ip(), ssh.server.port());
            let is_here =
                parts.iter().any(|part| part.addresses.contains(&own) || *way == Some(part.index));
            if is_here && !of().any(|share| share.has_tcp(own, port, ssh.client)) {
                let (address, client) = (own, ssh.client);
                return Err(load::Error::OwnLogin { interface, wanted_by, address, port, client });
            }
        }
        for (is_v4, family) in [(true, "IPv4"), (false, "IPv6")] {
            let is_covered =
                || of().any(|share| share.addresses().iter().any(|own| own.is_ipv4() == is_v4));
            let default = parts.iter().find_map(|part| self.ways.default(part.index, is_v4));
            if let Some(route) = default.filter(|_| !is_covered()) {
                let route = route.to_owned();
                return Err(load::Error::DefaultRoute { interface, wanted_by, family, route });
            }
        }
        Ok(())
    }
}

/// What is the host's on an interface, at any of its attachments.
fn shares<'s>(site: &'s Site, interface: &str) -> impl Iterator<Item = &'s HostShare> {
    let on_it = site.attachments.iter().filter(move |(_, at)| at.interface.as_str() == interface);
    on_it.filter_map(|(ix, _)| site.host_at(ix)).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_read() {
        let of = |text: &str| Asker { ssh_connection: Some(text.into()), ..Asker::default() }.ssh();
        let ssh = of("203.0.113.7 50000 198.51.100.2 22").expect("a login");
        assert_eq!(ssh.client, IpAddr::from([203, 0, 113, 7]));
        assert_eq!(ssh.server, SocketAddr::from(([198, 51, 100, 2], 22)));
        assert!(of("2001:db8::7 50000 2001:db8::2 22").is_some());
        for none in ["", "203.0.113.7", "a b c d", "203.0.113.7 1 198.51.100.2 x"] {
            assert!(of(none).is_none(), "{none:?}");
        }
    }
}
