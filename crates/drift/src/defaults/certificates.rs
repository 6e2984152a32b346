//! Certificates that are a machine's own, among all those it has to trust others.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, openat};

use super::survey::NAMED_MAX;
use crate::certificate::{self, read};
use crate::collect::Place;
use crate::file::{self, locate};

/// Where certbot keeps a directory for each name.
const LETSENCRYPT: &str = "/etc/letsencrypt/live";
/// Where those that were made or bought are put. Trust stores are links into other directories.
const BY_HAND: [&str; 2] = ["/etc/ssl", "/etc/ssl/certs"];
const ENDINGS: [&str; 3] = [".pem", ".crt", ".cer"];
/// Entries of a directory that are looked at; a trust store has some hundred.
const ENTRIES_MAX: usize = 4_096;

/// Their paths, in order.
pub(super) fn of(place: &Place) -> Vec<String> {
    let live = entries(place, LETSENCRYPT).into_iter();
    let live = live.map(|(name, _)| format!("{LETSENCRYPT}/{name}/fullchain.pem"));
    let by_hand = BY_HAND.iter().flat_map(|directory| {
        let files = entries(place, directory).into_iter();
        let files = files.filter(|(name, kind)| {
            *kind == FileType::RegularFile && ENDINGS.iter().any(|ending| name.ends_with(ending))
        });
        files.map(move |(name, _)| format!("{directory}/{name}"))
    });
    let mut paths: Vec<String> = live.chain(by_hand).filter(|path| is_own(place, path)).collect();
    paths.sort_unstable();
    paths.truncate(NAMED_MAX);
    paths
}

/// A server's own comes first in its file, and an authority's is there to sign others.
fn is_own(place: &Place, path: &str) -> bool {
    let bytes = file::read(place.root(), Path::new(path), certificate::BYTES_MAX);
    let found = bytes.ok().flatten().and_then(|bytes| read(&bytes).ok());
    found.is_some_and(|found| !found.own.is_authority)
}

/// Names in a directory that are plain text, with their kinds; none if it is missing.
fn entries(place: &Place, directory: &str) -> Vec<(String, FileType)> {
    let Ok(Some(found)) = locate(place.root(), Path::new(directory)) else { return Vec::new() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(opened) = openat(&found, ".", flags, Mode::empty()) else { return Vec::new() };
    let Ok(listing) = Dir::read_from(&opened) else { return Vec::new() };
    let plain = |entry: rustix::fs::DirEntry| {
        let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()).to_str()?.to_owned();
        let fits = !name.starts_with('.') && !name.chars().any(char::is_control);
        fits.then_some((name, entry.file_type()))
    };
    listing.take(ENTRIES_MAX).filter_map(|entry| plain(entry.ok()?)).collect()
}
