//! Runs a script line by line.

use super::{LimitSetting, ScriptError, ScriptOptions};
use crate::driver::EngineDriver;
use crate::line::Line;
use crate::model::{Model, ModelLimits};
use crate::op::{Action, DEFAULT_NAMESPACE, Op, OpOwner, Text};
use crate::oracle::{Panel, PanelConfig, no_panic};
use crate::outcome::Violation;
use lockwright_engine::{Engine, EngineConfig, Limits};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a header line that sets limits starts with.
const LIMIT_DIRECTIVE: &str = "#! limit";

/// With more live requests than this the oracles and the reference model, which compare all with
/// all, would take too long, and are left behind.
const JUDGED_REQUESTS_MAX: usize = 2_000;

/// A script that is being run.
pub(super) struct Runner {
    overrides: Vec<LimitSetting>,
    check: bool,
    limits: Limits,
    /// Made at the first op, when all limits are known.
    world: Option<World>,
    /// The number of the latest line, counted from 1.
    line: usize,
    /// The time of the latest op.
    latest_at: u64,
    /// Whose each id is.
    owner_of_id: BTreeMap<Text, (Text, OpOwner)>,
    lines: Vec<Line>,
    note: Option<String>,
}

/// The engine, and what judges it.
struct World {
    driver: EngineDriver,
    oracles: Option<Panel>,
    model: Option<Model>,
    /// How many ops may still go by before the engine's state is checked. Its check walks over
    /// everything, so it is done less often the more there is.
    unchecked_ops_left: usize,
}

impl Runner {
    pub(super) fn new(options: &ScriptOptions) -> Runner {
        Runner {
            overrides: options.limits.clone(),
            check: options.check,
            limits: Limits::default(),
            world: None,
            line: 0,
            latest_at: 0,
            owner_of_id: BTreeMap::new(),
            lines: Vec::new(),
            note: None,
        }
    }

    /// Takes the script's next line, whatever it is. What it causes is in [`Runner::lines`].
    pub(super) fn feed(&mut self, line: &[u8]) -> Result<(), ScriptError> {
        self.line += 1;
        self.lines.clear();
        self.note = None;
        let text = std::str::from_utf8(line)
            .map_err(|error| self.unreadable(format!("not UTF-8: {error}")))?
            .trim();
        if let Some(settings) = text.strip_prefix(LIMIT_DIRECTIVE) {
            return self.set_limits(settings);
        }
        if text.starts_with("#!") {
            let message = format!("a line that starts with #! is `{LIMIT_DIRECTIVE} NAME=NUMBER`");
            return Err(self.unreadable(message));
        }
        if text.is_empty() || text.starts_with('#') {
            return Ok(());
        }
        let op = serde_json::from_str(text).map_err(|error| self.unreadable(reason(&error)))?;
        self.check_order(&op)?;
        self.carry_out(&op)
    }

    /// What the latest line caused.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Something about the latest line for a person to know.
    pub(super) fn take_note(&mut self) -> Option<String> {
        self.note.take()
    }

    /// The last check, at the end of the script.
    pub(super) fn finish(&mut self) -> Result<(), ScriptError> {
        match &self.world {
            Some(world) if self.check => {
                let checked = catch_unwind(AssertUnwindSafe(|| world.driver.engine().check()));
                checked.map_err(|panic| self.panicked(&*panic))
            }
            _ => Ok(()),
        }
    }

    fn unreadable(&self, message: String) -> ScriptError {
        ScriptError::Unreadable {
            line: self.line,
            message,
        }
    }

    fn set_limits(&mut self, settings: &str) -> Result<(), ScriptError> {
        if self.world.is_some() {
            let message = "limits must be set before the first command".to_owned();
            return Err(self.unreadable(message));
        }
        if !settings.starts_with(char::is_whitespace) {
            let message = format!("expected `{LIMIT_DIRECTIVE} NAME=NUMBER`");
            return Err(self.unreadable(message));
        }
        for setting in settings.split_whitespace() {
            let setting: LimitSetting = setting
                .parse()
                .map_err(|error| self.unreadable(format!("{error}")))?;
            setting.apply_to(&mut self.limits);
        }
        Ok(())
    }

