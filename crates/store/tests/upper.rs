//! Overlay upper directories made by the real kernel, against what the overlay shows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};
use support::overlay::Overlay;
use umbra_state::{Content, Node};
use umbra_store::corpus;

const BIG: usize = 2 << 20;

fn fill(lower: &Path) {
    for dir in ["etc", "usr/lib/deep", "usr/share", "var/empty", "srv/data"] {
        fs::create_dir_all(lower.join(dir)).unwrap();
    }
    fs::write(lower.join("etc/passwd"), "root:x:0:0\n").unwrap();
    fs::write(lower.join("etc/large.conf"), vec![b'c'; 9000]).unwrap();
    fs::write(lower.join("usr/lib/big"), vec![b'b'; BIG]).unwrap();
    fs::write(lower.join("usr/lib/deep/file"), vec![b'f'; 700]).unwrap();
    fs::write(lower.join("usr/share/perl"), vec![b'p'; 400]).unwrap();
    fs::hard_link(lower.join("usr/share/perl"), lower.join("usr/share/perl5")).unwrap();
    fs::hard_link(lower.join("usr/share/perl"), lower.join("etc/perl-too")).unwrap();
    fs::write(lower.join("srv/data/a"), "a").unwrap();
    fs::write(lower.join("srv/data/b"), "b").unwrap();
    symlink("passwd", lower.join("etc/link")).unwrap();
}

/// Runs operations in the merged directory and checks what the upper directory says, and that
/// it serves as the base of the next layer.
#[track_caller]
fn check(operations: impl FnOnce(&Path)) {
    if !support::is_root() {
        return support::skipped("needs root");
    }
    let mut overlay = Overlay::over(fill);
    operations(&overlay.merged());
    overlay.next_layer();
    overlay.check();
    fs::write(overlay.merged().join("etc/later"), "in the next layer").unwrap();
    overlay.check();
}

fn xattr(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

#[test]
fn nothing_happened() {
    check(|_| {});
}

#[test]
fn files_come_change_and_go() {
    check(|root| {
        fs::write(root.join("etc/new"), "new").unwrap();
        fs::write(root.join("etc/passwd"), "changed").unwrap();
        fs::remove_file(root.join("etc/large.conf")).unwrap();
        fs::remove_file(root.join("etc/link")).unwrap();
        symlink("new", root.join("etc/link")).unwrap();
        fs::File::options().write(true).open(root.join("usr/lib/big")).unwrap().set_len(5).unwrap();
    });
}

#[test]
fn a_chmod_takes_the_content_from_below() {
    check(|root| {
        let mode = |path: &str| {
            fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o4755)).unwrap();
        };
        mode("usr/lib/big");
        mode("etc/passwd");
        mode("usr/lib/deep");
        // Renamed as well: the content is at the redirect.
        fs::rename(root.join("usr/lib/big"), root.join("usr/lib/moved")).unwrap();
        fs::rename(root.join("etc/passwd"), root.join("srv/passwd")).unwrap();
        xattr(&root.join("usr/lib/moved"), "user.note", b"still below");
    });
}

#[test]
fn directories_are_renamed() {
    check(|root| {
        fs::rename(root.join("usr/lib"), root.join("usr/library")).unwrap();
        fs::write(root.join("usr/library/deep/second"), "x").unwrap();
        fs::rename(root.join("usr/library/deep"), root.join("usr/share/deep")).unwrap();
        fs::rename(root.join("usr/library/big"), root.join("usr/share/deep/big")).unwrap();
        fs::set_permissions(root.join("usr/share/deep/big"), fs::Permissions::from_mode(0o600))
            .unwrap();
        // Another one takes the old name.
        fs::create_dir(root.join("usr/lib")).unwrap();
        fs::write(root.join("usr/lib/other"), "y").unwrap();
        fs::rename(root.join("srv/data"), root.join("moved")).unwrap();
        fs::remove_file(root.join("moved/a")).unwrap();
    });
}

