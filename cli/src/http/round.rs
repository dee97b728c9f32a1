//! Which servers are asked, in what order, and what is made of those that do not answer.

use serde_json::Value;
use std::{cell::RefCell, collections::VecDeque, fmt};

/// What happens if something is asked of another server that one may have done already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nothing: it only looks.
    ToLook,
    /// Nothing: done twice it is as done once.
    Again,
    /// Harm: so it is asked again only if it is certain that nothing was done.
    Once,
}

/// Why a server gave no answer that counts.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It was not reached: nothing was done.
    Unreached(String),
    /// Something else than its answer came, or nothing: it may have been done.
    Lost(String),
    /// It answers that it cannot serve now.
    Unavailable(Value),
}

impl Trouble {
    fn nothing_was_done(&self) -> bool {
        match self {
            Trouble::Unreached(_) => true,
            Trouble::Lost(_) => false,
            Trouble::Unavailable(answer) => answer["done"] == false,
        }
    }

    fn leader(&self) -> Option<&str> {
        match self {
            Trouble::Unavailable(answer) => answer["leader"].as_str(),
            Trouble::Unreached(_) | Trouble::Lost(_) => None,
        }
    }
}

/// What came of asking.
#[derive(Debug)]
pub(super) struct Answered<T> {
    pub(super) answer: T,
    /// Whether another server may have done it before.
    pub(super) before: bool,
}

/// Nobody answered.
#[derive(Debug)]
pub(super) struct Nobody {
    troubles: Vec<(String, Trouble)>,
    /// Whether it may have been done all the same.
    pub(super) perhaps_done: bool,
}

impl Nobody {
    /// What the last one said of those that cannot serve now.
    pub(super) fn unavailable(&self) -> Option<&Value> {
        self.troubles.iter().rev().find_map(|(_, why)| match why {
            Trouble::Unavailable(answer) => Some(answer),
            Trouble::Unreached(_) | Trouble::Lost(_) => None,
        })
    }
}

impl fmt::Display for Nobody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (server, trouble)) in self.troubles.iter().enumerate() {
            if nth > 0 {
                f.write_str("; ")?;
            }
            match trouble {
                Trouble::Unreached(why) => write!(f, "cannot speak with {server}: {why}")?,
                Trouble::Lost(why) => write!(f, "no answer from {server}: {why}")?,
                Trouble::Unavailable(answer) => {
                    let why = answer["message"].as_str().unwrap_or("unavailable");
                    write!(f, "{server}: {why}")?;
                }
            }
        }
        Ok(())
    }
}

/// The servers that can be asked.
#[derive(Debug)]
pub(super) struct Servers {
    all: Vec<String>,
    /// The one that answered last: it is asked first.
    last: RefCell<Option<String>>,
}

impl Servers {
    pub(super) fn new(all: Vec<String>) -> Servers {
        let last = RefCell::new(None);
        Servers { all, last }
    }

