//! What the guest brings instead of a standard library: what a panic does.

/// A panic ends the instance at once: nobody is there to read a message, and the code that would
/// write one is a tenth of the guest.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
