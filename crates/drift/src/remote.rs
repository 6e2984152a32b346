//! A primary on another machine: how ssh gets there, and where its agent is.
//!
//! Whatever is said here ends up on a command line, here and there: it is checked by what it may
//! hold, never by what it must not.

use serde::{Deserialize, Serialize};

/// Where an agent and what it remembers are kept on another machine, if nothing else is said.
pub const DIR: &str = "/var/lib/umbra-agent";

/// What ssh is told in any case: the first value of an option is the one that counts.
///
/// Nobody is asked anything, an unknown host key is never accepted, a peer that vanished is
/// noticed, and nothing of this machine is reachable from there.
pub const FIXED: [(&str, &str); 13] = [
    ("BatchMode", "yes"),
    ("StrictHostKeyChecking", "yes"),
    ("NoHostAuthenticationForLocalhost", "no"),
    ("ConnectTimeout", "10"),
    ("ServerAliveInterval", "5"),
    ("ServerAliveCountMax", "3"),
    ("ClearAllForwardings", "yes"),
    ("ForwardAgent", "no"),
    ("ForwardX11", "no"),
    ("PermitLocalCommand", "no"),
    ("RemoteCommand", "none"),
    ("ControlMaster", "no"),
    ("ControlPath", "none"),
];

const DESTINATION_BYTES_MAX: usize = 255;
const OPTIONS_MAX: usize = 32;
const OPTION_BYTES_MAX: usize = 1024;
const PATH_BYTES_MAX: usize = 200;

/// How a primary on another machine is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// Where, as ssh takes it: `host`, `user@host` or `ssh://user@host:port`.
    pub destination: String,
    /// More options for ssh, as after its `-o`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The agent's program there, if somebody else installs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Where the agent and what it remembers are kept there; [`DIR`] if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
}

impl Remote {
    /// Where the agent and what it remembers are kept there.
    pub fn dir(&self) -> &str {
        self.dir.as_deref().unwrap_or(DIR)
    }

    /// Whether it can be given to ssh; if not why, as a sentence after "because".
    ///
    /// # Errors
    /// It cannot.
    pub fn check(&self) -> Result<(), String> {
        check_destination(&self.destination)?;
        if self.options.len() > OPTIONS_MAX {
            return Err(format!("there are more than {OPTIONS_MAX} options for ssh"));
        }
        self.options.iter().try_for_each(|option| check_option(option))?;
        for (path, what) in
            [(&self.agent, "the agent's path"), (&self.dir, "the agent's directory")]
        {
            path.as_deref().map_or(Ok(()), |path| check_path(path, what))?;
        }
        Ok(())
    }
}

fn check_destination(destination: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@:[]%/+".contains(c);
    let dashed = |part: &str| part.starts_with('-');
    if destination.is_empty() || destination.len() > DESTINATION_BYTES_MAX {
        return Err(format!("a destination has 1 to {DESTINATION_BYTES_MAX} characters"));
    }
    if !destination.chars().all(plain) || destination.split(['@', '/']).any(dashed) {
        return Err(
            "a destination is `host`, `user@host` or `ssh://user@host:port`, of letters, digits \
             and `._-:[]%+`, and no part begins with `-`"
                .to_owned(),
        );
    }
    Ok(())
}

fn check_option(option: &str) -> Result<(), String> {
    let shown: String = option.chars().take(80).collect();
    let Some((keyword, value)) = option.split_once('=') else {
        return Err(format!("the ssh option {shown:?} is not of the form `Keyword=value`"));
    };
    let word = !keyword.is_empty() && keyword.chars().all(|c| c.is_ascii_alphanumeric());
    if !word || value.is_empty() || option.len() > OPTION_BYTES_MAX {
        return Err(format!("the ssh option {shown:?} is not of the form `Keyword=value`"));
    }
    if option.chars().any(char::is_control) {
        return Err(format!("the ssh option {shown:?} has a control character"));
    }
    let fixed = FIXED.iter().find(|(fixed, _)| fixed.eq_ignore_ascii_case(keyword));
    fixed.map_or(Ok(()), |(fixed, value)| Err(format!("{fixed} is always {value}")))
}

fn check_path(path: &str, what: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let good = path.starts_with('/')
        && path.len() <= PATH_BYTES_MAX
        && path.chars().all(plain)
        && !path.split('/').any(|part| part == "..");
    if good {
        return Ok(());
    }
    Err(format!(
        "{what} is absolute, has at most {PATH_BYTES_MAX} letters, digits and `/._-+`, and no `..`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(destination: &str) -> Remote {
        Remote { destination: destination.to_owned(), options: Vec::new(), agent: None, dir: None }
    }

    #[track_caller]
    fn check(remote: &Remote, refused: Option<&str>) {
        match (remote.check(), refused) {
            (Ok(()), None) => {}
            (Err(why), Some(words)) => assert!(why.contains(words), "{why}"),
            (said, _) => panic!("{remote:?}: {said:?}"),
        }
    }

    #[test]
    fn a_destination_is_nothing_else() {
        for good in ["web1", "root@web1.example", "ssh://root@[fe80::1%eth0]:2222", "192.0.2.7"] {
            check(&remote(good), None);
        }
        for bad in ["-oProxyCommand=id", "root@-x", "ssh://-x", "a b", "a\tb", "a;b", "$(id)", "ä"]
        {
            check(&remote(bad), Some("destination"));
        }
        check(&remote(""), Some("1 to 255"));
        check(&remote(&"a".repeat(256)), Some("1 to 255"));
    }

    #[test]
    fn options_are_whole_and_do_not_undo_what_is_fixed() {
        let with = |option: &str| Remote { options: vec![option.to_owned()], ..remote("web1") };
        check(&with("Port=2222"), None);
        check(&with("IdentityFile=/root/a key"), None);
        for bad in ["Port", "=1", "Port=", "Po rt=1", "-v=1", &format!("A={}", "x".repeat(1024))] {
            check(&with(bad), Some("Keyword=value"));
        }
        check(&with("Port=1\nHost=x"), Some("control character"));
        check(&with("stricthostkeychecking=no"), Some("StrictHostKeyChecking is always yes"));
        check(&with("RemoteCommand=id"), Some("always none"));
        let many = Remote { options: vec!["Port=1".to_owned(); 33], ..remote("web1") };
        check(&many, Some("more than 32"));
    }

    #[test]
    fn paths_need_no_quotes_anywhere() {
        let at = |path: &str| Remote { dir: Some(path.to_owned()), ..remote("web1") };
        check(&at("/opt/umbra-1.0/agent"), None);
        for bad in ["relative", "/a b", "/a/../b", "/$x", "/a;b", &format!("/{}", "x".repeat(200))]
        {
            check(&at(bad), Some("directory is absolute"));
        }
        let agent = Remote { agent: Some("~/agent".to_owned()), ..remote("web1") };
        check(&agent, Some("agent's path"));
        assert_eq!((remote("web1").dir(), at("/x").dir()), (DIR, "/x"));
    }
}
