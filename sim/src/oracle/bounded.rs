//! An idle engine holds nothing, and the same work again and again needs no more memory.

use crate::outcome::Violation;
use std::fmt::Debug;

/// Judges what is left when everything was ended and forgotten: `left` is `None` if nothing is,
/// else what is.
///
/// # Errors
/// Something is left.
pub fn nothing_left(at_ms: u64, left: Option<&dyn Debug>) -> Result<(), Violation> {
    match left {
        None => Ok(()),
        Some(left) => Err(violation(
            at_ms,
            format!(
                "everything has ended and is forgotten at {at_ms} ms, but there is left: {left:?}"
            ),
        )),
    }
}

/// Judges how much memory was allocated, in bytes, after ever more rounds of the same work: each
/// checkpoint comes after twice as many rounds as the one before. A table may still grow once; what
/// leaks grows from each checkpoint to the next.
///
/// # Errors
/// It grew all the time.
pub fn no_leak(at_ms: u64, checkpoints: &[Checkpoint]) -> Result<(), Violation> {
    let grows = checkpoints.len() > 2
        && checkpoints
            .windows(2)
            .all(|pair| pair[0].allocated < pair[1].allocated);
    if !grows {
        return Ok(());
    }
    let story: Vec<String> = checkpoints
        .iter()
        .map(|checkpoint| {
            format!(
                "{} bytes after {} rounds",
                checkpoint.allocated, checkpoint.rounds
            )
        })
        .collect();
    Err(violation(
        at_ms,
        format!(
            "the same commands, after which nothing is left, need ever more memory: {}",
            story.join(", ")
        ),
    ))
}

/// How much memory is allocated after how many rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many rounds.
    pub rounds: u32,
    /// Bytes allocated and not freed, from an origin that does not matter.
    pub allocated: i64,
}

fn violation(at_ms: u64, message: String) -> Violation {
    Violation {
        oracle: "bounded".to_owned(),
        rule: "SEMANTICS 6: an idle resource costs no memory".to_owned(),
        at_ms,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoints(allocated: &[i64]) -> Vec<Checkpoint> {
        let rounds = (1..).map(|step| 1 << step);
        let pairs = rounds.zip(allocated);
        pairs
            .map(|(rounds, &allocated)| Checkpoint { rounds, allocated })
            .collect()
    }

    #[test]
    fn growth_without_end_is_a_leak() {
        let leak = no_leak(9, &checkpoints(&[100, 164, 292, 548])).unwrap_err();
        assert!(
            leak.message.contains("548 bytes after 16 rounds"),
            "{}",
            leak.message
        );
    }

    #[test]
    fn a_table_that_grew_once_is_no_leak() {
        assert_eq!(no_leak(9, &checkpoints(&[100, 164, 164, 164])), Ok(()));
        assert_eq!(no_leak(9, &checkpoints(&[100, 90, 110, 120])), Ok(()));
        assert_eq!(no_leak(9, &checkpoints(&[100, 200])), Ok(()));
    }

    #[test]
    fn what_is_left_is_named() {
        assert_eq!(nothing_left(9, None), Ok(()));
        let left = nothing_left(9, Some(&"3 nodes")).unwrap_err();
        assert!(left.message.contains("3 nodes"));
    }
}
