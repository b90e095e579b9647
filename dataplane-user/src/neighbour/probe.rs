//! When is a next hop asked for its MAC, and when is it dead?
//!
//! As neighbour unreachability detection does (RFC 4861 section 7.3): who answered is
//! believed for a while, then asked again, alone; who leaves several questions unanswered
//! is dead, and everybody is asked for it, ever more rarely.

use std::time::{Duration, Instant};

use dataplane_common::addr::Mac;

/// For how long an answer is believed.
pub const REACHABLE: Duration = Duration::from_secs(10);
/// Between two questions (RFC 4861 section 10, RETRANS_TIMER).
pub const RETRANSMIT: Duration = Duration::from_secs(1);
/// Questions to one that answered before (MAX_UNICAST_SOLICIT).
const UNANSWERED_MAX: u32 = 3;
/// The longest pause between questions to everybody.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What is known of one next hop.
#[derive(Clone, Debug)]
pub struct Probe {
    mac: Option<Mac>,
    is_dead: bool,
    unanswered: u32,
    next: Instant,
    /// When the MAC became another one.
    changed: Instant,
    /// Somebody else says that it has the address: everybody is asked.
    is_contested: bool,
}

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Ask it, or everybody for it.
    Ask(Option<Mac>),
    /// It is dead: forget its MAC, and ask everybody for it.
    Dead,
}

impl Probe {
    /// Of a next hop that had this MAC when it was last heard of.
    #[must_use]
    pub const fn new(mac: Option<Mac>, now: Instant) -> Self {
        Self { mac, is_dead: false, unanswered: 0, next: now, changed: now, is_contested: false }
    }

    /// Its MAC, if it is alive.
    #[must_use]
    pub const fn mac(&self) -> Option<Mac> {
        self.mac
    }

    /// It is known that it does not answer.
    pub const fn give_up(&mut self) {
        self.is_dead = true;
    }

    /// Does it not answer, or not any more?
    #[must_use]
    pub const fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// What is due, once.
    pub fn due(&mut self, now: Instant) -> Due {
        if now < self.next {
            return Due::Nothing;
        }
        if self.mac.is_some() && self.unanswered == UNANSWERED_MAX {
            let next = now + RETRANSMIT;
            *self = Self { mac: None, is_dead: true, unanswered: 1, next, ..*self };
            return Due::Dead;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        let pause = if self.mac.is_some() { RETRANSMIT } else { RETRANSMIT * self.unanswered };
        self.next = now + pause.min(PAUSE_MAX);
        Due::Ask(self.mac.filter(|_| !self.is_contested))
    }

    /// It said that this is its MAC; answers whether that is new. Two that claim the same
    /// address do not change it more often than once in a while, and what does not override
    /// changes nothing that is known (RFC 4861 section 7.2.5): but everybody is asked then,
    /// so that a next hop that moved and came back, or whose address another took for a
    /// moment, is not lost for longer.
    pub fn heard(&mut self, mac: Mac, overrides: bool, now: Instant) -> bool {
        let is_new = self.mac != Some(mac);
        let may_change = overrides && now >= self.changed + RETRANSMIT;
        if is_new && self.mac.is_some() && !may_change {
            if !self.is_contested && self.unanswered == 0 {
                // As soon as one that was just heard of may be asked again.
                let sooner = self.next.checked_sub(REACHABLE - RETRANSMIT);
                self.next = sooner.unwrap_or(now).max(now);
            }
            self.is_contested = true;
            return false;
        }
        let changed = if is_new { now } else { self.changed };
        let next = now + REACHABLE;
        *self = Self {
            mac: Some(mac),
            is_dead: false,
            unanswered: 0,
            next,
            changed,
            is_contested: false,
        };
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOP: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 8]);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nobody_is_asked_more_than_once_a_second_and_ever_more_rarely() {
        let start = Instant::now();
        let mut probe = Probe::new(None, start);
        let asked: Vec<_> =
            (0..30).filter(|&at| probe.due(start + at * SECOND) == Due::Ask(None)).collect();
        assert_eq!(asked, [0, 1, 3, 6, 10, 15, 20, 25]);
    }

    #[test]
    fn who_does_not_answer_three_times_is_dead() {
        let start = Instant::now();
        let mut probe = Probe::new(Some(HOP), start);
        let dues: Vec<_> = (0..5).map(|at| probe.due(start + at * SECOND)).collect();
        let ask = Due::Ask(Some(HOP));
        assert_eq!(dues, [ask, ask, ask, Due::Dead, Due::Ask(None)]);
        assert_eq!((probe.mac(), probe.is_dead()), (None, true));
        assert!(probe.heard(HOP, true, start + 5 * SECOND));
        assert_eq!((probe.mac(), probe.is_dead()), (Some(HOP), false));
    }

    #[test]
    fn who_answers_is_left_alone_for_a_while() {
        let start = Instant::now();
        let mut probe = Probe::new(None, start);
        assert_eq!(probe.due(start), Due::Ask(None));
        assert!(probe.heard(HOP, true, start));
        assert!(!probe.heard(HOP, true, start));
        assert_eq!(probe.due(start + REACHABLE - SECOND), Due::Nothing);
        assert_eq!(probe.due(start + REACHABLE), Due::Ask(Some(HOP)));
        assert!(!probe.heard(HOP, true, start + REACHABLE));
    }

    #[test]
    fn of_two_that_say_so_everybody_is_asked_and_who_answers_is_believed() {
        let start = Instant::now();
        let mut probe = Probe::new(Some(HOP), start);
        assert!(!probe.heard(HOP, true, start));
        // Another takes the address; a moment later its owner says that it is still there.
        let later = start + 2 * SECOND;
        assert!(probe.heard(OTHER, true, later));
        for part in [100, 400, 800] {
            let now = later + Duration::from_millis(part);
            assert!(!probe.heard(HOP, true, now) && probe.mac() == Some(OTHER));
            assert_eq!(probe.due(now), Due::Nothing);
        }
        assert_eq!(probe.due(later + SECOND), Due::Ask(None));
        assert_eq!(probe.due(later + SECOND), Due::Nothing);
        assert!(probe.heard(HOP, true, later + SECOND));
        assert_eq!(probe.due(later + 2 * SECOND), Due::Nothing);
    }

    #[test]
    fn what_does_not_override_is_a_reason_to_ask_and_no_more() {
        let start = Instant::now();
        let mut probe = Probe::new(None, start);
        assert!(probe.heard(HOP, false, start), "nothing was known");
        let later = start + 5 * SECOND;
        assert!(!probe.heard(OTHER, false, later) && probe.mac() == Some(HOP));
        assert_eq!(probe.due(later), Due::Ask(None));
        // However often it is said.
        for part in 0..9 {
            let now = later + Duration::from_millis(100 * part);
            assert!(!probe.heard(OTHER, false, now));
            assert_eq!(probe.due(now), Due::Nothing);
        }
        assert!(!probe.heard(HOP, false, later + SECOND));
        assert!(!probe.heard(OTHER, false, later + SECOND));
        assert_eq!(probe.due(later + SECOND), Due::Nothing);
        assert_eq!(probe.due(later + 2 * SECOND), Due::Ask(None));
    }
}
