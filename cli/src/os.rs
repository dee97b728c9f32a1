//! The only module that talks to the system without a net: what a child does between fork and
//! exec, what is ignored, and what this process was started with.
#![expect(
    unsafe_code,
    reason = "code before main, code between fork and exec, and a look at a signal's action, have no \
              safe form"
)]

use nix::{
    sys::{
        prctl,
        resource::{Resource, getrlimit, setrlimit},
        signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask},
    },
    unistd::{Pid, getpgrp, getppid, tcsetpgrp},
};
use std::{
    io,
    mem::MaybeUninit,
    os::unix::process::CommandExt,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether this process was started with SIGPIPE ignored. The runtime of the language ignores it
/// before `main`, so that it must be known before.
static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);

/// Whether this process was started without a stdout. The runtime of the language puts /dev/null in
/// its place, where what is written seems to arrive.
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Runs before the runtime of the language, which changes what it looks at.
#[used]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
#[cfg_attr(
    target_vendor = "apple",
    unsafe(link_section = "__DATA,__mod_init_func")
)]
static LOOK_AT_START: extern "C" fn() = look_at_start;

extern "C" fn look_at_start() {
    SIGPIPE_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
    // SAFETY: it only asks, about a number.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    STDOUT_CLOSED.store(flags < 0, Ordering::Relaxed);
}

/// Whether this process was started without a stdout.
pub(crate) fn stdout_is_closed() -> bool {
    STDOUT_CLOSED.load(Ordering::Relaxed)
}

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

/// Lets signals reach this process that its caller has blocked, and gives the mask from
/// before. Call it before there are threads: they have the mask of the one that starts them.
///
/// # Errors
/// What the system says.
pub(crate) fn unblock(signals: impl IntoIterator<Item = Signal>) -> io::Result<SigSet> {
    let signals: SigSet = signals.into_iter().collect();
    Ok(signals.thread_swap_mask(SigmaskHow::SIG_UNBLOCK)?)
}

/// Has a command run in a process group of its own, which gets the terminal if it is ours to give,
/// and has it die when this process does. It blocks the signals in `mask`, if given, and ignores SIGPIPE if
/// this process was started so. Call it from the thread that starts the command, which must live as
/// long as the command is to.
pub(crate) fn bind_to_us(command: &mut Command, give_terminal: bool, mask: Option<SigSet>) {
    let us = Pid::this();
    let ignore_sigpipe = SIGPIPE_IGNORED.load(Ordering::Relaxed);
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
            if ignore_sigpipe {
                signal(Signal::SIGPIPE, SigHandler::SigIgn)?;
            }
            // Last: from here on signals that were kept back may come.
            if let Some(mask) = mask {
                mask.thread_set_mask()?;
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

/// Allows this process so many open files, or as many as it may be allowed. Gives how many that are, if the
/// system tells.
pub(crate) fn allow_open_files(wanted: usize) -> Option<usize> {
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < wanted
    {
        // Some systems allow fewer than they say, and refuse more instead of giving what there is.
        let mut tried = wanted.min(hard);
        while tried > soft && setrlimit(Resource::RLIMIT_NOFILE, tried, hard).is_err() {
            tried = soft.max(tried / 2);
        }
    }
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(usize::try_from(soft).unwrap_or(usize::MAX))
}

/// The name of this machine, if it has one that is a text.
pub(crate) fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    (!name.is_empty()).then_some(name)
}
