//! The only module that talks to the system without a net: what a child does between fork and
//! exec, and what is ignored.
#![expect(
    unsafe_code,
    reason = "code between fork and exec, and a look at a signal's action, have no safe form"
)]

use nix::{
    sys::{
        prctl,
        resource::{Resource, getrlimit, setrlimit},
        signal::{SigSet, SigmaskHow, Signal, sigprocmask},
    },
    unistd::{Pid, getpgrp, getppid, tcsetpgrp},
};
use std::{io, mem::MaybeUninit, os::unix::process::CommandExt, process::Command};

/// Whether this process was started with a signal ignored, as by `nohup`.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with no new action nothing is changed, and the old one is written to where there is
    // room for it; all zeroes is a value of it, should the call fail.
    let action = unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Has a command run in a process group of its own, which gets the terminal if it is ours to give,
/// and has it die when this process does. Call it from the thread that starts the command, which
/// must live as long as the command is to.
pub(crate) fn bind_to_us(command: &mut Command, give_terminal: bool) {
    let us = Pid::this();
    command.process_group(0);
    // SAFETY: between fork and exec only system calls are made: nothing is allocated, and no lock
    // is taken.
    unsafe {
        command.pre_exec(move || {
            #[cfg(target_os = "linux")]
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != us {
                // It died before it could be said.
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if give_terminal {
                hand_terminal_to(getpgrp())?;
            }
            Ok(())
        });
    }
}

/// Makes a process group the one in the foreground of the terminal on stdin.
pub(crate) fn hand_terminal_to(group: Pid) -> nix::Result<()> {
    let mut mask = SigSet::empty();
    // The system stops whoever does this from the background, unless this signal is blocked.
    mask.add(Signal::SIGTTOU);
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), Some(&mut before))?;
    let handed = tcsetpgrp(io::stdin(), group);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    handed
}

/// Allows this process so many open files, or as many as it may be allowed.
pub(crate) fn allow_open_files(wanted: usize) {
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < wanted
    {
        // What cannot be had shows when it is needed: a connection is not taken.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
    }
}
