//! Questions about states: what a name means, what is in a state, what differs.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use umbra_api::daemon::{FsckReply, GcReply};
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::state::{DiffEntry, DiffReply, FileEntry, FileList, StateInfo};
use umbra_state::diff::{Change, ChangeKind, diff};
use umbra_state::escape::escape;
use umbra_state::{Content, Digest, Leaf, Node, StateId, Tree};
use umbra_store::overlay::Layers;
use umbra_store::{Pin, Store};

use crate::db::Db;
use crate::textdiff;

/// The largest file whose text is compared line by line.
const TEXT_BYTES_MAX: u64 = 256 * 1024;

/// How many files' texts one answer holds.
const TEXTS_MAX: usize = 200;

/// The store and the names the database gives to its states.
#[derive(Clone)]
pub struct States {
    store: Store,
    db: Db,
}

impl States {
    /// Both.
    pub fn new(store: Store, db: Db) -> Self {
        Self { store, db }
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What `name` means, in this order: `BUILD/STEP`, an image, an id or unique prefix or
    /// store ref, a step of the last build.
    pub async fn resolve(&self, name: &str) -> Result<StateId, WireError> {
        if let Some((build, step)) = name.split_once('/')
            && let Ok(build) = build.parse()
            && let Some(state) = self.db.step_state(build, step).await?
        {
            return Ok(state);
        }
        if let Some(image) = self.db.image(name).await? {
            return Ok(image.state);
        }
        let (store, text) = (self.store.clone(), name.to_owned());
        let resolved = blocking(move || Ok(store.resolve(&text))).await?;
        let error = match resolved {
            Ok(state) => return Ok(state),
            Err(error) => error,
        };
        if let Some(last) = self.db.builds(1).await?.first()
            && let Some(state) = self.db.step_state(last.id, name).await?
        {
            return Ok(state);
        }
        Err(resolve_error(&error))
    }

    /// A state's size and names. Blocking.
    pub fn info(&self, state: StateId) -> Result<StateInfo, WireError> {
        let tree = self.load(state)?;
        let (mut entries, mut content_bytes) = (0, 0);
        let mut seen = std::collections::BTreeSet::new();
        tree.walk(&mut |_, node| {
            entries += 1;
            if let Node::Leaf(leaf) = node
                && leaf.content.is_file()
                && leaf.link.is_none_or(|link| seen.insert(link))
            {
                content_bytes += leaf.content.size();
            }
        });
        let refs = self.store.list_refs().map_err(|error| environment(&error))?;
        let refs = refs.into_iter().filter(|(_, id)| *id == state).map(|(name, _)| name);
        Ok(StateInfo { state, entries, content_bytes, refs: refs.collect() })
    }

    /// A state's names below `prefix`, at most `limit`. Blocking.
    pub fn files(
        &self,
        state: StateId,
        prefix: &[u8],
        limit: usize,
    ) -> Result<FileList, WireError> {
        let prefix = trim_slashes(prefix);
        let tree = self.load(state)?;
        let mut list = FileList { state, files: Vec::new(), omitted: 0 };
        tree.walk(&mut |path, node| {
            if !is_below(path, prefix) {
                return;
            }
            if list.files.len() < limit {
                list.files.push(file_entry(path, node));
            } else {
                list.omitted += 1;
            }
        });
        Ok(list)
    }

    /// What differs between two states, at most `limit` entries. Blocking.
    pub fn diff(
        &self,
        before: StateId,
        after: StateId,
        content: bool,
        limit: usize,
    ) -> Result<DiffReply, WireError> {
        let (a, b) = (self.load(before)?, self.load(after)?);
        let delta = diff(&a, &b);
        let mut texts = 0;
        let mut entries = Vec::new();
        for change in delta.changes.iter().take(limit) {
            let mut entry = diff_entry(change);
            if content && has_new_content(change) {
                if texts < TEXTS_MAX {
                    texts += 1;
                    self.add_text(change, &mut entry)?;
                } else {
                    entry.text_missing =
                        Some(format!("only the first {TEXTS_MAX} files are compared"));
                }
            }
            entries.push(entry);
        }
        let omitted = delta.changes.len().saturating_sub(limit) as u64;
        Ok(DiffReply { before, after, counts: delta.counts(), entries, omitted })
    }

    fn add_text(&self, change: &Change, entry: &mut DiffEntry) -> Result<(), WireError> {
        let before = self.text(change.before.as_ref())?;
        let after = self.text(change.after.as_ref())?;
        match (before, after) {
            (Ok(before), Ok(after)) => match textdiff::unified(&before, &after) {
                Some(lines) => entry.text = lines,
                None => entry.text_missing = Some("the texts differ too much".into()),
            },
            (Err(why), _) | (_, Err(why)) => entry.text_missing = Some(why.into()),
        }
        Ok(())
    }

    /// A small text file's text, or why there is none.
    fn text(&self, node: Option<&Node>) -> Result<Result<String, &'static str>, WireError> {
        let Some(node) = node else { return Ok(Ok(String::new())) };
        let Some(leaf) = file_leaf(node) else { return Ok(Err("not a file on both sides")) };
        if leaf.content.size() > TEXT_BYTES_MAX {
            return Ok(Err("larger than 256 KiB"));
        }
        let bytes = self.content(leaf)?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Ok(text),
            _ => Err("not text"),
        })
    }

    fn content(&self, leaf: &Leaf) -> Result<Vec<u8>, WireError> {
        match &leaf.content {
            Content::Inline(bytes) => Ok(bytes.to_vec()),
            Content::Object { digest, .. } => {
                let mut bytes = Vec::new();
                let read = File::open(self.object_path(*digest))
                    .and_then(|file| file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes));
                read.map(|_| bytes).map_err(|error| {
                    let message = format!("read object {digest}");
                    WireError::new(ErrorCode::Environment, message).caused_by(error)
                })
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Objects are named by their digest, two digits a folder.
    fn object_path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.store.objects_dir().join(&name[..2]).join(&name[2..])
    }

    /// What mounts to this state, and what keeps the collector away until it is mounted.
    /// Blocking: on kernels that cannot mount images it writes the state out first.
    pub fn layers(&self, state: StateId) -> Result<(Layers, Pin), WireError> {
        let pin = self.store.pin().map_err(|error| environment(&error))?;
        if !self.store.contains(state) {
            let message = format!("find state {state} in the store");
            return Err(WireError::new(ErrorCode::NotFound, message));
        }
        let base = self.store.base(state).map_err(|error| environment(&error))?;
        Ok((Layers::of(base), pin))
    }

    fn load(&self, state: StateId) -> Result<Tree, WireError> {
        self.store.load(state).map_err(|error| environment(&error))
    }

    /// Removes what is neither in `keep` nor named by a ref. Blocking.
    pub fn gc(&self, keep: &[StateId], dry_run: bool) -> Result<GcReply, WireError> {
        let report = if dry_run { self.store.gc_dry_run(keep) } else { self.store.gc(keep) };
        let report = report.map_err(|error| environment(&error))?;
        Ok(GcReply {
            dry_run,
            states_kept: report.states_kept,
            states_removed: report.states_removed.len() as u64,
            objects_removed: report.objects_removed,
            bytes_freed: report.bytes_freed,
            cache_entries_removed: 0,
        })
    }

    /// Checks every digest. Blocking.
    pub fn fsck(&self) -> Result<FsckReply, WireError> {
        let report = self.store.fsck().map_err(|error| environment(&error))?;
        Ok(FsckReply {
            states: report.states_checked,
            objects: report.objects_checked,
            findings: report.findings.iter().map(ToString::to_string).collect(),
        })
    }
}

