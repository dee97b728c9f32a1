//! Scripts that carry their expected output: each command is followed by a line `#> ...` for each
//! line that it prints. To whoever only runs the script they are comments.

use super::runner::Runner;
use super::{ScriptError, ScriptOptions};
use std::fmt;

/// What a line of expected output starts with.
const MARK: &str = "#> ";

/// A command printed something else than the script expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The number of the command's line, counted from 1.
    pub line: usize,
    /// The command.
    pub command: String,
    /// The lines that the script expects.
    pub expected: Vec<String>,
    /// The lines that came.
    pub got: Vec<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.command)?;
        let pairs = self.expected.len().max(self.got.len());
        for index in 0..pairs {
            let (expected, got) = (self.expected.get(index), self.got.get(index));
            if expected == got {
                write!(f, "\n    {}", expected.map_or("", String::as_str))?;
                continue;
            }
            if let Some(expected) = expected {
                write!(f, "\n  - {expected}")?;
            }
            if let Some(got) = got {
                write!(f, "\n  + {got}")?;
            }
        }
        Ok(())
    }
}

/// Why a script does not check.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It could not be run to its end.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// It printed something else than it expects (`-` expected, `+` printed).
    #[error("the output is not the expected one (- expected, + printed)\n{0}")]
    Mismatch(Box<Mismatch>),
}

/// Runs a script and compares its output with the one that it carries. A script that carries none
/// is only run.
///
/// # Errors
/// [`CheckError`] at the first difference, or when the script cannot be run to its end.
pub fn check_script(text: &str) -> Result<(), CheckError> {
    let carries_output = text.lines().any(|line| expected_output(line).is_some());
    let mut mismatch = None;
    walk(text, |line, command, expected, got| {
        if carries_output && mismatch.is_none() && expected != got {
            mismatch = Some(Mismatch {
                line,
                command: command.trim_end().to_owned(),
                expected,
                got,
            });
        }
    })?;
    match mismatch {
        Some(mismatch) => Err(CheckError::Mismatch(Box::new(mismatch))),
        None => Ok(()),
    }
}

/// The script with the output that it gives now as the expected one. All else stays as it is.
///
/// # Errors
/// [`ScriptError`] when the script cannot be run to its end.
pub fn rewrite_script(text: &str) -> Result<String, ScriptError> {
    let mut rewritten = String::with_capacity(text.len());
    walk(text, |_, line, _, got| {
        rewritten.push_str(line);
        rewritten.push('\n');
        for got in got {
            rewritten.push_str(MARK);
            rewritten.push_str(&got);
            rewritten.push('\n');
        }
    })?;
    Ok(rewritten)
}

/// The rest of a line of expected output; editors may have taken its trailing space.
fn expected_output(line: &str) -> Option<&str> {
    let rest = line.strip_prefix(MARK.trim_end())?;
    Some(rest.trim())
}

/// Runs a script and shows each line that is not expected output, with its number, the output that
/// is expected after it, and the output that it gives.
fn walk(
    text: &str,
    mut show: impl FnMut(usize, &str, Vec<String>, Vec<String>),
) -> Result<(), ScriptError> {
    let mut runner = Runner::new(&ScriptOptions::default());
    // Not `lines`, which takes a `\r` away: what is not output stays as it is.
    let mut lines = text.split_terminator('\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        runner.feed(line.as_bytes())?;
        let got = runner.lines().iter().map(ToString::to_string).collect();
        let mut expected = Vec::new();
        while let Some((_, next)) = lines.peek()
            && let Some(output) = expected_output(next)
        {
            expected.push(output.to_owned());
            runner.feed(next.as_bytes())?;
            lines.next();
        }
        if expected_output(line).is_none() {
            show(index + 1, line, expected, got);
        }
    }
    runner.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = r#"# One holder.
{"at":0,"op":"acquire","id":"L1","owner":"a","claims":["w a"],"ttl":5}

{"at":5,"op":"acquire","id":"L2","owner":"b","claims":["w a"]}
"#;

    const FULL: &str = r##"# One holder.
{"at":0,"op":"acquire","id":"L1","owner":"a","claims":["w a"],"ttl":5}
#> {"at":0,"event":"granted","id":"L1","token":1}

{"at":5,"op":"acquire","id":"L2","owner":"b","claims":["w a"]}
#> {"at":5,"event":"ended","id":"L1","reason":"expired"}
#> {"at":5,"event":"granted","id":"L2","token":2}
"##;

    #[test]
    fn rewriting_keeps_the_ends_of_lines() {
        for text in [
            "# One holder.\r\n\r\n",
            "{\"at\":0,\"op\":\"tick\"}\n\r\r\n",
        ] {
            assert_eq!(rewrite_script(text).unwrap(), text);
        }
        // The last line gets an end, so that output can follow; nothing else goes.
        assert_eq!(rewrite_script("\r\r").unwrap(), "\r\r\n");
    }

    #[test]
    fn rewriting_fills_in_what_is_printed_and_keeps_all_else() {
        assert_eq!(rewrite_script(BARE).unwrap(), FULL);
        assert_eq!(rewrite_script(FULL).unwrap(), FULL);
    }

    #[test]
    fn expected_output_is_compared() {
        check_script(BARE).unwrap();
        check_script(FULL).unwrap();
        let wrong = FULL.replace("\"token\":2", "\"token\":3");
        let error = check_script(&wrong).unwrap_err();
        let CheckError::Mismatch(mismatch) = error else {
            panic!("{error}");
        };
        assert_eq!(mismatch.line, 5);
        let shown = mismatch.to_string();
        assert!(
            shown.contains("\n    {\"at\":5,\"event\":\"ended\""),
            "{shown}"
        );
        assert!(shown.contains("  - {\"at\":5,\"event\":\"granted\",\"id\":\"L2\",\"token\":3}"));
        assert!(shown.contains("  + {\"at\":5,\"event\":\"granted\",\"id\":\"L2\",\"token\":2}"));
    }

    #[test]
    fn a_line_that_is_missing_or_too_many_is_a_mismatch() {
        let missing = FULL.replace(
            "#> {\"at\":0,\"event\":\"granted\",\"id\":\"L1\",\"token\":1}\n",
            "",
        );
        assert!(matches!(check_script(&missing), Err(CheckError::Mismatch(m)) if m.line == 2));
        let too_many = format!("#> {{}}\n{BARE}");
        assert!(matches!(
            check_script(&too_many),
            Err(CheckError::Mismatch(_))
        ));
    }
}
