//! What a state must have to boot by itself: a kernel, its initial RAM disk, an init.

use std::io::Read as _;

use umbra_state::escape::escape;
use umbra_state::{Content, Dir, Leaf, Node, Tree};
use umbra_store::Store;

use crate::error::DiskError;

/// As many symbolic links as the kernel follows.
const LINKS_MAX: usize = 40;

/// A kernel and its initial RAM disk, as paths in the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Boot {
    pub(crate) kernel: String,
    pub(crate) initrd: String,
    /// The links that Debian keeps on the newest of both, where they lead somewhere.
    pub(crate) links: Option<(&'static str, &'static str)>,
}

/// Where Debian keeps links to the newest kernel and initial RAM disk.
const LINKS: [(&str, &str); 2] =
    [("/vmlinuz", "/initrd.img"), ("/boot/vmlinuz", "/boot/initrd.img")];

/// Finds what boots; or says what is not there and which packages have it.
pub(crate) fn find(store: &Store, tree: &Tree) -> Result<Boot, DiskError> {
    let lacks = |lacks: String, mend| DiskError::CannotBoot { lacks, mend };
    let boot = match resolve(tree, b"/boot") {
        Some(Node::Dir(boot)) => boot,
        _ => Default::default(),
    };
    let mut kernels = versions(&boot);
    kernels.sort_by_cached_key(|version| std::cmp::Reverse(natural(version)));
    let Some(newest) = kernels.first() else {
        let mend = "add the packages linux-image-cloud-amd64 and initramfs-tools to the recipe";
        return Err(lacks("kernel (/boot/vmlinuz-*)".into(), mend));
    };
    let Some((version, initrd)) =
        kernels.iter().find_map(|version| Some((version, initrd_of(&boot, version)?)))
    else {
        let mend = "add the package initramfs-tools to the recipe";
        return Err(lacks(format!("initial RAM disk for /boot/vmlinuz-{newest}"), mend));
    };
    let kernel = format!("/boot/vmlinuz-{version}");
    if !is_for_pcs(store, file(&boot, &format!("vmlinuz-{version}")), &kernel)? {
        let mend = "disks are made of systems for amd64";
        return Err(lacks(format!("kernel for x86-64: {kernel} is none"), mend));
    }
    if !matches!(resolve(tree, b"/sbin/init"), Some(Node::Leaf(leaf)) if leaf.content.is_file()) {
        let mend = "add the package systemd-sysv to the recipe";
        return Err(lacks("init (/sbin/init)".into(), mend));
    }
    let is_file = |path: &str| matches!(resolve(tree, path.as_bytes()), Some(Node::Leaf(_)));
    let links = LINKS.into_iter().find(|(kernel, initrd)| is_file(kernel) && is_file(initrd));
    Ok(Boot { kernel, initrd: format!("/boot/{initrd}"), links })
}

/// The versions of kernels that are files, with names that are safe in a script.
fn versions(boot: &Dir) -> Vec<String> {
    let named = boot.entries.keys().filter_map(|name| {
        let version = std::str::from_utf8(name.strip_prefix(b"vmlinuz-")?).ok()?;
        let is_safe = |b: u8| b.is_ascii_alphanumeric() || b"._+~-".contains(&b);
        (!version.is_empty() && version.bytes().all(is_safe)).then(|| version.to_owned())
    });
    named.filter(|version| file(boot, &format!("vmlinuz-{version}")).is_some()).collect()
}

/// The name of a kernel's initial RAM disk, as Debian and others give it.
fn initrd_of(boot: &Dir, version: &str) -> Option<String> {
    let names = [
        format!("initrd.img-{version}"),
        format!("initramfs-{version}.img"),
        format!("initrd-{version}"),
        format!("initramfs-{version}"),
    ];
    names.into_iter().find(|name| file(boot, name).is_some())
}

fn file<'a>(dir: &'a Dir, name: &str) -> Option<&'a Leaf> {
    match dir.entries.get(name.as_bytes())? {
        Node::Leaf(leaf) if leaf.content.is_file() => Some(leaf),
        _ => None,
    }
}

