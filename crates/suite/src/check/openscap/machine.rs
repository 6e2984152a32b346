//! This machine's `oscap`, carried into a shadow with the libraries it was linked to.

use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::Instant;

use umbra_state::Command;
use umbra_state::escape::escape;

use super::{CARRIED, TOOL};
use crate::check::carry::carry_in;
use crate::check::host_tool::{self, Tool};
use crate::target::{ProbeError, Target};

const LDD: Tool = Tool { name: "ldd", package: "libc-bin" };
const LDD_BYTES_MAX: u64 = 1 << 20;

/// What tells rules about one system from those about another.
const DICTIONARIES: &str = "usr/share/openscap/cpe";

/// Carries it in; returns the words that start it there.
pub(super) fn carry(
    machine: &Path,
    target: &dyn Target,
    deadline: Instant,
) -> Result<Command, ProbeError> {
    let program = machine.join("usr/bin/oscap");
    let dictionaries = machine.join(DICTIONARIES);
    if !program.exists() || !dictionaries.exists() {
        return Err(host_tool::missing(&TOOL));
    }
    let listing = |ldd: &mut Program| {
        ldd.arg(&program);
    };
    let listed = host_tool::run(&LDD, listing, LDD_BYTES_MAX, deadline)?;
    let libraries = libraries(&String::from_utf8_lossy(&listed.stdout));
    let Some(loader) = libraries.loader.as_deref().and_then(Path::file_name) else {
        let detail = format!("no libraries of oscap: {}", escape(listed.stderr.trim_ascii()));
        return Err(ProbeError::Tool { tool: LDD.name.to_owned(), detail });
    };
    let choose = |tar: &mut Program| {
        // Side by side in one directory, each as what its name leads to.
        tar.args([
            "--dereference",
            "--hard-dereference",
            "--transform=s,.*/,,",
            "--absolute-names",
        ]);
        tar.arg(&program).args(&libraries.paths).args(&libraries.loader);
        tar.args(
            ["openscap-cpe-dict.xml", "openscap-cpe-oval.xml"].map(|it| dictionaries.join(it)),
        );
    };
    carry_in(choose, CARRIED, target, deadline)?;
    let loader = format!("{CARRIED}/{}", loader.to_string_lossy());
    let argv = [&*loader, "--library-path", CARRIED, &format!("{CARRIED}/oscap")];
    Ok(Command::new(argv).with_env("OSCAP_CPE_PATH", CARRIED))
}

#[derive(Debug, Default, PartialEq)]
struct Libraries {
    loader: Option<PathBuf>,
    paths: Vec<PathBuf>,
}

/// Reads what `ldd` prints: `name => path (address)`, and a path of its own for the loader.
fn libraries(text: &str) -> Libraries {
    let mut found = Libraries::default();
    for line in text.lines() {
        let Some((before, _)) = line.trim().rsplit_once(" (") else { continue };
        match before.split_once(" => ") {
            Some((_, path)) => found.paths.push(path.into()),
            None if before.starts_with('/') => found.loader = Some(before.into()),
            // What the kernel provides is no file.
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_stands_by_itself() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\
                    \tlibgone.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let found = libraries(text);
        assert_eq!(found.loader.as_deref(), Some(Path::new("/lib64/ld-linux-x86-64.so.2")));
        assert_eq!(found.paths, [Path::new("/lib/libc.so.6")]);
        assert_eq!(libraries("not a dynamic executable"), Libraries::default());
    }
}
