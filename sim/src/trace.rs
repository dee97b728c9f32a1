//! Trace files: a plan with what came of it, as one JSON document.
//!
//! A trace is all that a run needs: the generator that drew the plan is not asked again.

use crate::outcome::{HistoryHash, Violation};
use crate::plan::{Plan, PlanSize, Profile};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The version of the format that is written, and the only one that is read.
pub const FORMAT: u64 = 1;

/// A trace file larger than this is refused: 64 MiB.
pub const BYTES_MAX: u64 = 64 << 20;

/// A plan and what came of it.
///
/// `P` is the type of the plan; it is [`Plan`] but in tests of the tools that handle traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace<P = Plan> {
    /// The version of the format, [`FORMAT`].
    pub format: u64,
    /// The version of the tool that wrote it.
    pub tool: String,
    /// What kind of world the plan is of.
    pub profile: Profile,
    /// The seed that the plan was drawn from, and from which its run draws its randomness. A plan
    /// that was shrunk is no longer what the seed gives.
    pub seed: u64,
    /// How far it was shrunk, if that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<Shrunk>,
    /// What went wrong; none if nothing did.
    pub violation: Option<Violation>,
    /// The fingerprint of the history; zero if the run never came to an end.
    pub history_hash: HistoryHash,
    /// The plan.
    pub plan: P,
    /// The last lines of the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<String>>,
}

/// How far a plan was shrunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shrunk {
    /// The size of the plan that the seed gave.
    pub from: PlanSize,
    /// The size of the plan in the trace.
    pub to: PlanSize,
    /// How many plans were run on the way.
    pub runs: u64,
    /// No single step makes it smaller; else the time for it ran out, or it was interrupted.
    pub complete: bool,
}

/// Why a trace file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The file is larger than [`BYTES_MAX`].
    #[error("{}: larger than {} MiB, so it is no trace of this tool", path.display(), BYTES_MAX >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is no JSON, or ends too early.
    #[error(
        "{}:{}:{}: not a whole JSON document: {source}; a trace is written by `bug-finder run` \
         or `bug-finder shrink`", path.display(), source.line(), source.column()
    )]
    NotJson {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// The file is JSON, but no trace.
    #[error(
        "{}: JSON, but not a trace: expected an object with the fields `format`, `seed`, `plan`, ..., \
         got {got}; a trace is written by `bug-finder run` or `bug-finder shrink`", path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        got: String,
    },
    /// The trace is of another version of the format.
    #[error(
        "{}: a trace of format {got}, but this tool ({}) reads format {FORMAT}; use the version of \
         the tool that wrote it ({tool})", path.display(), env!("CARGO_PKG_VERSION")
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The version that it claims.
        got: String,
        /// The version of the tool that wrote it, as far as it says.
        tool: String,
    },
    /// A field of the trace is missing, unknown or of a wrong type.
    #[error(
        "{}:{}:{}: not a trace of format {FORMAT}: {source}; if it was edited by hand, mend this \
         place, else write it anew with `bug-finder run`", path.display(), source.line(), source.column()
    )]
    WrongShape {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
}

impl<P: DeserializeOwned> Trace<P> {
    /// Reads the trace at `path`.
    ///
    /// # Errors
    /// When the file cannot be read, is larger than [`BYTES_MAX`], or is not a trace of format
    /// [`FORMAT`].
    pub fn read(path: &Path) -> Result<Trace<P>, TraceError> {
        let io_error = |source| TraceError::Io {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(io_error)?;
        let mut bytes = Vec::new();
        file.take(BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(io_error)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(TraceError::TooLarge {
                path: path.to_owned(),
            });
        }
        Trace::parse(&bytes, path)
    }

    /// Reads a trace from the contents of the file at `path`.
    ///
    /// # Errors
    /// When it is not a trace of format [`FORMAT`].
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Trace<P>, TraceError> {
        let path = path.to_owned();
        // What it is comes first, so that a file of another kind or version is called that, and
        // not by the first field that differs.
        let kind: serde_json::Value = match serde_json::from_slice(bytes) {
            Ok(kind) => kind,
            Err(source) => return Err(TraceError::NotJson { path, source }),
        };
        let Some(format) = kind.get("format") else {
            let got = describe(&kind);
            return Err(TraceError::Foreign { path, got });
        };
        if format.as_u64() != Some(FORMAT) {
            return Err(TraceError::UnknownFormat {
                path,
                got: format.to_string(),
                tool: kind
                    .get("tool")
                    .map_or_else(|| "it does not say which".to_owned(), ToString::to_string),
            });
        }
        serde_json::from_slice(bytes).map_err(|source| TraceError::WrongShape { path, source })
    }
}

impl<P: Serialize> Trace<P> {
    /// Writes the trace to `path`, whole or not at all: into a file beside it, which then takes
    /// its name.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, path: &Path) -> Result<(), TraceError> {
        let io_error = |source| TraceError::Io {
            path: path.to_owned(),
            source,
        };
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| io_error(std::io::Error::other(error)))?;
        text.push(b'\n');
        let mut part = path.as_os_str().to_owned();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        let written = std::fs::File::create(&part).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&part, path)
        });
        written.map_err(|source| {
            // It may not exist; the first error is the one to report.
            let _ = std::fs::remove_file(&part);
            io_error(source)
        })
    }
}

