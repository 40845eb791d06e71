//! An allocator that frees nothing, so that one text can stand in many places of an answer.

use std::alloc::{GlobalAlloc, Layout, System};

#[global_allocator]
static ALLOCATOR: Keep = Keep;

struct Keep;

// SAFETY: the system's allocator, without its end.
unsafe impl GlobalAlloc for Keep {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

/// Takes memory until there is no more, and then fails.
pub fn grow() {
    loop {
        drop(vec![1_u8; 1 << 20]);
    }
}

/// Strings of one MiB each, all of them the same one.
pub fn same_text(count: usize) -> impl Iterator<Item = String> {
    const LENGTH: usize = 1 << 20;
    let text = vec![b'x'; LENGTH].leak().as_mut_ptr();
    // SAFETY: the bytes are text, live for ever, and are never written to; no string frees them.
    (0..count).map(move |_| unsafe { String::from_raw_parts(text, LENGTH, LENGTH) })
}
