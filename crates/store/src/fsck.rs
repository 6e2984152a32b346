//! Checking: every digest, every listing, every ref, and what a crash left.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::os::fd::OwnedFd;

use umbra_state::escape::escape;
use umbra_state::{Digest, StateId};

use crate::error::{StoreError, io_error};
use crate::image;
use crate::lock::Lock;
use crate::object::{digest_of_file, each_object};
use crate::state::object_of;
use crate::store::Store;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FsckReport {
    /// Objects that were read and verified, images included.
    pub objects_checked: u64,
    /// States whose trees were read.
    pub states_checked: u64,
    /// Refs that were followed.
    pub refs_checked: u64,
    /// Whether leftovers could be told from work in progress: nobody else was writing.
    pub leftovers_checked: bool,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
}

impl FsckReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// One thing that is wrong. Displays as a sentence with advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// An object's bytes are not what its name says.
    DamagedObject {
        /// Its path below the objects folder.
        name: String,
    },
    /// Something in the objects folder is no object.
    Foreign {
        /// Its path below the objects folder.
        name: String,
    },
    /// A state's image cannot be read.
    DamagedState {
        /// Which state.
        id: StateId,
        /// What is wrong.
        why: String,
    },
    /// A state needs an object that is not there.
    MissingObject {
        /// Which state.
        id: StateId,
        /// A path whose content it is.
        path: Vec<u8>,
        /// Which object.
        digest: Digest,
    },
    /// A ref names a state that is not there.
    DanglingRef {
        /// Its name.
        name: String,
        /// The state it names.
        id: StateId,
    },
    /// Something in the refs folder is no ref.
    BadRef {
        /// Its path below the refs folder.
        path: Vec<u8>,
    },
    /// A file of an interrupted operation.
    Leftover {
        /// Its name in the journal.
        name: Vec<u8>,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DamagedObject { name } => write!(
                f,
                "object {name} is damaged. Remove the file: capturing or importing the same \
                 content again restores it."
            ),
            Self::Foreign { name } => write!(
                f,
                "{} in the objects folder is no object. Move it away; the store does not use it.",
                escape(name.as_bytes())
            ),
            Self::DamagedState { id, why } => write!(
                f,
                "state {id} cannot be read: {why}. Build or import it again, or remove what \
                 refers to it and collect."
            ),
            Self::MissingObject { id, path, digest } => write!(
                f,
                "state {id} lacks object {digest} (content of /{}). Capture or import the same \
                 content again, or remove what refers to the state and collect.",
                escape(path)
            ),
            Self::DanglingRef { name, id } => write!(
                f,
                "ref {name} names state {id}, which is not there. Build it again or remove the ref."
            ),
            Self::BadRef { path } => write!(
                f,
                "{} in the refs folder is no ref. Move it away; the store does not use it.",
                escape(path)
            ),
            Self::Leftover { name } => write!(
                f,
                "{} in the journal is left from an interrupted operation. Open the store while \
                 nobody else uses it: that removes it.",
                escape(name)
            ),
        }
    }
}

impl Store {
    /// Verifies everything: every object is read, every state's tree, every ref. Changes
    /// nothing.
    pub fn fsck(&self) -> Result<FsckReport, StoreError> {
        let mut report = FsckReport::default();
        if let Some(_alone) = Lock::try_exclusive(&self.inner.root)? {
            report.leftovers_checked = true;
            let leftovers = crate::journal::leftovers(&self.inner.root)?;
            report.findings.extend(leftovers.into_iter().map(|name| Finding::Leftover { name }));
        }
        let _lock = Lock::shared(&self.inner.root)?;
        let sizes = self.check_every_object(&mut report)?;
        for id in self.states()? {
            report.states_checked += 1;
            self.check_state(id, &sizes, &mut report);
        }
        let refs = self.read_refs()?;
        for (name, id) in refs.good {
            report.refs_checked += 1;
            if !self.contains(id) {
                report.findings.push(Finding::DanglingRef { name, id });
            }
        }
        for path in refs.bad {
            let path = path.into_os_string().into_encoded_bytes();
            report.findings.push(Finding::BadRef { path });
        }
        Ok(report)
    }

    /// Verifies every object; the sizes of those that are whole.
    fn check_every_object(
        &self,
        report: &mut FsckReport,
    ) -> Result<HashMap<Digest, u64>, StoreError> {
        let mut sizes = HashMap::new();
        let mut buffer = Vec::new();
        each_object(&self.inner, &mut |name, entry| {
            let failed = || io_error(format!("check object {name}"));
            let metadata = entry.metadata().map_err(failed())?;
            let is_placed = name.len() == 65 && name.as_bytes()[2] == b'/';
            let digest = name.replacen('/', "", 1).parse::<Digest>();
            let (Ok(digest), true, true) = (digest, is_placed, metadata.is_file()) else {
                report.findings.push(Finding::Foreign { name });
                return Ok(());
            };
            report.objects_checked += 1;
            let file = OwnedFd::from(fs::File::open(entry.path()).map_err(failed())?);
            match digest_of_file(&file, metadata.len(), &mut buffer)? == digest {
                true => drop(sizes.insert(digest, metadata.len())),
                false => report.findings.push(Finding::DamagedObject { name }),
            }
            Ok(())
        })?;
        Ok(sizes)
    }

    fn check_state(&self, id: StateId, sizes: &HashMap<Digest, u64>, report: &mut FsckReport) {
        let damaged = |why: String| Finding::DamagedState { id, why };
        if !self.listing_is_right(id) {
            report.findings.push(damaged("its listing leads elsewhere".into()));
            return;
        }
        let image = match self.read_image(id) {
            Ok(image) => image,
            Err(StoreError::NoState(_)) => {
                report.findings.push(damaged("its image is gone".into()));
                return;
            }
            Err(StoreError::Corrupt { why, .. }) => {
                report.findings.push(damaged(why));
                return;
            }
            Err(error) => {
                report.findings.push(damaged(error.to_string()));
                return;
            }
        };
        let tree = match image::decode(&image) {
            Ok(tree) => tree,
            Err(why) => {
                report.findings.push(damaged(why));
                return;
            }
        };
        let mut missing = HashMap::new();
        tree.walk(&mut |path, node| {
            if let Some((digest, size)) = object_of(node)
                && sizes.get(&digest) != Some(&size)
            {
                missing.entry(digest).or_insert_with(|| path.to_vec());
            }
        });
        report.findings.extend(missing.into_iter().map(|(digest, path)| Finding::MissingObject {
            id,
            path,
            digest,
        }));
    }
}
