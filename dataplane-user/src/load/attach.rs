//! How do programs get onto interfaces?
//!
//! A NIC gets XDP in its driver and, at tcx, the program that delivers what XDP
//! decided; a tenant's port gets tcx. Each is held by a link that is pinned, so it
//! stays when this process ends. Several interfaces are attached all or none.
//!
//! In this order, so that the host's stack never sees a packet: settings, the
//! delivering program (which drops what no XDP program has decided), the entry
//! program, and only then the interface is set up.

use std::{fs, io, path::Path};

use aya::{
    Ebpf,
    maps::{MapData, xdp::DevMapHash},
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, XdpMode,
        links::{FdLink, LinkError, PinnedLink},
        tc::TcAttachOptions,
    },
    sys::SyscallError,
};
use dataplane_common::addr::Mac;

use super::{
    Error,
    held::{self, Held},
    hook::{Hook, Hooked, Role, Shared},
    interface::{Interface, Interfaces},
    maps,
    place::Place,
    programs::{self, DELIVER, TC, XDP},
    settings,
    state::{Before, State},
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
    const fn hooked(&self) -> Hooked {
        match (self.hook, self.role) {
            (Hook::Xdp, _) | (Hook::Auto, Role::Uplink | Role::Access) => Hooked::Xdp,
            (Hook::Tcx, _) | (Hook::Auto, Role::Port) => Hooked::Tcx,
        }
    }

    /// A bond lends its program to its members, whose packets we do not know for its own; at
    /// tcx they are, and LACP has been taken out.
    fn check_kind(&self, interface: &Interface) -> Result<(), Error> {
        let kind = interface.kind.clone();
        if self.hooked() == Hooked::Xdp && matches!(kind.as_str(), "bond" | "team") {
            let (interface, wanted_by) = (self.interface.clone(), self.wanted_by.clone());
            return Err(Error::XdpOnBond { interface, wanted_by, kind });
        }
        Ok(())
    }

    fn missing(&self) -> Error {
        let (interface, wanted_by) = (self.interface.clone(), self.wanted_by.clone());
        Error::InterfaceMissing { interface, wanted_by, names: Vec::new() }
    }

    fn twice(&self) -> Error {
        let (interface, wanted_by) = (self.interface.clone(), self.wanted_by.clone());
        Error::InterfaceTwice { interface, wanted_by }
    }

    fn refused(&self, program: &'static str, error: ProgramError) -> Error {
        Error::Attach {
            interface: self.interface.clone(),
            wanted_by: self.wanted_by.clone(),
            program,
            source: Box::new(error),
        }
    }
}

/// What there is to undo if another interface cannot be attached.
struct Undo {
    name: String,
    /// As it was attached before, if it was.
    before: Option<Before>,
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
    fn new(
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

/// What attaching works with.
pub(super) struct Attaching<'l> {
    pub(super) place: &'l Place,
    pub(super) state: &'l mut State,
    pub(super) ebpf: &'l mut Ebpf,
    pub(super) nics: &'l mut DevMapHash<MapData>,
}

/// What holds a program on an interface, as named in the pin folder.
const LINKS: [(&str, &str); 3] = [("xdp", XDP), ("tcx", TC), ("deliver", DELIVER)];

/// What is going to be done to an interface that has nothing of ours.
struct Plan {
    before: Before,
    /// Why it is not XDP that it gets, if that was asked for.
    refusal: Option<Error>,
}

impl Plan {
    fn new(attach: &Attach, interface: &Interface) -> Result<Self, Error> {
        let planned = attach
            .check_kind(interface)
            .and_then(|()| settings::before(interface, attach.role, attach.hooked()));
        // What blinds XDP is a reason for tcx, too.
        let (mut before, refusal) = match planned {
            Ok(before) => (before, None),
            Err(refusal @ (Error::FeatureFixed { .. } | Error::XdpOnBond { .. }))
                if attach.hook == Hook::Auto =>
            {
                let before = settings::before(interface, attach.role, Hooked::Tcx)?;
                (Before { fell_back: true, ..before }, Some(refusal))
            }
            Err(error) => return Err(error),
        };
        before.shared = attach.shared.clone();
        Ok(Self { before, refusal })
    }
}

impl Attaching<'_> {
    /// Attaches all of them, or changes nothing.
    pub fn all(&mut self, wanted: &[Attach]) -> Result<Vec<Attached>, Error> {
        let found = self.find(wanted)?;
        let mut done = Vec::new();
        let attached = self.all_found(wanted, found, &mut done);
        if attached.is_err() {
            for undo in done.iter().rev() {
                if let Some(before) = &undo.before
                    && self.is_as_before(&undo.name, before)
                {
                    let _ = self.share(&undo.name, before.clone());
                    continue;
                }
                // What cannot be undone stays in the state file, for `detach`.
                let _ = self.undo(&undo.name);
                let attach = wanted.iter().find(|attach| attach.interface == undo.name);
                if let (Some(attach), Some(before)) = (attach, &undo.before) {
                    let _ = self.put_back(attach, before);
                }
            }
        }
        attached
    }

