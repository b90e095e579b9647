//! How do programs get onto interfaces?
//!
//! A NIC gets XDP in its driver and, at tcx, the program that delivers what XDP
//! decided; a tenant's port gets tcx. Each is held by a link that is pinned, so it
//! stays when this process ends. Several interfaces are attached all or none.
//!
//! In this order, so that the host's stack never sees a packet: settings, the
//! delivering program (which drops what no XDP program has decided), the entry
//! program, and only then the interface is set up.

use aya::{
    Ebpf,
    maps::{MapData, xdp::DevMapHash},
};

use super::{
    Dataplane, Error,
    attachment::{Attach, Attached, Warning},
    detach,
    held::{self, Held},
    hook::{Hook, Hooked, Role},
    interface::{Interface, Interfaces},
    links,
    place::Place,
    programs::TC,
    settings,
    state::{Before, State},
};

impl Dataplane {
    /// Refuses what [`attach`](Self::attach) would, as far as it can be known before, and
    /// touches nothing.
    pub fn may_attach(&mut self, wanted: &[Attach]) -> Result<(), Error> {
        self.attaching().find(wanted).map(drop)
    }

    /// Attaches all of these interfaces, or none; those that are attached already stay.
    ///
    /// Until an image that knows an interface is installed, nothing passes there. The
    /// answer says what the compiler has to know for that image.
    pub fn attach(&mut self, wanted: &[Attach]) -> Result<Vec<Attached>, Error> {
        self.release_gone()?;
        let attached = self.attaching().all(wanted)?;
        self.begin_refusals(attached.iter())?;
        Ok(attached)
    }

    /// As [`attach`](Self::attach), each for itself.
    pub fn attach_each(
        &mut self,
        wanted: &[Attach],
    ) -> Result<Vec<Result<Attached, Error>>, Error> {
        self.release_gone()?;
        let attached = self.attaching().each(wanted)?;
        self.begin_refusals(attached.iter().flatten())?;
        Ok(attached)
    }

    fn attaching(&mut self) -> Attaching<'_> {
        let Self { place, state, ebpf, nics, .. } = self;
        Attaching { place, state, ebpf, nics }
    }

    /// What these interfaces refuse is counted from now on.
    fn begin_refusals<'a>(
        &mut self,
        attached: impl Iterator<Item = &'a Attached>,
    ) -> Result<(), Error> {
        for at in attached {
            self.refusals.begin(&at.interface.name, &mut self.state)?;
        }
        self.state.write(&self.place.state_file())
    }

    /// Takes out interfaces that are gone, or have another name: nothing of what they were
    /// is left for whoever gets their name or number.
    pub fn release_gone(&mut self) -> Result<(), Error> {
        held::check_namespace(&self.place, &self.state)?;
        let (mut gone, mut released) = (Vec::new(), Ok(()));
        for (name, before) in &self.state.interfaces {
            match held::is_there(&self.place, name, before) {
                Ok(true) => {}
                Ok(false) => gone.push((name.clone(), before.ifindex)),
                // One that cannot be asked keeps no other from being taken out.
                Err(error) => released = Err(error),
            }
        }
        if gone.is_empty() {
            return released;
        }
        let numbers: Vec<_> = gone.iter().map(|(_, index)| *index).collect();
        self.tables.purge(&numbers)?;
        for (name, index) in &gone {
            // An absent interface has left the map by itself.
            let _ = self.nics.remove(*index);
            self.refusals.end(name, &mut self.state);
            let done = &mut Vec::new();
            if let Err(error) = detach::release(&self.place, &mut self.state, name, false, done) {
                released = Err(error);
            }
            self.forget_parked(*index);
        }
        self.state.write(&self.place.state_file())?;
        released
    }

    /// The names of the interfaces that are attached.
    pub fn attached(&self) -> impl Iterator<Item = &str> {
        self.state.interfaces.keys().map(String::as_str)
    }

    /// Gives one interface back: a tenant's port down, unless it is left open.
    pub fn release(&mut self, name: &str, leave_open: bool) -> Result<Vec<detach::Done>, Error> {
        let number = self.state.interfaces.get(name).map(|before| before.ifindex);
        if let Some(number) = number {
            // An absent interface has left the map by itself.
            let _ = self.nics.remove(number);
        }
        self.refusals.end(name, &mut self.state);
        let mut done = Vec::new();
        detach::release(&self.place, &mut self.state, name, leave_open, &mut done)?;
        if let Some(number) = number {
            self.forget_parked(number);
        }
        self.state.write(&self.place.state_file())?;
        Ok(done)
    }
}

/// What attaching works with.
pub(super) struct Attaching<'l> {
    pub(super) place: &'l Place,
    pub(super) state: &'l mut State,
    pub(super) ebpf: &'l mut Ebpf,
    pub(super) nics: &'l mut DevMapHash<MapData>,
}

/// What there is to undo if another interface cannot be attached.
struct Undo {
    name: String,
    /// As it was attached before, if it was.
    before: Option<Before>,
}

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
        if links::is_guarded(name) {
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
        detach::release(self.place, self.state, name, true, &mut Vec::new())?;
        self.write()
    }
}
