//! What a check says at its end.

use super::Stopped;
use super::counterexample::Found;
use crate::case;
use crate::commands::say;
use crate::error::{Exit, Failure};
use crate::units::short_span;
use lockwright_checker::{Menu, Rule, Sight, Size};
use serde_json::json;
use std::time::Duration;

/// What came of a check.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) size: Size,
    pub(super) stopped: Stopped,
    pub(super) unique_states: usize,
    /// With those that were come across again.
    pub(super) states: usize,
    /// The most steps on a path.
    pub(super) depth: usize,
    pub(super) elapsed: Duration,
    pub(super) reached: Vec<(Sight, bool)>,
    pub(super) broken: Vec<Rule>,
}

impl Report {
    /// Says it, and gives the exit code.
    pub(super) fn tell(&self, as_json: bool, found: Option<&Found>) -> Result<Exit, Failure> {
        let exit = self.exit();
        if as_json {
            say(&self.json(found, exit).to_string())?;
        } else {
            say(self.text(found).trim_end())?;
        }
        Ok(exit)
    }

    fn missing(&self) -> impl Iterator<Item = &'static str> {
        let missing = self.reached.iter().filter(|(_, reached)| !reached);
        missing.map(|(sight, _)| sight.name())
    }

    fn exit(&self) -> Exit {
        match self.stopped {
            Stopped::Found => Exit::Violation,
            Stopped::Interrupted => Exit::Interrupted,
            Stopped::TimeUp => Exit::Clean,
            Stopped::Exhausted if self.missing().next().is_some() => Exit::Violation,
            Stopped::Exhausted => Exit::Clean,
        }
    }

    fn states_per_s(&self) -> f64 {
        (self.states as f64 / self.elapsed.as_secs_f64().max(1e-3)).round()
    }

    fn text(&self, found: Option<&Found>) -> String {
        let mut text = String::new();
        if let Some(found) = found {
            text += &format!("violation of {}\n", case::describe(&found.violation));
            text += &format!("  steps   {}\n", found.steps.join("; "));
            text += &format!("  trace   {}\n", found.trace.display());
            let path = case::quote(&found.trace.display().to_string());
            text += &format!("  replay  {} replay {path}\n", case::this_program());
            if !found.replays {
                text += "  No oracle of `replay` sees it: the steps above are the evidence.\n";
            }
        }
        text += &format!(
            "{} unique states of {} generated, at most {} steps deep, in {}, {} states/s\n",
            self.unique_states,
            self.states,
            self.depth,
            short_span(self.elapsed),
            self.states_per_s()
        );
        let rules = Rule::ALL.len();
        let reached = self.reached.len() - self.missing().count();
        let of = self.reached.len();
        text += &match self.stopped {
            Stopped::Exhausted => format!(
                "all of it was looked at: {rules} rules hold everywhere, {reached} of {of} sights \
                 were reached\n"
            ),
            Stopped::Found => format!(
                "{} of {rules} rules broken; the rest was not looked at\n",
                self.broken.len()
            ),
            Stopped::TimeUp => format!(
                "time is up: {rules} rules hold as far as it went, {reached} of {of} sights were \
                 reached\n"
            ),
            Stopped::Interrupted => format!(
                "interrupted: {rules} rules hold as far as it went, {reached} of {of} sights were \
                 reached\n"
            ),
        };
        if self.stopped != Stopped::Found {
            for sight in self.missing() {
                text += &format!("  not reached: {sight}\n");
            }
        }
        text
    }

    fn json(&self, found: Option<&Found>, exit: Exit) -> serde_json::Value {
        let rules = Rule::ALL.iter().map(|rule| {
            let broken = self.broken.contains(rule);
            json!({"rule": rule.name(), "broken": broken})
        });
        let sights = self.reached.iter();
        let sights =
            sights.map(|(sight, reached)| json!({"sight": sight.name(), "reached": reached}));
        json!({
            "clients": self.size.clients,
            "requests": self.size.requests,
            "ms": self.size.ms,
            "menu": match self.size.menu {
                Menu::Small => "small",
                Menu::Full => "full",
            },
            "depth_max": self.size.depth,
            "unique_states": self.unique_states,
            "states": self.states,
            "depth": self.depth,
            "elapsed_ms": (self.elapsed.as_secs_f64() * 1e3).round(),
            "states_per_s": self.states_per_s(),
            "rules": rules.collect::<Vec<_>>(),
            "sights": sights.collect::<Vec<_>>(),
            "violation": found.map(|found| &found.violation),
            "steps": found.map(|found| &found.steps),
            "trace": found.map(|found| found.trace.display().to_string()),
            "replays": found.map(|found| found.replays),
            "stopped": match self.stopped {
                Stopped::Exhausted => "exhausted",
                Stopped::Found => "found",
                Stopped::TimeUp => "time_up",
                Stopped::Interrupted => "interrupted",
            },
            "exit": exit as u8,
        })
    }
}
