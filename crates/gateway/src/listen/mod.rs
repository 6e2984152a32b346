//! The side clients see: whose a connection is, what it speaks, and how far a client may go.
//!
//! ```text
//! accept ── place ── PROXY header ── TLS ── first bytes ── HTTP/1.1 | HTTP/2 ──> request by request
//!             │          └────── one time limit ─────┘            └ pace: head, idle, stalled
//!             └ of all, of each client
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`front`] | all that is the same for every connection |
//! | `opening` | what comes before HTTP |
//! | `visit` | one connection, request by request |
//! | `places` | how many connections there are |
//! | `pace` | how long a client may leave its connection in which state |
//! | [`received`], `sent` | bodies on their way in and out |
//! | `stream` | the connection itself, with TLS or without |
//! | [`tls`] | certificates |
//! | [`proxy_header`] | whose connection it is, told by who passes it on |
//! | [`access_log`] | a line for each request |
//! | [`hand_over`] | listening sockets, from a gateway to its successor |
//! | [`counts`] | what is counted of all that |

pub mod access_log;
pub mod counts;
pub mod front;
pub mod hand_over;
pub(crate) mod opening;
pub(crate) mod pace;
pub(crate) mod places;
pub mod proxy_header;
pub mod received;
pub(crate) mod sent;
pub(crate) mod stream;
pub mod tls;
pub(crate) mod visit;
