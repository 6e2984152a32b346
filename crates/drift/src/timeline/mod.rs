//! Historical shadows: snapshots kept by content, so that what did not change costs nothing.
//!
//! ```text
//! root   a list of chunks            ──> chunk  about 64 readings ──> object  a long content
//! ```
//!
//! Every part is named by the BLAKE3 digest of its bytes, and a snapshot by that of its root:
//! equal snapshots have equal names. Where a chunk ends depends on the items alone, so that a
//! reading that changes changes one chunk, and one that comes or goes at most two.

mod pack;
mod thin;

pub use pack::{Packed, UnpackError, pack, unpack};
pub use thin::{Entry, Keep, thin};
