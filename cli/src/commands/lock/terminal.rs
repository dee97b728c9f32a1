//! Lending the terminal to the command, as a shell does.

use crate::os;
use nix::unistd::{Pid, getpgrp, tcgetpgrp};
use std::io::{IsTerminal, stdin, stdout};

/// Whether the command is to have the terminal from the start. With stdout in a pipe, the
/// terminal is left to whoever reads there, such as a pager, until the command asks for it.
pub(super) fn is_to_give() -> bool {
    stdin().is_terminal() && stdout().is_terminal() && is_ours()
}

/// Whether our process group is in the foreground of the terminal on stdin.
pub(super) fn is_ours() -> bool {
    stdin().is_terminal() && tcgetpgrp(stdin()) == Ok(getpgrp())
}

/// Whether a process group is in the foreground of the terminal on stdin.
pub(super) fn has(group: Pid) -> bool {
    stdin().is_terminal() && tcgetpgrp(stdin()) == Ok(group)
}

/// Gives the terminal away. It fails when it is gone, and then nobody needs it.
pub(super) fn give(group: Pid) {
    let _ = os::hand_terminal_to(group);
}

/// Takes the terminal back.
pub(super) fn take_back() {
    give(getpgrp());
}
