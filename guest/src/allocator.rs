//! The guest's memory: small blocks from lists of their own size, all others from `talc`.
//!
//! Memory is a static arena first, then growth in large steps: growing linear memory takes a lock
//! of the host's whole process, so a guest that grows at each start makes two threads slower than
//! one. A YAML parser allocates many small blocks for a short time, and a list for each size takes
//! a few instructions where a general allocator takes a hundred.
#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::memory_grow;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr;

use talc::base::Talc;
use talc::base::binning::Binning;
use talc::cell::TalcSyncCell;
use talc::source::Source;
use talc::wasm::WasmBinning;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator {
    small: UnsafeCell::new(Small {
        free: [ptr::null_mut(); CLASSES],
        next: ptr::null_mut(),
        left: 0,
    }),
    large: TalcSyncCell::new_wasm(ArenaThenGrowth { arena_taken: false }),
};

/// Small blocks are multiples of this, and so aligned.
const STEP: usize = 16;
/// Sizes of small blocks: one step, two steps, and so on.
const CLASSES: usize = 32;
/// Small blocks are cut from pieces of this size.
const PIECE: usize = 16 << 10;

struct Allocator {
    small: UnsafeCell<Small>,
    large: TalcSyncCell<ArenaThenGrowth, WasmBinning>,
}

/// Blocks of at most `CLASSES * STEP` bytes.
struct Small {
    /// For each size, the blocks that were given back.
    free: [*mut Free; CLASSES],
    /// The rest of the newest piece.
    next: *mut u8,
    left: usize,
}

/// A block that was given back.
struct Free {
    next: *mut Self,
}

// SAFETY: a core module without shared memory has one thread.
unsafe impl Sync for Allocator {}

/// The class of a small block.
fn class(layout: Layout) -> Option<usize> {
    let class = layout.size().wrapping_sub(1) / STEP;
    (class < CLASSES && layout.align() <= STEP).then_some(class)
}

// SAFETY: a block is in one place at a time: given out, in the list of its class, or within the
// rest of a piece. Blocks of a class have its full size and alignment, whatever was asked for.
unsafe impl GlobalAlloc for Allocator {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(class) = class(layout)
            // SAFETY: nothing else runs, and no other borrow lives while this one does.
            && let Some(free) = unsafe { &mut *self.small.get() }.free.get_mut(class)
            && !free.is_null()
        {
            let block = *free;
            // SAFETY: what is in a list was given back, and holds the next one.
            *free = unsafe { (*block).next };
            return block.cast();
        }
        // SAFETY: as the caller promises.
        unsafe { self.alloc_new(layout) }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class(layout) {
            // SAFETY: nothing else runs; the block is the list's from now on.
            Some(class) => unsafe { (*self.small.get()).give_back(block, class) },
            // SAFETY: as the caller promises.
            None => unsafe { self.dealloc_large(block, layout) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let (from, to) = (class(layout), class(new));
        if from.is_none() && to.is_none() {
            // SAFETY: as the caller promises.
            return unsafe { self.large.realloc(block, layout, size) };
        }
        if from == to {
            return block;
        }
        // SAFETY: the new block is another one, and both have as many bytes as are copied.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

impl Allocator {
    /// A block that no list has.
    ///
    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[cold]
    #[inline(never)]
    unsafe fn alloc_new(&self, layout: Layout) -> *mut u8 {
        match class(layout) {
            // SAFETY: nothing else runs, and no other borrow lives while this one does.
            Some(class) => unsafe { &mut *self.small.get() }.cut((class + 1) * STEP, &self.large),
            // SAFETY: as the caller promises.
            None => unsafe { self.large.alloc(layout) },
        }
    }

    /// # Safety
    /// As for [`GlobalAlloc::dealloc`].
    #[cold]
    #[inline(never)]
    unsafe fn dealloc_large(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { self.large.dealloc(block, layout) }
    }
}

impl Small {
    /// A new block from the newest piece, or from another one where that is used up.
    fn cut(&mut self, size: usize, large: &TalcSyncCell<ArenaThenGrowth, WasmBinning>) -> *mut u8 {
        if self.left < size {
            // SAFETY: neither size nor alignment is zero.
            let piece = unsafe { large.alloc(Layout::from_size_align_unchecked(PIECE, STEP)) };
            if piece.is_null() {
                return piece;
            }
            if let Some(rest) = (self.left / STEP).checked_sub(1) {
                // SAFETY: the rest of a piece is a block that nobody has.
                unsafe { self.give_back(self.next, rest) };
            }
            (self.next, self.left) = (piece, PIECE);
        }
        let block = self.next;
        self.next = block.wrapping_add(size);
        self.left -= size;
        block
    }

    /// # Safety
    /// The block must be of this class, and nobody may use it afterwards.
    #[inline(always)]
    unsafe fn give_back(&mut self, block: *mut u8, class: usize) {
        if let Some(free) = self.free.get_mut(class) {
            let block = block.cast::<Free>();
            // SAFETY: the smallest block has room for a pointer and is aligned for it.
            unsafe { block.write(Free { next: *free }) };
            *free = block;
        }
    }
}

/// Enough for some ordinary manifests. With the stack and the data it stays within 256 KiB, which
/// the host clears in place when an instance ends.
const ARENA: usize = 160 << 10;
/// Growth by less than this would take the lock too often.
const MIN_GROWTH_PAGES: usize = 16;
const PAGE: usize = 64 << 10;

static mut MEMORY: MaybeUninit<[u8; ARENA]> = MaybeUninit::uninit();

#[derive(Debug)]
struct ArenaThenGrowth {
    arena_taken: bool,
}

// SAFETY: uses no allocation of its own, and claims each region once.
unsafe impl Source for ArenaThenGrowth {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        if !core::mem::replace(&mut talc.source.arena_taken, true) {
            // SAFETY: nothing else touches the arena, and it is claimed only here, once.
            let claimed = unsafe { talc.claim((&raw mut MEMORY).cast(), ARENA) };
            if claimed.is_some() && layout.size() < ARENA / 2 {
                return Ok(());
            }
        }
        // Room for the block itself, its alignment and the allocator's own tags.
        let needed = layout
            .size()
            .checked_add(layout.align())
            .ok_or(())?
            .checked_add(PAGE)
            .ok_or(())?;
        let pages = needed.div_ceil(PAGE).max(MIN_GROWTH_PAGES);
        let base = memory_grow::<0>(pages);
        if base == usize::MAX {
            return Err(());
        }
        // SAFETY: these pages are new, so nothing else uses them.
        let claimed = unsafe { talc.claim((base * PAGE) as *mut u8, pages * PAGE) };
        claimed.map(|_| ()).ok_or(())
    }
}