    /// Time does not go back, and an id has one owner and namespace.
    fn check_order(&mut self, op: &Op) -> Result<(), ScriptError> {
        if op.at < self.latest_at {
            let (at, latest) = (op.at, self.latest_at);
            return Err(self.unreadable(format!(
                "time goes back: `at` is {at} after {latest}; it must be at least {latest}"
            )));
        }
        self.latest_at = op.at;
        if let Action::Acquire { id, owner, .. } = &op.action {
            let namespace = op.namespace_or_default();
            match self.owner_of_id.get(id) {
                None => {
                    let whose = (Text::from(namespace), owner.clone());
                    self.owner_of_id.insert(id.clone(), whose);
                }
                Some((its_namespace, its_owner)) => {
                    if **its_namespace != *namespace || its_owner != owner {
                        return Err(self.unreadable(format!(
                            "the id `{id}` is taken by {}: an id belongs to one owner in one \
                             namespace, all through a script",
                            whose(its_namespace, its_owner)
                        )));
                    }
                }
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, op: &Op) -> Result<(), ScriptError> {
        let mut world = match self.world.take() {
            Some(world) => world,
            None => self.new_world(),
        };
        let lines = &mut self.lines;
        let step = catch_unwind(AssertUnwindSafe(|| {
            world.driver.step(op, lines);
            if self.check {
                world.check_engine();
            }
        }));
        step.map_err(|panic| self.panicked(&*panic))?;
        if let Some(rejection) = world.driver.rejection() {
            let code = rejection.code();
            self.note = Some(format!("line {}: {code}: {rejection}", self.line));
        }
        if let Some(oracles) = &mut world.oracles {
            // They say more plainly than a difference from the model what is wrong.
            oracles
                .step(op, &self.lines)
                .map_err(|violation| self.violation(violation))?;
        }
        self.compare_with_model(&mut world, op)?;
        if world.is_judged() && world.driver.engine().usage().live_requests > JUDGED_REQUESTS_MAX {
            world.oracles = None;
            world.model = None;
            self.note = Some(format!(
                "line {}: more than {JUDGED_REQUESTS_MAX} live requests: from here on the oracles \
                 and the reference model do not judge the engine",
                self.line
            ));
        }
        self.world = Some(world);
        Ok(())
    }

    fn new_world(&mut self) -> World {
        for setting in &self.overrides {
            setting.apply_to(&mut self.limits);
        }
        let limits = self.limits.clone();
        let model = self.check.then(|| Model::new(ModelLimits::from(&limits)));
        let oracles = self.check.then(|| {
            let first_token = PanelConfig::default().first_token;
            Panel::new(PanelConfig::of(&limits, first_token))
        });
        let engine = Engine::new(EngineConfig {
            limits,
            ..EngineConfig::default()
        });
        World {
            driver: EngineDriver::new(engine),
            oracles,
            model,
            unchecked_ops_left: 0,
        }
    }

    fn compare_with_model(&mut self, world: &mut World, op: &Op) -> Result<(), ScriptError> {
        let Some(model) = &mut world.model else {
            return Ok(());
        };
        let mut expected = Vec::new();
        model.step(op, &mut expected);
        if expected != self.lines {
            return Err(self.violation(Violation {
                oracle: "exact_grants".to_owned(),
                rule: "SEMANTICS 2, FIFO and nothing else: what happens is exactly what the \
                       reference model says"
                    .to_owned(),
                at_ms: op.at,
                message: format!(
                    "engine and reference model differ\n  model:  {}\n  engine: {}",
                    joined(&expected),
                    joined(&self.lines)
                ),
            }));
        }
        Ok(())
    }

    fn panicked(&self, panic: &(dyn std::any::Any + Send)) -> ScriptError {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        let message = format!("the engine panicked: {}", said.unwrap_or("no message"));
        self.violation(no_panic::violation(self.latest_at, &message))
    }

    fn violation(&self, violation: Violation) -> ScriptError {
        ScriptError::Violation {
            line: self.line,
            violation: Box::new(violation),
        }
    }
}

impl World {
    fn is_judged(&self) -> bool {
        self.oracles.is_some() || self.model.is_some()
    }

    fn check_engine(&mut self) {
        if self.unchecked_ops_left > 0 {
            self.unchecked_ops_left -= 1;
            return;
        }
        let engine = self.driver.engine();
        engine.check();
        let usage = engine.usage();
        self.unchecked_ops_left = (usage.live_requests + usage.remembered_requests) / 64;
    }
}

/// What is wrong with a line, without the line number that serde_json counts inside it.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(what) if error.is_data() && what.starts_with("invalid") => {
            format!("{what} (column {})", error.column())
        }
        Some(what) if error.is_data() => what.to_owned(),
        Some(what) => format!("not a JSON object: {what} at column {}", error.column()),
        None => text,
    }
}

fn whose(namespace: &str, owner: &OpOwner) -> String {
    let owner = match owner {
        OpOwner::Named(name) => format!("owner `{name}`"),
        OpOwner::Session(name) => format!("session `{name}`"),
    };
    if namespace == DEFAULT_NAMESPACE {
        owner
    } else {
        format!("{owner} in namespace `{namespace}`")
    }
}

fn joined(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "nothing".to_owned();
    }
    let lines: Vec<String> = lines.iter().map(Line::to_string).collect();
    lines.join(" ")
}
