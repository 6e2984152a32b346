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

#[cfg(test)]
mod checks {
    use super::super::key::Key;

    #[track_caller]
    pub(super) fn check(text: &str, ours: &str) {
        assert_eq!(text.parse::<Key>().unwrap().to_string(), ours);
    }

    /// Each is refused at this place, with these words.
    #[track_caller]
    pub(super) fn refused(cases: &[(&str, usize, &str)]) {
        for (text, at, what) in cases {
            let error = text.parse::<Key>().unwrap_err();
            assert_eq!(error.at, *at, "{error}");
            assert!(error.what.contains(what), "{error}");
        }
    }
}
