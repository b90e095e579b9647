//! What is to be attached, and what is?

use aya::programs::ProgramError;
use dataplane_common::addr::Mac;

use super::{
    Error,
    hook::{Hook, Hooked, Role, Shared},
    interface::Interface,
};

/// An interface that is to be ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attach {
    /// Its name.
    pub interface: String,
    /// Which object of the configuration asks for it (`uplink internet`), for messages.
    pub wanted_by: String,
    /// What it is to us.
    pub role: Role,
    /// Where the program is to sit.
    pub hook: Hook,
    /// What is left to the host.
    pub shared: Shared,
}

impl Attach {
    /// Where the program is to sit, if it can.
    pub(super) const fn hooked(&self) -> Hooked {
        match (self.hook, self.role) {
            (Hook::Xdp, _) | (Hook::Auto, Role::Uplink | Role::Access) => Hooked::Xdp,
            (Hook::Tcx, _) | (Hook::Auto, Role::Port) => Hooked::Tcx,
        }
    }

    /// A bond lends its program to its members, whose packets we do not know for its own; at
    /// tcx they are, and LACP has been taken out.
    pub(super) fn check_kind(&self, interface: &Interface) -> Result<(), Error> {
        let kind = interface.kind.clone();
        if self.hooked() == Hooked::Xdp && matches!(kind.as_str(), "bond" | "team") {
            let (interface, wanted_by) = (self.interface.clone(), self.wanted_by.clone());
            return Err(Error::XdpOnBond { interface, wanted_by, kind });
        }
        Ok(())
    }

    pub(super) fn missing(&self) -> Error {
        let (interface, wanted_by) = (self.interface.clone(), self.wanted_by.clone());
        Error::InterfaceMissing { interface, wanted_by, names: Vec::new() }
    }

    pub(super) fn twice(&self) -> Error {
        let (interface, wanted_by) = (self.interface.clone(), self.wanted_by.clone());
        Error::InterfaceTwice { interface, wanted_by }
    }

    pub(super) fn refused(&self, program: &'static str, error: ProgramError) -> Error {
        Error::Attach {
            interface: self.interface.clone(),
            wanted_by: self.wanted_by.clone(),
            program,
            source: Box::new(error),
        }
    }
}

/// An interface that is ours.
#[derive(Debug)]
pub struct Attached {
    /// As it was found, or as it is by now.
    pub interface: Interface,
    /// What it is to us.
    pub role: Role,
    /// Where the program sits.
    pub hooked: Hooked,
    /// How it is sent to: [`dataplane_common::table::next_hop::output_kind`].
    pub output_kind: u32,
    /// What the operator has to know.
    pub warning: Option<Warning>,
}

/// What the operator has to know about an attachment.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Warning {
    #[error("{refusal}; tcx is used, at which a dropped packet costs more")]
    FellBack { refusal: Error },
    #[error(
        "{wanted_by}: XDP on port {interface}: what a server leaves to its NIC (checksums, \
         segmentation) is lost on the way to NICs and other ports; switch it off in the server"
    )]
    XdpOnPort { interface: String, wanted_by: String },
}

impl Attached {
    pub(super) fn new(
        attach: &Attach,
        interface: Interface,
        hooked: Hooked,
        warning: Option<Warning>,
    ) -> Self {
        let role = attach.role;
        let output_kind = interface.output_kind(role, hooked);
        Self { interface, role, hooked, output_kind, warning }
    }

    /// Notes how the interface is now; answers whether that is news to the tables.
    pub fn follow(&mut self, now: &Interface) -> bool {
        if now.index != self.interface.index {
            // Another one by that name, on which nothing of ours is yet.
            return false;
        }
        let output_kind = now.output_kind(self.role, self.hooked);
        let known = (self.interface.mac, self.interface.mtu_bytes, self.output_kind);
        let is_news = known != (now.mac, now.mtu_bytes, output_kind);
        self.interface = now.clone();
        self.output_kind = output_kind;
        is_news
    }

    /// The MAC of the interface.
    #[must_use]
    pub const fn mac(&self) -> Mac {
        self.interface.mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bond_has_no_xdp() {
        let mut bond = Interface::find("lo", "a test").expect("every namespace has one");
        let attach = |hook| Attach {
            interface: "bond0".into(),
            wanted_by: "uplink out".into(),
            role: Role::Uplink,
            hook,
            shared: Shared::default(),
        };
        for (kind, hook, is_refused) in [
            ("bond", Hook::Auto, true),
            ("bond", Hook::Xdp, true),
            ("team", Hook::Xdp, true),
            ("bond", Hook::Tcx, false),
            ("veth", Hook::Xdp, false),
        ] {
            bond.kind = kind.into();
            let refused = attach(hook).check_kind(&bond);
            assert_eq!(refused.is_err(), is_refused, "{kind} {hook:?}: {refused:?}");
        }
    }
}
