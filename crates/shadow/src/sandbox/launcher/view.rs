//! Turns a freshly cloned process into a view's init: it stands by until there is a root to
//! show, and serves in it.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;
use rustix::mount::MountFlags;

use umbra_guest::mounts::{attach, make_dir, make_file, make_parents, restrict};
use umbra_guest::{init, sys};

use super::{antechamber, end_with_parent, rights, system};
use crate::sandbox::wire::{self, Bind, Doing, Failure, InitHello, InitOrder, Profile};

/// Never returns: stands by for its order, sets the view up, says so, and serves until it is
/// killed.
pub(super) fn become_init(profile: Profile, socket: &OwnedFd) -> ! {
    let stands_by = stand_by();
    // Without an order there is nobody left to tell anything.
    let Ok(Some((order, root))) = wire::receive::<InitOrder>(socket) else { sys::exit(0) };
    if let Err(failure) = stands_by.and_then(|()| show(&order, root, socket)) {
        let _ = wire::send(socket, &InitHello::Failed(failure), &[]);
        sys::exit(1)
    }
    if let (Profile::System, Some(program)) = (profile, system::program()) {
        let failure = system::become_system(program, socket);
        let _ = wire::send(socket, &InitHello::Failed(failure), &[]);
        sys::exit(1)
    }
    // A system's rights are for a system.
    let profile = if profile == Profile::System { Profile::Shadow } else { profile };
    let served = wire::send(socket, &InitHello::Up, &[])
        .and_then(|()| rights::confine(profile))
        .and_then(|()| init::serve(socket, rights::rights_of(profile)));
    sys::exit(i32::from(served.is_err()))
}

fn stand_by() -> Result<(), Failure> {
    end_with_parent().doing(|| "follow the keeper's end".to_owned())?;
    antechamber::enter()
}

fn show(order: &InitOrder, root: Vec<OwnedFd>, socket: &OwnedFd) -> Result<(), Failure> {
    let taken = || "take what is shown".to_owned();
    let root = wire::take_fd(&mut root.into_iter()).doing(taken)?;
    rustix::system::sethostname(order.hostname.as_bytes())
        .doing(|| "set the host name".to_owned())?;
    mount_shm(order.shm_bytes_max)?;
    antechamber::leave(&root)?;
    for bind in &order.binds {
        let source = match wire::receive::<()>(socket).doing(taken)? {
            Some(((), fds)) => wire::take_fd(&mut fds.into_iter()).doing(taken)?,
            None => sys::exit(0),
        };
        let placed = place_bind(bind, &source);
        if bind.required {
            placed?;
        }
    }
    Ok(())
}

fn mount_shm(bytes_max: u64) -> Result<(), Failure> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let options = CString::new(format!("mode=1777,size={bytes_max}")).unwrap_or_default();
    rustix::mount::mount("shm", "/dev/shm", "tmpfs", flags, &*options)
        .doing(|| "mount /dev/shm".to_owned())
}

fn place_bind(bind: &Bind, source: &OwnedFd) -> Result<(), Failure> {
    let doing = || format!("show {} at {}", bind.source.display(), bind.target);
    let is_dir = rustix::fs::statat(source, "", AtFlags::EMPTY_PATH)
        .map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
        .doing(doing)?;
    make_parents(&bind.target);
    if is_dir {
        make_dir(&bind.target);
    } else if rustix::fs::stat(&*bind.target).is_err() {
        make_file(&bind.target).doing(doing)?;
    }
    attach(source, &bind.target)?;
    restrict(&bind.target, bind.read_only).doing(doing)
}
