//! Tar archives and OCI layouts, in and out, honest and hostile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use support::{Temp, assert_same};
use tar::{EntryType, Header};
use umbra_state::{Content, Dir, Node, Tree};
use umbra_store::{ImportError, ImportLimits, Lineage, Made, corpus};

/// The tree without its sockets, which no archive holds.
fn without_sockets(dir: &Dir) -> Arc<Dir> {
    without(dir, &|_| false)
}

/// Without names that say something else in a layer, either.
fn without_marks(dir: &Dir) -> Arc<Dir> {
    without(dir, &|name| name.starts_with(b".wh."))
}

fn without(dir: &Dir, is_left_out: &dyn Fn(&[u8]) -> bool) -> Arc<Dir> {
    let named = dir.entries.iter().filter(|(name, _)| !is_left_out(name));
    let kept = named.filter_map(|(name, node)| match node {
        Node::Dir(dir) => Some((name.clone(), Node::Dir(without(dir, is_left_out)))),
        Node::Leaf(leaf) if leaf.content == Content::Socket => None,
        leaf => Some((name.clone(), leaf.clone())),
    });
    Arc::new(Dir { meta: dir.meta.clone(), entries: kept.collect() })
}

fn import(temp: &Temp, archive: &[u8]) -> Result<Tree, ImportError> {
    temp.store.import_tar(archive, ImportLimits::default())
}

#[test]
fn the_corpus_survives_an_archive() {
    need_root!();
    let temp = Temp::new();
    let source = temp.dir("source");
    corpus::make(&source).unwrap();
    let captured = temp.capture(&source);
    let id = temp.store.put(&captured).unwrap();
    let mut archive = Vec::new();
    let left_out = temp.store.export_tar(id, &mut archive).unwrap();
    assert_eq!(left_out.len(), 3, "the sockets");
    let expected = Tree { root: without_sockets(&captured.root) };
    assert_same(&temp.store, &expected, &import(&temp, &archive).unwrap(), "plain");
    let zstd = zstd::encode_all(&*archive, 1).unwrap();
    assert_same(&temp.store, &expected, &import(&temp, &zstd).unwrap(), "zstd");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive).unwrap();
    let gzip = gzip.finish().unwrap();
    assert_same(&temp.store, &expected, &import(&temp, &gzip).unwrap(), "gzip");
}

/// A tree that GNU tar can handle whole.
fn plain_tree(dir: &Path) {
    fs::create_dir_all(dir.join("etc/deep").join("d".repeat(120))).unwrap();
    fs::write(dir.join("etc/deep").join("d".repeat(120)).join("f".repeat(200)), "long").unwrap();
    fs::write(dir.join("etc/file"), vec![7; 100_000]).unwrap();
    fs::write(dir.join("etc/small"), "s").unwrap();
    fs::hard_link(dir.join("etc/file"), dir.join("linked")).unwrap();
    std::os::unix::fs::symlink("t".repeat(150), dir.join("long-link")).unwrap();
    let name = std::ffi::OsStr::new("user.note");
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(dir.join("etc/file"), name, b"line\nline\0", flags).unwrap();
}

#[test]
fn gnu_tar_reads_what_is_written_and_is_read() {
    need_root!();
    if Command::new("tar").arg("--version").output().is_err() {
        return support::skipped("needs GNU tar");
    }
    let temp = Temp::new();
    let (source, copy) = (temp.dir("source"), temp.dir("copy"));
    plain_tree(&source);
    let captured = temp.capture(&source);
    let id = temp.store.put(&captured).unwrap();
    let archive = temp.folder.path().join("ours.tar");
    temp.store.export_tar(id, fs::File::create(&archive).unwrap()).unwrap();
    let run = |arguments: &[&str], file: &Path, dir: &Path| {
        let status = Command::new("tar")
            .args(arguments)
            .arg("-f")
            .arg(file)
            .arg("-C")
            .arg(dir)
            .arg(".")
            .status()
            .unwrap();
        assert!(status.success(), "{arguments:?}");
    };
    run(&["--xattrs", "--xattrs-include=*", "-xp"], &archive, &copy);
    assert_same(&temp.store, &captured, &temp.capture(&copy), "read by GNU tar");
    let theirs = temp.folder.path().join("theirs.tar");
    run(&["--format=pax", "--xattrs", "--xattrs-include=*", "-c"], &theirs, &source);
    let imported = import(&temp, &fs::read(&theirs).unwrap()).unwrap();
    assert_same(&temp.store, &captured, &imported, "PAX, written by GNU tar");
    run(&["--format=gnu", "-c"], &theirs, &source);
    let imported = import(&temp, &fs::read(&theirs).unwrap()).unwrap();
    assert_eq!(imported.entry_count(), captured.entry_count());
    assert_eq!(imported.links().len(), 1);
}

