//! From what happened to what is to be done.

mod effect;
mod event;

pub use effect::{Alert, Effect, Role, Winner};
pub use event::{Answer, Event, Measurement, Outcome, Seen};