/// Whether a kernel has the header of Linux's boot protocol for x86, and an entry in 64 bit.
fn is_for_pcs(store: &Store, kernel: Option<&Leaf>, path: &str) -> Result<bool, DiskError> {
    const HEADER: usize = 0x238;
    let start = match kernel.map(|leaf| &leaf.content) {
        Some(Content::Object { digest, .. }) => {
            let mut start = Vec::new();
            let object = store.open_object(*digest, path.trim_start_matches('/').as_bytes())?;
            let read = object.take(HEADER as u64).read_to_end(&mut start);
            read.map_err(DiskError::io(format!("read {}", escape(path.as_bytes()))))?;
            start
        }
        _ => Vec::new(),
    };
    Ok(start.len() == HEADER && &start[0x202..0x206] == b"HdrS" && start[0x236] & 1 == 1)
}

/// What stands at a path, symbolic links followed within the tree.
pub(crate) fn resolve(tree: &Tree, path: &[u8]) -> Option<Node> {
    let mut ahead: Vec<Vec<u8>> = steps(path);
    let mut behind: Vec<Node> = vec![Node::Dir(tree.root.clone())];
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        if step == b".." {
            behind.truncate(behind.len().saturating_sub(1).max(1));
            continue;
        }
        let node = match behind.last()? {
            Node::Dir(dir) => dir.entries.get(&*step)?.clone(),
            Node::Leaf(_) => return None,
        };
        match &node {
            Node::Leaf(leaf) if let Content::Symlink(target) = &leaf.content => {
                links += 1;
                if links > LINKS_MAX {
                    return None;
                }
                if target.starts_with(b"/") {
                    behind.truncate(1);
                }
                ahead.extend(steps(target));
            }
            _ => behind.push(node),
        }
    }
    behind.pop()
}

/// The names of a path, the first one last.
fn steps(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    let mut names: Vec<Vec<u8>> = names.map(<[u8]>::to_vec).collect();
    names.reverse();
    names
}

/// A version whose numbers compare as numbers.
fn natural(version: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = version;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(text);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(digits);
        parts.push((number.parse().unwrap_or(u64::MAX), word.to_owned()));
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use umbra_state::Meta;

    use super::*;

    fn leaf(content: Content) -> Node {
        Node::Leaf(Arc::new(Leaf { meta: Meta::default(), content, link: None }))
    }

    fn link(target: &str) -> Node {
        leaf(Content::Symlink(target.as_bytes().into()))
    }

    fn dir(entries: Vec<(&str, Node)>) -> Arc<Dir> {
        let entries = entries.into_iter().map(|(name, node)| (name.as_bytes().into(), node));
        Arc::new(Dir { meta: Meta::default(), entries: entries.collect() })
    }

    #[test]
    fn links_are_followed_and_never_out_of_the_tree() {
        let tree = Tree {
            root: dir(vec![
                ("bin", link("usr/bin")),
                ("loop", link("loop")),
                ("out", link("../../../usr/bin/tool")),
                ("abs", link("/bin/tool")),
                (
                    "usr",
                    Node::Dir(dir(vec![(
                        "bin",
                        Node::Dir(dir(vec![
                            ("tool", leaf(Content::Fifo)),
                            ("up", link("../../abs")),
                        ])),
                    )])),
                ),
            ]),
        };
        for path in ["/bin/tool", "out", "/abs", "/usr/bin/../../bin/./up"] {
            assert_eq!(resolve(&tree, path.as_bytes()), Some(leaf(Content::Fifo)), "{path}");
        }
        for path in ["/loop", "/none", "/abs/below", "/bin/none"] {
            assert_eq!(resolve(&tree, path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn the_newest_kernel_is_the_highest_number() {
        let mut versions = ["6.1.0-9-amd64", "6.1.0-10-amd64", "5.10.0-30-amd64", "6.1.0-9"];
        versions.sort_by_cached_key(|version| natural(version));
        assert_eq!(versions, ["5.10.0-30-amd64", "6.1.0-9", "6.1.0-9-amd64", "6.1.0-10-amd64"]);
    }

    #[test]
    fn names_that_a_script_would_read_are_no_kernels() {
        let kernel = || leaf(Content::Inline((*b"k").into()));
        let names = ["vmlinuz-6.1", "vmlinuz-$(x)", "vmlinuz-", "vmlinuz-a b", "config-6.1"];
        let mut entries: Vec<_> = names.into_iter().map(|name| (name, kernel())).collect();
        entries.push(("vmlinuz-link", link("vmlinuz-6.1")));
        assert_eq!(versions(&dir(entries)), ["6.1"]);
    }
}