/// What a JSON value is, for a person who expected a trace.
fn describe(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(fields) if fields.is_empty() => "an empty object".to_owned(),
        Value::Object(fields) => {
            const SHOWN: usize = 5;
            let names: Vec<String> = fields
                .keys()
                .take(SHOWN)
                .map(|name| format!("`{}`", name.chars().take(40).collect::<String>()))
                .collect();
            format!("an object with {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace<Vec<f64>> {
        Trace {
            format: FORMAT,
            tool: "0.0.0".to_owned(),
            profile: Profile::Service,
            seed: u64::MAX,
            shrunk: None,
            violation: Some(Violation {
                oracle: "fifo".to_owned(),
                rule: "SEMANTICS 7.2 FIFO".to_owned(),
                at_ms: 5,
                message: "L2 before L1".to_owned(),
            }),
            history_hash: HistoryHash(0xab),
            plan: vec![0.1 + 0.2, 1e-300, 123_456.789_012_345_67],
            history: None,
        }
    }

    fn parse(text: &str) -> Result<Trace<Vec<f64>>, String> {
        Trace::parse(text.as_bytes(), Path::new("t.json")).map_err(|error| error.to_string())
    }

    fn refusal(text: &str) -> String {
        parse(text).expect_err("it is no trace")
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let dir = std::env::temp_dir().join(format!("lockwright-trace-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory for the test");
        let path = dir.join("t.json");
        trace().write(&path).expect("it is writable");
        trace().write(&path).expect("it can be replaced");
        assert_eq!(Trace::read(&path).expect("it is a trace"), trace());
        let names = std::fs::read_dir(&dir).expect("it is there").count();
        assert_eq!(names, 1, "a part file was left behind");
        std::fs::remove_dir_all(&dir).expect("it is ours");
    }

    #[test]
    fn writing_where_one_may_not_names_the_file() {
        let error = trace()
            .write(Path::new("/nowhere/t.json"))
            .expect_err("no such directory");
        assert!(error.to_string().starts_with("/nowhere/t.json: "));
    }

    #[test]
    fn every_truncation_is_refused_with_its_place() {
        let text = serde_json::to_string_pretty(&trace()).expect("it is JSON");
        for len in 0..text.len() {
            let message = refusal(&text[..len]);
            assert!(message.starts_with("t.json:"), "{message}");
            assert!(message.contains("not a whole JSON document"), "{message}");
        }
    }

    #[test]
    fn foreign_files_are_called_foreign() {
        for (text, got) in [
            ("[1,2]", "got an array"),
            ("3", "got a number"),
            ("{}", "got an empty object"),
            (
                r#"{"name":"x","version":1}"#,
                "got an object with `name`, `version`",
            ),
        ] {
            let message = refusal(text);
            assert!(message.contains(got), "{message}");
        }
    }

    #[test]
    fn other_formats_are_refused_whatever_else_they_hold() {
        for text in [
            r#"{"format":2,"tool":"9.0.0","novelty":1}"#,
            r#"{"format":"1"}"#,
            r#"{"format":1.5}"#,
            r#"{"format":-1}"#,
        ] {
            let message = refusal(text);
            assert!(message.contains("reads format 1"), "{message}");
        }
    }

    #[test]
    fn wrong_fields_are_refused_with_their_place() {
        let text = serde_json::to_string_pretty(&trace()).expect("it is JSON");
        for (from, to, says) in [
            ("\"seed\"", "\"sead\"", "unknown field `sead`"),
            ("\"service\"", "\"servise\"", "unknown variant `servise`"),
            ("18446744073709551615", "-1", "expected u64"),
            ("00000000000000ab", "xyz", "16 hexadecimal digits"),
        ] {
            let message = refusal(&text.replace(from, to));
            assert!(message.contains(says), "{message}");
            assert!(message.starts_with("t.json:"), "{message}");
        }
    }
}