#[test]
fn directories_are_replaced() {
    check(|root| {
        fs::remove_dir_all(root.join("srv/data")).unwrap();
        fs::write(root.join("srv/data"), "a file now").unwrap();
        fs::remove_file(root.join("etc/passwd")).unwrap();
        fs::create_dir(root.join("etc/passwd")).unwrap();
        fs::write(root.join("etc/passwd/inside"), "z").unwrap();
        // Opaque: the same name, nothing of the old one.
        fs::remove_dir_all(root.join("usr/lib")).unwrap();
        fs::create_dir(root.join("usr/lib")).unwrap();
        fs::write(root.join("usr/lib/only"), "q").unwrap();
        fs::remove_dir(root.join("var/empty")).unwrap();
        // New ones are opaque too.
        fs::create_dir_all(root.join("brand/new/tree")).unwrap();
    });
}

#[test]
fn hard_links_hold_across_the_boundary() {
    check(|root| {
        fs::write(root.join("usr/share/perl"), "written by one name").unwrap();
        fs::hard_link(root.join("etc/large.conf"), root.join("etc/large.too")).unwrap();
        fs::write(root.join("etc/one"), vec![b'1'; 100]).unwrap();
        fs::hard_link(root.join("etc/one"), root.join("srv/two")).unwrap();
        fs::hard_link(root.join("etc/link"), root.join("etc/link-too")).unwrap();
    });
}

#[test]
fn a_link_group_shrinks_to_nothing() {
    check(|root| {
        fs::remove_file(root.join("usr/share/perl5")).unwrap();
        fs::remove_file(root.join("etc/perl-too")).unwrap();
    });
    check(|root| fs::rename(root.join("usr/share/perl5"), root.join("renamed")).unwrap());
}

#[test]
fn special_files_and_attributes() {
    check(|root| {
        let node = |name: &str, kind, device| {
            mknodat(rustix::fs::CWD, root.join(name), kind, Mode::from_raw_mode(0o644), device)
                .unwrap();
        };
        node("etc/fifo", FileType::Fifo, 0);
        node("etc/socket", FileType::Socket, 0);
        node("etc/null", FileType::CharacterDevice, makedev(1, 3));
        node("etc/disk", FileType::BlockDevice, makedev(8, 1));
        xattr(&root.join("etc/passwd"), "user.note", b"n");
        xattr(&root.join("etc"), "trusted.note", b"dir");
        xattr(&root.join("etc/link"), "trusted.note", b"link");
        xattr(&root.join("etc/fifo"), "trusted.note", b"fifo");
        xattr(&root.join("srv"), "user.overlay.opaque", b"y");
        // Escaped on disk, and not to be mistaken for overlayfs's own.
        xattr(&root.join("srv/data"), "trusted.overlay.opaque", b"y");
        xattr(&root.join("srv/data/a"), "trusted.overlay.metacopy", b"");
        fs::write(root.join("srv/.wh.gone"), "not a whiteout").unwrap();
        fs::File::create(root.join("srv/sparse")).unwrap().set_len(1 << 30).unwrap();
    });
}

#[test]
fn the_corpus_can_be_made_in_an_overlay() {
    check(|root| {
        fs::create_dir(root.join("corpus")).unwrap();
        corpus::make(&root.join("corpus")).unwrap();
    });
}

#[test]
fn the_corpus_can_be_taken_apart_in_an_overlay() {
    if !support::is_root() {
        return support::skipped("needs root");
    }
    let mut overlay = Overlay::over(|lower| corpus::make(lower).unwrap());
    let root = overlay.merged();
    overlay.check();
    fs::rename(root.join("links"), root.join("moved")).unwrap();
    fs::remove_dir_all(root.join("names")).unwrap();
    fs::rename(root.join("attributes/plain"), root.join("times/plain")).unwrap();
    fs::remove_file(root.join("00/under-a-stub-name")).unwrap();
    fs::write(root.join("contents/twin-a"), "no twin any more").unwrap();
    overlay.next_layer();
    fs::remove_file(root.join("moved/z/first")).unwrap();
    fs::rename(root.join("moved/a"), root.join("links")).unwrap();
    overlay.check();
}

#[test]
fn a_small_change_shares_everything_else() {
    need_root!();
    let mut overlay = Overlay::over(fill);
    fs::write(overlay.merged().join("etc/passwd"), "changed").unwrap();
    let tree = overlay.check();
    for (path, is_shared) in [("usr/lib", true), ("srv", true), ("var", true), ("etc", false)] {
        let nodes = (overlay.parent.get(path.as_bytes()), tree.get(path.as_bytes()));
        let (Some(before), Some(after)) = nodes else { panic!("{path} is there") };
        assert_eq!(before.is_shared_with(&after), is_shared, "{path}");
    }
}

