//! Every tree survives its image: generated trees, with what composefs alone would lose.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use umbra_state::{ChangeKind, Content, Digest, Dir, Leaf, LinkId, Meta, Mtime, Node, Tree, diff};

use super::{decode, encode};
use crate::object::INLINE_MAX;

/// Names that mean something to somebody: stubs of the format, whiteouts of other tools.
fn name() -> impl Strategy<Value = Box<[u8]>> {
    let special: Vec<&[u8]> =
        vec![b"00", b"ff", b"a0", b"AB", b".wh.x", b"...", b"\xff", b"\n", b"!"];
    prop_oneof![
        3 => prop::sample::select(special).prop_map(Box::from),
        4 => "[a-d]{1,3}".prop_map(|text| text.into_bytes().into()),
        1 => prop::collection::vec(any::<u8>().prop_filter("no slash or NUL", |b| *b != 0 && *b != b'/'), 255)
            .prop_map(Into::into),
    ]
}

fn xattrs() -> impl Strategy<Value = BTreeMap<Box<[u8]>, Box<[u8]>>> {
    let names: Vec<&[u8]> = vec![
        b"user.a",
        b"user.b",
        b"security.capability",
        b"system.posix_acl_access",
        b"system.posix_acl_default",
        b"trusted.overlay.opaque",
        b"trusted.overlay.overlay.opaque",
        b"trusted.overlay.metacopy",
        b"trusted.overlay.redirect",
        b"trusted.overlay.whiteout",
        b"user.overlay.opaque",
        b"user.overlay.whiteout",
        b"user.overlay.whiteouts",
        b"lustre.x",
        b"btrfs.unknown",
    ];
    let length = prop_oneof![20 => 0..40usize, 2 => 4000..5000usize, 1 => Just(65_536usize)];
    let value = (any::<u8>(), length).prop_map(|(byte, length)| vec![byte; length].into());
    let some =
        prop::collection::btree_map(prop::sample::select(names).prop_map(Box::from), value, 0..5);
    let many = (0..400u32).prop_map(|count| {
        (0..count).map(|i| (format!("user.{i}").into_bytes().into(), vec![1; 3].into())).collect()
    });
    prop_oneof![30 => Just(BTreeMap::new()), 20 => some, 1 => many]
}

fn meta() -> impl Strategy<Value = Meta> {
    let sec = prop_oneof![0..3i64, any::<i64>(), Just(-1)];
    let id = prop_oneof![0..3u32, any::<u32>()];
    let nsec = prop_oneof![Just(0u32), 0..1_000_000_000u32];
    (0..0o10000u16, id.clone(), id, sec, nsec, xattrs()).prop_map(
        |(mode, uid, gid, sec, nsec, xattrs)| Meta {
            mode,
            uid,
            gid,
            mtime: Mtime { sec, nsec },
            xattrs,
        },
    )
}

fn content() -> impl Strategy<Value = Content> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..=max).prop_map(Into::into);
    let target = prop_oneof![5 => 1..80usize, 1 => 3900..=4095usize]
        .prop_map(|length| Content::Symlink(vec![b't'; length].into()));
    let size = prop_oneof![65..10_000u64, any::<u64>().prop_map(|size| (size >> 1).max(65))];
    prop_oneof![
        bytes(INLINE_MAX).prop_map(Content::Inline),
        (any::<[u8; 32]>(), size)
            .prop_map(|(bytes, size)| Content::Object { digest: Digest::new(bytes), size }),
        target,
        Just(Content::Char(0)),
        any::<u32>().prop_map(|number| Content::Char(number.into())),
        any::<u32>().prop_map(|number| Content::Block(number.into())),
        Just(Content::Fifo),
        Just(Content::Socket),
    ]
}

/// A tree of up to three levels whose leaves come from one list: some of them under many names.
fn tree() -> impl Strategy<Value = Tree> {
    let leaves = prop::collection::vec((meta(), content(), any::<bool>()), 1..12);
    let dirs = prop::collection::vec(
        (meta(), prop::collection::vec((name(), any::<prop::sample::Index>()), 0..8), name()),
        1..8,
    );
    (leaves, dirs).prop_map(|(leaves, dirs)| {
        let leaves: Vec<Arc<Leaf>> = leaves
            .into_iter()
            .enumerate()
            .map(|(number, (meta, content, is_linked))| {
                let link = is_linked.then_some(LinkId(number as u64 * 7 + 3));
                Arc::new(Leaf { meta, content, link })
            })
            .collect();
        let mut child: Option<(Box<[u8]>, Dir)> = None;
        for (number, (meta, entries, name)) in dirs.into_iter().enumerate() {
            let mut dir = Dir { meta, entries: BTreeMap::new() };
            for (name, leaf) in entries {
                dir.entries.insert(name, Node::Leaf(Arc::clone(leaf.get(&leaves))));
            }
            if let Some((name, below)) = child.take() {
                dir.entries.insert(name, Node::Dir(Arc::new(below)));
            }
            // Some become each other's only children, some start anew beside.
            if number % 3 == 2 {
                dir.entries.insert(b"beside".as_slice().into(), Node::Dir(Arc::default()));
            }
            child = Some((name, dir));
        }
        Tree { root: Arc::new(child.map(|(_, dir)| dir).unwrap_or_default()) }
    })
}