    /// Attaches them; `done` gets what there is to undo once there is something.
    fn all_found(
        &mut self,
        wanted: &[Attach],
        found: Vec<Interface>,
        done: &mut Vec<Undo>,
    ) -> Result<Vec<Attached>, Error> {
        let mut plans = Vec::new();
        for (attach, interface) in wanted.iter().zip(&found) {
            plans.push(self.plan(attach, interface)?);
        }
        // All of them in one writing, however many they are.
        for (attach, plan) in wanted.iter().zip(&plans) {
            if let Some(plan) = plan {
                done.push(Undo { name: attach.interface.clone(), before: None });
                self.state.remember(&attach.interface, plan.before.clone());
            }
        }
        self.write()?;
        let mut attached = Vec::new();
        for ((attach, interface), plan) in wanted.iter().zip(found).zip(plans) {
            attached.push(match plan {
                Some(plan) => self.fresh(attach, interface, plan)?,
                None => self.present(attach, interface, done)?,
            });
        }
        Ok(attached)
    }

    /// Attaches each that can be: one that is refused is none of the others' business.
    pub fn each(&mut self, wanted: &[Attach]) -> Result<Vec<Result<Attached, Error>>, Error> {
        let now = Interfaces::look()?;
        let mut planned = Vec::new();
        for attach in wanted {
            let found = self.find_one(&now, attach);
            let plan = found.and_then(|found| Ok((self.plan(attach, &found)?, found)));
            if let Ok((Some(plan), _)) = &plan {
                self.state.remember(&attach.interface, plan.before.clone());
            }
            planned.push(plan);
        }
        self.write()?;
        let mut attached = Vec::new();
        for (attach, planned) in wanted.iter().zip(planned) {
            attached.push(planned.and_then(|(plan, interface)| {
                match plan {
                    Some(plan) => self
                        .fresh(attach, interface, plan)
                        .inspect(|_| self.state.came_up(&attach.interface))
                        .inspect_err(|_| {
                            // What cannot be undone is undone when it is tried again.
                            let _ = self.undo(&attach.interface);
                        }),
                    None => self.present(attach, interface, &mut Vec::new()),
                }
            }));
        }
        self.write()?;
        Ok(attached)
    }

    /// The interfaces, if they are there and ours to take; else everything that is wrong.
    pub fn find(&self, wanted: &[Attach]) -> Result<Vec<Interface>, Error> {
        let now = Interfaces::look()?;
        let mut wrong = Vec::new();
        let mut found = Vec::new();
        for (index, attach) in wanted.iter().enumerate() {
            let is_twice = wanted[..index].iter().any(|other| other.interface == attach.interface);
            match if is_twice { Err(attach.twice()) } else { self.find_one(&now, attach) } {
                Ok(interface) => found.push(interface),
                Err(error) => wrong.push(error),
            }
        }
        Error::all(wrong).map(|()| found)
    }

