//! Users and groups, from the shadow's own `etc/passwd` and `etc/group`.

use super::world::World;
use super::{Actual, Facts, Resource};
use crate::target::ProbeError;

/// One line of `etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
    pub(crate) shell: String,
}

/// One line of `etc/group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) gid: u32,
    pub(crate) members: Vec<String>,
}

/// All of both.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
}

impl Accounts {
    pub(super) fn read(world: &World<'_>) -> Result<Self, ProbeError> {
        let users = world.file(b"etc/passwd")?.unwrap_or_default();
        let groups = world.file(b"etc/group")?.unwrap_or_default();
        Ok(Self { users: parse_passwd(&users), groups: parse_group(&groups) })
    }

    pub(super) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The name of an id, or the id itself where it has none.
    pub(super) fn user_name(&self, uid: u32) -> String {
        let user = self.users.iter().find(|user| user.uid == uid);
        user.map_or_else(|| uid.to_string(), |user| user.name.clone())
    }

    pub(super) fn group_name(&self, gid: u32) -> String {
        let group = self.groups.iter().find(|group| group.gid == gid);
        group.map_or_else(|| gid.to_string(), |group| group.name.clone())
    }

    /// The groups of a user, the primary one first.
    fn groups_of(&self, user: &User) -> Vec<String> {
        let mut names = vec![self.group_name(user.gid)];
        let member = |group: &&Group| group.members.contains(&user.name);
        names.extend(self.groups.iter().filter(member).map(|group| group.name.clone()));
        names.dedup();
        names
    }
}

pub(super) fn observe_user(resource: &Resource, world: &World<'_>) -> Result<Facts, ProbeError> {
    let accounts = world.accounts()?;
    let Some(user) = accounts.user(&resource.id) else {
        return Ok(Facts::from([("exists", false.into())]));
    };
    Ok(Facts::from([
        ("exists", true.into()),
        ("uid", Actual::number(user.uid)),
        ("gid", Actual::number(user.gid)),
        ("groups", Actual::list(accounts.groups_of(user))),
        ("home", Actual::text(&user.home)),
        ("shell", Actual::text(&user.shell)),
    ]))
}

pub(super) fn observe_group(resource: &Resource, world: &World<'_>) -> Result<Facts, ProbeError> {
    Ok(match world.accounts()?.group(&resource.id) {
        Some(group) => Facts::from([("exists", true.into()), ("gid", Actual::number(group.gid))]),
        None => Facts::from([("exists", false.into())]),
    })
}

/// The well-formed lines of a passwd file; the rest is passed over, as the C library does.
pub(crate) fn parse_passwd(bytes: &[u8]) -> Vec<User> {
    let user = |line: String| {
        let fields: Vec<_> = line.split(':').collect();
        let [name, password, uid, gid, _, home, shell] = fields.as_slice() else { return None };
        Some(User {
            name: (*name).to_owned(),
            password: (*password).to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: (*home).to_owned(),
            shell: (*shell).to_owned(),
        })
    };
    lines(bytes).filter_map(user).collect()
}

pub(crate) fn parse_group(bytes: &[u8]) -> Vec<Group> {
    let group = |line: String| {
        let fields: Vec<_> = line.split(':').collect();
        let [name, _, gid, members] = fields.as_slice() else { return None };
        let members = members.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
        Some(Group { name: (*name).to_owned(), gid: gid.parse().ok()?, members: members.collect() })
    };
    lines(bytes).filter_map(group).collect()
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = String> {
    bytes.split(|&byte| byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned())
}
