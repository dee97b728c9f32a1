//! Randomness of the operating system, replaced by a seeded generator while a run lasts.
//!
//! The standard library keys its hash maps, and `rand` and others seed their generators, through
//! the C library's `getrandom`. This module defines `getrandom` and `getentropy` in the binary, in
//! front of the C library's own: on a thread that called [`seed`] they are answered from that
//! seed, on every other thread from the kernel. So a run draws the same "random" bytes in every
//! process.
//!
//! What asks the kernel without the C library (a raw system call, `/dev/urandom`) is out of reach.
//! The crates in the tree do not; the tests of this module say so of each way that they use.
#![expect(
    unsafe_code,
    reason = "defines C functions that the C library's callers link to"
)]

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};

#[cfg(not(tokio_unstable))]
compile_error!(
    "lockwright-sim needs `--cfg tokio_unstable`, without which its runs are not deterministic. \
     `.cargo/config.toml` sets it, but RUSTFLAGS in the environment replaces that: unset \
     RUSTFLAGS, or add `--cfg tokio_unstable` to it."
);

thread_local! {
    /// The state of this thread's generator; none while the kernel answers. Without a destructor,
    /// so that it can be read at any moment of a thread's life.
    static GENERATOR: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on, and until [`release`], what this thread draws from the system is a function of
/// `seed`.
///
/// A thread keys its hash maps once, at the first of them: for the same keys in every run, give
/// each run a new thread, and seed that before anything else.
// Never inlined: the call is what makes the linker take this module's object, and with it
// `getrandom`, before the C library's.
#[inline(never)]
pub fn seed(seed: u64) {
    assert!(
        std::ptr::fn_addr_eq(
            libc::getrandom as unsafe extern "C" fn(_, _, _) -> _,
            getrandom as unsafe extern "C" fn(_, _, _) -> _
        ),
        "the C library's getrandom was linked in front of the simulator's"
    );
    GENERATOR.set(Some(seed ^ 0x6C6F_636B_7772_6967));
}

/// From now on the kernel answers this thread again.
pub fn release() {
    GENERATOR.set(None);
}

/// The next 64 bits of the generator in `state`: SplitMix64 (Steele, Lea and Flood, 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Takes the place of the C library's `getrandom`.
///
/// # Safety
/// As for getrandom(2): `buffer` is valid for writes of `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, len: usize, flags: c_uint) -> isize {
    let Some(mut state) = GENERATOR.get() else {
        // SAFETY: the arguments are passed on as they came; the system call checks them itself.
        let got = unsafe { libc::syscall(libc::SYS_getrandom, buffer, len, flags) };
        // No buffer is larger.
        return isize::try_from(got).unwrap_or(-1);
    };
    let out = buffer.cast::<u8>();
    let mut filled = 0;
    while filled < len {
        let word = next(&mut state).to_le_bytes();
        let part = word.len().min(len - filled);
        // SAFETY: the caller vouches for `len` bytes at `buffer`, and `filled + part <= len`.
        unsafe { std::ptr::copy_nonoverlapping(word.as_ptr(), out.add(filled), part) };
        filled += part;
    }
    GENERATOR.set(Some(state));
    isize::try_from(len).unwrap_or(isize::MAX)
}

/// Takes the place of the C library's `getentropy`.
///
/// # Safety
/// As for getentropy(3): `buffer` is valid for writes of `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(buffer: *mut c_void, len: usize) -> c_int {
    const LEN_MAX: usize = 256;
    if len > LEN_MAX {
        // SAFETY: `__errno_location` always returns this thread's errno.
        unsafe { *libc::__errno_location() = libc::EIO };
        return -1;
    }
    // SAFETY: the caller vouches for `len` bytes at `buffer`.
    match unsafe { getrandom(buffer, len, 0) } {
        0.. => 0,
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, RandomState};

    /// What a new thread draws in each of the ways that the tree uses, after `prepare`.
    #[expect(
        clippy::disallowed_methods,
        reason = "what is tested is what a new thread draws"
    )]
    fn drawn(prepare: impl FnOnce() + Send + 'static) -> (u64, u64, Vec<u8>) {
        std::thread::spawn(move || {
            prepare();
            let hash_key = RandomState::new().hash_one("key");
            let crate_word = ::getrandom::u64().expect("the system has randomness");
            let mut bytes = vec![0_u8; 21];
            // SAFETY: the buffer is valid for writes of its length.
            let got = unsafe { libc::getentropy(bytes.as_mut_ptr().cast(), bytes.len()) };
            assert_eq!(got, 0);
            (hash_key, crate_word, bytes)
        })
        .join()
        .expect("the thread only draws")
    }

    #[test]
    fn seeded_threads_draw_the_same_in_every_way() {
        let first = drawn(|| seed(7));
        assert_eq!(first, drawn(|| seed(7)));
        let other = drawn(|| seed(8));
        assert_ne!(first.0, other.0, "hash map keys do not follow the seed");
        assert_ne!(
            first.1, other.1,
            "the getrandom crate does not follow the seed"
        );
        assert_ne!(first.2, other.2, "getentropy does not follow the seed");
    }

    #[test]
    fn unseeded_threads_draw_from_the_kernel() {
        let (first, second) = (drawn(|| ()), drawn(|| ()));
        assert_ne!(first.0, second.0);
        assert_ne!(first.1, second.1);
        assert_ne!(first.2, second.2);
        let released = || {
            seed(7);
            release();
        };
        assert_ne!(drawn(released).2, drawn(|| seed(7)).2);
    }

    #[test]
    fn getentropy_refuses_more_than_it_may_give() {
        let mut bytes = [0_u8; 257];
        // SAFETY: the buffer is valid for writes of its length.
        let got = unsafe { libc::getentropy(bytes.as_mut_ptr().cast(), bytes.len()) };
        assert_eq!(got, -1);
    }
}