#[test]
fn writing_one_name_of_a_lower_hard_link_reaches_the_others() {
    need_root!();
    let temp = support::Temp::new();
    let (lower, upper, work, merged) =
        (temp.dir("lower"), temp.dir("upper"), temp.dir("work"), temp.dir("merged"));
    fill(&lower);
    let parent = temp.capture(&lower);
    let options = format!(
        "lowerdir={},upperdir={},workdir={},metacopy=on,redirect_dir=on,index=on",
        lower.display(),
        upper.display(),
        work.display()
    );
    let _mounted = support::mount_at("overlay", &merged, &options).unwrap();
    fs::write(merged.join("usr/share/perl"), "written by one name, seen by all").unwrap();
    let shown = temp.capture(&merged);
    let captured = temp.store.capture_upper(&parent, &upper).unwrap();
    support::assert_same(&temp.store, &shown, &captured, "index=on");
}

#[test]
fn marked_whiteouts_count_only_where_they_are_announced() {
    need_root!();
    let temp = support::Temp::new();
    let (lower, upper) = (temp.dir("lower"), temp.dir("upper"));
    for dir in ["announced", "silent"] {
        fs::create_dir(lower.join(dir)).unwrap();
        fs::write(lower.join(dir).join("gone"), "x").unwrap();
        fs::create_dir(upper.join(dir)).unwrap();
        fs::write(upper.join(dir).join("gone"), "").unwrap();
        xattr(&upper.join(dir).join("gone"), "trusted.overlay.whiteout", b"y");
    }
    xattr(&upper.join("announced"), "trusted.overlay.opaque", b"x");
    let parent = temp.capture(&lower);
    let tree = temp.store.capture_upper(&parent, &upper).unwrap();
    assert!(tree.get(b"announced/gone").is_none());
    match tree.get(b"silent/gone") {
        Some(Node::Leaf(leaf)) => assert_eq!(leaf.content, Content::Inline([].into())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hostile_uppers_are_errors_or_stay_inside() {
    need_root!();
    let temp = support::Temp::new();
    let lower = temp.dir("lower");
    fill(&lower);
    let parent = temp.capture(&lower);
    let mut number = 0;
    let mut capture = |make: &dyn Fn(&Path)| {
        let upper = temp.dir(&format!("upper-{number}"));
        number += 1;
        make(&upper);
        temp.store.capture_upper(&parent, &upper)
    };
    // Metadata-only copies of nothing, of a directory, of what is outside.
    for redirect in ["/no/such", "/etc", "../../etc/passwd", "/../../etc/shadow", ""] {
        let result = capture(&|upper| {
            fs::write(upper.join("file"), "").unwrap();
            xattr(&upper.join("file"), "trusted.overlay.metacopy", b"");
            xattr(&upper.join("file"), "trusted.overlay.redirect", redirect.as_bytes());
        });
        assert!(result.is_err(), "{redirect:?}: {result:?}");
    }
    for redirect in ["../etc", "a/b", ""] {
        let result = capture(&|upper| {
            fs::create_dir(upper.join("dir")).unwrap();
            xattr(&upper.join("dir"), "trusted.overlay.redirect", redirect.as_bytes());
        });
        assert!(result.is_err(), "{redirect:?}: {result:?}");
    }
    // A link to the outside is a link, as the root, as a directory and as a file.
    let tree = capture(&|upper| {
        symlink("/etc", upper.join("etc")).unwrap();
        symlink("/etc/passwd", upper.join("file")).unwrap();
    })
    .unwrap();
    assert!(tree.get(b"etc/passwd").is_none());
    let outside = temp.folder.path().join("outside");
    symlink("/etc", &outside).unwrap();
    assert!(temp.store.capture_upper(&parent, &outside).is_err());
    // A directory that claims to be its own grandparent does not recurse.
    let tree = capture(&|upper| {
        fs::create_dir_all(upper.join("usr/lib")).unwrap();
        xattr(&upper.join("usr/lib"), "trusted.overlay.redirect", b"/usr");
    })
    .unwrap();
    assert!(tree.get(b"usr/lib/share/perl").is_some());
}
