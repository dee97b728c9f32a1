//! The time of the server's engine, as it should be.
//!
//! A server that leads goes on from the last time that was applied, as fast as its clock.

use std::time::Duration;

/// What the server's engine should show, and when on the host's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ServerTime {
    /// The engine's time when the server began to lead, in ms.
    began: u64,
    /// What the host's clock showed then, in whole ms.
    local: u64,
    is_running: bool,
}

impl ServerTime {
    /// A server begins to lead at the engine's time `at`.
    pub(super) fn begin(&mut self, at: u64, local: Duration) {
        *self = ServerTime {
            began: at,
            local: ms(local),
            is_running: true,
        };
    }

    /// The server does not lead any more.
    pub(super) fn stop(&mut self) {
        self.is_running = false;
    }

    /// Whether a server leads.
    pub(super) fn is_running(&self) -> bool {
        self.is_running
    }

    /// What the engine should show when the host's clock shows `local`, in ms.
    pub(super) fn shows(&self, local: Duration) -> u64 {
        self.began + ms(local).saturating_sub(self.local)
    }

    /// What the host's clock shows when the engine shows `at`.
    pub(super) fn when(&self, at: u64) -> Duration {
        Duration::from_millis(self.local + at.saturating_sub(self.began))
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("584 million years are not simulated")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_time_goes_on_from_where_it_was() {
        let mut time = ServerTime::default();
        time.begin(100, Duration::from_micros(7_900));
        assert_eq!(time.shows(Duration::from_micros(8_100)), 101);
        assert_eq!(time.when(105), Duration::from_millis(12));
        assert!(time.is_running());
    }
}
