//! The kernel's modules, in the order in which the host wrote them down.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::failure::{Doing, Failure};

/// Where the host put them.
const DIR: &str = "/modules";

/// Loads them, and removes their files, which take memory.
pub(super) fn load() -> Result<(), Failure> {
    let list = Path::new(DIR).join("list");
    let names = fs::read_to_string(&list).doing(|| format!("read {}", list.display()))?;
    for name in names.lines().filter(|name| !name.is_empty() && !name.contains('/')) {
        let path = Path::new(DIR).join(name);
        let file = File::open(&path).doing(|| format!("open {}", path.display()))?;
        insert(&file).doing(|| format!("load {}", path.display()))?;
        // What stays only takes room.
        let _ = fs::remove_file(&path);
    }
    Ok(())
}

fn insert(module: &File) -> std::io::Result<()> {
    // SAFETY: the descriptor is open and the parameters are an empty string that outlives the
    // call.
    let done =
        unsafe { libc::syscall(libc::SYS_finit_module, module.as_raw_fd(), c"".as_ptr(), 0) };
    let error = std::io::Error::last_os_error();
    match done {
        0 => Ok(()),
        // Another one brought it along.
        _ if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        _ => Err(error),
    }
}
