//! The state a recipe starts from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use umbra_recipe::{Debian, Origin};
use umbra_state::escape::escape_output;
use umbra_state::{Digest, StateId, chain};
use umbra_store::{CaptureOptions, ImportLimits, Store};

use crate::error::{BuildError, system};
use crate::ports::{StepCache, StepKey};

/// The name under which an origin is remembered; no step can have it.
const ORIGIN_STEP: &str = "(from)";

/// A state to start from.
pub(crate) struct Begun {
    pub(crate) state: StateId,
    pub(crate) source: String,
    pub(crate) cached: bool,
}

/// Finds or makes the origin's state. `dir` is an empty place of this build's own, `base_dir`
/// the recipe's directory.
pub(crate) fn begin(
    store: &Store,
    cache: &dyn StepCache,
    image: &str,
    origin: &Origin,
    base_dir: &Path,
    dir: &Path,
    fresh: bool,
) -> Result<Begun, BuildError> {
    let key = StepKey {
        image: image.to_owned(),
        step: ORIGIN_STEP.to_owned(),
        parent: StateId(Digest::new([0; 32])),
        definition: origin.definition_digest(),
        inputs: Digest::new([0; 32]),
    };
    let source = describe(origin);
    // What a directory or an archive holds may change any time: reading it is the only proof.
    let remembered = match origin {
        Origin::Debian(_) if !fresh => cache.get(&key).filter(|state| store.contains(*state)),
        _ => None,
    };
    if let Some(state) = remembered {
        return Ok(Begun { state, source, cached: true });
    }
    let state = make(store, origin, base_dir, dir, &source)?;
    cache.put(&key, state);
    Ok(Begun { state, source, cached: false })
}

fn describe(origin: &Origin) -> String {
    match origin {
        Origin::Debian(debian) => format!("debian {} ({})", debian.suite, debian.variant),
        Origin::Dir(path) => format!("directory {path}"),
        Origin::Tar(path) => format!("archive {path}"),
        Origin::Oci(path) => format!("OCI layout {path}"),
        Origin::State(name) => format!("state {name}"),
    }
}

fn make(
    store: &Store,
    origin: &Origin,
    base_dir: &Path,
    dir: &Path,
    named: &str,
) -> Result<StateId, BuildError> {
    let refused = |error: &dyn std::error::Error| BuildError::Origin {
        origin: named.to_owned(),
        reason: chain(error),
    };
    let tree = match origin {
        Origin::State(name) => return store.resolve(name).map_err(BuildError::Resolve),
        Origin::Debian(debian) => {
            let root = dir.join("origin");
            debootstrap(debian, &root, named)?;
            let tree = store.capture_dir(&root, &CaptureOptions::default())?;
            fs::remove_dir_all(&root).map_err(system(|| format!("remove {}", root.display())))?;
            tree
        }
        Origin::Dir(path) => store.capture_dir(&base_dir.join(path), &CaptureOptions::default())?,
        Origin::Tar(path) => {
            let path = base_dir.join(path);
            let file =
                fs::File::open(&path).map_err(system(|| format!("open {}", path.display())))?;
            store.import_tar(file, ImportLimits::default()).map_err(|error| refused(&error))?
        }
        Origin::Oci(path) => {
            let (layout, tag) = split_tag(path);
            store.import_oci_layout(&base_dir.join(layout), tag).map_err(|error| refused(&error))?
        }
    };
    Ok(store.put(&tree)?)
}

/// `PATH[:TAG]`; a colon before a slash belongs to the path.
fn split_tag(path: &str) -> (&str, Option<&str>) {
    match path.rsplit_once(':') {
        Some((layout, tag)) if !tag.contains('/') => (layout, Some(tag)),
        _ => (path, None),
    }
}

/// Makes a Debian root with mmdebstrap, as the machine's own root so that ids are real.
fn debootstrap(debian: &Debian, root: &PathBuf, named: &str) -> Result<(), BuildError> {
    let refused = |reason: String| BuildError::Origin { origin: named.to_owned(), reason };
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--mode=root", "--quiet", "--format=directory"])
        .arg(format!("--variant={}", debian.variant))
        .arg(format!("--components={}", debian.components.join(",")));
    if !debian.packages.is_empty() {
        command.arg(format!("--include={}", debian.packages.join(",")));
    }
    command.arg(&debian.suite).arg(root);
    if let Some(mirror) = &debian.mirror {
        command.arg(mirror);
    }
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        refused(match error.kind() {
            std::io::ErrorKind::NotFound => {
                "mmdebstrap is not installed: apt-get install mmdebstrap".to_owned()
            }
            _ => format!("mmdebstrap does not start: {error}"),
        })
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = escape_output(last_lines(&output.stderr, 12)).to_string();
    Err(refused(format!(
        "mmdebstrap {}; is the archive reachable? It said:\n{said}",
        output.status
    )))
}

fn last_lines(text: &[u8], count: usize) -> &[u8] {
    let mut newlines =
        text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    newlines.nth(count).map_or(text, |at| &text[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_stands_after_the_last_colon_of_the_last_part() {
        assert_eq!(split_tag("out/web:1.2"), ("out/web", Some("1.2")));
        assert_eq!(split_tag("a:b/web"), ("a:b/web", None));
        assert_eq!(split_tag("web"), ("web", None));
    }

    #[test]
    fn the_last_lines_are_kept() {
        assert_eq!(last_lines(b"a\nb\nc\n", 1), b"c\n");
        assert_eq!(last_lines(b"a", 3), b"a");
    }
}