    fn find_one(&self, now: &Interfaces, attach: &Attach) -> Result<Interface, Error> {
        let (name, wanted_by) = (&attach.interface, &attach.wanted_by);
        let interface = now.find(name, wanted_by)?;
        if self.is_ours(&interface)? {
            let before = self.state.interfaces.get(name);
            if before.is_some_and(|before| before.shared != attach.shared) {
                interface.check_addresses(wanted_by, &attach.shared)?;
            }
            return Ok(interface);
        }
        interface.check(wanted_by, &attach.shared)?;
        if is_guarded(name) {
            let (interface, wanted_by) = (name.clone(), wanted_by.clone());
            return Err(Error::GuardedAlready { interface, wanted_by });
        }
        if attach.hooked() == Hooked::Xdp && interface.xdp_program.is_some() {
            let id = interface.xdp_program;
            let (interface, wanted_by) = (name.clone(), wanted_by.clone());
            return Err(Error::XdpInUse { interface, wanted_by, id });
        }
        Ok(interface)
    }

    /// Is it attached already, by this process or one before?
    fn is_ours(&self, interface: &Interface) -> Result<bool, Error> {
        let Some(before) = self.state.interfaces.get(&interface.name) else { return Ok(false) };
        let is_same = before.ifindex == interface.index;
        Ok(is_same && held::held(self.place, &interface.name, before)? == Held::Yes)
    }

    /// What there is to do to an interface; none if it is attached already.
    fn plan(&self, attach: &Attach, interface: &Interface) -> Result<Option<Plan>, Error> {
        if self.is_ours(interface)? { Ok(None) } else { Plan::new(attach, interface).map(Some) }
    }

    /// What is attached already stays, unless another hook or role is asked for.
    fn present(
        &mut self,
        attach: &Attach,
        interface: Interface,
        done: &mut Vec<Undo>,
    ) -> Result<Attached, Error> {
        let name = &attach.interface;
        let Some(before) = self.state.interfaces.get(name).cloned() else {
            return Err(attach.missing());
        };
        let is_fallen_back = attach.hook == Hook::Auto && before.fell_back;
        let is_same = attach.hooked() == before.hooked || is_fallen_back;
        if is_same && attach.role == before.role {
            if before.shared != attach.shared {
                done.push(Undo { name: name.clone(), before: Some(before.clone()) });
                let shared = attach.shared.clone();
                self.share(name, Before { shared, ..before.clone() })?;
            }
            return Ok(Attached::new(attach, interface, before.hooked, None));
        }
        // At another hook than before: nothing passes in between.
        done.push(Undo { name: name.clone(), before: Some(before.clone()) });
        settings::set_up(name, interface.index, false)?;
        self.undo(name)?;
        self.anew(attach, before.is_up)
    }

    /// Leaves more or less to the host on an interface that stays attached.
    fn share(&mut self, name: &str, before: Before) -> Result<(), Error> {
        self.remember(name, &before)?;
        settings::share(name, &before)
    }

    /// Is it attached as it was, whatever is left to the host?
    fn is_as_before(&self, name: &str, before: &Before) -> bool {
        let now = self.state.interfaces.get(name);
        now.is_some_and(|now| {
            Before { shared: before.shared.clone(), ..now.clone() } == *before
                && held::held(self.place, name, now).is_ok_and(|held| held == Held::Yes)
        })
    }

    /// Attaches an interface as it was before something failed.
    fn put_back(&mut self, other: &Attach, before: &Before) -> Result<(), Error> {
        let hook = if before.hooked == Hooked::Xdp { Hook::Xdp } else { Hook::Tcx };
        let (role, shared) = (before.role, before.shared.clone());
        let attach = Attach { role, hook, shared, ..other.clone() };
        self.anew(&attach, before.is_up).map(drop)
    }

