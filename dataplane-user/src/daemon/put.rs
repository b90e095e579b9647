//! How is a site put in force on this machine?

use std::{collections::BTreeMap, sync::Arc};

use anyhow::bail;

use super::{Asker, File, InForce, Lifeline, Neighbourhood, Options, Sweeping, needs, warn};
use crate::{
    check,
    compile::{self, Compiled, Facts, Interface, ids::Kind},
    desired,
    load::{self, Attach, Attached, Dataplane, Interfaces},
    model::Site,
    numbers,
};

/// What putting a site in force works with.
pub struct Put<'d> {
    pub options: &'d Options,
    pub dataplane: &'d mut Dataplane,
    pub neighbours: &'d mut Neighbourhood,
    pub sweeping: &'d Sweeping,
    /// Notes, on the disk, what is in force from then on.
    pub note: Note<'d>,
}

/// Notes something, which is in force as this version then.
pub type Note<'d> = Box<dyn FnOnce(u32) -> Result<(), desired::Error> + 'd>;

/// What a site is compiled to if the machine is as it was, and this still in force.
pub struct Guess {
    pub facts: Facts,
    pub before: Arc<Compiled>,
    pub compiled: Compiled,
}

impl Guess {
    /// What the site is compiled to.
    pub fn proven(
        guess: Option<Self>,
        site: &Site,
        facts: &Facts,
        before: &Arc<Compiled>,
    ) -> Compiled {
        match guess {
            Some(guess) if Arc::ptr_eq(&guess.before, before) && guess.facts == *facts => {
                guess.compiled
            }
            _ => compile::compile(site, facts, before),
        }
    }
}

/// A version that was laid out before anything was touched.
pub struct Tried {
    facts: Facts,
    compiled: Compiled,
    is_same: bool,
}

impl Put<'_> {
    /// New interfaces are attached first: the version in force knows nothing of them, so
    /// nothing passes there. Those that are no longer named are given back last; what is
    /// done to them is answered.
    pub fn in_force(
        self,
        (before, attached): (&Arc<Compiled>, &[Attached]),
        (site, file): (Site, Arc<File>),
        guess: Option<Guess>,
        refused: &BTreeMap<String, String>,
        asker: Asker,
    ) -> anyhow::Result<(InForce, Vec<String>)> {
        let Self { options, dataplane, neighbours, sweeping, note } = self;
        // What does not fit is refused before anything is touched.
        let facts = neighbours.facts(sweeping, &site, attached);
        let compiled = Guess::proven(guess, &site, &facts, before);
        let is_same = dataplane.prepare(&compiled.image).map_err(|error| in_words(error, &file))?;
        let tried = Tried { facts, compiled, is_same };
        // What was refused belongs to whose interfaces they were.
        dataplane.fold_refused(|ifindex| before.tenant_at(ifindex))?;
        let known: Vec<_> = dataplane.attached().map(str::to_owned).collect();
        let attached = Self::attach(options, dataplane, &site, refused, &asker)?;
        attached.iter().filter_map(|at| at.warning.as_ref()).for_each(warn);
        let asked = neighbours.watch.clone();
        neighbours.watch.follow(needs::questions(&site, &attached), &asked.known());
        let put = Put {
            options,
            dataplane: &mut *dataplane,
            neighbours: &mut *neighbours,
            sweeping,
            note,
        };
        let version = put.version(&site, &attached, before, Some(tried));
        let compiled = match version {
            Ok(compiled) => Arc::new(compiled),
            Err(error) => {
                neighbours.watch = asked;
                let is_new = |at: &&Attached| !known.contains(&at.interface.name);
                for at in attached.iter().filter(is_new) {
                    // What cannot be given back now is by `detach`.
                    let _ = dataplane.release(&at.interface.name, true);
                }
                return Err(error);
            }
        };
        let is_wanted = |name: &String| attached.iter().any(|at| at.interface.name == *name);
        let mut released = Vec::new();
        // The version is in force: nothing is an error of putting it there any more.
        for name in known.iter().filter(|name| !is_wanted(name)) {
            match dataplane.release(name, false) {
                Ok(done) => released.extend(done.iter().map(ToString::to_string)),
                Err(error) => released.push(format!("{name} is not given back: {error}")),
            }
        }
        let is_named =
            |name: &str| site.attachments.values().any(|at| at.interface.as_str() == name);
        let mut refused = refused.clone();
        refused.retain(|name, _| is_named(name));
        Ok((InForce { site, file, compiled, attached, refused, asker }, released))
    }

    /// Attaches what is there. What goes between the look and the attaching is not there.
    fn attach(
        options: &Options,
        dataplane: &mut Dataplane,
        site: &Site,
        refused: &BTreeMap<String, String>,
        asker: &Asker,
    ) -> Result<Vec<Attached>, load::Error> {
        const TRIES: u32 = 3;
        let mut tries = 1;
        loop {
            let now = Interfaces::look()?;
            let wanted = needs::now(options, site, &now, refused);
            check_lifeline(site, &wanted, &now, asker)?;
            match dataplane.attach(&wanted) {
                Err(_) if tries < TRIES && has_gone(&wanted, &now)? => tries += 1,
                attached => return attached,
            }
        }
    }

    /// Puts the next version in force. Objects that are new under their number begin to be
    /// counted from zero. What was `tried` is of use if the machine is as it was then.
    pub fn version(
        self,
        site: &Site,
        attached: &[Attached],
        before: &Compiled,
        tried: Option<Tried>,
    ) -> anyhow::Result<Compiled> {
        let Self { options, dataplane, neighbours, sweeping, note } = self;
        let in_force = dataplane.version();
        if before.version != in_force {
            // Numbers and epochs would be given away twice.
            bail!("version {in_force} is in force, not {}: start the daemon anew", before.version);
        }
        let facts = neighbours.facts(sweeping, site, attached);
        let tried = tried.filter(|tried| tried.facts == facts && dataplane.is_prepared());
        let (mut compiled, is_same) = match tried {
            Some(Tried { compiled, is_same, .. }) => (compiled, is_same),
            None => {
                let compiled = compile::compile(site, &facts, before);
                let is_same = dataplane.prepare(&compiled.image)?;
                (compiled, is_same)
            }
        };
        if is_same {
            compiled.version = in_force;
        }
        let Facts { neighbours: known, claims: held, .. } = facts;
        numbers::write(&options.place, compiled.version, &compiled.ids, &known, &held)?;
        // It is noted before a packet meets it: the next start would undo what is in force and not
        // noted.
        note(compiled.version)?;
        let tenants: Vec<_> = compiled.ids.new_since(&before.ids, Kind::Tenant).collect();
        let new = compiled.new_attachments(before);
        if !tenants.is_empty() {
            // What those left who had their numbers before them is nothing of theirs.
            sweeping.sweep()?;
        }
        dataplane.begin_counting(&tenants, &new, &compiled.interfaces_of(&new))?;
        dataplane.forget_rules(|rule| !compiled.ids.has(Kind::Rule, rule));
        sweeping.expect(&compiled.image.tenants);
        if !is_same {
            dataplane.commit()?;
        }
        sweeping.settle(&compiled.image.tenants);
        neighbours.claims.follow(site);
        if !is_same {
            neighbours.announcer.follow(&before.image, &compiled.image);
        }
        Ok(compiled)
    }
}

