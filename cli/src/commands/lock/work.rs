//! What a command line of `lock` asks for: names, and the command, if there is one.

use lockwright_client::Path;
use std::ffi::{OsStr, OsString};

/// What stands between the names and the command, and in front of names that begin with `-`.
const BETWEEN: &str = "--";

/// What is to be locked, and what is to run meanwhile.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) names: Vec<Path>,
    /// Empty when the lock is to be held until a signal comes.
    pub(super) command: Vec<OsString>,
}

impl Work {
    /// `names` stand before the first `--`, `rest` behind it; `divided` says whether there is one.
    ///
    /// # Errors
    /// What is missing, or which name is none.
    pub(super) fn new(names: &[Path], rest: &[OsString], divided: bool) -> Result<Work, String> {
        let work = if names.is_empty() {
            Work::behind(rest)?
        } else if divided && rest.is_empty() {
            return Err(NO_COMMAND.to_owned());
        } else {
            Work {
                names: names.to_vec(),
                command: rest.to_vec(),
            }
        };
        Ok(work)
    }

    /// Names that stand behind the first `--`, since they begin with `-`.
    fn behind(rest: &[OsString]) -> Result<Work, String> {
        let between = rest.iter().position(|word| word == BETWEEN);
        let (names, command) = match between {
            Some(at) if at + 1 == rest.len() => return Err(NO_COMMAND.to_owned()),
            Some(at) => (&rest[..at], &rest[at + 1..]),
            // No command looks like this.
            None if rest.iter().all(|word| begins_with_hyphen(word)) => (rest, &rest[..0]),
            None => (&rest[..0], rest),
        };
        if names.is_empty() {
            return Err(NO_NAME.to_owned());
        }
        let names: Result<Vec<Path>, String> = names.iter().map(|name| parsed(name)).collect();
        Ok(Work {
            names: names?,
            command: command.to_vec(),
        })
    }
}

const NO_NAME: &str = "there is no NAME to lock: lockwright lock NAME.. -- CMD; names that begin with \
                       `-` stand between two `--`: lockwright lock -- -NAME -- CMD";

const NO_COMMAND: &str = "there is no command behind `--`; without `--` the lock is held until SIGINT \
                          or SIGTERM comes";

fn begins_with_hyphen(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

fn parsed(name: &OsStr) -> Result<Path, String> {
    let text = name
        .to_str()
        .ok_or_else(|| format!("`{}` is no name: it is not UTF-8", name.display()))?;
    Path::parse(text).map_err(|error| format!("`{text}` is no name: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_command_are_told_apart() {
        for (line, names, command) in [
            ("a -- true", "a", "true"),
            ("a b/c -- sh -c -- x", "a b/c", "sh -c -- x"),
            ("a", "a", ""),
            ("-- -rf -- true", "-rf", "true"),
            ("-- -rf b -- sh -- x", "-rf b", "sh -- x"),
            ("-- a -- true", "a", "true"),
            ("-- -rf", "-rf", ""),
            ("-- -rf -x", "-rf -x", ""),
            ("a -- -b -- true", "a", "-b -- true"),
        ] {
            let work = read(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let shown: Vec<String> = work.names.iter().map(ToString::to_string).collect();
            assert_eq!(shown.join(" "), names, "{line}");
            assert_eq!(work.command, words(command), "{line}");
        }
        for (line, what) in [
            ("", "no NAME"),
            ("--", "no NAME"),
            ("-- true", "no NAME"),
            ("-- -- true", "no NAME"),
            ("a --", "no command"),
            ("-- -a --", "no command"),
            ("-- -a//b -- true", "`-a//b` is no name"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(what), "{line}: {error}");
        }
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    /// As the command line is read, where the first `--` ends the names.
    fn read(line: &str) -> Result<Work, String> {
        let words = words(line);
        let at = words.iter().position(|word| word == BETWEEN);
        let names = &words[..at.unwrap_or(words.len())];
        let names: Vec<Path> = names.iter().map(|name| parsed(name).unwrap()).collect();
        let rest = at.map_or(&words[..0], |at| &words[at + 1..]);
        Work::new(&names, rest, at.is_some())
    }
}
