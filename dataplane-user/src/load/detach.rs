//! How does everything go away again?
//!
//! From what is pinned and written down alone, so that it works without a daemon, and
//! as often as it is called. An interface that is left without a program is a hole to
//! the host's stack: tenants' ports are set down, before anything else.

use std::{collections::BTreeSet, fmt, fs, io, path::Path};

use super::{
    Error, held,
    hook::Role,
    links::unlink,
    pins::Pins,
    place::Place,
    settings,
    state::{Before, State},
};

/// Something that was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Done {
    /// It was set down: a tenant's port, or one that was down when it was found.
    SetDown {
        /// Which.
        interface: String,
    },
    /// No program is on the interface any more.
    Detached {
        /// Which.
        interface: String,
        /// Where it was.
        hook: &'static str,
    },
    /// ARP, IPv6 and offloads are as they were.
    Restored {
        /// Of which.
        interface: String,
    },
    /// There was nothing to restore: the interface itself is gone.
    Gone {
        /// Which.
        interface: String,
    },
    /// Programs and tables were removed, flows and counters with them.
    Removed,
}

impl fmt::Display for Done {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetDown { interface } => write!(to, "set down {interface}"),
            Self::Detached { interface, hook } => write!(to, "detached {hook} from {interface}"),
            Self::Restored { interface } => write!(to, "restored settings of {interface}"),
            Self::Gone { interface } => write!(to, "interface {interface} is gone"),
            Self::Removed => to.write_str("removed programs and tables"),
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// In this order.
    pub done: Vec<Done>,
    /// What could not be done; another call tries it again.
    pub failed: Vec<Error>,
}

/// Detaches everything and removes programs and tables.
pub fn detach(place: &Place, leave_open: bool) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    if !is_there(&place.state) && !is_there(&place.pin) {
        return Ok(outcome);
    }
    place.check()?;
    let lock = place.lock()?;
    let pins = Pins::look(place)?;
    if is_there(&place.state_file()) { pins.check_strange(place) } else { pins.check(place) }?;
    // A state file that cannot be read keeps nobody from detaching.
    let mut state = State::read(&place.state_file()).unwrap_or_else(|error| {
        outcome.failed.push(error);
        None
    });
    if let Some(state) = &mut state {
        held::check_namespace(place, state)?;
        let names: Vec<_> = state.interfaces.keys().cloned().collect();
        for name in names {
            if let Err(error) = release(place, state, &name, leave_open, &mut outcome.done) {
                outcome.failed.push(error);
            }
        }
    }
    if let Err(error) = without_state(place, state.as_ref(), leave_open, &mut outcome) {
        outcome.failed.push(error);
    }
    // As long as any interface is guarded, what guards it stays.
    if place.linked().is_empty() && !pins.own.is_empty() {
        match pins.remove(place) {
            stays if stays.is_empty() => outcome.done.push(Done::Removed),
            stays => outcome.failed.extend(stays),
        }
    }
    if !outcome.failed.is_empty() {
        // What was given back is not to be given back again.
        if let Some(Err(error)) = state.map(|state| state.write(&place.state_file())) {
            outcome.failed.push(error);
        }
        return Ok(outcome);
    }
    let numbers = [0, 1].map(|version| place.numbers_file(version));
    for path in [place.state_file()].iter().chain(&numbers).chain([&place.state.join("lock")]) {
        outcome.failed.extend(forget_file(path).err());
    }
    drop(lock);
    // Somebody else's files stay, and the folder with them.
    let _ = fs::remove_dir(&place.state);
    Ok(outcome)
}

/// Gives up what is pinned and not written down: nobody knows how those interfaces were, nor
/// whose they are. The links still tell which they are, under whatever name: those that tcx
/// guarded are set down, as tenants' are.
fn without_state(
    place: &Place,
    state: Option<&State>,
    leave_open: bool,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let is_known = |name: &str| state.is_some_and(|state| state.interfaces.contains_key(name));
    let mut lost = BTreeSet::new();
    for (name, hook) in place.linked().into_iter().filter(|(name, _)| !is_known(name)) {
        let given_up = give_up(place, &name, hook, leave_open, &mut outcome.done);
        match given_up {
            Ok(now) => lost.extend(now),
            Err(error) => outcome.failed.push(error),
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    let interfaces = lost.into_iter().collect();
    Err(Error::SettingsLost { interfaces, state: place.state_file() })
}

/// Gives up one link; answers what the interface is called now, unless it is gone.
fn give_up(
    place: &Place,
    name: &str,
    hook: &'static str,
    leave_open: bool,
    done: &mut Vec<Done>,
) -> Result<Option<String>, Error> {
    let found = held::found(place, name, hook)?;
    if let Some(found) = found.as_ref().filter(|_| hook == "tcx" && !leave_open) {
        settings::set_up(&found.name, found.index, false)?;
        done.push(Done::SetDown { interface: found.name.clone() });
    }
    let now = found.map(|found| found.name);
    if unlink(place, name, hook)? {
        let interface = now.clone().unwrap_or_else(|| name.to_owned());
        done.push(Done::Detached { interface, hook });
    }
    let gone = Done::Gone { interface: name.to_owned() };
    // There may be two links of it.
    if now.is_none() && !done.contains(&gone) {
        done.push(gone);
    }
    Ok(now)
}

/// Gives one interface back, and tells what it did, also if it fails. The state is the
/// caller's to be written.
pub(super) fn release(
    place: &Place,
    state: &mut State,
    name: &str,
    leave_open: bool,
    done: &mut Vec<Done>,
) -> Result<(), Error> {
    let Some(before) = state.interfaces.get(name).cloned() else { return Ok(()) };
    let mut now = held::name_now(place, name, &before)?;
    if let Some(known) = now.clone().filter(|_| goes_down(&before, leave_open)) {
        match settings::set_up(&known, before.ifindex, false) {
            Ok(()) => done.push(Done::SetDown { interface: known }),
            // It went just now.
            Err(_) if held::name_now(place, name, &before)?.is_none() => now = None,
            Err(error) => return Err(error),
        }
    }
    let interface = now.clone().unwrap_or_else(|| name.to_owned());
    // The delivering program last: until then it drops what nobody decides any more.
    for hook in ["xdp", "tcx", "deliver"] {
        if unlink(place, name, hook)? {
            done.push(Done::Detached { interface: interface.clone(), hook });
        }
    }
    match now {
        Some(now) => {
            settings::give_back(&now, &before)?;
            done.push(Done::Restored { interface: now });
        }
        None => done.push(Done::Gone { interface }),
    }
    state.interfaces.remove(name);
    Ok(())
}

const fn goes_down(before: &Before, leave_open: bool) -> bool {
    !before.is_up || matches!(before.role, Role::Port) && !leave_open
}

fn forget_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::File { path: path.into(), source: error })
        }
        _ => Ok(()),
    }
}
