//! What is told of the cache of secret stores.

use crate::api::metrics::{definitions, text};
use crate::cache::CacheStats;

/// Writes its counts, and how much is in it.
pub(super) fn write(into: &mut String, app_id: &str, stats: &CacheStats) {
    let name = definitions::CACHE_READS;
    let help = "The number of reads of secret stores that are cached: answered with a value that is kept (hit), or that there is none (negative), by the store (miss), or with a value after its time since the store cannot be reached (stale).";
    text::head(into, name, help, "counter");
    for (outcome, number) in [
        ("hit", stats.hits),
        ("miss", stats.misses),
        ("negative", stats.negative_hits),
        ("stale", stats.stale),
    ] {
        let labels = text::labels([("app_id", app_id), ("outcome", outcome)].into_iter());
        text::sample(into, name, &labels, number);
    }
    let labels = text::labels([("app_id", app_id)].into_iter());
    let size = |size| u64::try_from(size).unwrap_or(u64::MAX);
    for (name, of_type, help, number) in [
        (
            definitions::CACHE_BYTES,
            "gauge",
            "About how many bytes the cache of secret stores takes.",
            size(stats.bytes),
        ),
        (
            definitions::CACHE_ENTRIES,
            "gauge",
            "The number of answers of secret stores that are kept.",
            size(stats.entries),
        ),
        (
            definitions::CACHE_EVICTIONS,
            "counter",
            "The number of answers that had to go for others.",
            stats.evictions,
        ),
    ] {
        text::head(into, name, help, of_type);
        text::sample(into, name, &labels, number);
    }
}