/// Runs blocking work beside the async threads.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WireError> + Send + 'static,
) -> Result<T, WireError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(WireError::new(ErrorCode::Internal, "finish the request")
            .caused_by("the code that served it panicked")
            .with_hint("this is a defect of umbra; the daemon's log has more")),
    }
}

/// An error of what surrounds the images.
pub fn environment(error: &(dyn std::error::Error + 'static)) -> WireError {
    WireError::from_chain(ErrorCode::Environment, error)
}

fn resolve_error(error: &umbra_store::ResolveError) -> WireError {
    use umbra_store::ResolveError;
    let code = match error {
        ResolveError::Ambiguous { .. } => ErrorCode::Ambiguous,
        ResolveError::Unknown(_) => ErrorCode::NotFound,
        ResolveError::Store(_) => ErrorCode::Environment,
    };
    WireError::from_chain(code, error)
        .with_hint("`umbra ls` lists builds and images; `umbra log BUILD` lists a build's states")
}

fn diff_entry(change: &Change) -> DiffEntry {
    let size = |node: &Node| match node {
        Node::Leaf(leaf) => Some(leaf.content.size()),
        Node::Dir(_) => None,
    };
    DiffEntry {
        path: format!("/{}", escape(&change.path)),
        change: change.kind,
        type_before: change.before.as_ref().map(|node| node.type_name().to_owned()),
        type_after: change.after.as_ref().map(|node| node.type_name().to_owned()),
        size_before: change.before.as_ref().and_then(size),
        size_after: change.after.as_ref().and_then(size),
        text: Vec::new(),
        text_missing: None,
    }
}

fn has_new_content(change: &Change) -> bool {
    let file = |node: &Option<Node>| node.as_ref().and_then(file_leaf).is_some();
    match change.kind {
        ChangeKind::Added => file(&change.after),
        ChangeKind::Removed => file(&change.before),
        ChangeKind::Modified(aspects) => {
            (aspects.content || aspects.r#type) && (file(&change.before) || file(&change.after))
        }
    }
}

fn file_leaf(node: &Node) -> Option<&Leaf> {
    match node {
        Node::Leaf(leaf) if leaf.content.is_file() => Some(leaf),
        _ => None,
    }
}

fn file_entry(path: &[u8], node: &Node) -> FileEntry {
    let meta = node.meta();
    let (size, target) = match node {
        Node::Dir(_) => (0, None),
        Node::Leaf(leaf) => {
            let target = match &leaf.content {
                Content::Symlink(target) => Some(escape(target).to_string()),
                _ => None,
            };
            (leaf.content.size(), target)
        }
    };
    FileEntry {
        path: format!("/{}", escape(path)),
        r#type: node.type_name().to_owned(),
        mode: format!("{:04o}", meta.mode),
        uid: meta.uid,
        gid: meta.gid,
        size,
        target,
    }
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(start, |last| last + 1);
    &path[start..end]
}

fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    prefix.is_empty()
        || path.strip_prefix(prefix).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}
