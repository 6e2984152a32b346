//! Listening sockets, from a gateway to its successor, without a moment in which nobody listens.
//!
//! ```text
//! successor                                     gateway
//!   POST /v1/hand-over, Upgrade ──────────────>   mirrors cannot be changed from here on
//!   <────────── both sockets, routes, mirrors ──
//!   serves clients
//!   "serving" ────────────────────────────────>
//!   <──────────────────────────────── "yours" ──  accepts no more, finishes what is under way,
//!   answers at the control socket                 ends
//! ```
//!
//! Whatever happens before "serving", the connection's end among it, leaves the gateway as it is.
//! Both hold the same sockets: who waits to be accepted is accepted by one of them.

mod claim;
mod offer;
mod rights;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::claim::{Claim, ClaimError};
pub(crate) use self::offer::{Estate, offer};
use crate::control::StartMirror;
use crate::routes::Inherited;

/// The path that is asked, and the protocol that is spoken then.
pub(crate) const PATH: &str = "/v1/hand-over";
pub(crate) const PROTOCOL: &str = "umbra-hand-over";

const SERVING: &str = "serving\n";
const YOURS: &str = "yours\n";

/// How long a successor may take until it serves, and a gateway until it answers.
const SUCCESSOR_TIME: Duration = Duration::from_secs(60);
const GATEWAY_TIME: Duration = Duration::from_secs(10);

/// What comes with the sockets is no longer.
const WILL_BYTES_MAX: usize = 8 << 20;

/// What a successor goes on with. Fields may be added; those a successor does not know are not
/// for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Will {
    /// The control socket's file.
    pub inode: u64,
    /// Routes in force, for a successor that has none of its own; and what keeps sessions where
    /// they are.
    #[serde(default)]
    pub routes: Option<Inherited>,
    /// Mirrors in force, by name.
    #[serde(default)]
    pub mirrors: Vec<(String, StartMirror)>,
}