/// One archive entry.
struct Item<'a> {
    kind: EntryType,
    path: &'a str,
    data: &'a [u8],
    link: &'a str,
}

fn file<'a>(path: &'a str, data: &'a [u8]) -> Item<'a> {
    Item { kind: EntryType::Regular, path, data, link: "" }
}

fn link<'a>(kind: EntryType, path: &'a str, link: &'a str) -> Item<'a> {
    Item { kind, path, data: b"", link }
}

fn dir(path: &str) -> Item<'_> {
    Item { kind: EntryType::Directory, path, data: b"", link: "" }
}

fn archive(items: &[Item<'_>]) -> Vec<u8> {
    let mut archive = Vec::new();
    for item in items {
        let mut header = Header::new_ustar();
        header.set_entry_type(item.kind);
        header.as_old_mut().name[..item.path.len()].copy_from_slice(item.path.as_bytes());
        header.as_old_mut().linkname[..item.link.len()].copy_from_slice(item.link.as_bytes());
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(item.data.len() as u64);
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(item.data);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

#[test]
fn hostile_archives_are_errors_or_stay_inside() {
    let temp = Temp::new();
    let hard = EntryType::Link;
    let refused: [(&str, Vec<u8>); 12] = [
        ("parent", archive(&[file("../escape", b"x")])),
        ("parent inside", archive(&[file("a/../../escape", b"x")])),
        ("link to nothing", archive(&[link(hard, "a", "nothing")])),
        ("link outside", archive(&[link(hard, "a", "../../etc/passwd")])),
        ("link to a directory", archive(&[dir("d"), link(hard, "a", "d")])),
        (
            "through a symbolic link",
            archive(&[link(EntryType::Symlink, "d", "/etc"), file("d/passwd", b"x")]),
        ),
        ("empty symbolic link", archive(&[link(EntryType::Symlink, "d", "")])),
        ("unknown type", archive(&[link(EntryType::new(b'Z'), "d", "")])),
        ("sparse", archive(&[link(EntryType::GNUSparse, "d", "")])),
        ("bad records", archive(&[Item { kind: EntryType::XHeader, ..file("x", b"9 nonsense") }])),
        ("not tar", b"#!/bin/sh\n".repeat(100)),
        ("cut short", archive(&[file("a", &[1; 5000])])[..3000].to_vec()),
    ];
    for (what, bytes) in refused {
        let result = import(&temp, &bytes);
        assert!(result.is_err(), "{what}: {result:?}");
    }
    let inside = archive(&[file("/etc/passwd", b"mine"), file("./x//y", b"z")]);
    let tree = import(&temp, &inside).unwrap();
    assert!(tree.get(b"etc/passwd").is_some() && tree.get(b"x/y").is_some());
    // A header that promises more than there is allocates nothing of it.
    let mut greedy = Header::new_gnu();
    greedy.set_path("huge").unwrap();
    greedy.set_mode(0o644);
    greedy.set_uid(0);
    greedy.set_gid(0);
    greedy.set_mtime(0);
    greedy.set_size(u64::MAX >> 2);
    greedy.set_cksum();
    let result = import(&temp, greedy.as_bytes());
    assert!(matches!(result, Err(ImportError::TooMuch { .. })), "{result:?}");
    let few = ImportLimits { entries_max: 1, ..ImportLimits::default() };
    let two = archive(&[file("a", b"1"), file("b", b"2")]);
    assert!(matches!(temp.store.import_tar(&*two, few), Err(ImportError::TooMuch { .. })));
    let bomb = zstd::encode_all(&*archive(&[file("zeros", &vec![0; 1 << 20])]), 1).unwrap();
    let small = ImportLimits { bytes_max: 1 << 16, ..ImportLimits::default() };
    assert!(matches!(temp.store.import_tar(&*bomb, small), Err(ImportError::TooMuch { .. })));
}

#[test]
fn what_is_passed_over_is_paid_for() {
    let temp = Temp::new();
    let limits =
        ImportLimits { bytes_max: 1 << 16, metadata_bytes_max: 1 << 16, ..ImportLimits::default() };
    let skipped = Item { kind: EntryType::Directory, ..file("d", &[0; 1 << 17]) };
    let empty = || Item { kind: EntryType::XHeader, ..file("x", b"") };
    let headers: Vec<_> = (0..2_000).map(|_| empty()).collect();
    for (what, items) in [("skipped content", vec![skipped]), ("empty extensions", headers)] {
        let result = temp.store.import_tar(&*archive(&items), limits);
        assert!(matches!(result, Err(ImportError::TooMuch { .. })), "{what}: {result:?}");
    }
    let value = "v".repeat(70_000);
    let record = format!("70009 a={value}\n");
    let global = Item { kind: EntryType::XGlobalHeader, ..file("g", record.as_bytes()) };
    let error = import(&temp, &archive(&[global, file("a", b"1")])).unwrap_err().to_string();
    assert!(error.ends_with("its global headers hold more than 64 KiB"), "{error}");
}

#[test]
fn a_layout_of_too_many_layers_or_of_pipes_is_refused() {
    let temp = Temp::new();
    let layers = vec![archive(&[]); 501];
    let error = temp.store.import_oci_layout(&layout(&temp, "tall", &layers), None).unwrap_err();
    assert!(error.to_string().contains("501 layers"), "{error}");
    let pipes = temp.dir("pipes");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, pipes.join("index.json"), mode).unwrap();
    let error = temp.store.import_oci_layout(&pipes, None).unwrap_err();
    assert!(matches!(error, ImportError::Layout { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_archives_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let temp = Temp::new();
        let mut bytes = archive(&[
            dir("d"),
            file("d/f", &[3; 700]),
            Item { kind: EntryType::XHeader, ..file("x", b"19 mtime=1.234567\n\n") },
            link(EntryType::Link, "g", "d/f"),
        ]);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = import(&temp, &bytes);
        let _ = import(&temp, &bytes[..cut.index(bytes.len())]);
    }
}

/// Writes a blob; its descriptor as JSON.
fn blob(layout: &Path, bytes: &[u8], extra: &str) -> String {
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    fs::write(layout.join("blobs/sha256").join(&digest), bytes).unwrap();
    format!(r#"{{"mediaType":"x","digest":"sha256:{digest}","size":{}{extra}}}"#, bytes.len())
}

fn layout(temp: &Temp, name: &str, layers: &[Vec<u8>]) -> std::path::PathBuf {
    let layout = temp.dir(name);
    let layers: Vec<_> = layers.iter().map(|layer| blob(&layout, layer, "")).collect();
    let manifest = format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, layers.join(","));
    let tag = r#","annotations":{"org.opencontainers.image.ref.name":"web"}"#;
    let manifest = blob(&layout, manifest.as_bytes(), tag);
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{manifest}]}}"#);
    fs::write(layout.join("index.json"), index).unwrap();
    layout
}

#[test]
fn layers_add_replace_and_delete() {
    let temp = Temp::new();
    let base = archive(&[
        dir("etc"),
        file("etc/kept", b"kept"),
        file("etc/gone", b"gone"),
        dir("srv"),
        file("srv/old", b"old"),
        dir("was-a-directory"),
        file("was-a-directory/inside", b"x"),
        file("one", &[1; 200]),
        link(EntryType::Link, "two", "one"),
    ]);
    let top = archive(&[
        file("srv/new", b"new"),
        file("srv/.wh..wh..opq", b""),
        file("etc/.wh.gone", b""),
        file("etc/.wh.never-there", b""),
        file("was-a-directory", b"a file now"),
        link(EntryType::Link, "three", "one"),
        file(".wh.two", b""),
    ]);
    let layout = layout(&temp, "image", &[zstd::encode_all(&*base, 1).unwrap(), top]);
    for tag in [Some("web"), None] {
        let tree = temp.store.import_oci_layout(&layout, tag).unwrap();
        let mut paths = Vec::new();
        tree.walk(&mut |path, _| paths.push(String::from_utf8(path.to_vec()).unwrap()));
        let expected = ["", "etc", "etc/kept", "one", "srv", "srv/new", "three", "was-a-directory"];
        assert_eq!(paths, expected);
        assert_eq!(
            tree.links().into_values().collect::<Vec<_>>(),
            [[b"one".to_vec(), b"three".to_vec()]]
        );
        let id = temp.store.put(&tree).unwrap();
        assert_eq!(temp.store.state_id(&temp.store.load(id).unwrap()).unwrap(), id);
    }
    let error = temp.store.import_oci_layout(&layout, Some("other")).unwrap_err();
    assert!(error.to_string().contains("web"), "names what there is: {error}");
}

#[test]
fn tampered_blobs_and_strange_digests_are_refused() {
    let temp = Temp::new();
    let layer = archive(&[file("a", b"honest")]);
    let honest = layout(&temp, "honest", std::slice::from_ref(&layer));
    assert!(temp.store.import_oci_layout(&honest, None).is_ok());
    let digest: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let other = archive(&[file("a", b"forged")]);
    fs::write(honest.join("blobs/sha256").join(&digest), other).unwrap();
    let error = temp.store.import_oci_layout(&honest, None).unwrap_err();
    assert!(error.to_string().contains("sha256"), "{error}");
    let strange = temp.dir("strange");
    let index = r#"{"manifests":[{"digest":"sha256:../../../../etc/passwd","size":1}]}"#;
    fs::write(strange.join("index.json"), index).unwrap();
    assert!(matches!(temp.store.import_oci_layout(&strange, None), Err(ImportError::Image { .. })));
}

#[test]
fn an_image_layout_comes_back_as_the_same_state() {
    let temp = Temp::new();
    let tree = temp
        .store
        .import_tar(&*archive(&[dir("etc"), file("etc/one", &[7; 300])]), ImportLimits::default())
        .unwrap();
    let id = temp.store.put(&tree).unwrap();
    let digests = ["first", "second"].map(|name| {
        let layout = temp.dir(name);
        assert_eq!(
            temp.store.export_oci_layout(&Lineage::alone(id), &layout, "latest").unwrap(),
            Vec::<Vec<u8>>::new()
        );
        let back = temp.store.import_oci_layout(&layout, Some("latest")).unwrap();
        assert_eq!(temp.store.put(&back).unwrap(), id);
        fs::read(layout.join("index.json")).unwrap()
    });
    assert_eq!(digests[0], digests[1], "the same state gives the same image");
}

/// Changes of every kind to a tree with every hard case in it.
fn steps(source: &Path, temp: &Temp) -> Vec<Tree> {
    corpus::make(source).unwrap();
    for name in ["old/deep/file", "old/other", "kept/a", "kept/b"] {
        let path = source.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![7; 500]).unwrap();
    }
    for (from, to) in [("kept/a", "kept/a-again"), ("kept/b", "b-again")] {
        fs::hard_link(source.join(from), source.join(to)).unwrap();
    }
    fs::write(source.join("kept/.wh.b"), "no mark").unwrap();
    let mut trees = vec![temp.capture(source)];
    let mut step = |change: &dyn Fn(&Path)| {
        change(source);
        trees.push(temp.capture(source));
    };
    step(&|root| {
        fs::remove_dir_all(root.join("old/deep")).unwrap();
        fs::write(root.join("old/deep"), "a file now").unwrap();
        fs::remove_file(root.join("old/other")).unwrap();
        fs::create_dir(root.join("old/other")).unwrap();
        fs::remove_file(root.join("kept/b")).unwrap();
    });
    step(&|_| {});
    step(&|root| {
        fs::write(root.join("kept/a"), vec![8; 500]).unwrap();
        fs::hard_link(root.join("b-again"), root.join("new-name")).unwrap();
        fs::remove_dir_all(root.join("contents")).unwrap();
        fs::remove_file(root.join("old/deep")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("old/deep")).unwrap();
    });
    trees
}

