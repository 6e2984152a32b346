//! What shows a state here: its image, or, where the kernel cannot mount images, a directory
//! written out once.

use std::fs;
use std::io;
use std::path::PathBuf;

use umbra_state::StateId;

use crate::error::{StoreError, io_error};
use crate::export::{ExportError, Names};
use crate::lock::Lock;
use crate::overlay::Base;
use crate::overlay::support::ImageSupport;
use crate::store::Store;

impl Store {
    /// What a root that shows this state has at its bottom. Blocking: the first time it may
    /// have to write the state out.
    pub fn base(&self, id: StateId) -> Result<Base, ExportError> {
        match self.inner.shown_by {
            ImageSupport::Direct | ImageSupport::Loop => {
                Ok(Base::Image { image: self.image_path(id), objects: self.objects_dir() })
            }
            ImageSupport::Checkout => self.checkout(id).map(Base::Checkout),
        }
    }

    fn checkout(&self, id: StateId) -> Result<PathBuf, ExportError> {
        // A collector would take the draft for rubbish.
        let _lock = Lock::shared(&self.inner.root).map_err(ExportError::Store)?;
        let finished = self.checkouts_dir().join(id.to_string());
        if finished.is_dir() {
            return Ok(finished);
        }
        let failed = |doing: &str| {
            let doing = format!("{doing} {}", finished.display());
            move |source| ExportError::Store(io_error(doing)(source))
        };
        let draft = tempfile::Builder::new()
            .prefix(DRAFT)
            .tempdir_in(self.checkouts_dir())
            .map_err(failed("begin"))?;
        let content = draft.path().join("root");
        fs::create_dir(&content).map_err(failed("begin"))?;
        self.write_out(id, &content, Names::ForLayers)?;
        match fs::rename(&content, &finished) {
            // Somebody else was faster; theirs is as good.
            Err(_) if finished.is_dir() => Ok(finished),
            result => result.map_err(failed("name")).map(|()| finished.clone()),
        }
    }

    /// Removes what was written out of states that are gone, and what was never finished. The
    /// caller is alone in the store.
    pub(crate) fn remove_stale_checkouts(&self) -> Result<(), StoreError> {
        let dir = self.checkouts_dir();
        let failed = || io_error(format!("clean {}", dir.display()));
        for entry in fs::read_dir(&dir).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let state = entry.file_name().to_str().and_then(|name| name.parse::<StateId>().ok());
            if state.is_none_or(|state| !self.contains(state)) {
                match fs::remove_dir_all(entry.path()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed()(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn checkouts_dir(&self) -> PathBuf {
        self.inner.root.join("checkouts")
    }
}

/// What the names of unfinished directories begin with.
const DRAFT: &str = "draft-";
