//! The digest of the guest's sources, shared by what builds the guest and what embeds it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// One line with a hash for each source below the workspace's folder, so that a comparison shows
/// which one changed. The guest's dependencies are pinned in its `Cargo.toml`; how it is compiled
/// stands in its builder.
pub(crate) fn of_sources(root: &Path) -> io::Result<String> {
    let mut sources = vec![PathBuf::from("guest/Cargo.toml")];
    for folder in ["guest/src", "guest/componentize/src", "wit"] {
        add_files(root, Path::new(folder), &mut sources)?;
    }
    sources.sort();
    let mut lines = Vec::new();
    for source in sources {
        let hash = Sha256::digest(fs::read(root.join(&source))?);
        lines.extend(hash.iter().map(|byte| format!("{byte:02x}")));
        lines.push(format!("  {}\n", source.display()));
    }
    Ok(lines.concat())
}

fn add_files(root: &Path, folder: &Path, sources: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            add_files(root, &path, sources)?;
        } else {
            sources.push(path);
        }
    }
    Ok(())
}
