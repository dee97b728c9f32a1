//! What is left of a run when its process dies: the simulated time, the panics, the last events.
//!
//! A process that aborts sends nothing any more. So it writes as it goes, into memory that outlives
//! it: the finder shares some with each child, and reads it when the child has died.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Memory for a report, in bytes.
pub const LEN: usize = 64 << 10;

/// The memory of a report: zeros at first.
pub type Memory = &'static [AtomicU8];

/// Two numbers of eight bytes: the simulated time in ms, and how many bytes of events were written.
const TIME: usize = 0;
const WRITTEN: usize = 8;
/// The panics, one after the other, up to a zero.
const PANICS: std::ops::Range<usize> = 16..16 << 10;
/// The last events, a line each: a ring, which overwrites what is oldest.
const EVENTS: std::ops::Range<usize> = 16 << 10..LEN;

static MEMORY: OnceLock<Memory> = OnceLock::new();

thread_local! {
    /// How much this thread has written, so that it need not be read back.
    static HERE: Cell<Here> = const { Cell::new(Here { panics: 0, events: 0 }) };
}

#[derive(Clone, Copy)]
struct Here {
    panics: usize,
    events: u64,
}

/// What was read from the memory of a report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CrashReport {
    /// The simulated time, in ms.
    pub at_ms: u64,
    /// What panics said, and where they were.
    pub panics: String,
    /// The last events, as lines of a history.
    pub events: Vec<String>,
}

/// From now on this process writes its report into `memory`. The first call counts.
///
/// # Panics
/// When the memory is too small.
pub fn keep_in(memory: Memory) {
    assert!(memory.len() >= LEN, "the memory is too small for a report");
    let _ = MEMORY.set(memory);
}

/// A run begins: nothing has happened yet.
pub fn begin() {
    HERE.set(Here {
        panics: 0,
        events: 0,
    });
    if let Some(memory) = MEMORY.get() {
        clear(memory);
    }
}

/// Empties a report.
pub fn clear(memory: Memory) {
    put_number(memory, TIME, 0);
    put_number(memory, WRITTEN, 0);
    memory[PANICS.start].store(0, Relaxed);
}

/// It is `ms` in simulated time.
pub fn at(ms: u64) {
    if let Some(memory) = MEMORY.get() {
        put_number(memory, TIME, ms);
    }
}

/// Something happened: a line of the history.
pub fn event(line: &str) {
    let Some(memory) = MEMORY.get() else {
        return;
    };
    let ring = &memory[EVENTS];
    let mut here = HERE.get();
    for byte in line.bytes().chain([b'\n']) {
        let place = usize::try_from(here.events).unwrap_or(0) % ring.len();
        ring[place].store(byte, Relaxed);
        here.events += 1;
    }
    HERE.set(here);
    put_number(memory, WRITTEN, here.events);
}

/// Something panicked: what it said, and where.
pub fn panicked(text: &str) {
    let Some(memory) = MEMORY.get() else {
        return;
    };
    let area = &memory[PANICS];
    let mut here = HERE.get();
    for byte in text.bytes().chain([b'\n']) {
        // The last byte stays zero.
        if byte != 0 && here.panics + 1 < area.len() {
            area[here.panics].store(byte, Relaxed);
            here.panics += 1;
        }
    }
    area[here.panics].store(0, Relaxed);
    HERE.set(here);
}

/// What this process has written so far, if it writes a report.
#[must_use]
pub fn so_far() -> Option<CrashReport> {
    MEMORY.get().map(|memory| read(memory))
}

/// Reads a report; whoever wrote it is dead, or is this thread.
#[must_use]
pub fn read(memory: Memory) -> CrashReport {
    CrashReport {
        at_ms: number(memory, TIME),
        panics: text(
            memory[PANICS]
                .iter()
                .take_while(|byte| byte.load(Relaxed) != 0),
        )
        .trim_end()
        .to_owned(),
        events: events(&memory[EVENTS], number(memory, WRITTEN)),
    }
}

fn events(ring: &[AtomicU8], written: u64) -> Vec<String> {
    let written = usize::try_from(written).unwrap_or(0);
    if written <= ring.len() {
        return lines(&text(ring[..written].iter()));
    }
    let oldest = written % ring.len();
    let all = text(ring[oldest..].iter().chain(&ring[..oldest]));
    // The first line has lost its beginning.
    lines(all.split_once('\n').map_or("", |(_, whole)| whole))
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn text<'a>(bytes: impl Iterator<Item = &'a AtomicU8>) -> String {
    let bytes: Vec<u8> = bytes.map(|byte| byte.load(Relaxed)).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn put_number(memory: Memory, at: usize, number: u64) {
    for (place, byte) in memory[at..at + 8].iter().zip(number.to_le_bytes()) {
        place.store(byte, Relaxed);
    }
}

fn number(memory: Memory, at: usize) -> u64 {
    let bytes: [u8; 8] = std::array::from_fn(|index| memory[at + index].load(Relaxed));
    u64::from_le_bytes(bytes)
}
