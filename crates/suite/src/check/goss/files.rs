//! Files of a shadow, read through its root.

use std::io::Read;

use md5::Md5;
use rustix::fs::{FileType, Stat};
use sha2::{Digest, Sha256, Sha512};

use super::world::World;
use super::{Actual, Facts, Resource};
use crate::target::{ProbeError, root};

/// How much of a file `contents` looks at.
const CONTENTS_BYTES_MAX: u64 = 16 << 20;

pub(super) fn observe(resource: &Resource, world: &World<'_>) -> Result<Facts, ProbeError> {
    let path = resource.id.as_bytes();
    let directory = world.target.root();
    let Some(stat) = root::stat(directory, path)? else {
        return Ok(Facts::from([("exists", false.into())]));
    };
    let mut facts = metadata(&stat, world)?;
    if let Some(target) = root::read_link(directory, path)? {
        facts.insert("linked-to", Actual::text(String::from_utf8_lossy(&target)));
    }
    let followed = root::stat_followed(directory, path)?;
    let is_file = followed.is_some_and(|stat| kind(&stat) == FileType::RegularFile);
    if is_file && resource.wants("contents") {
        let contents = root::read_file(directory, path, CONTENTS_BYTES_MAX)?;
        facts.insert("contents", Actual::Lines(contents.unwrap_or_default()));
    }
    if is_file {
        if resource.wants("md5") {
            facts.insert("md5", digest::<Md5>(path, world)?);
        }
        if resource.wants("sha256") {
            facts.insert("sha256", digest::<Sha256>(path, world)?);
        }
        if resource.wants("sha512") {
            facts.insert("sha512", digest::<Sha512>(path, world)?);
        }
    }
    Ok(facts)
}

fn metadata(stat: &Stat, world: &World<'_>) -> Result<Facts, ProbeError> {
    let accounts = world.accounts()?;
    let uid = world.target.id_inside(stat.st_uid);
    let gid = world.target.id_inside(stat.st_gid);
    let filetype = match kind(stat) {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::Socket => "socket",
        FileType::Fifo => "pipe",
        FileType::CharacterDevice => "character-device",
        FileType::BlockDevice => "block-device",
        FileType::Unknown => "unknown",
    };
    Ok(Facts::from([
        ("exists", true.into()),
        ("mode", Actual::text(format!("{:04o}", stat.st_mode & 0o7777))),
        ("size", Actual::number(stat.st_size as f64)),
        ("uid", Actual::number(uid)),
        ("gid", Actual::number(gid)),
        ("owner", Actual::text(accounts.user_name(uid))),
        ("group", Actual::text(accounts.group_name(gid))),
        ("filetype", Actual::text(filetype)),
    ]))
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn digest<D: Digest>(path: &[u8], world: &World<'_>) -> Result<Actual, ProbeError> {
    let shown = || umbra_state::escape::escape(path).to_string();
    let Some((mut file, _)) = root::open_file(world.target.root(), path)? else {
        return Ok(Actual::Value(super::Value::Null));
    };
    let mut hasher = D::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read =
            file.read(&mut buffer).map_err(|source| ProbeError::File { path: shown(), source })?;
        if read == 0 {
            let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(Actual::text(hex));
        }
        hasher.update(&buffer[..read]);
    }
}
