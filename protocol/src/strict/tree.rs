//! JSON as a tree, and what no type would find out: fields that come twice, and `null`.

use super::{Fault, Step};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, map::Entry};
use std::{cell::RefCell, fmt};

/// A text as a tree.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) value: Value,
    /// The first fault, in the order of the text. The tree is whole all the same, so that it can be
    /// seen what the text is about.
    pub(crate) fault: Option<Fault>,
}

/// Reads a text.
///
/// # Errors
/// When it is not JSON.
pub(crate) fn tree(text: &[u8]) -> Result<Tree, Fault> {
    let found = Found::default();
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = Whole(&found).deserialize(&mut json);
    let value = value.and_then(|value| json.end().map(|()| value));
    Ok(Tree {
        value: value.map_err(Fault::new)?,
        fault: found.fault.into_inner(),
    })
}

/// What was found while reading.
#[derive(Default)]
struct Found {
    /// The way to where the reading is, the outermost step first.
    way: RefCell<Vec<Step>>,
    fault: RefCell<Option<Fault>>,
}

impl Found {
    fn fault(&self, message: &str) {
        let fault = &mut *self.fault.borrow_mut();
        fault.get_or_insert_with(|| {
            let mut fault = Fault::new(message);
            let way = self.way.borrow();
            fault.steps.extend(way.iter().rev().cloned());
            fault
        });
    }

    fn at<T>(&self, step: Step, read: impl FnOnce() -> T) -> T {
        self.way.borrow_mut().push(step);
        let read = read();
        self.way.borrow_mut().pop();
        read
    }
}

struct Whole<'a>(&'a Found);

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.0
            .fault("null is no value: leave the field out, or give it a value");
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        let next = |index| {
            let step = Step::Element(index);
            let read = || elements.next_element_seed(Whole(self.0));
            self.0.at(step, read)
        };
        let mut next = next;
        while let Some(value) = next(list.len())? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let step = Step::Field(name.clone());
            let value = self.0.at(step, || {
                if object.contains_key(&name) {
                    self.0.fault("it comes twice: say it once");
                }
                fields.next_value_seed(Whole(self.0))
            })?;
            // Of those that come twice the first stays, as in the places of faults.
            if let Entry::Vacant(entry) = object.entry(name) {
                entry.insert(value);
            }
        }
        Ok(object.into())
    }
}
