//! What the guest brings instead of a standard library: its memory, and what a panic does.
//!
//! Memory is a static arena first, then growth in large steps.
//!
//! Growing linear memory takes a lock of the host's whole process, so a guest that grows at each
//! start makes two threads slower than one.
#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use core::alloc::Layout;
use core::arch::wasm32::memory_grow;
use core::mem::MaybeUninit;

use talc::base::Talc;
use talc::base::binning::Binning;
use talc::cell::TalcSyncCell;
use talc::source::Source;
use talc::wasm::WasmBinning;

#[global_allocator]
static ALLOCATOR: TalcSyncCell<ArenaThenGrowth, WasmBinning> =
    TalcSyncCell::new_wasm(ArenaThenGrowth { arena_taken: false });

/// Enough for a batch of a hundred ordinary manifests.
const ARENA: usize = 1 << 20;
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

/// A panic ends the instance at once: nobody is there to read a message, and the code that would
/// write one is a tenth of the guest.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
