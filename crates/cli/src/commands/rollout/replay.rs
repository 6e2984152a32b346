//! Judging again what a gateway kept.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use umbra_judge::journal::read::{Broken, JournalError};
use umbra_judge::journal::replay::{Replay, Replayed};
use umbra_rollout::judged::judged;

use super::Done;
use crate::error::{CliError, Finish};
use crate::screen::rollout::replay as screen;
use crate::ui::Ui;

/// A journal is read in pieces of so many bytes.
const PIECE_BYTES: usize = 256 << 10;

/// Judges a journal again and shows what it rests on; whether its decisions come out the same is
/// the exit code.
pub(super) fn replay(ui: &Ui, path: &Path) -> Done {
    let shown = shown(path, judge(path)?);
    ui.answer_with(&shown, screen::text)?;
    Ok(match shown.outcome() {
        screen::Outcome::Reproduced => Finish::Pass,
        screen::Outcome::Different => Finish::Fail,
        screen::Outcome::Nothing => Finish::Inconclusive,
        screen::Outcome::Damaged => Finish::Environment,
    })
}

fn judge(path: &Path) -> Result<Replayed, CliError> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        CliError::because(Finish::Environment, format!("replay {}", path.display()), error)
            .with_hint("`umbra rollout explain` names the journal of a rollout")
    };
    let refused = |error: JournalError| failed(&error);
    let mut file = File::open(path).map_err(|error| failed(&error))?;
    let mut replay = Replay::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return replay.finish().map_err(refused),
            Ok(count) => replay.push(&piece[..count]).map_err(refused)?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(&error)),
        }
    }
}

fn shown(path: &Path, replayed: Replayed) -> screen::Shown {
    let Replayed { trial, records, decisions, different, first, way, end } = replayed;
    screen::Shown {
        journal: path.display().to_string(),
        records,
        decisions,
        different,
        first_different: first.map(|first| screen::Different {
            record: first.record,
            recorded: first.recorded,
            again: first.again,
        }),
        broken: end.broken.map(|(broken, bytes)| screen::Broken {
            at_byte: end.whole_bytes,
            bytes,
            what: broken.words().to_owned(),
            by_a_crash: broken == Broken::Cut,
        }),
        settings: *trial.settings(),
        judged: judged(trial.standing()),
        way,
    }
}
