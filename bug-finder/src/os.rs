//! The only module that talks to the system without a net: fork, signals and sudden exit.
#![expect(
    unsafe_code,
    reason = "fork, signal handlers and _exit have no safe form"
)]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{ForkResult, Pid};
use std::fs::File;
use std::io::{self, Seek as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, Ordering};

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Fork {
    /// The process that forked, with the id of the new one.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Forks.
///
/// # Errors
/// When the system has no room for another process.
///
/// # Panics
/// When this process has more than one thread: the others would be missing in the child, and so
/// would be whatever they held locked.
pub fn fork() -> io::Result<Fork> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    assert_eq!(threads, 1, "fork from a process with {threads} threads");
    // SAFETY: this is the only thread, so the child finds every lock free and every invariant
    // whole, and may do whatever the parent may.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Fork::Parent(child)),
        ForkResult::Child => Ok(Fork::Child),
    }
}

/// Ends this process at once: nothing is dropped, nothing buffered is written. For forked
/// children, whose buffers are copies of their parent's.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes any status and never returns.
    unsafe { nix::libc::_exit(code) }
}

/// Memory that this process and the children which it forks from then on share, zeros at first. It
/// is never given back.
///
/// # Errors
/// When the system has none.
pub fn shared_memory(len: usize) -> io::Result<&'static [AtomicU8]> {
    use nix::libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap};
    let (protection, flags) = (PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
    // SAFETY: a new mapping at a place of the system's choice touches nothing that is there.
    let memory = unsafe { mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    if memory == MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping has `len` bytes, zero is a valid atomic, nothing else refers to them, and
    // they are never unmapped.
    Ok(unsafe { std::slice::from_raw_parts(memory.cast::<AtomicU8>(), len) })
}

/// A file in memory that can hold `len` bytes and no more.
///
/// # Errors
/// When the system has none.
pub fn shared_file(len: usize) -> io::Result<File> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create(c"printed", flags)?);
    file.set_len(len as u64)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW))?;
    Ok(file)
}

/// Goes back to a file's beginning, in all processes that share it.
///
/// # Errors
/// When the system refuses.
pub fn rewind(mut file: &File) -> io::Result<()> {
    file.rewind()
}

/// Up to where a file was written or read, by all processes that share it.
///
/// # Errors
/// When the system refuses.
pub fn position(mut file: &File) -> io::Result<usize> {
    usize::try_from(file.stream_position()?).map_err(io::Error::other)
}

/// How many signals that ask this process to end have come.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
/// Where the handler writes to wake whoever waits; -1 before there is one.
static WAKE_FD: AtomicI32 = AtomicI32::new(-1);

/// Exit status of a process that was asked to end.
const INTERRUPTED: i32 = 130;

extern "C" fn on_interrupt(_signal: i32) {
    if INTERRUPTS.fetch_add(1, Ordering::Relaxed) > 0 {
        // The second request does not wait for anything. Children see their parent die, and die.
        exit_now(INTERRUPTED);
    }
    let errno = nix::errno::Errno::last();
    // SAFETY: write is async-signal-safe, and the buffer is one static byte. If the pipe is full,
    // somebody is awake already.
    unsafe { nix::libc::write(WAKE_FD.load(Ordering::Relaxed), b"!".as_ptr().cast(), 1) };
    errno.set();
}

/// Ctrl-C and SIGTERM, turned into something that can be asked and waited for. The second of them
/// ends the process at once.
#[derive(Debug)]
pub struct Interrupts {
    wake: OwnedFd,
}

impl Interrupts {
    /// Starts to catch the signals. Once per process: a second call takes over from the first.
    ///
    /// # Errors
    /// When the system refuses the pipe or the handler.
    pub fn catch() -> io::Result<Interrupts> {
        use nix::fcntl::OFlag;
        let (wake, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        WAKE_FD.store(write.as_raw_fd(), Ordering::Relaxed);
        // The handler may use it as long as the process lives.
        std::mem::forget(write);
        let action = SigAction::new(
            SigHandler::Handler(on_interrupt),
            SaFlags::SA_RESTART,
            SigSet::empty(),
        );
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            // SAFETY: the handler touches atomics, write and _exit only, all of them
            // async-signal-safe, and restores errno.
            unsafe { sigaction(signal, &action) }?;
        }
        Ok(Interrupts { wake })
    }

    /// Whether this process was asked to end.
    #[must_use]
    pub fn pending(&self) -> bool {
        Interrupts::asked()
    }

    /// The same, for whoever has nothing to wait for.
    #[must_use]
    pub fn asked() -> bool {
        INTERRUPTS.load(Ordering::Relaxed) > 0
    }

    /// Readable from the first signal on.
    #[must_use]
    pub fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// Gives the signals that [`Interrupts`] catches their default meaning back; for children.
pub fn default_interrupts() {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the default action runs no code of ours. It cannot fail for these signals.
        let _ = unsafe { sigaction(signal, &action) };
    }
}

/// Has a command die when this process does. Call it from the thread that starts the command, which
/// must live as long as the command is to.
pub fn die_with_us(command: &mut Command) {
    let us = Pid::this();
    // Ctrl-C on a terminal is for this process.
    command.process_group(0);
    // SAFETY: between fork and exec only system calls are made: nothing is allocated, and no lock
    // is taken.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            if nix::unistd::getppid() != us {
                // It died before it could be said.
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        });
    }
}
