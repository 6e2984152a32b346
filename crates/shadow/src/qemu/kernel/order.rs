//! The order in which modules are loaded: each after those it depends on.

use super::KernelError;
use super::index::Index;
use super::modinfo;

/// No machine of ours needs more, or longer ones together.
const MODULES_MAX: usize = 128;
const BYTES_MAX: usize = 128 << 20;

/// How many are looked at: what is softly used and cannot be loaded may be many times.
const LOOKS_MAX: usize = 512;

/// A module that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its name, with `_` for `-`.
    pub(crate) name: &'static str,
    /// Whether a machine that lacks it is of no use.
    pub(crate) required: bool,
}

/// What machines of ours need to reach their roots, their network and us.
pub(crate) const WANTED: [Wanted; 12] = [
    required("virtio_pci"),
    required("virtio_console"),
    required("virtio_blk"),
    required("virtio_net"),
    required("virtio_rng"),
    required("fuse"),
    required("virtiofs"),
    required("overlay"),
    required("ext4"),
    optional("erofs"),
    optional("virtio_balloon"),
    optional("vmw_vsock_virtio_transport"),
];

const fn required(name: &'static str) -> Wanted {
    Wanted { name, required: true }
}

const fn optional(name: &'static str) -> Wanted {
    Wanted { name, required: false }
}

/// The wanted modules that are not part of the kernel, with all they depend on, each with its
/// bytes as `read` has them for a path.
pub(super) fn order(
    wanted: &[Wanted],
    index: &Index,
    read: &dyn Fn(&str) -> Result<Vec<u8>, KernelError>,
) -> Result<Vec<(String, Vec<u8>)>, KernelError> {
    let mut plan =
        Plan { index, read, under_way: Vec::new(), modules: Vec::new(), bytes: 0, looks: 0 };
    let mut missing = Vec::new();
    for module in wanted {
        if module.required {
            match plan.load(module.name) {
                Err(KernelError::Missing { names, .. }) => missing.extend(names),
                other => other?,
            }
        } else {
            plan.try_load(module.name);
        }
    }
    if missing.is_empty() { Ok(plan.modules) } else { Err(KernelError::missing(missing)) }
}

struct Plan<'a> {
    index: &'a Index,
    read: &'a dyn Fn(&str) -> Result<Vec<u8>, KernelError>,
    /// From the wanted one to what is looked at.
    under_way: Vec<String>,
    modules: Vec<(String, Vec<u8>)>,
    bytes: usize,
    looks: usize,
}

impl Plan<'_> {
    /// Adds a module after what it depends on.
    fn load(&mut self, name: &str) -> Result<(), KernelError> {
        if self.index.has_builtin(name) || self.modules.iter().any(|(there, _)| there == name) {
            return Ok(());
        }
        if self.under_way.iter().any(|other| other == name) {
            return Err(broken(name, "it depends on itself"));
        }
        if self.modules.len() + self.under_way.len() >= MODULES_MAX {
            return Err(broken(name, "too many modules depend on each other"));
        }
        self.looks += 1;
        if self.looks > LOOKS_MAX {
            return Err(broken(name, "too many modules depend on each other"));
        }
        let missing = || KernelError::missing(vec![name.to_owned()]);
        let bytes = (self.read)(self.index.path(name).ok_or_else(missing)?)?;
        let depends = modinfo::read(&bytes).ok_or_else(|| broken(name, "it is no module"))?;
        self.under_way.push(name.to_owned());
        depends.softly.iter().for_each(|other| self.load_soft(other));
        let loaded = depends.on.iter().try_for_each(|other| self.load(other));
        self.under_way.pop();
        loaded?;
        self.bytes += bytes.len();
        if self.bytes > BYTES_MAX {
            return Err(broken(name, "the modules are too long together"));
        }
        self.modules.push((name.to_owned(), bytes));
        Ok(())
    }

    /// Adds it if that is possible, and nothing otherwise.
    fn try_load(&mut self, name: &str) -> bool {
        let (count, bytes) = (self.modules.len(), self.bytes);
        let loaded = self.load(name).is_ok();
        if !loaded {
            self.modules.truncate(count);
            self.bytes = bytes;
        }
        loaded
    }

    /// Ciphers and checksums are asked for by what they do; then the portable one does it.
    fn load_soft(&mut self, name: &str) {
        let is_there = self.index.has_builtin(name) || self.index.path(name).is_some();
        let portable = format!("{name}_generic");
        self.try_load(if is_there { name } else { &portable });
    }
}

