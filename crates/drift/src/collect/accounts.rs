//! The accounts of a place, from its own files: what a directory's names mean is not for this
//! machine to say.

use std::path::Path;

use super::place::Place;
use crate::file;

/// A file with more is no list of people.
const BYTES_MAX: u64 = 16 << 20;

/// A line of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passwd {
    pub(super) name: Vec<u8>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: Vec<u8>,
    pub(super) shell: Vec<u8>,
}

/// A line of `/etc/group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: Vec<u8>,
    pub(super) gid: u32,
    pub(super) members: Vec<Vec<u8>>,
}

/// All accounts, or why they are not known, as a sentence after "because".
pub(super) fn load_passwd(place: &Place) -> Result<Vec<Passwd>, String> {
    Ok(lines(&load(place, "/etc/passwd")?).filter_map(passwd).collect())
}

/// All groups, or why they are not known, as a sentence after "because".
pub(super) fn load_group(place: &Place) -> Result<Vec<Group>, String> {
    Ok(lines(&load(place, "/etc/group")?).filter_map(group).collect())
}

fn load(place: &Place, path: &str) -> Result<Vec<u8>, String> {
    match file::read(place.root(), Path::new(path), BYTES_MAX) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(format!("there is no {path}")),
        Err(reason) => Err(format!("{path} cannot be read: {reason}")),
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn fields<const N: usize>(line: &[u8]) -> Option<[&[u8]; N]> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    fields.try_into().ok()
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn passwd(line: &[u8]) -> Option<Passwd> {
    let [name, _, uid, gid, _, home, shell] = fields(line)?;
    Some(Passwd {
        name: name.to_vec(),
        uid: number(uid)?,
        gid: number(gid)?,
        home: home.to_vec(),
        shell: shell.to_vec(),
    })
}

fn group(line: &[u8]) -> Option<Group> {
    let [name, _, gid, members] = fields(line)?;
    let members = members.split(|byte| *byte == b',').filter(|member| !member.is_empty());
    Some(Group {
        name: name.to_vec(),
        gid: number(gid)?,
        members: members.map(<[u8]>::to_vec).collect(),
    })
}