/// Why a site is refused when it is laid out, in the words of its file.
pub fn in_words(error: load::Error, file: &File) -> anyhow::Error {
    if let load::Error::Policy { .. } = error {
        let checked = check::check_all(&file.text);
        if checked.site.is_none() {
            return super::refusal(file, &checked);
        }
    }
    error.into()
}

impl Neighbourhood {
    /// What the compiler is told.
    pub fn facts(&self, sweeping: &Sweeping, site: &Site, attached: &[Attached]) -> Facts {
        let interfaces = attached.iter().map(|at| (at.interface.name.clone(), fact(at)));
        Facts {
            interfaces: interfaces.collect(),
            neighbours: self.watch.known(),
            claims: self.claims.held_in(site),
            flows_per_tenant: sweeping.flows_per_tenant(),
            tick_ns: load::tick_ns(),
        }
    }
}

/// Refuses all that would cut the host off.
pub fn check_lifeline(
    site: &Site,
    wanted: &[Attach],
    now: &Interfaces,
    asker: &Asker,
) -> Result<(), load::Error> {
    let Some(lifeline) = Lifeline::look(asker)? else { return Ok(()) };
    let refused = wanted.iter().filter_map(|attach| lifeline.check(site, attach, now).err());
    load::Error::all(refused.collect())
}

/// Has one of these gone that was there?
fn has_gone(wanted: &[Attach], before: &Interfaces) -> Result<bool, load::Error> {
    let now = Interfaces::look()?;
    let index = |of: &Interfaces, name: &str| of.get(name).map(|found| found.index);
    let is_gone = |attach: &Attach| {
        let name = &attach.interface;
        index(before, name).is_some_and(|was| index(&now, name) != Some(was))
    };
    Ok(wanted.iter().any(is_gone))
}

fn fact(at: &Attached) -> Interface {
    Interface {
        ifindex: at.interface.index,
        mac: at.mac(),
        output_kind: at.output_kind,
        mtu_bytes: at.interface.mtu_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::classifier;

    #[test]
    fn what_was_guessed_counts_for_what_it_was_guessed_from_alone() {
        let text = "version: 1\ntenants: [{name: blue}]";
        let site = check::check(text).site.expect("without an error");
        let (facts, before) = (Facts::default(), Arc::new(Compiled::default()));
        // It is known by a version that no compiler gives it.
        let guess = || {
            let compiled = Compiled { version: 77, ..Compiled::default() };
            Some(Guess { facts: facts.clone(), before: before.clone(), compiled })
        };
        let version = |guess, facts: &Facts, before: &Arc<Compiled>| {
            Guess::proven(guess, &site, facts, before).version
        };
        assert_eq!(version(guess(), &facts, &before), 77);
        let others = Facts { flows_per_tenant: 9, ..Facts::default() };
        assert_ne!(version(guess(), &others, &before), 77);
        assert_ne!(version(guess(), &facts, &Arc::new(Compiled::default())), 77);
        assert_ne!(version(None, &facts, &before), 77);
    }

    #[test]
    fn rules_that_are_refused_when_they_are_laid_out_are_named_as_they_are_written() {
        let text = check::tests::crowded();
        let source = classifier::Error::TooLarge { bytes: 2, most: 1, rules: vec![7] };
        let error = load::Error::Policy { policy: 3, source: Box::new(source) };
        let said = in_words(error, &File { name: "site.yaml".to_owned(), text }).to_string();
        for part in ["site.yaml:7:9", "security groups blue/{all}", "blue/all/r28-0 (line "] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }
}
