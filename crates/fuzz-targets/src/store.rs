//! Images of states, tar archives and OCI layouts.

use std::fs;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use umbra_state::{Content, Dir, Leaf, LinkId, Meta, Mtime, Node, Tree, diff};
use umbra_store::{ImportLimits, Store, StoreOptions, SyncPolicy, fuzzing};

use crate::Target;

/// See [`image`].
pub const IMAGE: Target = Target {
    name: "image",
    open: || Box::new(image),
    seeds: image_seeds,
    words: &["umbraX01", "..", "/", ".", "\0\0\0\0", "\x01\0\0\0", "\u{1}", "a0"],
    cases: 1_500,
    heap_factor: 200,
};

/// What is read as a tree is one: its names lead nowhere else, its metadata is in range, and its
/// image, if it has one, gives the same tree.
pub fn image(bytes: &[u8]) -> bool {
    let Ok(tree) = fuzzing::decode(bytes) else { return false };
    check(&tree);
    let Ok(written) = fuzzing::encode(&tree) else { return true };
    let again = fuzzing::decode(&written).expect("an image that was written is read");
    assert!(diff(&tree, &again).is_empty(), "a tree changes in its image");
    assert_eq!(fuzzing::encode(&again).expect("and written"), written);
    true
}

/// What every tree keeps that came from outside.
fn check(tree: &Tree) {
    check_meta(&tree.root.meta);
    tree.walk(&mut |path, node| {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let root = path.is_empty();
        assert!(root || (1..=255).contains(&name.len()), "a name of {} bytes", name.len());
        assert!(!matches!(name, b"." | b"..") && !name.contains(&0), "a name that leads away");
        check_meta(node.meta());
    });
}

fn check_meta(meta: &Meta) {
    assert!(meta.mode <= 0o7777, "mode {:o}", meta.mode);
    assert!(meta.mtime.nsec < 1_000_000_000, "{} nanoseconds", meta.mtime.nsec);
}

fn image_seeds() -> Vec<Vec<u8>> {
    let trees = [Tree::empty(), small_tree(), with_whiteouts()];
    trees.iter().map(|tree| fuzzing::encode(tree).expect("a valid tree")).collect()
}

fn leaf(content: Content, link: Option<u64>) -> Node {
    let mtime = Mtime { sec: 1_700_000_000, nsec: 5 };
    let mut meta = Meta { mode: 0o644, uid: 0, gid: 33, mtime, ..Meta::default() };
    meta.xattrs.insert(b"user.note".as_slice().into(), b"seen".as_slice().into());
    Node::Leaf(Arc::new(Leaf { meta, content, link: link.map(LinkId) }))
}

fn dir(entries: Vec<(&str, Node)>) -> Dir {
    let entries = entries.into_iter().map(|(name, node)| (name.as_bytes().into(), node));
    Dir { meta: Meta { mode: 0o755, ..Meta::default() }, entries: entries.collect() }
}

fn small_tree() -> Tree {
    let small = || Content::Inline(b"hello".as_slice().into());
    let etc =
        dir(vec![("hosts", leaf(small(), Some(1))), ("null", leaf(Content::Char(259), None))]);
    let root = dir(vec![
        ("etc", Node::Dir(Arc::new(etc))),
        ("fifo", leaf(Content::Fifo, None)),
        ("hosts", leaf(small(), Some(1))),
        ("link", leaf(Content::Symlink(b"etc/hosts".as_slice().into()), None)),
    ]);
    Tree { root: Arc::new(root) }
}

/// One that needs a side record.
fn with_whiteouts() -> Tree {
    let gone = || leaf(Content::Char(0), Some(7));
    let var = dir(vec![("gone", gone()), ("kept", leaf(Content::Fifo, None))]);
    let root = dir(vec![("a0", gone()), ("var", Node::Dir(Arc::new(var)))]);
    Tree { root: Arc::new(root) }
}

/// A store in a directory of its own, gone with it.
pub(crate) struct Temp {
    pub(crate) store: Store,
    dir: TempDir,
}

impl Temp {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let options = StoreOptions { sync: SyncPolicy::Never, ..StoreOptions::default() };
        let store = Store::open_with(&dir.path().join("store"), options).expect("a store");
        Self { store, dir }
    }
}

