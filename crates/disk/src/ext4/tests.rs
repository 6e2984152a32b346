//! Filesystems as their checker and the kernel see them.

#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "../../../store/tests/support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;
use rustix::mount::{UnmountFlags, unmount};
use support::{Temp, assert_same};
use umbra_state::{Content, Digest, Dir, Leaf, Meta, Mtime, Node, StateId, Tree};
use umbra_store::corpus;

use super::{BLOCK, Geometry, Plan, write};
use crate::error::DiskError;
use crate::ids::Ids;
use crate::medium::Raw;
use crate::need_root;

/// Makes a filesystem with a tree and `spare` blocks more than that needs.
fn filesystem(temp: &Temp, name: &str, tree: &Tree, spare: u64) -> Result<PathBuf, DiskError> {
    let ids = Ids::of(StateId(Digest::new([7; 32])));
    let plan = Plan::new(&temp.store, tree)?;
    let mut blocks = plan.blocks + spare;
    let geometry = loop {
        let geometry = Geometry::new(blocks, plan.inode_count());
        match geometry {
            Some(it) if it.overhead() + plan.blocks <= it.blocks => break it,
            _ => blocks += 1000,
        }
    };
    let path = temp.folder.path().join(name);
    let file = File::create(&path).map_err(DiskError::io("make the file"))?;
    let mut raw = Raw::new(&file, geometry.blocks * BLOCK).map_err(DiskError::io("size it"))?;
    write(&plan, &geometry, &ids, &mut raw)?;
    Ok(path)
}

#[track_caller]
fn assert_clean(filesystem: &Path) {
    let checked = Command::new("e2fsck").args(["-f", "-n"]).arg(filesystem).output();
    let checked = checked.expect("e2fsck runs (apt-get install e2fsprogs)");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    assert!(!said.contains("Fix?") && !said.contains("WARNING"), "{said}");
}

struct Mounted(PathBuf);

impl Mounted {
    fn of(filesystem: &Path, at: PathBuf, options: &str) -> Self {
        let status = Command::new("mount")
            .args(["-t", "ext4", "-o", options])
            .arg(filesystem)
            .arg(&at)
            .status();
        assert!(status.expect("mount runs").success(), "the kernel takes it");
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::empty()).expect("unmounted");
    }
}

#[test]
fn the_kernel_sees_exactly_the_corpus() {
    need_root!();
    let temp = Temp::new();
    let source = temp.dir("source");
    corpus::make(&source).expect("a corpus");
    let tree = temp.capture(&source);
    let filesystem = filesystem(&temp, "corpus", &tree, 0).expect("a filesystem");
    assert_clean(&filesystem);
    let mounted = Mounted::of(&filesystem, temp.dir("at"), "loop,ro");
    assert_same(&temp.store, &tree, &temp.capture(&mounted.0), "as mounted");
}

#[test]
fn the_same_tree_makes_the_same_bytes() {
    need_root!();
    let (temp, other) = (Temp::new(), Temp::new());
    let source = temp.dir("source");
    corpus::make(&source).expect("a corpus");
    let make = |temp: &Temp, name: &str| {
        let tree = temp.capture(&source);
        fs::read(filesystem(temp, name, &tree, 0).expect("a filesystem")).expect("read")
    };
    let first = make(&temp, "first");
    assert!(first == make(&temp, "second"), "made twice");
    assert!(first == make(&other, "third"), "of another store");
}

fn meta() -> Meta {
    Meta { mode: 0o644, ..Meta::default() }
}

fn leaf(content: Content, meta: Meta) -> Node {
    Node::Leaf(Arc::new(Leaf { meta, content, link: None }))
}

fn tree(entries: impl IntoIterator<Item = (Vec<u8>, Node)>) -> Tree {
    let entries = entries.into_iter().map(|(name, node)| (name.into(), node)).collect();
    Tree { root: Arc::new(Dir { meta: Meta { mode: 0o755, ..Meta::default() }, entries }) }
}

#[test]
fn it_is_grown_and_used() {
    need_root!();
    let temp = Temp::new();
    let small = || leaf(Content::Inline((*b"small").into()), meta());
    let many = (0..5000).map(|n| (format!("file-with-a-name-{n}").into_bytes(), small()));
    let filesystem = filesystem(&temp, "grown", &tree(many), 20_000).expect("a filesystem");
    assert_clean(&filesystem);
    // To more groups than one block of descriptors names.
    let grown = Command::new("resize2fs").arg(&filesystem).arg("12G").output();
    let grown = grown.expect("resize2fs runs (apt-get install e2fsprogs)");
    assert!(grown.status.success(), "{}", String::from_utf8_lossy(&grown.stderr));
    assert_clean(&filesystem);
    let mounted = Mounted::of(&filesystem, temp.dir("at"), "loop");
    let room = rustix::fs::statvfs(&mounted.0).expect("statvfs");
    assert!(room.f_blocks * room.f_frsize > 11 << 30, "{}", room.f_blocks);
    for n in 0..300 {
        fs::write(mounted.0.join(format!("new-{n}")), vec![n as u8; 50_000]).expect("written");
        fs::remove_file(mounted.0.join(format!("file-with-a-name-{n}"))).expect("removed");
    }
    assert_eq!(fs::read_dir(&mounted.0).expect("listed").count(), 5000);
    drop(mounted);
    assert_clean(&filesystem);
}

