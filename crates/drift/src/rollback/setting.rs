//! Settings of the kernel: written in place, since there is nothing to exchange.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use umbra_api::blob::Blob;

use super::error::{Trouble, shown, system};
use super::options::Options;
use super::place::Root;
use super::plan::{Aim, Change};
use super::step::{Act, Step, temp_name};
use crate::reading::{Content, Value};

/// More is no setting.
const BYTES_MAX: u64 = 64 << 10;

/// The step that writes a setting.
pub(super) fn prepare(
    index: usize,
    change: &Change,
    name: &str,
    options: &Options,
) -> Result<Step, Trouble> {
    let path = Path::new(name);
    let unfit = |why: &str| Trouble::Unfit { path: shown(path), why: why.to_owned() };
    if !options.is_machine {
        return Err(unfit("a directory has no running kernel"));
    }
    let Aim::Present { content: Some(content), .. } = &change.to else {
        return Err(unfit("settings neither come nor go"));
    };
    let now = read(options, path)?;
    if change.from.bytes().is_none_or(|planned| words(planned) != words(&now)) {
        return Err(Trouble::Moved { path: shown(path) });
    }
    let value = |bytes: Vec<u8>| {
        Some(Value { content: Some(Content::Bytes(Blob(bytes))), attributes: Default::default() })
    };
    Ok(Step {
        path: Blob(name.as_bytes().to_vec()),
        act: Act::Set,
        temp: temp_name(&options.id, index),
        from: value(now),
        stamp: None,
        locks: [0, 0],
        to: value(content.0.clone()),
        change: Some(index),
    })
}

/// What a setting says.
pub(super) fn read(options: &Options, path: &Path) -> Result<Vec<u8>, Trouble> {
    let failed = || system("read the setting", path);
    let file = open(options, path, OFlags::RDONLY)?;
    let mut bytes = Vec::new();
    File::from(file).take(BYTES_MAX).read_to_end(&mut bytes).map_err(|error| {
        failed()(rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
    })?;
    Ok(bytes)
}

/// Writes a setting, at once as the kernel wants it, and reads it again.
pub(super) fn write(options: &Options, path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    let file = open(options, path, OFlags::WRONLY)?;
    File::from(file).write_all(bytes).map_err(|source| Trouble::System {
        doing: format!("write the setting {}", shown(path)),
        source,
    })?;
    match words(&read(options, path)?) == words(bytes) {
        true => Ok(()),
        false => Err(Trouble::NotTaken { path: shown(path), what: "value" }),
    }
}

/// The kernel writes one space where it was given another.
fn words(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect()
}

fn open(options: &Options, path: &Path, access: OFlags) -> Result<OwnedFd, Trouble> {
    let root = Root::open(&options.settings)?;
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(std::os::fd::AsFd::as_fd(&root), path, flags, Mode::empty(), resolve)
        .map_err(system("open the setting", path))
}