#[test]
fn each_step_is_a_layer_and_all_together_are_the_image() {
    need_root!();
    let temp = Temp::new();
    let trees = steps(&temp.dir("source"), &temp);
    let made = trees.iter().enumerate().map(|(step, tree)| Made {
        state: temp.store.put(tree).unwrap(),
        by: format!("step {step}"),
    });
    let mut made: Vec<Made> = made.collect();
    let last = made.pop().unwrap();
    let lineage = Lineage { earlier: made, last };
    let layout = temp.dir("layout");
    let left_out = temp.store.export_oci_layout(&lineage, &layout, "latest").unwrap();
    assert!(left_out.contains(&b"kept/.wh.b".to_vec()), "{left_out:?}");
    assert!(left_out.contains(&b"old/deep".to_vec()), "a socket took its place");
    let back = temp.store.import_oci_layout(&layout, None).unwrap();
    let expected = Tree { root: without_marks(&trees[3].root) };
    assert_same(&temp.store, &expected, &back, "all layers");

    let read = |digest: &str| {
        let blob = layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap());
        serde_json::from_slice::<serde_json::Value>(&fs::read(blob).unwrap()).unwrap()
    };
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let manifest = read(index["manifests"][0]["digest"].as_str().unwrap());
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 3, "one step changed nothing");
    assert!(manifest["layers"][1]["size"].as_u64() < Some(2000), "only what differs");
    let config = read(manifest["config"]["digest"].as_str().unwrap());
    assert_eq!(config["history"][1]["created_by"], "step 1");
    assert_eq!(config["history"][2]["empty_layer"], true);
}
