//! Scripts: the engine driven by hand, a JSON object a line in, a JSON object a line out.
//!
//! [`run_script`] runs one, [`check_script`] runs one that carries its expected output and says
//! where the two differ, and [`rewrite_script`] puts the expected output in. All three also let
//! the oracles and the reference model judge the engine, unless that is turned off. The language is described in
//! `docs/scripts.md`.

mod expected;
mod limit;
mod runner;

pub use expected::{CheckError, Mismatch, check_script, rewrite_script};
pub use limit::{LimitError, LimitSetting};

use crate::outcome::Violation;
use runner::Runner;
use std::io::{self, BufRead, Write};

/// How a script is run.
#[derive(Debug, Clone)]
pub struct ScriptOptions {
    /// Limits that replace the defaults, and those that the script itself sets.
    pub limits: Vec<LimitSetting>,
    /// Whether the oracles judge each op, the reference model carries it out too and must give the
    /// same lines, and the engine's state is checked against its invariants.
    pub check: bool,
}

impl Default for ScriptOptions {
    fn default() -> ScriptOptions {
        ScriptOptions {
            limits: Vec::new(),
            check: true,
        }
    }
}

/// Why a script was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// A line is not one of the language, goes back in time, or uses an id that is taken.
    #[error("line {line}: {message}")]
    Unreadable {
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// An oracle or the reference model found the engine wrong, or the engine broke down.
    #[error("line {line}: violation of {}: {}", violation.rule, violation.message)]
    Violation {
        /// Which line, counted from 1.
        line: usize,
        /// What was violated.
        violation: Box<Violation>,
    },
    /// The script could not be read.
    #[error("cannot read the script: {0}")]
    Read(#[source] io::Error),
    /// Output could not be written.
    #[error("cannot write the output: {0}")]
    Write(#[source] io::Error),
}

/// Runs a script. Output is written op by op and not flushed: give a writer that flushes at line
/// ends, as standard output does, where somebody waits for each answer. For each op that is refused
/// `notes` gets a line that says why in words.
///
/// # Errors
/// [`ScriptError`], after the output of the lines before, and of the line itself if that was
/// carried out.
pub fn run_script(
    mut input: impl BufRead,
    mut output: impl Write,
    mut notes: impl Write,
    options: &ScriptOptions,
) -> Result<(), ScriptError> {
    let mut runner = Runner::new(options);
    let mut line = Vec::new();
    loop {
        line.clear();
        let bytes = input
            .read_until(b'\n', &mut line)
            .map_err(ScriptError::Read)?;
        if bytes == 0 {
            break;
        }
        let fed = runner.feed(&line);
        for line in runner.lines() {
            writeln!(output, "{line}").map_err(ScriptError::Write)?;
        }
        if let Some(note) = runner.take_note() {
            writeln!(notes, "{note}").map_err(ScriptError::Write)?;
        }
        fed?;
    }
    runner.finish()?;
    output.flush().map_err(ScriptError::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, options: &ScriptOptions) -> (String, String, Result<(), ScriptError>) {
        let (mut output, mut notes) = (Vec::new(), Vec::new());
        let result = run_script(script.as_bytes(), &mut output, &mut notes, options);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output), text(notes), result)
    }

    fn error_of(script: &str) -> String {
        let (_, _, result) = run(script, &ScriptOptions::default());
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_script_is_answered_line_by_line() {
        let script = r##"
# alice holds the tree, bob waits for a leaf of it
{"at":0,"op":"acquire","id":"L1","owner":"alice","claims":["w a"],"ttl":1000}

{"at":1,"op":"acquire","id":"L2","owner":"bob","claims":["r a/b"],"wait":"no"}
{"at":1000,"op":"tick"}
"##;
        let (output, notes, result) = run(script, &ScriptOptions::default());
        result.unwrap();
        assert_eq!(
            output,
            r#"{"at":0,"event":"granted","id":"L1","token":1}
{"at":1,"event":"refused","id":"L2","error":"busy"}
{"at":1000,"event":"ended","id":"L1","reason":"expired"}
"#
        );
        assert!(notes.starts_with("line 5: busy: "), "{notes}");
    }

    #[test]
    fn a_bad_line_comes_after_the_output_of_the_lines_before() {
        let script = "{\"at\":0,\"op\":\"inspect\",\"path\":\"/\"}\n\nnonsense\n";
        let (output, _, result) = run(script, &ScriptOptions::default());
        assert_eq!(
            output,
            "{\"at\":0,\"event\":\"inspect\",\"path\":\"/\",\"held\":[],\"queued\":[]}\n"
        );
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with("line 3: "), "{error}");
        assert!(!error.contains("at line 1"), "{error}");
    }

    #[test]
    fn a_time_that_goes_back_is_refused() {
        let error = error_of("{\"at\":5,\"op\":\"tick\"}\n{\"at\":4,\"op\":\"tick\"}\n");
        assert_eq!(
            error,
            "line 2: time goes back: `at` is 4 after 5; it must be at least 5"
        );
    }

    #[test]
    fn a_line_that_is_no_text_is_refused() {
        let result = run_script(
            &b"\xff\n"[..],
            Vec::new(),
            Vec::new(),
            &ScriptOptions::default(),
        );
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with("line 1: not UTF-8"), "{error}");
    }

    #[test]
    fn an_id_belongs_to_one_owner_and_namespace() {
        let alice = r#"{"at":0,"op":"acquire","id":"L1","owner":"alice","claims":["w a"]}"#;
        for other in [
            r#"{"at":0,"op":"acquire","id":"L1","owner":"bob","claims":["w a"]}"#,
            r#"{"at":0,"op":"acquire","id":"L1","session":"alice","claims":["w a"]}"#,
            r#"{"at":0,"op":"acquire","namespace":"n","id":"L1","owner":"alice","claims":["w a"]}"#,
        ] {
            let error = error_of(&format!("{alice}\n{other}\n"));
            assert!(error.starts_with("line 2: the id `L1` is taken"), "{error}");
        }
        let (output, _, result) = run(&format!("{alice}\n{alice}"), &ScriptOptions::default());
        result.unwrap();
        assert_eq!(
            output,
            "{\"at\":0,\"event\":\"granted\",\"id\":\"L1\",\"token\":1}\n".repeat(2)
        );
    }

    #[test]
    fn options_override_the_limits_of_the_header() {
        let script = "#! limit sessions=0\n\
                      {\"at\":0,\"op\":\"open_session\",\"session\":\"s\",\"abandon\":1}\n";
        let (output, _, _) = run(script, &ScriptOptions::default());
        assert!(output.contains("limit_exceeded"), "{output}");
        let options = ScriptOptions {
            limits: vec!["sessions=1".parse().unwrap()],
            ..ScriptOptions::default()
        };
        let (output, _, _) = run(script, &options);
        assert!(output.contains("\"open\""), "{output}");
    }

    #[test]
    fn limits_are_set_before_the_first_command() {
        let error = error_of("{\"at\":0,\"op\":\"tick\"}\n#! limit sessions=1\n");
        assert!(error.starts_with("line 2: limits must be set"), "{error}");
        let error = error_of("#! limit colours=1\n");
        assert!(error.contains("unknown limit `colours`"), "{error}");
    }
}
