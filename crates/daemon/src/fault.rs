//! Places at which a test may stop the daemon dead, beside the store's own.

use umbra_store::FaultPoints;

/// A step that just happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A transaction is complete but not committed.
    Written,
    /// A transaction is committed, and nobody knows.
    Committed,
    /// Followers were told what is committed.
    Told,
}

/// The hooks a test passes to [`crate::instance::Instance::start_with`].
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Between the store's steps.
    pub store: FaultPoints,
    /// Between the database's.
    pub database: FaultPoints<Fault>,
}
