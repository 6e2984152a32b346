//! What a comparison of shadows' answers says of the candidate, while it gets mirrored requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use umbra_state::escape::escape;

use crate::compare::Comparison;
use crate::compare::report::Standing;
use crate::mirror::Mirrors;

/// It is asked so often at most: it looks at every field.
const EVERY: Duration = Duration::from_millis(100);

/// All comparisons for one route, one after another: what each says multiplies what those before
/// it said, since none knew what the next would see.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// Of those that are over.
    before: f64,
    now: Option<(Arc<Comparison>, u64, f64)>,
    asked: Option<Instant>,
}

impl Differences {
    /// Going on where that much was said.
    pub(super) fn after(log_e: f64) -> Self {
        Self { before: log_e, ..Self::default() }
    }

    /// The one that goes on, or was the last.
    pub(super) fn comparison(&self) -> Option<&Arc<Comparison>> {
        self.now.as_ref().map(|(comparison, ..)| comparison)
    }

    /// What all of them say together, if that is something else than before.
    pub(super) fn next(
        &mut self,
        route: &str,
        mirrors: impl FnOnce() -> Arc<Mirrors>,
        now: Instant,
    ) -> Option<f64> {
        if self.asked.is_some_and(|asked| now.saturating_duration_since(asked) < EVERY) {
            return None;
        }
        self.asked = Some(now);
        let mirrors = mirrors();
        let comparison = mirrors.comparison().filter(|one| is_for(one, &mirrors, route))?;
        let is_known = self.now.as_ref().is_some_and(|(known, ..)| Arc::ptr_eq(known, comparison));
        if !is_known {
            let said = self.now.take().map_or(0.0, |(_, _, log_e)| log_e);
            self.before += said;
            self.now = Some((Arc::clone(comparison), 0, 0.0));
        }
        let (known, compared, said) = self.now.as_mut()?;
        let counted = known.counted().compared;
        if counted == *compared {
            return None;
        }
        let log_e = known.log_e()?;
        *compared = counted;
        let is_new = log_e.to_bits() != said.to_bits();
        *said = log_e;
        is_new.then_some(self.before + log_e)
    }
}

/// The field that differs most beyond noise, in words; `None` where none differs.
pub(super) fn words(comparison: &Comparison) -> Option<String> {
    let report = comparison.report();
    let (worst, others) = report.fields.split_first()?;
    let seen = format!(
        "{} differs in {} of {} answers, and in {} of those of the image in production",
        escape(worst.path.as_bytes()),
        worst.candidate,
        report.compared,
        worst.baseline.unwrap_or(0),
    );
    let flagged = others.iter().filter(|field| field.standing == Standing::Flagged).count();
    Some(match flagged {
        0 => seen,
        more => format!("{seen}; {more} more fields differ beyond noise"),
    })
}

/// A comparison is for a route where its candidate gets requests of that route only.
fn is_for(comparison: &Comparison, mirrors: &Mirrors, route: &str) -> bool {
    let candidate = mirrors.iter().find(|mirror| mirror.name() == comparison.candidate());
    candidate.is_some_and(|mirror| mirror.settings().filter.route.as_deref() == Some(route))
}
