//! Counts the memory that a thread has allocated, so that a world can see a leak.
//!
//! A binary or test that wants it installs the allocator:
//!
//! ```
//! use lockwright_sim::memory::CountingAllocator;
//!
//! #[global_allocator]
//! static ALLOCATOR: CountingAllocator = CountingAllocator;
//! ```
#![expect(
    unsafe_code,
    reason = "the trait of allocators is unsafe; this one passes everything on to mimalloc"
)]

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    hint::black_box,
};

use mimalloc::MiMalloc;

thread_local! {
    /// Bytes that this thread allocated, less those that it freed. Needs no allocation itself and
    /// no destructor, and so can be used at any time in a thread's life.
    static ALLOCATED: Cell<i64> = const { Cell::new(0) };
    /// How often this thread allocated, or made an allocation larger or smaller.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// mimalloc, counting bytes per thread. A world allocates all the time, and that costs a tenth less
/// with it than with the system's allocator.
#[derive(Debug, Clone, Copy)]
pub struct CountingAllocator;

// SAFETY: every call goes to `MiMalloc` unchanged, which keeps the contract; the counting beside it
// neither allocates nor unwinds.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }
}

/// No allocation has more than `isize::MAX` bytes, so the casts lose nothing.
fn count(allocated: usize, freed: usize) {
    let change = (allocated as i64).wrapping_sub(freed as i64);
    ALLOCATED.set(ALLOCATED.get().wrapping_add(change));
    if allocated > 0 {
        ALLOCATIONS.set(ALLOCATIONS.get().wrapping_add(1));
    }
}

/// Bytes that this thread has allocated and not freed, from an origin that does not matter; `None`
/// if [`CountingAllocator`] is not installed.
#[must_use]
pub fn allocated() -> Option<i64> {
    let before = ALLOCATED.get();
    let probe = black_box(Box::new(0u64));
    let is_counting = ALLOCATED.get() != before;
    drop(probe);
    is_counting.then_some(before)
}

/// How often this thread has allocated so far; `None` if [`CountingAllocator`] is not installed.
#[must_use]
pub fn allocations() -> Option<u64> {
    allocated().map(|_| ALLOCATIONS.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_allocator_nothing_is_said() {
        assert_eq!(allocated(), None);
    }
}
