//! The seam between deciding what to try and trying it.

use std::time::Duration;

use umbra_drift::reading::Reading;

use crate::edit::{Changes, Edit};
use crate::error::RehearsalError;
use crate::report::{Seen, Untried};

/// One way to look at a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    /// Ask a validator about a path.
    Validator {
        /// Its place among the subject's.
        which: usize,
        /// The path.
        path: Vec<u8>,
    },
    /// Start what runs on it.
    Startup,
    /// Ask its own system which units failed.
    Units,
    /// Run a test, by its place among the subject's.
    Test(usize),
}

/// What one look gave.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    /// What was seen, by check; those that could not be made at all are not among them.
    pub(crate) seen: Vec<(Check, Seen)>,
    /// Changes that could not be made.
    pub(crate) untried: Vec<Untried>,
    /// What else could not be looked at, as sentences.
    pub(crate) unseen: Vec<String>,
    /// Making views.
    pub(crate) setup: Duration,
}

/// Makes fresh views of one machine, with or without changes, and looks at them.
pub(crate) trait Stage {
    /// All ways to look at the machine, in the order in which that is done.
    fn checks(&self) -> Vec<Check>;

    /// What lies where an edit goes without any change, if that is known.
    fn found(&self, edit: &Edit) -> Option<&Reading>;

    /// Looks at fresh views with these changes; what one check does is never seen by another
    /// that could not also follow it on the machine. The first look is at the baseline.
    fn look(&mut self, changes: &Changes<'_>, checks: &[Check]) -> Result<Sight, RehearsalError>;
}
