//! Does somebody answer at an address, and who?

use std::fmt;

use anyhow::Result;

use crate::lab::Host;

/// Who asks: a host, or a line of the host behind the mobile network.
#[derive(Clone, Copy)]
pub struct Sender<'h> {
    pub host: &'h Host,
    /// The line's addresses; none: the host's own.
    pub v4: Option<&'h str>,
    pub v6: Option<&'h str>,
}

/// What somebody found at an address. It is written `blue-web ptu`: the name that was
/// answered, and by which of ping, TCP and UDP there was an answer; `-`: nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found(String);

impl Found {
    pub fn is(&self, expected: &str) -> bool {
        self.0 == expected
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The sender's own address.
pub const ITSELF: &str = "itself";
/// Nobody answered.
pub const NOBODY: &str = "-";

/// How often a missing answer that is expected is asked for: the machine may be busy.
const TRIES: u32 = 3;

/// Asks in all three ways.
pub fn ask(sender: &Sender<'_>, target: &str, expected: &str) -> Result<Found> {
    let mut found = Found(expected.to_owned());
    if expected == ITSELF {
        return Ok(found);
    }
    for _ in 0..TRIES {
        found = ask_once(sender, target)?;
        // An answer that should not be is not asked for twice.
        if found.is(expected) || expected == NOBODY {
            break;
        }
    }
    Ok(found)
}

fn ask_once(sender: &Sender<'_>, target: &str) -> Result<Found> {
    let is_v6 = target.contains(':');
    let source = if is_v6 { sender.v6 } else { sender.v4 };
    let with = |option: &str| source.map(|source| format!("{option} {source}")).unwrap_or_default();
    let said = |command: String| -> Result<(bool, String)> {
        let output = sender.host.run(&["sh", "-c", &command])?;
        Ok((output.status.success(), output.stdout.trim().to_owned()))
    };
    let (ping, _) = said(format!("ping -n -c 1 -W 1 {} {target}", with("-I")))?;
    let (_, tcp) = said(format!("nc.openbsd -w 2 {} {target} 80", with("-s")))?;
    // One packet is enough of an answer.
    let udp = format!("echo 'who are you?' | nc.openbsd -u -w 2 -W 1 {} {target} 53", with("-s"));
    let (_, udp) = said(udp)?;

    let letter = |is_there, letter| if is_there { letter } else { "-" };
    let ways =
        [letter(ping, "p"), letter(!tcp.is_empty(), "t"), letter(!udp.is_empty(), "u")].concat();
    let mut names = vec![tcp, udp];
    names.retain(|name| !name.is_empty());
    names.dedup();
    Ok(Found(match (names.as_slice(), ways.as_str()) {
        ([], "---") => NOBODY.to_owned(),
        // An echo has no name in it.
        ([], _) => ways,
        (names, _) => format!("{} {ways}", names.join("+")),
    }))
}
