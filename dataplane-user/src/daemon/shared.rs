//! How is the daemon shared by all who ask it, and changed while it goes on answering?

use std::{
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value as Json;

use super::{
    Asker, Daemon, File, HowMuch, Options, Proposal, Sweeping, Take, Terms, Wanted, Write,
    put::Guess, warn,
};
use crate::{
    compile,
    desired::{
        self, Path,
        log::{By, Operation},
    },
    message,
    model::Site,
    view::Applied,
};

/// For how long an answer of new next hops is waited for before it is said that they do
/// not answer.
const ANSWERS_WAIT: Duration = Duration::from_millis(900);

/// What could not be taken back is tried again after so long.
const TRIED_AGAIN: Duration = Duration::from_secs(30);

/// The daemon: whoever has it locked does one thing.
#[derive(Clone)]
pub struct Shared {
    daemon: Arc<Mutex<Daemon>>,
    /// Whose site is read and compiled meanwhile.
    turn: Arc<Mutex<()>>,
    wanted: Wanted,
    sweeping: Arc<Sweeping>,
}

impl Shared {
    /// Loads the programs and puts the site file in force. On an error, a machine that
    /// had nothing of ours has nothing of ours again.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let daemon = Daemon::start(options)?;
        let (wanted, sweeping) = (daemon.wanted.clone(), daemon.sweeping.clone());
        let (daemon, turn) = (Arc::new(Mutex::new(daemon)), Arc::default());
        let shared = Self { daemon, turn, wanted, sweeping };
        shared.wait_for_answers();
        Ok(shared)
    }

    /// Waits until it does nothing else. After a panic it goes on: every operation leaves the
    /// tables whole.
    pub fn lock(&self) -> MutexGuard<'_, Daemon> {
        lock(&self.daemon)
    }

    /// Waits until it does nothing else, and lets nobody have it any more: the process ends.
    pub fn end(&self) {
        std::mem::forget(self.lock());
    }

    /// Who sweeps the flow table, for whom nobody has to wait.
    #[must_use]
    pub fn sweeping(&self) -> &Sweeping {
        &self.sweeping
    }

    /// Puts another site file in force, or the daemon's own as it is now. On any error
    /// what runs is unchanged.
    ///
    /// The daemon is locked for as short as can be: a large file is read and compiled before.
    pub fn apply(
        &self,
        file: Option<File>,
        terms: &Terms,
        dry_run: bool,
        asker: Asker,
    ) -> anyhow::Result<Applied> {
        let operation = Operation::new(asker.by.clone(), "apply", &terms.scope);
        self.put(dry_run, operation, asker, |wanted, options| {
            let file = match (file, &options.config) {
                (Some(file), _) => file,
                (None, Some(config)) => File::read(config)?,
                (None, None) => {
                    bail!("the daemon has no site file of its own (--config): name one")
                }
            };
            wanted.by_scope(file, terms)
        })
    }

    /// Puts what becomes of one object in force, likewise.
    pub fn write(&self, write: &Write, dry_run: bool, asker: Asker) -> anyhow::Result<Applied> {
        let operation = Operation::new(asker.by.clone(), write.what.verb(), &write.path);
        self.put(dry_run, operation, asker, |wanted, _| wanted.by_object(write))
    }

    /// Takes back what a scope changed, likewise; answers what of it is left, too, because somebody
    /// else has changed it since.
    pub fn roll_back(
        &self,
        take: &Take,
        dry_run: bool,
        asker: Asker,
    ) -> anyhow::Result<(Applied, Vec<Path>)> {
        let mut left = Vec::new();
        let operation = Operation::new(asker.by.clone(), "rollback", &take.scope);
        let turn = lock(&self.turn);
        let applied = self.put_in_turn(&turn, dry_run, operation.clone(), asker, |wanted, _| {
            let (proposal, conflicts) = wanted.by_rollback(take)?;
            left = conflicts;
            Ok(proposal)
        })?;
        if !dry_run {
            // Where there was nothing to take back, it is as it should be.
            self.wanted.confirm(&take.scope, operation)?;
        }
        Ok((applied, left))
    }

    /// The scope's unconfirmed revision stays; answers which it was.
    pub fn confirm(&self, scope: &str, by: By) -> anyhow::Result<Option<u64>> {
        let _turn = lock(&self.turn);
        Ok(self.wanted.confirm(scope, Operation::new(by, "confirm", scope))?)
    }

    /// Takes back what nobody confirmed in time.
    pub fn take_back_overdue(&self) -> anyhow::Result<()> {
        for (scope, revision) in self.wanted.overdue() {
            let take = Take { scope: scope.clone(), what: HowMuch::Unconfirmed(revision) };
            // It was in force before.
            let by = By::itself("nobody confirmed it in time");
            let asker = Asker { force: true, by, ..Asker::default() };
            let taken = self.roll_back(&take, false, asker);
            let taken = taken.inspect_err(|_| self.wanted.put_off(&scope, TRIED_AGAIN));
            let (applied, left) = taken.with_context(|| {
                format!(
                    "revision {revision} of `{scope}` was not confirmed in time, and is not taken \
                     back"
                )
            })?;
            eprintln!(
                "sekisho: revision {revision} of `{scope}` was not confirmed in time: it is taken \
                 back, in force as site version {}",
                applied.site_version
            );
            for path in left {
                eprintln!("sekisho: {path} is left: somebody else has changed it since");
            }
        }
        Ok(())
    }

    /// What is to be in force.
    #[must_use]
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    fn put(
        &self,
        dry_run: bool,
        operation: Operation,
        asker: Asker,
        propose: impl FnOnce(&Wanted, &Options) -> anyhow::Result<Proposal>,
    ) -> anyhow::Result<Applied> {
        self.put_in_turn(&lock(&self.turn), dry_run, operation, asker, propose)
    }

    fn put_in_turn(
        &self,
        _turn: &MutexGuard<'_, ()>,
        dry_run: bool,
        operation: Operation,
        asker: Asker,
        propose: impl FnOnce(&Wanted, &Options) -> anyhow::Result<Proposal>,
    ) -> anyhow::Result<Applied> {
        let done = self.try_put(dry_run, operation.clone(), asker, propose);
        if let (Err(error), false) = (&done, dry_run)
            && let Err(error) = self.wanted.refuse(operation, &message::of(error))
        {
            warn(format_args!("a refusal is not in the log: {error}"));
        }
        done
    }

    fn try_put(
        &self,
        dry_run: bool,
        operation: Operation,
        asker: Asker,
        propose: impl FnOnce(&Wanted, &Options) -> anyhow::Result<Proposal>,
    ) -> anyhow::Result<Applied> {
        let options = self.lock().options.clone();
        let asker = Asker { force: asker.force || options.asker.force, ..asker };
        let Proposal { site, file, asked, mut warnings } = propose(&self.wanted, &options)?;
        thread::scope(|scope| {
            // What is noted is found out and written down beside what is compiled and laid out.
            let telling = scope.spawn(move || {
                let (noted, told) = self.wanted.noted(asked, operation)?;
                let begin = || self.wanted.begin(noted);
                Ok::<_, desired::Error>(((!dry_run).then(|| scope.spawn(begin)), told))
            });
            let guess = self.guess(&site);
            let (begun, told) = joined(telling)?;
            let note = Box::new(|version| {
                begun.map_or(Ok(()), |begun| self.wanted.note(joined(begun)?, version))
            });
            let mut daemon = self.lock();
            // What went or came a moment ago is no reason to refuse anything.
            warnings.extend(daemon.look_at_interfaces().err().map(|error| message::of(&error)));
            let (released, more) = if dry_run {
                (Vec::new(), daemon.try_out(&site, &file, guess, &asker)?)
            } else {
                let outcome = daemon.put_in_force(site, file, note, guess, asker)?;
                drop(daemon);
                let silent = self.wait_for_answers();
                daemon = self.lock();
                (outcome.released, outcome.absent.into_iter().chain(silent).collect())
            };
            warnings.extend(more);
            let site_version = daemon.dataplane.version();
            let revision = self.wanted.number();
            Ok(Applied { site_version, revision, dry_run, changes: told, released, warnings })
        })
    }

    /// `sekisho get`: what is to be in force, as a site file.
    pub fn site(&self) -> anyhow::Result<Json> {
        Ok(self.wanted.site()?)
    }

    /// What the site is compiled to, if nothing happens meanwhile.
    fn guess(&self, site: &Site) -> Guess {
        let (facts, before) = {
            let daemon = self.lock();
            let facts = daemon.neighbours.facts(&self.sweeping, site, &daemon.in_force.attached);
            (facts, daemon.in_force.compiled.clone())
        };
        let compiled = compile::compile(site, &facts, &before);
        Guess { facts, before, compiled }
    }

    /// Gives new next hops a moment to answer; answers who did not, and what went wrong.
    fn wait_for_answers(&self) -> Vec<String> {
        let until = Instant::now() + ANSWERS_WAIT;
        while self.lock().is_asking() && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        self.lock().end_asking()
    }
}

fn joined<T>(of: ScopedJoinHandle<'_, T>) -> T {
    of.join().unwrap_or_else(|panic| resume_unwind(panic))
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
