//! What was broken, and by which question.

use super::{NAMED_MAX, Question, Request, listed};
use crate::{op::Text, oracle::Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// What was done, and who may have done it.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    /// The questions that may still do something, or may have done something.
    open: BTreeMap<Text, Question>,
    /// What was done of which no answer has told.
    untold: Vec<Deed>,
}

/// What an entry of the log did.
#[derive(Debug)]
struct Deed {
    /// The requests that ended, as they were before.
    ended: BTreeSet<Request>,
    /// The session that they ended with.
    session: Option<Text>,
    /// The questions that come to this.
    by: BTreeSet<Text>,
    /// Whether nobody needs to have asked for it here: a client closes its own session.
    may_be_its_own: bool,
}

/// What was ended, and in what the answer is another; all of it when that is short.
fn difference(ended: &BTreeSet<Request>, told: &BTreeSet<Request>) -> String {
    let mut text = listed(ended);
    let (untold, untrue) = (ended - told, told - ended);
    if ended.len() > NAMED_MAX && !untold.is_empty() {
        text = format!("{text}; not told of is {}", listed(&untold));
    }
    if ended.len() > NAMED_MAX && !untrue.is_empty() {
        text = format!("{text}; told of, and not ended, is {}", listed(&untrue));
    }
    text
}

impl Deeds {
    /// A request with the right token.
    pub(super) fn asked(&mut self, ask: &Text, question: &Question) {
        self.open.insert(ask.clone(), question.clone());
    }

    /// The questions that may still do something.
    pub(super) fn open(&self) -> impl Iterator<Item = (&Text, &Question)> {
        self.open.iter()
    }

    /// These were broken, as any of these questions would have it.
    pub(super) fn did(&mut self, ended: BTreeSet<Request>, by: BTreeSet<Text>) -> Verdict {
        self.add(Deed {
            ended,
            session: None,
            by,
            may_be_its_own: false,
        })
    }

    /// A session was closed, and these ended with it.
    pub(super) fn closed(
        &mut self,
        session: &Text,
        ended: BTreeSet<Request>,
        by: BTreeSet<Text>,
        may_be_its_own: bool,
    ) -> Verdict {
        self.add(Deed {
            ended,
            session: Some(session.clone()),
            by,
            may_be_its_own,
        })
    }

    fn add(&mut self, deed: Deed) -> Verdict {
        self.untold.push(deed);
        self.each_has_its_own()
    }

    /// The question did nothing, and will not.
    pub(super) fn came_to_nothing(&mut self, ask: &Text) -> Verdict {
        self.open.remove(ask);
        for deed in &mut self.untold {
            deed.by.remove(ask);
        }
        self.each_has_its_own()
    }

    /// The answer says that these ended, and with which session.
    pub(super) fn came_to(
        &mut self,
        ask: &Text,
        requests: &[Request],
        session: Option<&Text>,
    ) -> Verdict {
        let told: BTreeSet<Request> = requests.iter().cloned().collect();
        if told.len() != requests.len() {
            return Err("it names something twice".to_owned());
        }
        let place = self.untold.iter().position(|deed| {
            deed.by.contains(ask) && deed.ended == told && deed.session.as_ref() == session
        });
        let Some(place) = place else {
            let mine = self.untold.iter().filter(|deed| deed.by.contains(ask));
            let mine: Vec<String> = mine.map(|deed| difference(&deed.ended, &told)).collect();
            return Err(match mine.is_empty() {
                true => "it has ended nothing that was not told of before".to_owned(),
                false => format!("what it may have ended is {}", mine.join("; or ")),
            });
        };
        self.untold.remove(place);
        self.came_to_nothing(ask)
    }

    /// Whether there is a question for each thing that was done, of its own: Kuhn's way to find a matching.
    fn each_has_its_own(&self) -> Verdict {
        let mut doers: BTreeMap<&Text, usize> = BTreeMap::new();
        for (place, deed) in self.untold.iter().enumerate() {
            if !deed.may_be_its_own && !self.gives(place, &mut doers, &mut BTreeSet::new()) {
                let what = match &deed.session {
                    Some(session) => format!("the session {session} was ended, and with it"),
                    None => "broken was".to_owned(),
                };
                return Err(format!(
                    "{what} {}, and no operator asked for that, or only for what is told of otherwise",
                    listed(&deed.ended)
                ));
            }
        }
        Ok(())
    }

    /// Gives the deed at `place` a question, and others another one if need be; whether there is one.
    fn gives<'a>(
        &'a self,
        place: usize,
        doers: &mut BTreeMap<&'a Text, usize>,
        tried: &mut BTreeSet<&'a Text>,
    ) -> bool {
        for ask in &self.untold[place].by {
            if !tried.insert(ask) {
                continue;
            }
            let other = doers.get(ask).copied();
            if other.is_none_or(|other| self.gives(other, doers, tried)) {
                doers.insert(ask, place);
                return true;
            }
        }
        false
    }
}