    /// Attaches an interface that was given back just now, and was up or not when it was
    /// found at first.
    fn anew(&mut self, attach: &Attach, was_up: bool) -> Result<Attached, Error> {
        let name = &attach.interface;
        let interface = Interface::find(name, &attach.wanted_by)?;
        let plan = Plan::new(attach, &interface)?;
        self.remember(name, &plan.before)?;
        let attached = self.fresh(attach, interface, plan)?;
        if let Some(mut before) = self.state.interfaces.get(name).cloned() {
            before.is_up = was_up;
            self.remember(name, &before)?;
        }
        Ok(attached)
    }

    /// Attaches an interface that has nothing of ours, and of which is remembered how it was.
    fn fresh(
        &mut self,
        attach: &Attach,
        interface: Interface,
        plan: Plan,
    ) -> Result<Attached, Error> {
        let name = &attach.interface;
        let wanted_by = &attach.wanted_by;
        let Plan { mut before, mut refusal } = plan;
        settings::take(name, &before)?;
        if before.hooked == Hooked::Xdp {
            match self.xdp(attach, interface.index) {
                Ok(()) => {}
                Err(error @ Error::XdpRefused { .. }) if attach.hook == Hook::Auto => {
                    settings::give_back_xdp(name, &mut before)?;
                    before.hooked = Hooked::Tcx;
                    before.fell_back = true;
                    self.remember(name, &before)?;
                    refusal = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        if before.hooked == Hooked::Tcx {
            self.tcx(attach, TC, "tcx")?;
        }
        if !interface.is_up {
            settings::set_up(name, interface.index, true)?;
        }
        let warning = match refusal {
            Some(refusal) => Some(Warning::FellBack { refusal }),
            None if before.hooked == Hooked::Xdp && attach.role == Role::Port => {
                Some(Warning::XdpOnPort { interface: name.clone(), wanted_by: wanted_by.clone() })
            }
            None => None,
        };
        Ok(Attached::new(attach, interface, before.hooked, warning))
    }

    fn xdp(&mut self, attach: &Attach, index: u32) -> Result<(), Error> {
        let interface = attach.interface.clone();
        let wanted_by = attach.wanted_by.clone();
        self.tcx(attach, DELIVER, "deliver")?;
        let program = programs::xdp(self.ebpf, XDP)?;
        let link = match program.attach_to_if_index(index, XdpMode::Driver) {
            Ok(id) => program.take_link(id),
            Err(error) => Err(error),
        };
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                unlink(self.place, &interface, "deliver")?;
                return Err(xdp_refused(attach, error));
            }
        };
        // Without a link of the kernel's own (before Linux 5.9) nothing would outlive us.
        let link = FdLink::try_from(link).map_err(|source| Error::Link {
            interface: interface.clone(),
            wanted_by: wanted_by.clone(),
            program: XDP,
            source,
        })?;
        self.nics.insert(index, index, None, 0).map_err(|error| {
            attach.refused(maps::NICS, ProgramError::IOError(io::Error::other(error)))
        })?;
        link.pin(self.place.link(&interface, "xdp")).map_err(|source| Error::PinLink {
            interface,
            wanted_by,
            program: XDP,
            source,
        })?;
        Ok(())
    }

    fn tcx(&mut self, attach: &Attach, name: &'static str, hook: &str) -> Result<(), Error> {
        let interface = attach.interface.clone();
        let wanted_by = attach.wanted_by.clone();
        let program = programs::tc(self.ebpf, name)?;
        // Before whoever else is there, who would see our packets undecided.
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let link = program
            .attach_with_options(&interface, TcAttachType::Ingress, options)
            .and_then(|id| program.take_link(id))
            .map_err(|error| attach.refused(name, error))?;
        let link = FdLink::try_from(link).map_err(|source| Error::Link {
            interface: interface.clone(),
            wanted_by: wanted_by.clone(),
            program: name,
            source,
        })?;
        link.pin(self.place.link(&interface, hook)).map_err(|source| Error::PinLink {
            interface,
            wanted_by,
            program: name,
            source,
        })?;
        Ok(())
    }

    fn remember(&mut self, name: &str, before: &Before) -> Result<(), Error> {
        self.state.remember(name, before.clone());
        self.write()
    }

    fn write(&self) -> Result<(), Error> {
        self.state.write(&self.place.state_file())
    }

    /// Gives an interface back as it was found.
    fn undo(&mut self, name: &str) -> Result<(), Error> {
        if let Some(before) = self.state.interfaces.get(name) {
            let _ = self.nics.remove(before.ifindex);
        }
        super::detach::release(self.place, self.state, name, true)?;
        self.write()
    }
}

/// Has another sekisho its program on the interface? A kernel that cannot tell has none.
fn is_guarded(interface: &str) -> bool {
    let query = SchedClassifier::query_tcx(interface, TcAttachType::Ingress);
    let own = [TC, DELIVER].map(|name| &name.as_bytes()[..name.len().min(KERNEL_NAME_BYTES_MAX)]);
    query.is_ok_and(|(_, found)| found.iter().any(|program| own.contains(&program.name())))
}

/// BPF_OBJ_NAME_LEN without its closing zero (linux/bpf.h).
const KERNEL_NAME_BYTES_MAX: usize = 15;

/// Takes a program off an interface: the pin is all that holds it there.
pub(super) fn unlink(place: &Place, interface: &str, hook: &str) -> Result<bool, Error> {
    let path = place.link(interface, hook);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::File { path, source }),
    }
}

