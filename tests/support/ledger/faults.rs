//! The faults of a storm.

use std::time::{Duration, Instant};

use a2a_blocking::AgentCard;
use a2a_blocking::testing::{Platform, WorkspaceHandle};

use super::Storm;
use super::child::{Child, micros, write_token};
use crate::dice::Dice;

/// The faults of a storm, by the number of messages that were sent.
pub struct Faults<'a> {
    storm: &'a Storm,
    platform: &'a Platform,
    ops: &'a WorkspaceHandle,
    child: Child,
    dice: Dice,
    kills: usize,
    is_registered: bool,
    /// Number of messages at which the next fault begins.
    next: usize,
    /// The fault under way, and when it ends.
    current: Option<(Fault, Instant)>,
    /// Times in which messages had to wait, in microseconds since 1970.
    disturbed: Vec<(u64, u64)>,
}

/// Longest wait after a fault until the poller goes on.
const GOES_ON: Duration = Duration::from_secs(10);
/// The same after a pause: the state is asked for once a minute.
const SEES_RESUMED: Duration = Duration::from_secs(65);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Offline,
    Slow,
    Paused,
    NoRegistry,
}

impl<'a> Faults<'a> {
    pub fn new(storm: &'a Storm, platform: &'a Platform, ops: &'a WorkspaceHandle, child: Child) -> Self {
        let (dice, next) = (Dice(!storm.seed), storm.messages / 20);
        Faults {
            storm,
            platform,
            ops,
            child,
            dice,
            kills: 0,
            is_registered: false,
            next,
            current: None,
            disturbed: Vec::new(),
        }
    }

    pub fn kills(&self) -> usize {
        self.kills
    }

    /// Returns the times in which messages had to wait, in microseconds since 1970.
    pub fn disturbed(&self) -> Vec<(u64, u64)> {
        self.disturbed.clone()
    }

    /// Records that messages wait from now on, for this time.
    fn disturb(&mut self, lasts: Duration) {
        let now = micros();
        self.disturbed.push((now, now + lasts.as_micros() as u64));
    }

    /// Does what is due once so many messages were sent.
    pub fn step(&mut self, sent: usize) {
        // The first tenth of the messages have two rows each.
        if !self.is_registered && sent >= self.storm.messages / 10 {
            let client = self.ops.client().build().unwrap();
            self.is_registered = client.register(&AgentCard::new("ops")).is_ok();
        }
        if self.kills * self.storm.messages < sent * self.storm.kills {
            self.kills += 1;
            self.disturb(GOES_ON);
            self.child.replace();
        }
        if self.current.as_ref().is_some_and(|(_, ends)| Instant::now() >= *ends) {
            self.end();
        }
        if sent >= self.next && self.current.is_none() && !self.storm.outage.is_zero() {
            self.next = sent + 1 + self.storm.messages / 25;
            self.begin();
        }
    }

    fn begin(&mut self) {
        let ms = |most: Duration, dice: &mut Dice| Duration::from_millis(dice.roll(most.as_millis() as u64) + 1);
        let lasts = ms(self.storm.outage, &mut self.dice);
        self.disturb(lasts + GOES_ON);
        let fault = match self.dice.roll(6) {
            0 => Fault::Offline,
            1 => Fault::Slow,
            2 if self.storm.pauses => {
                self.disturb(lasts + SEES_RESUMED);
                Fault::Paused
            }
            2 | 3 => Fault::NoRegistry,
            4 => return self.platform.restart(),
            _ => {
                // The file has the new token a moment after the old one was revoked.
                let token = self.ops.rotate_token();
                return write_token(&self.storm.dir, &token);
            }
        };
        match fault {
            Fault::Offline => self.platform.offline(true),
            Fault::Slow => self.platform.slow(lasts / 8),
            Fault::Paused => self.ops.pause(),
            Fault::NoRegistry => self.platform.registry_down(true),
        }
        self.current = Some((fault, Instant::now() + lasts));
    }

    /// Ends the fault under way.
    pub fn end(&mut self) {
        match self.current.take() {
            Some((Fault::Offline, _)) => self.platform.offline(false),
            Some((Fault::Slow, _)) => self.platform.slow(Duration::ZERO),
            Some((Fault::Paused, _)) => self.ops.resume(),
            Some((Fault::NoRegistry, _)) => self.platform.registry_down(false),
            None => {}
        }
    }

    /// Removes the workspace. Returns how long the poller goes on, or `None` if it does not end by that.
    pub fn remove(&mut self) -> Option<Duration> {
        self.ops.remove();
        self.child.end_by_removal(Duration::from_secs(60))
    }
}
