//! The commands that are used, and what QEMU answers to each.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// Whether the machine runs.
    QueryStatus, "query-status", Status;
    /// Stops the machine where it stands.
    Stop, "stop", Done;
    /// Lets it go on.
    Cont, "cont", Done;
    /// Ends QEMU at once.
    Quit, "quit", Done;
    /// Presses the power button.
    SystemPowerdown, "system_powerdown", Done;
    /// Presses the reset button.
    SystemReset, "system_reset", Done;
    /// How a migration goes.
    QueryMigrate, "query-migrate", MigrationInfo;
    /// Which QEMU it is.
    QueryVersion, "query-version", VersionInfo;
}

/// The answer to [`QueryStatus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Status {
    /// Whether processors run.
    pub(crate) running: bool,
    /// Why, or why not.
    pub(crate) status: RunState,
}

/// What a machine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RunState {
    /// It has not begun.
    Prelaunch,
    /// It waits for what it is to go on from.
    Inmigrate,
    /// It runs.
    Running,
    /// It was stopped.
    Paused,
    /// It was saved.
    Postmigrate,
    /// It is being saved.
    FinishMigrate,
    /// It powered itself off.
    Shutdown,
    /// Its kernel gave up.
    GuestPanicked,
    /// QEMU or the host's kernel gave up.
    InternalError,
    /// A disk failed.
    IoError,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// The answer to [`QueryVersion`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct VersionInfo {
    /// The version.
    pub(crate) qemu: super::Version,
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

/// Opens a disk's file; see [`crate::qemu::machine::Disk::blockdev`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct BlockdevAdd(pub(crate) Value);
command!(BlockdevAdd, "blockdev-add", Done);

/// Closes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct BlockdevDel {
    /// The disk's id.
    pub(crate) node_name: String,
}
command!(BlockdevDel, "blockdev-del", Done);

/// Adds a device; see [`crate::qemu::machine::Disk::device`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct DeviceAdd(pub(crate) Value);
command!(DeviceAdd, "device_add", Done);

/// Asks the guest to let a device go; it is gone with the event `DEVICE_DELETED`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DeviceDel {
    /// The device's id.
    pub(crate) id: String,
}
command!(DeviceDel, "device_del", Done);

/// Makes something that devices use.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct ObjectAdd(pub(crate) Value);
command!(ObjectAdd, "object-add", Done);

/// Plugs a network interface's cable in or out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SetLink {
    /// The interface's id, or its network's.
    pub(crate) name: String,
    /// Whether it is plugged in.
    pub(crate) up: bool,
}
command!(SetLink, "set_link", Done);

/// Asks the guest to make do with so much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Balloon {
    /// Bytes.
    pub(crate) value: u64,
}
command!(Balloon, "balloon", Done);

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
command!(AddFd, "add-fd", AddedFd);

/// The answer to [`AddFd`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AddedFd {
    /// The set's number.
    pub(crate) fdset_id: u32,
}

/// Closes a set's descriptors once nothing uses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RemoveFd {
    /// The set's number.
    pub(crate) fdset_id: u32,
}
command!(RemoveFd, "remove-fd", Done);