/// See `tar`.
pub const TAR: Target = Target {
    name: "tar",
    open: || {
        let temp = Temp::new();
        Box::new(move |bytes| tar(&temp, bytes))
    },
    seeds: || vec![archive(&small_tree())],
    words: &[
        "..",
        "/",
        "./",
        "ustar\x0000",
        "ustar  \0",
        "././@LongLink",
        "12 path=../a\n",
        "11 size=9\n",
        "27 SCHILY.xattr.user.a=value\n",
        "20 mtime=-1.5\n",
        ".wh.a",
        ".wh..wh..opq",
        "\0\0\0\0\0\0\0",
    ],
    cases: 300,
    heap_factor: 2_000,
};

const LIMITS: ImportLimits =
    ImportLimits { entries_max: 10_000, bytes_max: 8 << 20, metadata_bytes_max: 4 << 20 };

/// An archive becomes a tree within its limits, or an error. A tree that was put comes back, and
/// its own archive gives the same state.
fn tar(temp: &Temp, bytes: &[u8]) -> bool {
    imported(&temp.store, bytes) | imported(&temp.store, &with_checksums(bytes))
}

fn imported(store: &Store, bytes: &[u8]) -> bool {
    let Ok(tree) = store.import_tar(bytes, LIMITS) else { return false };
    check(&tree);
    // A path of an entry makes directories that are no entries.
    assert!(tree.entry_count() as u64 <= LIMITS.entries_max + LIMITS.metadata_bytes_max);
    let Ok(id) = store.put(&tree) else { return true };
    assert!(diff(&store.load(id).expect("it was put"), &tree).is_empty(), "a state changes");
    let mut archive = Vec::new();
    store.export_tar(id, &mut archive).expect("it is written as an archive");
    let again = store.import_tar(&*archive, ImportLimits::default()).expect("which is read");
    assert!(diff(&again, &tree).is_empty(), "a state changes in an archive of ours");
    true
}

/// Every block as a header whose checksum is right: otherwise almost no change would get past it.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut fixed = bytes.to_vec();
    for block in fixed.chunks_exact_mut(512) {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
    }
    fixed
}

fn archive(tree: &Tree) -> Vec<u8> {
    let temp = Temp::new();
    let id = temp.store.put(tree).expect("a valid tree");
    let mut archive = Vec::new();
    temp.store.export_tar(id, &mut archive).expect("an archive");
    archive
}

/// See `oci`.
pub const OCI: Target = Target {
    name: "oci",
    open: || {
        let temp = Temp::new();
        Box::new(move |bytes| oci(&temp, bytes))
    },
    seeds: || vec![layout_text()],
    words: &[
        "\"manifests\":",
        "\"layers\":",
        "\"digest\":",
        "sha256:",
        "../../etc/passwd",
        "\"size\":-1",
        "\"size\":18446744073709551615",
        "\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}",
        "[",
        "{",
        "\n",
        "null",
    ],
    cases: 200,
    heap_factor: 2_000,
};

/// An index, a manifest and a layer, one after the other behind lines of their lengths; each is
/// stored under its own digest, and `@1` and `@2` in a document stand for the digest and size
/// of the later parts. What is read beside them leads to an error, never to a file elsewhere.
fn oci(temp: &Temp, bytes: &[u8]) -> bool {
    let layout = temp.dir.path().join("layout");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a layout");
    let mut parts = bytes.splitn(3, |&byte| byte == b'\n');
    let mut part = || parts.next().unwrap_or_default().to_vec();
    let (index, manifest, layer) = (part(), part(), part());
    let manifest = pointed(&manifest, "@2", &layer);
    let index = pointed(&index, "@1", &manifest);
    for blob in [&manifest, &layer] {
        fs::write(blobs.join(hex(blob)), blob).expect("a blob");
    }
    fs::write(layout.join("index.json"), &index).expect("an index");
    let imported = temp.store.import_oci_layout(&layout, None);
    fs::remove_dir_all(&layout).expect("the layout goes");
    imported.is_ok_and(|tree| {
        check(&tree);
        true
    })
}

fn pointed(document: &[u8], mark: &str, blob: &[u8]) -> Vec<u8> {
    let target = format!("{{\"digest\":\"sha256:{}\",\"size\":{}}}", hex(blob), blob.len());
    String::from_utf8_lossy(document).replace(mark, &target).into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn layout_text() -> Vec<u8> {
    let mut text = b"{\"manifests\":[@1]}\n{\"layers\":[@2]}\n".to_vec();
    text.extend_from_slice(&archive(&small_tree()));
    text
}
