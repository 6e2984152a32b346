//! An account: its ids, groups, home and shell.

use std::path::PathBuf;

use super::accounts::{Group, Passwd, load_group, load_passwd};
use super::context::Context;
use super::secret::Secrecy;
use super::source::{Fact, Source};
use crate::reading::Reading;

/// An account by name.
#[derive(Debug)]
pub(super) struct User {
    account: String,
    paths: [PathBuf; 2],
}

impl User {
    pub(super) fn new(account: &str) -> Self {
        Self { account: account.to_owned(), paths: ["/etc/passwd".into(), "/etc/group".into()] }
    }
}

impl Source for User {
    fn read(&mut self, context: &mut Context, _: &Secrecy) -> Vec<Fact> {
        let all = load_passwd(&context.place)
            .and_then(|accounts| Ok((accounts, load_group(&context.place)?)));
        let (accounts, groups) = match all {
            Ok(all) => all,
            Err(why) => return Fact::unreadable(why),
        };
        let account = accounts.iter().find(|found| found.name == self.account.as_bytes());
        Fact::whole(account.map_or(Reading::Absent, |found| Reading::text(text(found, &groups))))
    }

    fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

/// One fact on each line; groups by name, since their order means nothing.
fn text(account: &Passwd, groups: &[Group]) -> Vec<u8> {
    let belongs = |group: &&Group| group.members.contains(&account.name);
    let mut names: Vec<&[u8]> =
        groups.iter().filter(belongs).map(|group| group.name.as_slice()).collect();
    names.sort_unstable();
    names.dedup();
    let mut text = format!("uid={}\ngid={}\ngroups=", account.uid, account.gid).into_bytes();
    text.extend(names.join(&b','));
    for (label, value) in [("home", &account.home), ("shell", &account.shell)] {
        text.extend_from_slice(b"\n");
        text.extend_from_slice(label.as_bytes());
        text.push(b'=');
        text.extend_from_slice(value);
    }
    text.push(b'\n');
    text
}