fn xdp_refused(attach: &Attach, error: ProgramError) -> Error {
    const EBUSY: i32 = 16;
    let interface = attach.interface.clone();
    let wanted_by = attach.wanted_by.clone();
    if let ProgramError::SyscallError(SyscallError { io_error: source, .. }) = error {
        if source.raw_os_error() == Some(EBUSY) {
            Error::XdpInUse { interface, wanted_by, id: None }
        } else {
            Error::XdpRefused { interface, wanted_by, source }
        }
    } else if let ProgramError::XdpError(error) = error {
        Error::XdpRefused { interface, wanted_by, source: io::Error::other(error) }
    } else {
        attach.refused(XDP, error)
    }
}

/// Gives every attached interface the programs of this generation, without a packet
/// between the old and the new.
pub(super) fn renew(place: &Place, ebpf: &mut Ebpf) -> Result<(), Error> {
    let folder = place.links();
    for entry in fs::read_dir(&folder).map_err(Error::file(&folder))? {
        let path = entry.map_err(Error::file(&folder))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some((interface, hook)) = name.as_deref().and_then(|name| name.rsplit_once('-')) else {
            continue;
        };
        let Some((_, program)) = LINKS.into_iter().find(|&(known, _)| known == hook) else {
            continue;
        };
        renew_one(ebpf, &path, interface, program)?;
    }
    Ok(())
}

fn renew_one(
    ebpf: &mut Ebpf,
    path: &Path,
    interface: &str,
    program: &'static str,
) -> Result<(), Error> {
    const ENOLINK: i32 = 67;
    let interface = interface.to_owned();
    let wanted_by = "what is attached".to_owned();
    let link: Result<FdLink, LinkError> = PinnedLink::from_pin(path).map(Into::into);
    let renewed = if program == XDP {
        let own = programs::xdp(ebpf, program)?;
        link.and_then(TryInto::try_into)
            .map(|link| own.attach_to_link(link).and_then(|id| own.take_link(id)).map(drop))
    } else {
        let own = programs::tc(ebpf, program)?;
        link.and_then(TryInto::try_into)
            .map(|link| own.attach_to_link(link).and_then(|id| own.take_link(id)).map(drop))
    };
    match renewed {
        Ok(Ok(())) => Ok(()),
        // The interface is gone. The pin stays as long as it is remembered, and tells so.
        Ok(Err(ProgramError::SyscallError(error)))
            if error.io_error.raw_os_error() == Some(ENOLINK) =>
        {
            Ok(())
        }
        Ok(Err(error)) => {
            Err(Error::Attach { interface, wanted_by, program, source: Box::new(error) })
        }
        Err(source) => Err(Error::Link { interface, wanted_by, program, source }),
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
