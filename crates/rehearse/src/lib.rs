//! A drift, a rollback or a reboot tried on a disposable shadow first.
//!
//! [`rehearse`] shows a machine's files in a shadow, once as they are known to be good and once
//! with each combination of changes, asks the files' validators, starts what runs on the
//! machine and runs its suite. What fails there would fail on the machine; the [`Report`] names
//! the failing test and the smallest part of the changes that makes it fail.
//!
//! Invariants of this crate:
//! * nothing of the machine is written to: changes are a layer of the shadow's own, and what
//!   hostile readings say never leads out of it;
//! * no evidence is never a pass: what does not pass without the changes, could not be looked at
//!   or could not be tried makes a report `Inconclusive` unless something else fails;
//! * a report says how real the machine was that it speaks of, and what was not seen.
//!
//! | module | holds |
//! |---|---|
//! | [`subject`] | [`Subject`]: files, services, tests, validators |
//! | [`edit`], [`what`] | [`Edit`], [`What`] is rehearsed, in which combinations |
//! | [`mod@derive`] | pure: edits from what is known of a primary |
//! | [`report`] | [`Report`], as a value |
//! | [`service`] | what a daemon is asked for, and answers |
//! | [`mod@minimal`] | pure: the smallest part of some changes that fails |
//! | `trial` | decides what to try and what it comes to |
//! | `stage`, `shadow_stage` | the seam, and fresh views of a shadow behind it |
//! | `scratch` | the directory for a rehearsal's layers |
//! | `scene`, `layer`, `ids` | where edits go, and the layer they become |
//! | `atoms` | an edit as keys and attributes that can be tried one by one |

mod atoms;
pub mod derive;
pub mod edit;
mod error;
mod ids;
mod layer;
pub mod minimal;
pub mod report;
mod scene;
mod scratch;
pub mod service;
mod shadow_stage;
mod stage;
pub mod subject;
mod trial;
#[cfg(test)]
mod trial_tests;
pub mod what;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use umbra_shadow::Provider;
use umbra_shadow::provider::Init;

pub use edit::Edit;
pub use error::RehearsalError;
pub use report::{Failure, Level, Report, Risk};
pub use scratch::remove_remains;
pub use subject::{Bounds, Directory, Root, Subject, Validator};
pub use what::{Combination, Kind, What};

use shadow_stage::ShadowStage;
use trial::Trial;

/// Rehearses on a shadow that is gone afterwards. Blocking; ends soon after `cancel` is set.
///
/// # Errors
/// There is no shadow to rehearse on, or not any more. Everything that was seen on one is in
/// the report.
pub fn rehearse(
    provider: &dyn Provider,
    subject: &Subject,
    what: &What,
    cancel: &AtomicBool,
) -> Result<Report, RehearsalError> {
    let began = Instant::now();
    let level = if provider.capabilities().vm { Level::Machine } else { Level::Sandbox };
    let mut stage = ShadowStage::new(provider, subject, what, cancel)?;
    let trial = Trial { what, good: &subject.good, bounds: subject.bounds, level, began };
    let mut report = trial.run(&mut stage)?;
    report.unseen.splice(0..0, subject.root.unseen());
    if what.kind() == Kind::Reboot && subject.startup.init == Init::Small {
        report.unrebooted();
    }
    if level == Level::Machine && what.kind() == Kind::Reboot {
        report.unseen.push(UNBOOTED.to_owned());
    }
    Ok(report)
}

/// What a reboot has beside what a virtual machine does here.
const UNBOOTED: &str = "the boot loader, the initrd and the disks: the machine's kernel is started straight into its \
     system";
