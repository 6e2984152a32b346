//! Users and groups as the view's own files know them. Nothing of the host's name service is
//! asked: a shadow's `www-data` is whatever its own `/etc/passwd` says.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use umbra_state::escape::escape;

/// Whom a command runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
}

/// The user files of an image are read up to here.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Finds a user by name or number in `/etc/passwd`; `None` is root.
pub fn resolve(user: Option<&str>) -> Result<Identity, String> {
    match user {
        None | Some("root" | "0") => Ok(Identity { uid: 0, gid: 0, groups: Vec::new() }),
        Some(user) => find(user, &read("/etc/passwd"), &read("/etc/group")),
    }
}

fn read(path: &str) -> String {
    let mut bytes = Vec::new();
    // The image may have planted a FIFO here, on which opening or reading would wait for ever.
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    if let Ok(file) = opened
        && file.metadata().is_ok_and(|metadata| metadata.is_file())
    {
        // Whatever could be read counts; a missing user is reported by the lookup.
        let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn find(user: &str, passwd: &str, group: &str) -> Result<Identity, String> {
    let number: Option<u32> = user.parse().ok();
    let entry = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, uid, gid) = (*fields.first()?, fields.get(2)?, fields.get(3)?);
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        (name == user || number == Some(uid)).then_some((name, uid, gid))
    });
    match (entry, number) {
        (Some((name, uid, gid)), _) => {
            Ok(Identity { uid, gid, groups: groups_of(name, gid, group) })
        }
        (None, Some(uid)) => Ok(Identity { uid, gid: uid, groups: Vec::new() }),
        (None, None) => Err(format!("no user {} in /etc/passwd", escape(user.as_bytes()))),
    }
}

fn groups_of(name: &str, primary: u32, group: &str) -> Vec<u32> {
    let memberships = group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let member = fields.get(3)?.split(',').any(|member| member == name);
        if member { fields.get(2)?.parse().ok() } else { None }
    });
    std::iter::once(primary).chain(memberships).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/false\nbroken:x\n";
    const GROUP: &str = "web:x:34:\ndata:x:50:root,web\nadm:x:4:other\n";

    #[track_caller]
    fn check(user: &str, expected: Result<(u32, u32, &[u32]), ()>) {
        let found = find(user, PASSWD, GROUP).map_err(|_| ());
        let expected =
            expected.map(|(uid, gid, groups)| Identity { uid, gid, groups: groups.to_vec() });
        assert_eq!(found, expected);
    }

    #[test]
    fn users_come_from_the_images_own_files() {
        check("web", Ok((33, 34, &[34, 50])));
        check("33", Ok((33, 34, &[34, 50])));
        check("4711", Ok((4711, 4711, &[])));
        check("nobody", Err(()));
        check("broken", Err(()));
    }
}
