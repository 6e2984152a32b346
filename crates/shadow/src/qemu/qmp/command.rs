//! The commands that are used, and what QEMU answers to each.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A command; it serialises as its arguments, an object.
pub(crate) trait Command: Serialize {
    /// What QEMU calls it.
    const NAME: &'static str;
    /// What it is answered with.
    type Answer: DeserializeOwned;
}

/// The answer of what only has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Done {}

/// Implements [`Command`] for a type.
macro_rules! command {
    ($type:ty, $name:literal, $answer:ty) => {
        impl Command for $type {
            const NAME: &'static str = $name;
            type Answer = $answer;
        }
    };
}

/// Declares a command without arguments.
macro_rules! bare {
    ($($(#[$doc:meta])* $type:ident, $name:literal, $answer:ty;)*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
        pub(crate) struct $type {}
        command!($type, $name, $answer);
    )* };
}

bare! {
    /// Begins: until then QEMU carries out nothing else.
    Capabilities, "qmp_capabilities", Done;
    /// Stops the machine where it stands.
    Stop, "stop", Done;
    /// Lets it go on.
    Cont, "cont", Done;
    /// How a migration goes.
    QueryMigrate, "query-migrate", MigrationInfo;
}

/// The answer to [`QueryMigrate`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct MigrationInfo {
    /// How far it is; nothing where none was asked for.
    #[serde(default)]
    pub(crate) status: Option<MigrationStatus>,
    /// Why it failed; QEMU's words, not fit to be shown as they are.
    #[serde(default, rename = "error-desc")]
    pub(crate) error: Option<String>,
}

/// How far a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MigrationStatus {
    /// It is done.
    Completed,
    /// It came to nothing.
    Failed,
    /// It was given up.
    Cancelled,
    /// It is under way.
    #[serde(other)]
    UnderWay,
}

/// Switches migration features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct MigrateSetCapabilities {
    /// Each with its name and whether it is on.
    pub(crate) capabilities: Vec<Capability>,
}
command!(MigrateSetCapabilities, "migrate-set-capabilities", Done);

/// A migration feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Capability {
    /// Its name.
    pub(crate) capability: &'static str,
    /// Whether it is on.
    pub(crate) state: bool,
}

/// Begins to save the machine; see [`super::Qmp::save`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Migrate {
    /// Where to.
    pub(crate) uri: String,
}
command!(Migrate, "migrate", Done);

/// Begins to go on from what was saved; see [`super::Qmp::load`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct MigrateIncoming {
    /// Where from.
    pub(crate) uri: String,
}
command!(MigrateIncoming, "migrate-incoming", Done);

/// Takes the descriptor that is sent with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GetFd {
    /// What it is called from then on.
    pub(crate) fdname: &'static str,
}
command!(GetFd, "getfd", Done);

/// Takes the descriptor that is sent with it into a set, as the file `/dev/fdset/NUMBER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AddFd {
    /// The set's number.
    pub(crate) fdset_id: u32,
}
command!(AddFd, "add-fd", Done);

/// Closes a set's descriptors once nothing uses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RemoveFd {
    /// The set's number.
    pub(crate) fdset_id: u32,
}
command!(RemoveFd, "remove-fd", Done);