#[test]
fn a_large_one_takes_little_room() {
    let temp = Temp::new();
    let file = leaf(Content::Inline((*b"small").into()), meta());
    let filesystem = filesystem(&temp, "large", &tree([(b"file".to_vec(), file)]), 50 << 18);
    let filesystem = filesystem.expect("a filesystem of 50 GiB");
    let bytes = fs::metadata(&filesystem).expect("there").blocks() * 512;
    assert!(bytes < 8 << 20, "{bytes}");
    assert_clean(&filesystem);
}

#[track_caller]
fn check_refused(entries: Vec<(&str, Node)>, why: &str) {
    let temp = Temp::new();
    let tree = tree(entries.into_iter().map(|(name, node)| (name.as_bytes().to_vec(), node)));
    let refused = filesystem(&temp, "refused", &tree, 0).expect_err("refused");
    let said = umbra_state::chain(&refused);
    assert!(said.contains(why), "{said}");
}

#[test]
fn what_ext4_cannot_hold_is_refused_by_name() {
    let with = |change: &dyn Fn(&mut Meta)| {
        let mut meta = meta();
        change(&mut meta);
        vec![("odd\n", leaf(Content::Fifo, meta))]
    };
    let late = Mtime { sec: 1 << 40, nsec: 0 };
    check_refused(with(&|meta| meta.mtime = late), "keep /odd\\u{a} in ext4: its time");
    let large: (Box<[u8]>, Box<[u8]>) = ((*b"user.large").into(), vec![1; 5000].into());
    check_refused(with(&|meta| meta.xattrs.extend([large.clone()])), "more than a block");
    check_refused(vec![("d", leaf(Content::Char(u64::MAX), meta()))], "its device number");
    let missing = Content::Object { digest: Digest::new([9; 32]), size: 5 << 30 };
    check_refused(vec![("gone", leaf(missing, meta()))], "find object");
    let huge = Content::Object { digest: Digest::new([9; 32]), size: u64::MAX };
    check_refused(vec![("huge", leaf(huge, meta()))], "larger than 16 TiB");
    let target = Content::Symlink(vec![b'x'; 4096].into());
    check_refused(vec![("far", leaf(target, meta()))], "its target is too long");
}

/// Nodes without objects, nested.
fn node() -> impl Strategy<Value = Node> {
    let meta = (
        0u16..0o10000,
        any::<u32>(),
        any::<u32>(),
        -1_000_000_000i64..10_000_000_000,
        0u32..1_000_000_000,
    )
        .prop_map(|(mode, uid, gid, sec, nsec)| Meta {
            mode,
            uid,
            gid,
            mtime: Mtime { sec, nsec },
            ..Meta::default()
        });
    let attribute = ("user\\.[a-z]{1,20}", prop::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(name, value)| (name.into_bytes().into(), value.into()));
    let meta = (
        meta,
        prop::collection::btree_map(
            attribute.clone().prop_map(|(name, _): (Box<[u8]>, Box<[u8]>)| name),
            attribute.prop_map(|(_, value): (Box<[u8]>, Box<[u8]>)| value),
            0..4,
        ),
    )
        .prop_map(|(meta, xattrs)| Meta { xattrs, ..meta });
    let content = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64).prop_map(|bytes| Content::Inline(bytes.into())),
        prop::collection::vec(1u8..255, 1..300).prop_map(|bytes| Content::Symlink(bytes.into())),
        (0u32..4096, 0u32..1 << 20)
            .prop_map(|(major, minor)| Content::Char(rustix::fs::makedev(major, minor))),
        Just(Content::Fifo),
        Just(Content::Socket),
    ];
    let leaf = (meta.clone(), content).prop_map(|(meta, content)| leaf(content, meta));
    leaf.prop_recursive(4, 200, 40, move |inner| {
        // Never `.` or `..`.
        let name = prop::collection::vec(1u8..255, 1..60).prop_map(|mut name| {
            name.push(b'n');
            name.iter().map(|&b| if b == b'/' { b'_' } else { b }).collect()
        });
        (meta.clone(), prop::collection::btree_map(name, inner, 0..40))
            .prop_map(|(meta, entries)| Node::Dir(Arc::new(Dir { meta, entries })))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_tree_makes_a_clean_filesystem(nodes in prop::collection::vec(node(), 1..30)) {
        let temp = Temp::new();
        let named = nodes.into_iter().enumerate();
        let tree = tree(named.map(|(index, node)| (format!("n{index}").into_bytes(), node)));
        let filesystem = filesystem(&temp, "any", &tree, 0).expect("a filesystem");
        assert_clean(&filesystem);
    }
}
