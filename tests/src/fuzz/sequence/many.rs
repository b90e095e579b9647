//! What a port says to many: broadcast, multicast, announcements.

use std::time::Duration;

use super::Course;
use crate::chance::Chance;

/// So many announcements may come at once, and fewer after that.
const ANNOUNCEMENTS: u32 = 15;
/// So long it takes until as many may come again.
const REST: Duration = Duration::from_secs(8);

impl Course {
    /// A frame to many, which leaves nothing behind.
    pub fn shout(&mut self, chance: &mut Chance) -> Result<(), String> {
        self.asked += 1;
        let Some(shout) = self.trial.shout(chance, self.asked) else { return Ok(()) };
        let sent = self.trial.shouted(&shout);
        let (passed, told) = self.send(&sent)?;
        let flood = self.trial.reference().flood(&shout);
        let verdict = self.trial.judge_flood(&flood, &sent, &passed, told);
        verdict.map_err(|why| format!("{shout:?}: {why}, not {flood:?}"))
    }

    /// A port says that it has an address now. The daemon hears it, and puts it in force if
    /// that is news.
    pub fn announce(&mut self, chance: &mut Chance) -> Result<(), String> {
        let Some(said) = self.trial.announces(chance) else { return Ok(()) };
        self.announced += 1;
        if self.announced.is_multiple_of(ANNOUNCEMENTS) {
            self.pass(REST)?;
        }
        let sent = self.trial.announcement(&said);
        self.tables.take_heard();
        let (passed, told) = self.send(&sent)?;
        let heard = self.tables.take_heard();
        let reference = self.trial.reference();
        let (flood, is_news) = (reference.announce(&said), reference.is_news(&said));
        let verdict = self.trial.judge_flood(&flood, &sent, &passed, told);
        verdict.map_err(|why| format!("{said:?}: {why}, not {flood:?}"))?;
        let is_told = flood.stops.is_empty();
        if heard.len() != usize::from(is_told) {
            return Err(format!("{said:?}: the daemon heard {heard:?}"));
        }
        if is_told && is_news {
            let next = self.trial.announced(&said);
            self.install(self.spec.clone(), next);
        }
        Ok(())
    }
}
