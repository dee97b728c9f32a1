//! Bytes as snapshots: from a disk that lies, or from whoever wishes us ill.

use super::{bytes::Bytes, commands::driver_with};
use lockwright_engine::{Command, Engine, HashKey, Snapshot, TimeMs};
use serde_json::Value;

/// How many deadlines of a restored engine are passed one by one.
const DEADLINES_MAX: usize = 64;

/// Reads the bytes as a snapshot in JSON. It is refused, or is that of an engine that works.
///
/// # Panics
/// When it is accepted and the engine is not sound.
pub fn snapshot_json(bytes: &[u8]) {
    if let Ok(snapshot) = serde_json::from_slice(bytes) {
        restore(&snapshot);
    }
}

/// Reads the bytes as commands, and as edits of the snapshot of an engine that carried them out.
/// It is refused, or is that of an engine that works.
///
/// # Panics
/// When it is accepted and the engine is not sound, or when it was not edited and is refused.
pub fn snapshot_edited(bytes: &[u8]) {
    // So many bytes at the end are edits.
    const EDIT_BYTES: usize = 5;
    let mut bytes = Bytes(bytes);
    let edits = bytes.below(4).min(bytes.0.len() / EDIT_BYTES);
    let (commands, edit_bytes) = bytes.0.split_at(bytes.0.len() - edits * EDIT_BYTES);
    let mut commands = Bytes(commands);
    let mut driver = driver_with(commands.limits());
    let mut lines = Vec::new();
    for op in commands.ops() {
        lines.clear();
        driver.step(&op, &mut lines);
    }
    let snapshot = driver.engine().snapshot();
    let mut json = serde_json::to_value(&snapshot).expect("a snapshot is JSON");
    for edit in edit_bytes.chunks(EDIT_BYTES) {
        change(&mut json, &mut Bytes(edit));
    }
    let Ok(edited) = serde_json::from_value::<Snapshot>(json) else {
        assert!(edits > 0, "a snapshot can be read");
        return;
    };
    let accepted = restore(&edited);
    assert!(
        accepted || edited != snapshot,
        "a snapshot of an engine is refused"
    );
}

/// Restores a snapshot, and says whether it was accepted.
fn restore(snapshot: &Snapshot) -> bool {
    let mut engine = match Engine::restore(snapshot, HashKey([1, 2])) {
        Ok(engine) => engine,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a refusal says why");
            return false;
        }
    };
    engine.check();
    let saved = engine.snapshot();
    let again = Engine::restore(&saved, HashKey([3, 4]));
    let mut again = again.unwrap_or_else(|error| panic!("what was restored is refused: {error}"));
    assert!(
        again == engine,
        "what was restored is restored to something else"
    );
    let bytes = serde_json::to_vec(&saved).expect("a snapshot is JSON");
    let read: Snapshot = serde_json::from_slice(&bytes).expect("it was written by us");
    assert!(read == saved, "a snapshot does not survive JSON");
    for _ in 0..DEADLINES_MAX {
        let Some(due) = engine.next_deadline().filter(|due| *due <= TimeMs::LATEST) else {
            break;
        };
        tick_both(&mut engine, &mut again, due);
    }
    tick_both(&mut engine, &mut again, TimeMs::LATEST);
    true
}

/// Both go on equally.
fn tick_both(one: &mut Engine, other: &mut Engine, at: TimeMs) {
    let (mut events, mut others_events) = (Vec::new(), Vec::new());
    let said = one.apply(at, &Command::Tick, &mut events);
    assert_eq!(said, other.apply(at, &Command::Tick, &mut others_events));
    assert_eq!(events, others_events);
    one.check();
}

/// Changes one place of a JSON value, of which the bytes say the way and the change.
fn change(value: &mut Value, bytes: &mut Bytes<'_>) {
    let way = [bytes.next(), bytes.next(), bytes.next()];
    let (kind, with) = (bytes.next(), bytes.next());
    let mut place = value;
    for step in way {
        let is_inner = place.as_object().is_some_and(|fields| !fields.is_empty())
            || place.as_array().is_some_and(|list| !list.is_empty());
        if !is_inner || step == 0xff {
            break;
        }
        place = inner(place, usize::from(step));
    }
    // Leaves lie deeper than the way is long: on from there by the first field.
    if kind & 0x80 == 0 {
        while let Value::Object(fields) = place {
            let chosen = usize::from(kind >> 3) % fields.len().max(1);
            match fields.values_mut().nth(chosen) {
                Some(field) => place = field,
                None => return,
            }
        }
    }
    replace(place, kind & 7, with);
}

/// The field or element of an object or list that is not empty.
fn inner(value: &mut Value, number: usize) -> &mut Value {
    match value {
        Value::Object(fields) => {
            let chosen = number % fields.len();
            fields.values_mut().nth(chosen).expect("there are as many")
        }
        Value::Array(list) => {
            let chosen = number % list.len();
            &mut list[chosen]
        }
        leaf => leaf,
    }
}

fn replace(place: &mut Value, kind: u8, with: u8) {
    match (kind, &mut *place) {
        (0, Value::Array(list)) if !list.is_empty() => {
            list.remove(usize::from(with) % list.len());
        }
        (1, Value::Array(list)) if !list.is_empty() => {
            let doubled = list[usize::from(with) % list.len()].clone();
            list.push(doubled);
        }
        (2, Value::Array(list)) => list.reverse(),
        (3, Value::Number(number)) => {
            let number = number.as_u64().unwrap_or(0);
            *place = number
                .wrapping_add(u64::from(with))
                .wrapping_sub(128)
                .into();
        }
        (4, Value::Number(_)) => *place = (1_u64 << (with & 63)).into(),
        (5, _) => *place = Value::Null,
        (6, Value::String(text)) => {
            *text = ["x", "y", "s", "t", "/", "a", "a/b", ""][usize::from(with & 7)].to_owned();
        }
        (_, Value::Number(_) | Value::Null) => *place = u64::from(with).into(),
        (_, Value::String(text)) => text.push('x'),
        _ => *place = Value::Array(Vec::new()),
    }
}
