//! Inputs to begin with: the fixtures of other crates' tests, and those recorded in
//! `fuzz/corpus/TARGET`, where every input that once broke something stays.

use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The recorded inputs of a target, in order of their names.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    files(&format!("fuzz/corpus/{target}"), "")
}

/// The files of a directory of the repository that end in `suffix`, in order of their names;
/// none where there is no such directory.
pub(crate) fn files(dir: &str, suffix: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(repository().join(dir)).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(suffix));
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}

/// Texts as inputs.
pub(crate) fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
