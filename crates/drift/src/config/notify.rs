//! Who is told of drifts: the list under `notify`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::severity::Severity;
use super::words::words;

/// One who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// Where alerts go.
    pub target: Target,
    /// The least grave alert that goes there.
    pub min_severity: Severity,
}

/// Where alerts go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The daemon's log.
    Log,
    /// A file that gets a line of JSON for each.
    JsonLines {
        /// Its path.
        path: String,
    },
    /// A server over HTTP.
    Http {
        /// What it understands.
        dialect: Dialect,
        /// Where it is.
        url: Address,
        /// A secret sent along.
        token: Option<Token>,
    },
    /// A syslog server.
    Syslog {
        /// Where it is.
        address: SyslogAddress,
        /// Under which facility.
        facility: Facility,
        /// Under which application name.
        app: String,
    },
    /// The desktop of this machine.
    Desktop,
    /// The daemon's terminal.
    Terminal,
    /// A program that gets JSON on its input.
    Command {
        /// The program and its arguments; no shell reads them.
        argv: Vec<String>,
    },
}

/// What a server over HTTP understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Dialect {
    /// An alert as JSON.
    Webhook,
    /// Slack's incoming webhooks.
    Slack,
    /// Prometheus Alertmanager, version 2 of its API.
    Alertmanager,
}

/// The address of a server. It may hold a secret, as Slack's do, and is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    /// As the file has it.
    Plain(String),
    /// Read when it is needed.
    Hidden(Secret),
}

/// Where a secret is read from each time it is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Secret {
    /// A variable of the daemon's environment.
    Env(String),
    /// A file, white space around it left out.
    File(String),
}

/// A secret sent along with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Where it is read from.
    pub from: Secret,
    /// The header that carries it as it is; `Authorization: Bearer` if not given.
    pub header: Option<String>,
}

/// Where a syslog server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyslogAddress {
    /// Datagrams to a host and port.
    Udp(String),
    /// A stream to a host and port, messages counted by octets (RFC 6587).
    Tcp(String),
    /// Datagrams to a socket of this machine.
    Unix(String),
}

words! {
    /// A facility of syslog; the order is that of its numbers (RFC 5424, table 1).
    Facility {
        /// 0.
        Kern = "kern",
        /// 1.
        User = "user",
        /// 2.
        Mail = "mail",
        /// 3.
        Daemon = "daemon",
        /// 4.
        Auth = "auth",
        /// 5.
        Syslog = "syslog",
        /// 6.
        Lpr = "lpr",
        /// 7.
        News = "news",
        /// 8.
        Uucp = "uucp",
        /// 9.
        Cron = "cron",
        /// 10.
        AuthPriv = "authpriv",
        /// 16.
        Local0 = "local0",
        /// 17.
        Local1 = "local1",
        /// 18.
        Local2 = "local2",
        /// 19.
        Local3 = "local3",
        /// 20.
        Local4 = "local4",
        /// 21.
        Local5 = "local5",
        /// 22.
        Local6 = "local6",
        /// 23.
        Local7 = "local7",
    }
}

impl Facility {
    /// Its number on the wire.
    pub fn number(self) -> u8 {
        let place = self as u8;
        // Between authpriv and local0 are five that nobody names.
        if self >= Self::Local0 { place + 5 } else { place }
    }
}

impl Target {
    /// What kind of sink it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::JsonLines { .. } => "jsonl",
            Self::Http { dialect: Dialect::Webhook, .. } => "webhook",
            Self::Http { dialect: Dialect::Slack, .. } => "slack",
            Self::Http { dialect: Dialect::Alertmanager, .. } => "alertmanager",
            Self::Syslog { .. } => "syslog",
            Self::Desktop => "desktop",
            Self::Terminal => "terminal",
            Self::Command { .. } => "command",
        }
    }

    /// Its name: the same as long as it leads to the same place, whatever else of the file
    /// changes, and without the secret that may be in an address.
    pub fn name(&self) -> String {
        let place = match self {
            Self::Log | Self::Desktop | Self::Terminal => return self.kind().to_owned(),
            Self::JsonLines { path } => path.clone(),
            Self::Http { url: Address::Plain(url), .. } => url.clone(),
            Self::Http { url: Address::Hidden(from), .. } => format!("{from:?}"),
            Self::Syslog { address, .. } => format!("{address:?}"),
            Self::Command { argv } => argv.join("\0"),
        };
        format!("{}-{}", self.kind(), &blake3::hash(place.as_bytes()).to_hex()[..8])
    }
}

impl SyslogAddress {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix("udp://") {
            return Some(Self::Udp(address.to_owned()));
        }
        if let Some(address) = text.strip_prefix("tcp://") {
            return Some(Self::Tcp(address.to_owned()));
        }
        text.strip_prefix("unix:").map(|path| Self::Unix(path.to_owned()))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain(..)"),
            Self::Hidden(from) => f.debug_tuple("Hidden").field(from).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_have_their_numbers() {
        assert_eq!(Facility::Kern.number(), 0);
        assert_eq!(Facility::AuthPriv.number(), 10);
        assert_eq!(Facility::Local0.number(), 16);
        assert_eq!(Facility::Local7.number(), 23);
    }

    #[test]
    fn names_tell_sinks_apart_and_no_secrets() {
        let slack = |url: &str| Target::Http {
            dialect: Dialect::Slack,
            url: Address::Plain(url.to_owned()),
            token: None,
        };
        let (one, two) = (slack("https://hooks/T0/S3CR3T"), slack("https://hooks/T0/0TH3R"));
        assert_ne!(one.name(), two.name());
        assert!(one.name().starts_with("slack-") && !one.name().contains("S3CR3T"));
        assert!(!format!("{one:?}").contains("S3CR3T"));
    }
}
