//! Rollouts as a table.

use umbra_api::rollout::RolloutStatus;

use super::words;
use crate::screen::summary::{right, table, trimmed};
use crate::screen::{safe, units};

/// The most of a reason that is shown.
const REASON_CHARS_MAX: usize = 60;

/// All of them.
pub fn table_of(all: &[RolloutStatus], now_ms: i64) -> String {
    if all.is_empty() {
        return "no rollouts; `umbra rollout start SERVICE --image IMAGE` begins one\n".to_owned();
    }
    let mut table =
        table(&["rollout", "service", "from", "to", "phase", "weight", "began", "time", "why"]);
    for one in all {
        let until = one.ended_at_ms.unwrap_or(now_ms);
        table.add_row(vec![
            right(one.id.to_string()),
            safe(&one.service).into(),
            safe(&one.baseline).into(),
            safe(&one.candidate).into(),
            words::phase(one.phase).into(),
            right(words::percent(one.weight_percent)),
            units::moment(one.began_at_ms).into(),
            right(words::lasted((until - one.began_at_ms) / 100 * 100)),
            umbra_state::escape::line(one.reason.as_bytes(), REASON_CHARS_MAX).into(),
        ]);
    }
    trimmed(&table)
}
