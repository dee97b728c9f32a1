//! Oracles: each judges one rule of SEMANTICS.md over a stream of commands and the lines that they
//! gave, knowing nothing of the engine.
//!
//! A [`Panel`] is what a world feeds: it keeps the [`Ledger`], the common memory of what was asked
//! and said, and asks every [`Oracle`] about every fact before the ledger notes its effect.

pub mod bounded;
mod deadlines;
pub mod exact_grants;
pub mod fifo;
pub mod leases;
pub mod ledger;
pub mod life;
pub mod lost_wakeups;
pub mod mutual_exclusion;
pub mod no_panic;
mod paths;
pub mod retries;
pub mod service;
pub mod sessions;
pub mod tokens;

pub(crate) use paths::same_claims;

#[cfg(test)]
mod testing;

use crate::{
    line::{Line, What},
    model::ModelLimits,
    op::Op,
    outcome::Violation,
};
use ledger::{Fact, Ledger};
use lockwright_engine::Limits;

/// What an oracle says: nothing, or what happened, to whom.
pub type Verdict = Result<(), String>;

/// One rule and its judge.
pub trait Oracle: Send {
    /// The oracle's name, which is its file's.
    fn name(&self) -> &'static str;

    /// The rule that it guards, with its section of SEMANTICS.md.
    fn rule(&self) -> &'static str;

    /// Judges one fact of time `at` in ms. The ledger does not have its effect yet.
    ///
    /// # Errors
    /// The rule is broken: what happened, to whom.
    fn fact(&mut self, _ledger: &Ledger, _op: &Op, _fact: &Fact, _at: u64) -> Verdict {
        Ok(())
    }

    /// The engine grants no smaller token than `first` from now on.
    fn tokens_from(&mut self, first: u64) {
        let _ = first;
    }

    /// The engine has these limits from now on.
    fn relimit(&mut self, limits: &ModelLimits) {
        let _ = limits;
    }

    /// Judges a whole command, whose effects the ledger has. It may ask the ledger about texts
    /// that are new to it, and so gets it to itself.
    ///
    /// # Errors
    /// The rule is broken: what happened, to whom.
    fn command(&mut self, _ledger: &mut Ledger, _op: &Op, _lines: &[Line]) -> Verdict {
        Ok(())
    }
}

/// What the oracles have to be told about an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PanelConfig {
    /// How long the end of a request is remembered, in ms.
    pub retention: u64,
    /// How many requests of an ending session go in one ms.
    pub session_ends_per_ms: u64,
    /// The token of the first grant.
    pub first_token: u64,
}

impl PanelConfig {
    /// What there is to know of an engine with these limits, whose first grant takes `first_token`.
    #[must_use]
    pub fn of(limits: &Limits, first_token: u64) -> PanelConfig {
        PanelConfig {
            retention: limits.retention.as_ms(),
            session_ends_per_ms: u64::from(limits.session_ends_per_ms.get()),
            first_token,
        }
    }
}

impl Default for PanelConfig {
    fn default() -> PanelConfig {
        PanelConfig::of(&Limits::default(), 1)
    }
}

/// All oracles that judge by command and lines, and their ledger. One panel judges one engine from
/// its first command on.
pub struct Panel {
    ledger: Ledger,
    oracles: Vec<Box<dyn Oracle>>,
}

impl Panel {
    /// A panel without the reference model.
    #[must_use]
    pub fn new(config: PanelConfig) -> Panel {
        // The plainest rules first: when a bug breaks several, the message is the plainest.
        Panel::of(
            config,
            vec![
                Box::new(mutual_exclusion::MutualExclusion),
                Box::new(fifo::Fifo),
                Box::new(tokens::Tokens::starting_at(config.first_token)),
                Box::new(leases::Leases::default()),
                Box::new(sessions::Sessions::new(config.session_ends_per_ms)),
                Box::new(retries::Retries::default()),
                Box::new(life::Life::default()),
                Box::new(lost_wakeups::LostWakeups),
            ],
        )
    }

    /// A panel with the reference model among its oracles.
    #[must_use]
    pub fn with_model(config: PanelConfig, limits: ModelLimits) -> Panel {
        let mut panel = Panel::new(config);
        let model = exact_grants::ExactGrants::new(limits, config.first_token);
        panel.oracles.push(Box::new(model));
        panel
    }

    /// A panel of these oracles.
    fn of(config: PanelConfig, oracles: Vec<Box<dyn Oracle>>) -> Panel {
        Panel {
            ledger: Ledger::new(config.retention),
            oracles,
        }
    }

    /// What is known so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The server has begun again, and grants no smaller token than `first`.
    pub fn tokens_from(&mut self, first: u64) {
        for oracle in &mut self.oracles {
            oracle.tokens_from(first);
        }
    }

    /// The engine has these limits from now on, as a server that was started with others.
    pub fn relimit(&mut self, limits: &ModelLimits) {
        self.ledger.relimit(limits.retention);
        for oracle in &mut self.oracles {
            oracle.relimit(limits);
        }
    }

    /// Judges a command and the lines that it gave, in order.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn step(&mut self, op: &Op, lines: &[Line]) -> Result<(), Violation> {
        self.ledger.begin(op);
        for (index, line) in lines.iter().enumerate() {
            let fact = self.ledger.read(op, line, index + 1 == lines.len());
            self.judge(op, fact, line.at)?;
            if let (
                Fact::Arrived {
                    request,
                    waits: false,
                },
                What::Granted { token, .. },
            ) = (fact, &line.what)
            {
                let token = *token;
                self.judge(op, Fact::Granted { request, token }, line.at)?;
            }
        }
        if let Some(fact) = self.ledger.read_silence(op, lines) {
            self.judge(op, fact, self.ledger.now())?;
        }
        for oracle in &mut self.oracles {
            oracle
                .command(&mut self.ledger, op, lines)
                .map_err(|message| violation(oracle.as_ref(), self.ledger.now(), message))?;
        }
        Ok(())
    }

    fn judge(&mut self, op: &Op, fact: Fact, at: u64) -> Result<(), Violation> {
        for oracle in &mut self.oracles {
            oracle
                .fact(&self.ledger, op, &fact, at)
                .map_err(|message| violation(oracle.as_ref(), at, message))?;
        }
        self.ledger.note(op, &fact, at);
        Ok(())
    }
}

fn violation(oracle: &dyn Oracle, at_ms: u64, message: String) -> Violation {
    Violation {
        oracle: oracle.name().to_owned(),
        rule: oracle.rule().to_owned(),
        at_ms,
        message,
    }
}
