//! Which modules a kernel has, and which are part of it, by the lists beside them.

use std::collections::{BTreeMap, BTreeSet};

use super::modinfo;

/// No list is longer; Debian's generic kernel has 0.7 MB.
pub(super) const LIST_BYTES_MAX: u64 = 8 << 20;

/// No kernel has more; Debian's generic one has 4,400.
const MODULES_MAX: usize = 32 << 10;

/// A path of a module is no longer.
const PATH_BYTES_MAX: usize = 512;

/// A kernel's modules by their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Index {
    /// Paths below the kernel's directory, without the ending of a packed file.
    paths: BTreeMap<String, String>,
    /// Those that are part of the kernel.
    builtin: BTreeSet<String>,
}

impl Index {
    /// Of `modules.order` or `modules.dep`, and of `modules.builtin`. Lines that name no module
    /// are passed over, as whatever is missing in the end is told of.
    pub(crate) fn parse(modules: &[u8], builtin: &[u8]) -> Self {
        let paths = lines(modules).map(|(name, path)| (name, path.to_owned())).collect();
        let builtin = lines(builtin).map(|(name, _)| name).collect();
        Self { paths, builtin }
    }

    /// Whether it is part of the kernel.
    pub(super) fn has_builtin(&self, name: &str) -> bool {
        self.builtin.contains(name)
    }

    /// Where it is.
    pub(super) fn path(&self, name: &str) -> Option<&str> {
        self.paths.get(name).map(String::as_str)
    }

    /// All that are no part of the kernel, with where they are: what a law about them is about.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn paths(&self) -> impl Iterator<Item = (&str, &str)> {
        self.paths.iter().map(|(name, path)| (name.as_str(), path.as_str()))
    }
}

/// Names and paths, one of each a line; in `modules.dep` dependencies follow after a colon.
fn lines(list: &[u8]) -> impl Iterator<Item = (String, &str)> {
    list.split(|&byte| byte == b'\n').take(MODULES_MAX).filter_map(|line| {
        let path = line.split(|&byte| byte == b':').next()?;
        let path = std::str::from_utf8(path).ok().filter(|path| is_below(path))?;
        let file = path.rsplit('/').next()?;
        let stem = file.split_once(".ko")?.0;
        let end = path.len() - file.len() + stem.len() + ".ko".len();
        Some((modinfo::name(stem.as_bytes())?, &path[..end]))
    })
}

/// The directory's own paths; the kernel would be asked to stay in the root all the same.
fn is_below(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX
        && !path.contains(char::is_control)
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_are_read() {
        let order = b"kernel/drivers/virtio/virtio-rng.ko\nkernel/fs/fuse/fuse.ko\n";
        let dep = b"kernel/drivers/virtio/virtio-rng.ko.xz: kernel/a.ko.xz\nkernel/fs/fuse/fuse.ko.zst:\n";
        let builtin = b"kernel/fs/ext4/ext4.ko\n";
        for list in [order.as_slice(), dep] {
            let index = Index::parse(list, builtin);
            assert_eq!(index.path("virtio_rng"), Some("kernel/drivers/virtio/virtio-rng.ko"));
            assert_eq!(index.path("fuse"), Some("kernel/fs/fuse/fuse.ko"));
            assert!(index.has_builtin("ext4") && !index.has_builtin("fuse"));
            assert_eq!(index.paths().count(), 2);
        }
    }

    #[test]
    fn what_leads_elsewhere_is_no_module() {
        let list = b"../../../etc/x.ko\n/etc/y.ko\na//z.ko\n./w.ko\n\xff.ko\n.ko\na b.ko\nv\n\n";
        assert_eq!(Index::parse(list, list), Index::default());
    }
}
