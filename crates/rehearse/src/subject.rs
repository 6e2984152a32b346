//! What a rehearsal is about: a machine's files, what runs on them, and what must hold.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use umbra_shadow::provider::{Limits, Network};
use umbra_shadow::startup::Startup;
use umbra_state::StateId;
use umbra_state::escape::escape;
use umbra_store::overlay::{Base, Layers};
use umbra_suite::{Globs, Test};

use crate::edit::Edit;
use crate::error::RehearsalError;

/// A machine to rehearse on.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The name of its shadow, free among the provider's.
    pub name: String,
    /// Its files.
    pub root: Root,
    /// What makes them the machine as it is known to be good; empty where they are. The living
    /// directory of a machine that has drifted needs what it was before.
    pub good: Vec<Edit>,
    /// What runs on it.
    pub startup: Startup,
    /// What must hold while that runs.
    pub tests: Vec<Test>,
    /// What accepts its files.
    pub validators: Vec<Validator>,
    /// Limits on the shadow.
    pub limits: Limits,
    /// What the shadow may reach.
    pub network: Network,
    /// A directory in which layers are written, on a filesystem an overlay can have as a layer.
    pub scratch: PathBuf,
    /// How long it may take.
    pub bounds: Bounds,
}

/// A machine's files.
#[derive(Debug, Clone, PartialEq)]
pub enum Root {
    /// A state of the store, whoever has it pinned meanwhile.
    State {
        /// Which.
        state: StateId,
        /// How it is shown.
        layers: Layers,
    },
    /// A directory of this machine.
    Directory(Directory),
}

/// A directory of this machine that shadows show and never write to.
///
/// What others change in it meanwhile may be seen or not; overlayfs promises no more, and no
/// harm (the kernel's `filesystems/overlayfs.rst`, "Changes to underlying filesystems").
#[derive(Debug, Clone, PartialEq)]
pub struct Directory {
    path: PathBuf,
    hidden: Vec<PathBuf>,
}

/// A program that accepts a good file.
#[derive(Debug, Clone)]
pub struct Validator {
    /// The paths it is for.
    pub paths: Globs,
    /// The program and its arguments; `{file}` in them stands for the path.
    pub argv: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
}

impl Validator {
    /// Whether its command names the file it is asked for.
    pub(crate) fn names_file(&self) -> bool {
        self.argv.iter().any(|word| word.contains("{file}"))
    }
}

/// How long a rehearsal may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How often something is tried to find because of what one thing fails.
    pub probes_max: usize,
    /// After this time no further look is begun.
    pub time_max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { probes_max: 200, time_max: Duration::from_secs(600) }
    }
}

impl Root {
    /// What a shadow of it shows.
    pub fn layers(&self) -> Layers {
        match self {
            Self::State { layers, .. } => layers.clone(),
            Self::Directory(dir) => Layers::of(Base::Checkout(dir.path.clone())),
        }
    }

    /// What of it no shadow shows, in sentences.
    pub(crate) fn unseen(&self) -> Vec<String> {
        let Self::Directory(dir) = self else { return Vec::new() };
        let hidden = dir.hidden.iter().map(|path| {
            let path = escape(path.as_os_str().as_encoded_bytes()).to_string();
            format!("{path} is a filesystem of its own and is empty in the shadow")
        });
        hidden.collect()
    }
}

/// Longer tables of mounts are no machine's.
const MOUNTS_BYTES_MAX: u64 = 4 << 20;

/// What a shadow has its own of, or what holds nothing between two boots.
const OWN_FILESYSTEMS: [&str; 22] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

impl Directory {
    /// A directory by its path.
    ///
    /// # Errors
    /// There is none.
    pub fn open(path: &Path) -> Result<Self, RehearsalError> {
        let refused = |source| RehearsalError::System {
            doing: format!("open the directory {}", path.display()),
            source,
        };
        let path = fs::canonicalize(path).map_err(refused)?;
        fs::read_dir(&path).map_err(refused)?;
        let mut table = Vec::new();
        let file = fs::File::open("/proc/self/mountinfo").map_err(refused)?;
        std::io::Read::read_to_end(&mut std::io::Read::take(file, MOUNTS_BYTES_MAX), &mut table)
            .map_err(refused)?;
        let hidden = mounts_below(&path, &table);
        Ok(Self { path, hidden })
    }
}

/// Where in a directory other filesystems with files of their own are mounted, by the kernel's
/// table (proc(5), `mountinfo`).
fn mounts_below(dir: &Path, table: &[u8]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ');
            let point = unescaped(fields.nth(4)?);
            let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
            let own = OWN_FILESYSTEMS.iter().any(|own| own.as_bytes() == kind);
            let below = point.strip_prefix(dir).ok()?;
            (!own && !below.as_os_str().is_empty()).then(|| Path::new("/").join(below))
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The kernel writes white space and backslashes as three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match (first, octal) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /proc rw shared:2 - proc proc rw
24 22 254:1 / /boot rw shared:3 - ext4 /dev/vdb rw
25 22 0:22 / /run rw - tmpfs tmpfs rw
26 22 254:2 / /srv/two\\040words rw - xfs /dev/vdc rw
27 26 254:2 / /srv/two\\040words rw - xfs /dev/vdc rw
broken
";

    #[track_caller]
    fn check(dir: &str, expected: &[&str]) {
        let found = mounts_below(Path::new(dir), TABLE);
        assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
    }

    #[test]
    fn filesystems_inside_are_found() {
        check("/", &["/boot", "/srv/two words"]);
        check("/srv", &["/two words"]);
        check("/boot", &[]);
        check("/sr", &[]);
    }

    #[test]
    fn what_is_no_directory_is_said() {
        let error = Directory::open(Path::new("/proc/self/status")).expect_err("a file");
        assert_eq!(error.to_string(), "open the directory /proc/self/status");
    }
}
