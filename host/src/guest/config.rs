//! The engine's settings, which the build script and the library must share to the letter: code
//! compiled ahead of time is loaded only into an engine with the same ones.

use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

/// The most linear memory of one instance, in bytes.
pub(crate) const MEMORY: usize = 64 << 20;

/// How many instances can live at a time.
pub(crate) const INSTANCES: u32 = 128;

/// The settings that decide what code is generated.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Ends a guest that loops.
        .epoch_interruption(true)
        // As everywhere else: no thread that takes exceptions for the whole process.
        .macos_use_mach_ports(false)
        // What unwinds here is a trap, whose backtrace nobody reads.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false);
    if cfg!(feature = "no-signals") {
        // Bounds are checked in code, so that no handler is needed to notice a fault.
        config
            .signals_based_traps(false)
            .memory_reservation(MEMORY as u64)
            .memory_guard_size(0)
            .memory_reservation_for_growth(0);
    }
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    config
}

/// Slots that are reused: making and clearing memory takes longer than a small document.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(4 * INSTANCES)
        .total_memories(INSTANCES)
        .total_tables(4 * INSTANCES)
        .table_elements(1024)
        .max_memory_size(MEMORY)
        .max_unused_warm_slots(INSTANCES)
        // All that the guest begins with (stack, data, arena) is cleared in place: what is more is
        // given back to the kernel, which takes a lock of the process.
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(8 << 10);
    pool
}
