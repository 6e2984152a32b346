//! Keys as other programs spell them, read into the steps of ours.
//!
//! Both dialects can ask for more than one thing, or for what a file does not
//! hold. What is no plain way to one value is refused where it stands: read as
//! something else it would be absent for ever, and never differ.

pub(super) mod augeas;
pub(super) mod json_path;

use super::key::{Pick, Step};

/// The step to `name`, which has no further division in it.
fn named(name: Vec<u8>) -> Step {
    let exact = name.is_empty() || name.contains(&b'.');
    Step { name, exact, pick: None }
}

/// Adds which of several it is, to the name before as our spelling does.
fn add_pick(steps: &mut Vec<Step>, pick: Pick) {
    match steps.last_mut() {
        Some(last) if last.pick.is_none() => last.pick = Some(pick),
        _ => steps.push(Step { name: Vec::new(), exact: false, pick: Some(pick) }),
    }
}
