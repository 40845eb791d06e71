//! Whether a resolver installs signal handlers: a process of its own, since handlers stay.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test ends where anything is wrong")]

use keyref::Resolver;

/// SIGSEGV is signal 11; the mask counts from signal 1.
const SEGV: u64 = 1 << 10;
const ILL: u64 = 1 << 3;

/// The signals that this process catches.
fn caught() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    u64::from_str_radix(mask.unwrap().trim(), 16).unwrap()
}

/// The address space that this process has reserved, in GiB.
fn reserved() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kibibytes = size.unwrap().trim().trim_end_matches(" kB");
    kibibytes.parse::<u64>().unwrap() >> 20
}

#[test]
fn handlers_and_address_space_are_as_the_feature_says() {
    // The standard library catches SIGSEGV itself, to tell of stack overflows.
    let before = caught() & !SEGV;
    let resolver = Resolver::builder().build().unwrap();
    let installed = caught() & !SEGV & !before;
    if cfg!(feature = "no-signals") {
        assert_eq!(installed, 0);
        assert!(reserved() < 20, "{} GiB", reserved());
    } else {
        assert_eq!(installed & ILL, ILL);
        assert!(reserved() > 500, "{} GiB", reserved());
    }
    drop(resolver);
}
