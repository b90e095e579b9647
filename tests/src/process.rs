//! How does the lab run another program, for a bounded time and never beyond its owner?

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long the lab waits for what must happen. Nothing passes or fails by being near to it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long the lab listens before it says that nothing came: a SYN is sent twice in it.
pub const SILENCE: Duration = Duration::from_millis(1500);

/// What a program that has ended left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its command line.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Output {
    /// What it wrote, if it succeeded.
    pub fn ok(self) -> Result<String> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        bail!("`{}`: {}: {}{}", self.command, self.status, self.stdout, self.stderr)
    }
}

/// A running program, killed by its process id when dropped.
#[derive(Debug)]
pub struct Process {
    command: String,
    child: Child,
    written: Arc<Written>,
}

impl Process {
    /// Starts a program in the calling thread's namespace.
    pub(crate) fn spawn(command: &[&str]) -> Result<Self> {
        let (program, arguments) = command.split_first().context("an empty command line")?;
        let text = command.join(" ");
        let mut child = Command::new(program)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting `{text}`"))?;
        let written = Arc::new(Written::default());
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            written.collect(stdout, |texts| &mut texts.stdout);
            written.collect(stderr, |texts| &mut texts.stderr);
        }
        Ok(Self { command: text, child, written })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid().cast_signed()), signal)
            .with_context(|| format!("sending {signal} to `{}`", self.command))
    }

    /// Waits until it has written a line that contains `needle`, and returns that line.
    pub fn wait_for_line(&self, needle: &str) -> Result<String> {
        let found = |texts: &Texts| {
            let mut lines = texts.stdout.lines().chain(texts.stderr.lines());
            lines.find(|line| line.contains(needle)).map(str::to_owned)
        };
        let texts = self.written.wait(PATIENCE, |texts| found(texts).is_some());
        found(&texts).with_context(|| {
            let Texts { stdout, stderr, .. } = &*texts;
            format!("`{}` did not write {needle:?}:\n{stdout}{stderr}", self.command)
        })
    }

    /// Waits for its end, and kills it if that does not come.
    pub fn wait(mut self, within: Duration) -> Result<Output> {
        let deadline = Instant::now() + within;
        drop(self.written.wait(within, |_| false));
        // Closing its output is mostly the last thing that a program does.
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                let Texts { stdout, stderr, .. } = &*self.written.lock();
                bail!("`{}` took more than {within:?}:\n{stdout}{stderr}", self.command);
            }
            thread::sleep(Duration::from_millis(1));
        };
        let texts = self.written.lock();
        Ok(Output {
            command: self.command.clone(),
            status,
            stdout: texts.stdout.clone(),
            stderr: texts.stderr.clone(),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a short program in the calling thread's namespace.
pub(crate) fn run_here(command: &[&str]) -> Result<Output> {
    Process::spawn(command)?.wait(PATIENCE)
}

/// What a program has written so far.
#[derive(Debug, Default)]
struct Written {
    texts: Mutex<Texts>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Texts {
    stdout: String,
    stderr: String,
    closed: u8,
}

impl Written {
    fn lock(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `enough`, or the program closed its output, or time is up.
    fn wait(&self, within: Duration, enough: impl Fn(&Texts) -> bool) -> MutexGuard<'_, Texts> {
        let waiting = |texts: &mut Texts| texts.closed < 2 && !enough(texts);
        let waited = self.changed.wait_timeout_while(self.lock(), within, waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn collect(
        self: &Arc<Self>,
        from: impl Read + Send + 'static,
        field: fn(&mut Texts) -> &mut String,
    ) {
        let written = Arc::clone(self);
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                field(&mut written.lock()).push_str(&String::from_utf8_lossy(&line));
                written.changed.notify_all();
                line.clear();
            }
            written.lock().closed += 1;
            written.changed.notify_all();
        });
    }
}
