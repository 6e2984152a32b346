//! Shadows: isolated running instances of one state, and what provides them.
//!
//! Invariants of this crate:
//! * a shadow reaches nothing that its spec does not name: not production, not another shadow,
//!   not this machine;
//! * whatever ends (a command, a shadow, a provider, the whole process by `kill -9`), what
//!   belonged to it ends with it, and what the kernel keeps by name is removed at the next start;
//! * callers learn what a provider can do from [`provider::Capabilities`], never from its kind.
//!
//! | module | holds |
//! |---|---|
//! | [`provider`] | the traits [`Provider`] and [`Shadow`], and their plain data |
//! | [`startup`] | what is to run in a view before anybody looks, until it is ready |
//! | `held` | a shadow as its callers hold it, whatever it lives on |
//! | `inside` | commands, services and terminals in a shadow, whatever it is made of |
//! | [`target`] | a shadow's view as the suite sees it |
//! | [`sandbox`] | the provider on this machine's own kernel |
//! | [`qemu`] | the provider of virtual machines |
//! | [`fake`] | the provider that needs nothing, for tests of what uses shadows |
//! | [`conformance`] | what every provider must do, as a suite |
//! | [`probe`] | what this machine has of what shadows and builds need |
//! | [`error`] | [`ShadowError`] |

pub mod conformance;
pub mod error;
pub mod fake;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod held;
mod inside;
pub mod probe;
pub mod provider;
pub mod qemu;
pub mod sandbox;
pub mod startup;
pub mod target;

pub use error::ShadowError;
pub use provider::{Provider, Shadow, ShadowSpec};
