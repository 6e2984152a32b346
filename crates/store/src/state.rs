//! States: writing a tree as an image, reading it back, finding it by what a person types.

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;

use rustix::fs::{AtFlags, Mode, OFlags, openat, readlinkat, statat, symlinkat};
use rustix::io::Errno;
use umbra_state::{Content, Digest, Node, StateId, Tree};

use crate::error::{StoreError, io_error};
use crate::fault::Fault;
use crate::image;
use crate::lock::Lock;
use crate::object::object_name;
use crate::store::Store;
use crate::verity;

/// Largest image that is read, in bytes: ten million entries.
const IMAGE_MAX: u64 = 1 << 30;

/// Fewest digits that [`Store::resolve`] takes for the beginning of an id.
pub const PREFIX_MIN: usize = 6;

/// Why a text names no state.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Neither a ref nor the beginning of an id.
    #[error("find a state or ref named {0:?}")]
    Unknown(String),
    /// The beginning of several ids.
    #[error("choose a state by {prefix}: {} begin with it ({})", candidates.len(), listed(candidates))]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// All states it fits.
        candidates: Vec<StateId>,
    },
    /// The store could not be searched.
    #[error("search the store")]
    Store(#[source] StoreError),
}

fn listed(candidates: &[StateId]) -> String {
    let shown: Vec<String> = candidates.iter().take(8).map(StateId::short).collect();
    let more = if candidates.len() > shown.len() { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}

impl Store {
    /// The id a tree would have, nothing written.
    ///
    /// The tree must keep the rules of a state: names of 1 to 255 bytes, files of at most
    /// [`crate::INLINE_MAX`] bytes inline and only those, equal leaves under one link id.
    pub fn state_id(&self, tree: &Tree) -> Result<StateId, StoreError> {
        Ok(StateId(verity::digest(&image::encode(tree)?)))
    }

    /// Writes a tree's image, so that it can be loaded and mounted by its id. Its contents must
    /// be in the store already, as a capture leaves them.
    pub fn put(&self, tree: &Tree) -> Result<StateId, StoreError> {
        let _lock = Lock::shared(&self.inner.root)?;
        self.check_objects(tree)?;
        let image = image::encode(tree)?;
        let digest = self.inner.put_object(&image)?;
        self.inner.faults.hit(Fault::ImageStored);
        let target = format!("../objects/{}", object_name(digest));
        match symlinkat(target, &self.inner.images, digest.to_string()) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(io_error(format!("list the image of state {digest}"))(error)),
        }
        self.inner.faults.hit(Fault::ImageListed);
        Ok(StateId(digest))
    }

    /// Reads a state back: the tree that was [put](Store::put), verified against its id.
    pub fn load(&self, id: StateId) -> Result<Tree, StoreError> {
        let tree = image::decode(&self.read_image(id)?)
            .map_err(|why| StoreError::Corrupt { what: format!("the image of state {id}"), why })?;
        self.inner.links.learn(&tree);
        Ok(tree)
    }

    /// Whether the store holds this state.
    pub fn contains(&self, id: StateId) -> bool {
        statat(&self.inner.images, id.to_string(), AtFlags::empty()).is_ok()
    }

    /// All states, in order of their ids.
    pub fn states(&self) -> Result<Vec<StateId>, StoreError> {
        let folder = self.inner.root.join("repo/images");
        let failed = || io_error(format!("list {}", folder.display()));
        let mut states = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            states.extend(name.to_str().and_then(|name| name.parse::<StateId>().ok()));
        }
        states.sort_unstable();
        Ok(states)
    }

    /// The state meant by a full id, by at least [`PREFIX_MIN`] digits that begin one id only,
    /// or by the name of a ref.
    pub fn resolve(&self, text: &str) -> Result<StateId, ResolveError> {
        let unknown = || ResolveError::Unknown(text.chars().take(200).collect());
        if crate::refs::check_name(text).is_ok() {
            return self.get_ref(text).map_err(ResolveError::Store)?.ok_or_else(unknown);
        }
        if let Ok(id) = text.parse::<StateId>() {
            return if self.contains(id) { Ok(id) } else { Err(unknown()) };
        }
        if text.len() < PREFIX_MIN || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let mut candidates = self.states().map_err(ResolveError::Store)?;
        let prefix = text.to_ascii_lowercase();
        candidates.retain(|id| id.to_string().starts_with(&prefix));
        match candidates.as_slice() {
            [] => Err(unknown()),
            [one] => Ok(*one),
            _ => Err(ResolveError::Ambiguous { prefix, candidates }),
        }
    }

    /// The verified bytes of a state's image.
    pub(crate) fn read_image(&self, id: StateId) -> Result<Vec<u8>, StoreError> {
        let doing = || format!("read the image of state {id}");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        // By way of the list: an object that was never listed is no state.
        let file = match openat(&self.inner.images, id.to_string(), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Err(StoreError::NoState(id)),
            Err(error) => return Err(io_error(doing())(error)),
        };
        let mut image = Vec::new();
        let read = fs::File::from(file).take(IMAGE_MAX + 1).read_to_end(&mut image);
        read.map_err(io_error(doing()))?;
        if image.len() as u64 > IMAGE_MAX || verity::digest(&image) != id.0 {
            let why = "its digest is not its name".to_owned();
            return Err(StoreError::Corrupt { what: format!("the image of state {id}"), why });
        }
        Ok(image)
    }

    /// Whether a state's listing points where it should; for the checker.
    pub(crate) fn listing_is_right(&self, id: StateId) -> bool {
        let expected = format!("../objects/{}", object_name(id.0));
        readlinkat(&self.inner.images, id.to_string(), Vec::new())
            .is_ok_and(|target| target.as_bytes() == expected.as_bytes())
    }

    fn check_objects(&self, tree: &Tree) -> Result<(), StoreError> {
        let mut seen = HashSet::new();
        let mut first_error = None;
        tree.walk(&mut |path, node| {
            if let Some((digest, size)) = object_of(node)
                && first_error.is_none()
                && seen.insert(digest)
            {
                first_error = match self.inner.has_object(digest, size) {
                    Ok(true) => None,
                    Ok(false) => Some(StoreError::NoObject { digest, path: path.to_vec() }),
                    Err(error) => Some(error),
                };
            }
        });
        first_error.map_or(Ok(()), Err)
    }
}

/// The object that holds a node's content, if one does, and its size.
pub(crate) fn object_of(node: &Node) -> Option<(Digest, u64)> {
    match node {
        Node::Leaf(leaf) => match leaf.content {
            Content::Object { digest, size } => Some((digest, size)),
            _ => None,
        },
        Node::Dir(_) => None,
    }
}