    /// Asks one after the other until there is an answer. A leader that a server points at is
    /// asked next, once.
    pub(super) fn ask<T>(
        &self,
        asked: Asked,
        mut attempt: impl FnMut(&str) -> Result<T, Trouble>,
    ) -> Result<Answered<T>, Nobody> {
        let mut turn = self.turn();
        let mut pointed = false;
        let mut nobody = Nobody {
            troubles: Vec::new(),
            perhaps_done: false,
        };
        while let Some(server) = turn.pop_front() {
            let trouble = match attempt(&server) {
                Ok(answer) => {
                    let before = nobody.perhaps_done;
                    self.last.replace(Some(server));
                    return Ok(Answered { answer, before });
                }
                Err(trouble) => trouble,
            };
            if asked != Asked::ToLook && !trouble.nothing_was_done() {
                nobody.perhaps_done = true;
            }
            if let Some(leader) = trouble.leader()
                && !pointed
                && leader != server
            {
                pointed = true;
                turn.retain(|other| other != leader);
                turn.push_front(leader.to_owned());
            }
            nobody.troubles.push((server, trouble));
            if asked == Asked::Once && nobody.perhaps_done {
                break;
            }
        }
        Err(nobody)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// The one that answered last is asked last from now on.
    pub(super) fn pass_over_last(&self) {
        let last = self.last.take();
        let at = self
            .all
            .iter()
            .position(|server| Some(server) == last.as_ref());
        let next = at.and_then(|at| self.all.get((at + 1) % self.all.len()));
        self.last.replace(next.cloned());
    }

    /// All, and the one that answered last in front; those behind it in the list come next.
    fn turn(&self) -> VecDeque<String> {
        let last = self.last.borrow();
        let Some(last) = last.as_ref() else {
            return self.all.iter().cloned().collect();
        };
        let at = self.all.iter().position(|server| server == last);
        let (before, behind) = self.all.split_at(at.unwrap_or(0));
        let others = behind.iter().chain(before).filter(|server| *server != last);
        [last].into_iter().chain(others).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn servers() -> Servers {
        Servers::new(vec!["a:1".into(), "b:1".into(), "c:1".into()])
    }

    /// Asks, with what each server makes of it, and gives who was asked.
    fn asked(
        servers: &Servers,
        asked: Asked,
        attempt: impl Fn(&str) -> Result<(), Trouble>,
    ) -> (Vec<String>, Result<Answered<()>, Nobody>) {
        let mut order = Vec::new();
        let result = servers.ask(asked, |server| {
            order.push(server.to_owned());
            attempt(server)
        });
        (order, result)
    }

    #[test]
    fn who_answered_last_is_asked_first() {
        let servers = servers();
        let (order, answered) = asked(&servers, Asked::Once, |server| match server {
            "b:1" => Ok(()),
            _ => Err(Trouble::Unreached("refused".into())),
        });
        assert_eq!(order, ["a:1", "b:1"]);
        assert!(!answered.unwrap().before);
        let (order, nobody) = asked(&servers, Asked::Once, |_| {
            Err(Trouble::Unreached("refused".into()))
        });
        assert_eq!(order, ["b:1", "c:1", "a:1"]);
        let nobody = nobody.unwrap_err();
        assert!(!nobody.perhaps_done);
        assert_eq!(nobody.to_string().matches("refused").count(), 3);
    }

    #[test]
    fn who_is_passed_over_is_asked_last() {
        let servers = servers();
        let refused = |_: &str| Err(Trouble::Unreached("refused".into()));
        for (answers, expected) in [
            ("b:1", ["c:1", "a:1", "b:1"]),
            ("c:1", ["a:1", "b:1", "c:1"]),
        ] {
            let (_, answered) = asked(&servers, Asked::ToLook, |server| {
                if server == answers {
                    Ok(())
                } else {
                    refused(server)
                }
            });
            assert!(answered.is_ok());
            servers.pass_over_last();
            let (order, _) = asked(&servers, Asked::ToLook, refused);
            assert_eq!(order, expected);
        }
    }

    #[test]
    fn what_may_have_been_done_is_asked_again_only_if_it_does_no_harm() {
        let lost = |server: &str| match server {
            "a:1" => Err(Trouble::Lost("reset".into())),
            _ => Ok(()),
        };
        let (order, nobody) = asked(&servers(), Asked::Once, lost);
        assert_eq!(order, ["a:1"]);
        assert!(nobody.unwrap_err().perhaps_done);
        let (order, answered) = asked(&servers(), Asked::Again, lost);
        assert_eq!(order, ["a:1", "b:1"]);
        assert!(answered.unwrap().before);
        let (_, answered) = asked(&servers(), Asked::ToLook, lost);
        assert!(!answered.unwrap().before);
    }

    #[test]
    fn a_server_that_cannot_serve_is_passed_over_and_its_leader_asked_next() {
        let first = |answer: Value| {
            move |server: &str| match server {
                "a:1" => Err(Trouble::Unavailable(answer.clone())),
                _ => Ok(()),
            }
        };
        // It does not say that nothing was done.
        let (order, nobody) = asked(&servers(), Asked::Once, first(json!({"message": "stops"})));
        assert_eq!(order, ["a:1"]);
        let nobody = nobody.unwrap_err();
        assert!(nobody.perhaps_done && nobody.unavailable().is_some());
        let answer = json!({"done": false, "leader": "d:1"});
        let (order, _) = asked(&servers(), Asked::Once, first(answer));
        assert_eq!(order, ["a:1", "d:1"]);
        // Two that point at each other are asked once.
        let (order, _) = asked(&servers(), Asked::ToLook, |server| {
            let leader = if server == "a:1" { "b:1" } else { "a:1" };
            Err(Trouble::Unavailable(json!({ "leader": leader })))
        });
        assert_eq!(order, ["a:1", "b:1", "c:1"]);
    }
}