fn broken(name: &str, why: &'static str) -> KernelError {
    KernelError::Module { name: name.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is loaded of modules that say this of themselves.
    fn ordered(modules: &[(&str, &str)], wanted: &[Wanted]) -> Result<Vec<String>, KernelError> {
        let list: String = modules.iter().map(|(name, _)| format!("k/{name}.ko\n")).collect();
        let index = Index::parse(list.as_bytes(), b"k/built_in.ko\n");
        let read = |path: &str| {
            let found = modules.iter().find(|(name, _)| format!("k/{name}.ko") == path);
            Ok(modinfo::fake(found.expect("it is in the list").1))
        };
        let order = order(wanted, &index, &read)?;
        Ok(order.into_iter().map(|(name, _)| name).collect())
    }

    #[track_caller]
    fn check(modules: &[(&str, &str)], wanted: &[Wanted], expected: &[&str]) {
        assert_eq!(ordered(modules, wanted).expect("an order"), expected);
    }

    #[track_caller]
    fn check_refused(modules: &[(&str, &str)], wanted: &[Wanted], word: &str) {
        let error = ordered(modules, wanted).expect_err("no order").to_string();
        assert!(error.contains(word), "{error}");
    }

    #[test]
    fn each_comes_after_what_it_depends_on_and_once() {
        check(
            &[
                ("fs", "depends=bus,ring\0"),
                ("ring", "depends=core\0"),
                ("bus", "depends=core\0"),
                ("core", ""),
            ],
            &[required("fs"), required("bus")],
            &["core", "bus", "ring", "fs"],
        );
        check(&[], &[required("built_in")], &[]);
        check(&[("a", "depends=built-in\0")], &[required("a")], &["a"]);
    }

    #[test]
    fn what_is_optional_is_there_whole_or_not_at_all() {
        let modules = [("fs", "depends=core,none\0"), ("core", ""), ("net", "depends=core\0")];
        check(&modules, &[optional("fs"), optional("absent")], &[]);
        check(&modules, &[optional("fs"), required("net")], &["core", "net"]);
    }

    #[test]
    fn what_is_used_softly_comes_before_where_it_is() {
        let modules =
            [("fs", "softdep=pre: sum none bad\0"), ("sum_generic", ""), ("bad", "depends=none\0")];
        check(&modules, &[required("fs")], &["sum_generic", "fs"]);
    }

    #[test]
    fn what_cannot_be_loaded_is_told_of() {
        check_refused(&[("a", "")], &[required("a"), required("b"), required("c")], "b, c");
        check_refused(&[("a", "depends=b\0")], &[required("a")], "b");
        check_refused(&[("a", "depends=b\0"), ("b", "depends=a\0")], &[required("a")], "itself");
        check_refused(&[("a", "depends=../x\0")], &[required("a")], "no module");
        let names: Vec<String> = (0..200).map(|number| format!("m{number}")).collect();
        let infos: Vec<String> = (1..201).map(|number| format!("depends=m{number}\0")).collect();
        let chain: Vec<(&str, &str)> =
            names.iter().zip(&infos).map(|(name, info)| (name.as_str(), info.as_str())).collect();
        check_refused(&chain, &[required("m0")], "too many");
        // Without a bound each is tried in every order of the others.
        let all = names[..40].join(" ");
        let web: Vec<(&str, String)> = names[..40]
            .iter()
            .map(|n| (n.as_str(), format!("softdep=pre: {all}\0depends=none\0")))
            .collect();
        let web: Vec<(&str, &str)> =
            web.iter().map(|(name, info)| (*name, info.as_str())).collect();
        check_refused(&web, &[required("m0")], "none");
    }
}