/// The same tree with other numbers for its links and nothing shared.
fn renumbered(tree: &Tree) -> Tree {
    fn copy(dir: &Dir) -> Arc<Dir> {
        let entries = dir.entries.iter().map(|(name, node)| {
            let node = match node {
                Node::Dir(dir) => Node::Dir(copy(dir)),
                Node::Leaf(leaf) => {
                    let link = leaf.link.map(|link| LinkId(1000 - link.0));
                    Node::Leaf(Arc::new(Leaf { link, ..Leaf::clone(leaf) }))
                }
            };
            (name.clone(), node)
        });
        Arc::new(Dir { meta: dir.meta.clone(), entries: entries.collect() })
    }
    Tree { root: copy(&tree.root) }
}

/// Groups of names, numbers left out.
fn groups(tree: &Tree) -> Vec<Vec<Vec<u8>>> {
    let mut groups: Vec<_> = tree.links().into_values().filter(|names| names.len() > 1).collect();
    groups.sort();
    groups
}

/// An image with a side record of one whiteout at `path`, in place of the one a tree has.
fn with_whiteout_at(path: &[u8]) -> Vec<u8> {
    let dir = |name: &[u8], node| {
        Node::Dir(Arc::new(Dir {
            entries: BTreeMap::from([(name.into(), node)]),
            ..Dir::default()
        }))
    };
    let gone = Leaf { meta: Meta::default(), content: Content::Char(0), link: None };
    let stand_in = vec![b'w'; path.len() - 2];
    let Node::Dir(root) = dir(b"d", dir(&stand_in, Node::Leaf(Arc::new(gone)))) else {
        unreachable!("a directory was made")
    };
    let mut image = encode(&Tree { root }).expect("a valid tree");
    assert!(decode(&image).is_ok());
    let named = [b"d/".as_slice(), &stand_in].concat();
    let at = image.windows(named.len()).rposition(|window| window == named).expect("its path");
    image[at..at + path.len()].copy_from_slice(path);
    image
}

#[test]
fn a_side_record_adds_no_names() {
    for path in ["d/..", "d/x", "d/../d/x", "d//w", "d/a\0b", "d/./w", "elsewhere"] {
        let image = with_whiteout_at(path.as_bytes());
        let error = decode(&image).expect_err(path);
        assert!(error.contains("which is not there"), "{path:?}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_tree_comes_back_from_its_image(tree in tree()) {
        let image = encode(&tree).expect("a valid tree");
        let back = decode(&image).expect("a readable image");
        prop_assert_eq!(groups(&tree), groups(&back));
        let singles: Vec<_> = back.links().into_values().filter(|names| names.len() == 1).collect();
        prop_assert!(singles.is_empty(), "a link of one name is none");
        let stripped = |tree: &Tree| {
            let mut nodes = Vec::new();
            tree.walk(&mut |path, node| nodes.push((path.to_vec(), node.meta().clone(), match node {
                Node::Leaf(leaf) => Some(leaf.content.clone()),
                Node::Dir(_) => None,
            })));
            nodes
        };
        prop_assert_eq!(stripped(&tree), stripped(&back));
        prop_assert_eq!(&encode(&back).expect("a valid tree"), &image);
        prop_assert_eq!(&encode(&renumbered(&tree)).expect("a valid tree"), &image);
    }

    #[test]
    fn images_differ_exactly_when_trees_do((a, b) in (tree(), tree())) {
        let (image_a, image_b) = (encode(&a).expect("a"), encode(&b).expect("b"));
        let (there, back) = (diff(&a, &b), diff(&b, &a));
        prop_assert_eq!(image_a == image_b, there.is_empty());
        prop_assert!(diff(&a, &a).is_empty());
        prop_assert_eq!(there.changes.len(), back.changes.len());
        for (there, back) in there.changes.iter().zip(&back.changes) {
            prop_assert_eq!(&there.path, &back.path);
            prop_assert_eq!(&there.before, &back.after);
            let mirrored = match there.kind {
                ChangeKind::Added => ChangeKind::Removed,
                ChangeKind::Removed => ChangeKind::Added,
                same => same,
            };
            prop_assert_eq!(mirrored, back.kind);
        }
    }

    #[test]
    fn a_broken_image_is_an_error((tree, at, byte) in (tree(), any::<prop::sample::Index>(), any::<u8>())) {
        let mut image = encode(&tree).expect("a valid tree");
        let at = at.index(image.len());
        image[at] = byte;
        // Whatever comes of it: no panic, no endless loop.
        let _ = decode(&image);
        let _ = decode(&image[..at]);
    }
}
