//! The digest of the guest's sources, shared by what builds the guest and what embeds it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// One line with a hash for each source below the workspace's folder, so that a comparison shows
/// which one changed. The guest's dependencies are pinned in its `Cargo.toml`.
pub(crate) fn of_sources(root: &Path) -> io::Result<String> {
    let mut sources = vec![PathBuf::from("guest/Cargo.toml")];
    for folder in ["guest/src", "wit"] {
        for entry in fs::read_dir(root.join(folder))? {
            sources.push(Path::new(folder).join(entry?.file_name()));
        }
    }
    sources.sort();
    let mut lines = String::new();
    for source in sources {
        let hash = Sha256::digest(fs::read(root.join(&source))?);
        for byte in hash {
            lines.push_str(&format!("{byte:02x}"));
        }
        lines.push_str(&format!("  {}\n", source.display()));
    }
    Ok(lines)
}
