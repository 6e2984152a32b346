//! What is rehearsed, and the combinations of edits that takes.

use serde::{Deserialize, Serialize};

use crate::edit::Edit;

/// What is rehearsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// What has drifted.
    Drift(Vec<Edit>),
    /// Putting back what has drifted.
    Rollback {
        /// What has drifted.
        drift: Vec<Edit>,
        /// What is put back.
        back: Vec<Edit>,
    },
    /// Each, and both in either order.
    Both {
        /// What has drifted.
        drift: Vec<Edit>,
        /// What is put back.
        back: Vec<Edit>,
    },
    /// Starting the machine with what has drifted.
    Reboot(Vec<Edit>),
}

/// Its kind alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`What::Drift`].
    Drift,
    /// [`What::Rollback`].
    Rollback,
    /// [`What::Both`].
    Both,
    /// [`What::Reboot`].
    Reboot,
}

/// Edits that are tried together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combination {
    /// None: the machine as it is known to be good.
    Baseline,
    /// What has drifted.
    Drift,
    /// What has drifted, then what is put back.
    RollbackFromDrift,
    /// What is put back, then the same drift once more: what a configuration manager does that
    /// fights the rollback.
    RollbackFirst,
}

impl What {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Drift(_) => Kind::Drift,
            Self::Rollback { .. } => Kind::Rollback,
            Self::Both { .. } => Kind::Both,
            Self::Reboot(_) => Kind::Reboot,
        }
    }

    /// What is tried after the baseline, and in which order its edits are made.
    pub(crate) fn combinations(&self) -> Vec<(Combination, Vec<&[Edit]>)> {
        use Combination::{Drift, RollbackFirst, RollbackFromDrift};
        match self {
            Self::Drift(drift) | Self::Reboot(drift) => vec![(Drift, vec![drift])],
            Self::Rollback { drift, back } => vec![(RollbackFromDrift, vec![drift, back])],
            Self::Both { drift, back } => vec![
                (Drift, vec![drift]),
                (RollbackFromDrift, vec![drift, back]),
                (RollbackFirst, vec![back, drift]),
            ],
        }
    }

    /// All edits there are.
    pub(crate) fn edits(&self) -> impl Iterator<Item = &Edit> {
        let (first, second): (&[Edit], &[Edit]) = match self {
            Self::Drift(drift) | Self::Reboot(drift) => (drift, &[]),
            Self::Rollback { drift, back } | Self::Both { drift, back } => (drift, back),
        };
        first.iter().chain(second)
    }
}

impl Kind {
    /// Its word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Rollback => "rollback",
            Self::Both => "both",
            Self::Reboot => "reboot",
        }
    }

    /// What is rehearsed, with its article.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Drift => "the drift",
            Self::Rollback => "the rollback",
            Self::Both => "the drift and the rollback",
            Self::Reboot => "the reboot",
        }
    }
}

impl Combination {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Baseline => "without any change",
            Self::Drift => "with the drift",
            Self::RollbackFromDrift => "with the drift rolled back",
            Self::RollbackFirst => "with the drift again after the rollback",
        }
    }
}
