//! The state a recipe starts from.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use umbra_recipe::{Debian, Origin};
use umbra_state::escape::escape_output;
use umbra_state::{Digest, StateId, chain};
use umbra_store::{CaptureOptions, ImportLimits, Store};

use crate::child;
use crate::error::{BuildError, system};
use crate::ports::{StepCache, StepKey};

/// The name under which an origin is remembered; no step can have it.
pub(crate) const ORIGIN_STEP: &str = "(from)";

/// mmdebstrap mounts things in the root it makes and leaves them, and its children, when it is
/// ended. In namespaces of its own all of that goes with it, and it goes with the daemon.
const CONFINED: [&str; 8] = [
    "setpriv",
    "--pdeathsig=KILL",
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child=KILL",
];

/// What `unshare` ends with when there is no such program.
const NOT_FOUND: i32 = 127;

/// How much of what mmdebstrap says is kept.
const SAID_BYTES_MAX: usize = 64 << 10;

/// A state to start from.
pub(crate) struct Begun {
    pub(crate) state: StateId,
    pub(crate) source: String,
    pub(crate) cached: bool,
}

/// How making an origin is wanted.
pub(crate) struct Wish<'a> {
    /// The recipe's directory.
    pub(crate) base_dir: &'a Path,
    /// An empty place of this build's own.
    pub(crate) dir: &'a Path,
    /// Whether to make one although one is remembered.
    pub(crate) fresh: bool,
    /// Whether nobody wants it any more.
    pub(crate) is_cancelled: &'a dyn Fn() -> bool,
}

/// Finds or makes the origin's state.
pub(crate) fn begin(
    store: &Store,
    cache: &dyn StepCache,
    image: &str,
    origin: &Origin,
    wish: &Wish<'_>,
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
        Origin::Debian(_) if !wish.fresh => cache.get(&key).filter(|state| store.contains(*state)),
        _ => None,
    };
    if let Some(state) = remembered {
        return Ok(Begun { state, source, cached: true });
    }
    let state = make(store, origin, wish, &source)?;
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
    wish: &Wish<'_>,
    named: &str,
) -> Result<StateId, BuildError> {
    let refused = |error: &dyn std::error::Error| BuildError::Origin {
        origin: named.to_owned(),
        reason: chain(error),
    };
    let Wish { base_dir, dir, .. } = wish;
    let tree = match origin {
        Origin::State(name) => return store.resolve(name).map_err(BuildError::Resolve),
        Origin::Debian(debian) => {
            let root = dir.join("origin");
            debootstrap(debian, &root, named, wish.is_cancelled)?;
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
fn debootstrap(
    debian: &Debian,
    root: &Path,
    named: &str,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<(), BuildError> {
    let refused = |reason: String| BuildError::Origin { origin: named.to_owned(), reason };
    let mut command = Command::new(CONFINED[0]);
    command
        .args(&CONFINED[1..])
        .arg("mmdebstrap")
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
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let lost = |error: std::io::Error| refused(format!("mmdebstrap does not run: {error}"));
    let mut child = command.spawn().map_err(lost)?;
    let reader = child.stderr.take().map(|stderr| std::thread::spawn(move || tail(stderr)));
    let Some(status) = child::wait(&mut child, is_cancelled).map_err(lost)? else {
        child::end(&mut child).map_err(lost)?;
        return Err(refused("cancelled".to_owned()));
    };
    let said = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    match status.code() {
        Some(0) => return Ok(()),
        Some(NOT_FOUND) => {
            let missing = "mmdebstrap is not installed: apt-get install mmdebstrap";
            return Err(refused(missing.to_owned()));
        }
        _ => {}
    }
    let said = escape_output(last_lines(&said, 12)).to_string();
    Err(refused(format!("mmdebstrap {status}; is the archive reachable? It said:\n{said}")))
}

/// Reads to the end and keeps the last of it.
fn tail(mut from: impl Read) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 8 << 10]);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        let beyond = kept.len().saturating_sub(SAID_BYTES_MAX);
        kept.drain(..beyond);
    }
    kept
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
        let long = vec![b'x'; 3 * SAID_BYTES_MAX];
        assert_eq!(tail([&long[..], b"end"].concat().as_slice()).len(), SAID_BYTES_MAX);
        assert!(tail([&long[..], b"end"].concat().as_slice()).ends_with(b"xend"));
        assert_eq!(last_lines(b"a\nb\nc\n", 1), b"c\n");
        assert_eq!(last_lines(b"a", 3), b"a");
    }
}
