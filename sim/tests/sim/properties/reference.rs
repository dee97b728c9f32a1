//! The engine that ships says what the reference model says, command by command.

use super::{
    config, draw,
    script::{limits_line, op_line},
};
use lockwright_engine::{Engine, EngineConfig, Limits};
use lockwright_sim::driver::EngineDriver;
use lockwright_sim::line::Line;
use lockwright_sim::model::{Model, ModelLimits};
use lockwright_sim::op::Op;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use std::fmt;

prop_state_machine! {
    #![proptest_config(config(1000))]

    #[test]
    fn the_engine_says_what_the_model_says(sequential 1..80 => EngineThatShips);
}

/// A command that is shown as a line of a script.
#[derive(Clone)]
struct Step(Op);

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&op_line(&self.0))
    }
}

/// The model, and what it said to the latest command.
#[derive(Clone)]
struct Reference {
    limits: Limits,
    model: Model,
    latest: u64,
    lines: Vec<Line>,
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&limits_line(&self.limits))
    }
}

impl ReferenceStateMachine for Reference {
    type State = Reference;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Reference> {
        let begin = |limits| Reference {
            model: Model::new(ModelLimits::from(&limits)),
            limits,
            latest: 0,
            lines: Vec::new(),
        };
        draw::limits().prop_map(begin).boxed()
    }

    fn transitions(state: &Reference) -> BoxedStrategy<Step> {
        draw::op_after(state.latest).prop_map(Step).boxed()
    }

    fn apply(mut state: Reference, Step(op): &Step) -> Reference {
        state.latest = op.at;
        state.lines.clear();
        state.model.step(op, &mut state.lines);
        state
    }
}

/// The engine, and the script so far.
struct EngineThatShips {
    driver: EngineDriver,
    script: Vec<String>,
}

impl StateMachineTest for EngineThatShips {
    type SystemUnderTest = EngineThatShips;
    type Reference = Reference;

    fn init_test(reference: &Reference) -> EngineThatShips {
        let limits = reference.limits.clone();
        EngineThatShips {
            driver: EngineDriver::new(Engine::new(EngineConfig {
                limits,
                ..EngineConfig::default()
            })),
            script: vec![limits_line(&reference.limits)],
        }
    }

    fn apply(
        mut engine: EngineThatShips,
        reference: &Reference,
        Step(op): Step,
    ) -> EngineThatShips {
        let mut lines = Vec::new();
        engine.script.push(op_line(&op));
        engine.driver.step(&op, &mut lines);
        assert!(
            lines == reference.lines,
            "engine and model differ after the last line of\n\n{}\n\nmodel:\n{}\nengine:\n{}",
            engine.script.join("\n"),
            text(&reference.lines),
            text(&lines),
        );
        engine
    }

    fn check_invariants(engine: &EngineThatShips, _: &Reference) {
        engine.driver.engine().check();
    }
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
