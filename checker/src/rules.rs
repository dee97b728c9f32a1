//! The rules that must hold in every state and at every step.

use std::fmt;

/// A rule, and its section of `docs/semantics.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// No two conflicting locks are held at the same instant.
    MutualExclusion,
    /// Nobody is granted before an earlier live request that they conflict with has ended.
    FirstCome,
    /// Nobody waits for anything but what they conflict with.
    NeverLater,
    /// Who is set free by one event is granted in the order of arrival.
    GrantOrder,
    /// A request has all of its claims or none.
    AllOrNothing,
    /// Each grant takes the next number.
    Tokens,
    /// A request is queued, held, over, and over once, for a reason.
    OneEnd,
    /// A lease ends at its millisecond and at no other.
    Leases,
    /// So does a wait.
    Waits,
    /// So does an abandoned session, and with it all that is its.
    Sessions,
    /// What is due happens in order, before the command.
    DueOrder,
    /// Each command gets the answer that the rules give it.
    Answers,
    /// A refused command changes nothing.
    Refusals,
    /// Asking again with the same id changes nothing, and is answered with how the first stands.
    Retries,
    /// Questions are answered by what was said before.
    Questions,
    /// Nothing is kept for what is not there.
    Resources,
    /// The engine's own assertions hold.
    NoPanic,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 17] = [
        Rule::MutualExclusion,
        Rule::FirstCome,
        Rule::NeverLater,
        Rule::GrantOrder,
        Rule::AllOrNothing,
        Rule::Tokens,
        Rule::OneEnd,
        Rule::Leases,
        Rule::Waits,
        Rule::Sessions,
        Rule::DueOrder,
        Rule::Answers,
        Rule::Refusals,
        Rule::Retries,
        Rule::Questions,
        Rule::Resources,
        Rule::NoPanic,
    ];

    /// Its name in reports and in the explorer.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Rule::MutualExclusion => "mutual exclusion (7.1)",
            Rule::FirstCome => "first come, first served (7.2)",
            Rule::NeverLater => "nobody waits for nothing (2, 7.6)",
            Rule::GrantOrder => "grants of one event in arrival order (3)",
            Rule::AllOrNothing => "all claims or none (2)",
            Rule::Tokens => "tokens are 1, 2, 3, ... (2, 7.3)",
            Rule::OneEnd => "one life and one end (2)",
            Rule::Leases => "leases end to the millisecond (3)",
            Rule::Waits => "waits end to the millisecond (3)",
            Rule::Sessions => "sessions end in time, with all that is theirs (4)",
            Rule::DueOrder => "what is due happens in order (3)",
            Rule::Answers => "every command gets its answer (5)",
            Rule::Refusals => "a refused command changes nothing (5)",
            Rule::Retries => "a retry changes nothing (4)",
            Rule::Questions => "questions are answered truly (2)",
            Rule::Resources => "what is idle costs nothing (6)",
            Rule::NoPanic => "the engine's own assertions hold",
        }
    }
}

/// A rule that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub rule: Rule,
    /// What happened, to whom.
    pub message: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule.name(), self.message)
    }
}

/// A breach, unless `holds`.
pub(crate) fn must(
    holds: bool,
    rule: Rule,
    message: impl FnOnce() -> String,
) -> Result<(), Breach> {
    if holds {
        return Ok(());
    }
    Err(Breach {
        rule,
        message: message(),
    })
}
