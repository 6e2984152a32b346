//! Looking at a gateway's split, for as long as there is one.
//!
//! The gateway answers when it has decided something, and about once a second otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use super::gate::{Gate, GateError};
use super::inbox::{Input, Look};

/// How long the gateway may wait for news.
const WAIT: Duration = Duration::from_secs(1);
/// After no answer.
const AGAIN: Duration = Duration::from_millis(200);

/// A thread that looks. It ends after this does.
pub(super) struct Watch {
    ended: Arc<AtomicBool>,
    mirrors: Arc<AtomicBool>,
}

impl Watch {
    /// Looks at the split at `gate`; what is seen arrives in `inbox`.
    pub(super) fn begin(
        gate: Gate,
        mirror: String,
        inbox: SyncSender<Input>,
    ) -> std::io::Result<Self> {
        let (ended, mirrors) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (is_ended, is_mirroring) = (Arc::clone(&ended), Arc::clone(&mirrors));
        let look = move || {
            let mut version = None;
            while !is_ended.load(Ordering::Relaxed) {
                let began = Instant::now();
                let mirror = is_mirroring.load(Ordering::Relaxed).then_some(&*mirror);
                let (look, is_early) = look(&gate, &mut version, mirror);
                let told =
                    is_ended.load(Ordering::Relaxed) || inbox.send(Input::Looked(look)).is_err();
                if told {
                    return;
                }
                // A gateway that answers at once, whatever it was asked, is not asked for ever.
                if is_early && began.elapsed() < AGAIN {
                    std::thread::sleep(AGAIN);
                }
            }
        };
        std::thread::Builder::new().name("umbra-split".into()).spawn(look)?;
        Ok(Self { ended, mirrors })
    }

    /// Whether comparisons are looked at as well.
    pub(super) fn mirrors(&self, on: bool) {
        self.mirrors.store(on, Ordering::Relaxed);
    }
}

/// What is seen once it is another than that version, or the gateway has waited long enough;
/// whether it may have answered before that. `mirror` is looked at as well.
fn look(gate: &Gate, version: &mut Option<u64>, mirror: Option<&str>) -> (Look, bool) {
    let seen = match *version {
        Some(version) => gate.split_after(version, WAIT),
        None => gate.split(),
    };
    match seen {
        Ok(split) if !gate.is_own(&split) => {
            (gone(gate, format!("the route is split for rollout {}", split.rollout)), true)
        }
        Ok(split) => {
            let is_news = version.replace(split.version) != Some(split.version);
            let compared = mirror.map_or(0, |mirror| gate.compared(mirror));
            (Look::Split(Box::new(split), compared), !is_news)
        }
        Err(GateError::Nothing(why)) => (gone(gate, why), true),
        Err(error) => (Look::Lost(error.to_string()), true),
    }
}

/// There is no split: who got the requests?
fn gone(gate: &Gate, why: String) -> Look {
    match gate.leads_to() {
        Ok(Some(targets)) => Look::Nothing(targets),
        Ok(None) => Look::Lost(why),
        Err(error) => Look::Lost(error.to_string()),
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}
