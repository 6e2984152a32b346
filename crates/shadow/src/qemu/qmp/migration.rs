//! Saving a stopped machine's devices to a file, and going on from them: what a template is
//! made with, and a clone. Memory that a file backs is left out.
//!
//! QEMU, which may neither start programs nor open files of ours, is handed the open file. Since
//! 9.1 a plain file is one of a set of descriptors; before, it is a descriptor with a name.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::command::{
    AddFd, Capability, GetFd, Migrate, MigrateIncoming, MigrateSetCapabilities, MigrationInfo,
    MigrationStatus, QueryMigrate, RemoveFd,
};
use super::message::{self, Version};
use super::{Qmp, QmpError};

/// How long QEMU may take for a command that starts or asks.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// The set of the file.
const SET: u32 = 7;

/// The file's name where it is in no set.
const NAME: &str = "saved";

impl Qmp {
    /// Saves a machine, which should be stopped, without its shared memory.
    pub(crate) fn save(
        &mut self,
        file: BorrowedFd<'_>,
        patience: Duration,
    ) -> Result<(), QmpError> {
        let uri = self.hand_over(file)?;
        self.execute(&Migrate { uri }, PATIENCE)?;
        self.finish("migrate", patience)
    }

    /// Makes a machine that waits for it go on from what was saved. It is stopped then.
    pub(crate) fn load(
        &mut self,
        file: BorrowedFd<'_>,
        patience: Duration,
    ) -> Result<(), QmpError> {
        let uri = self.hand_over(file)?;
        self.execute(&MigrateIncoming { uri }, PATIENCE)?;
        self.finish("migrate-incoming", patience)
    }

    fn hand_over(&mut self, file: BorrowedFd<'_>) -> Result<String, QmpError> {
        let leave_out = Capability { capability: "x-ignore-shared", state: true };
        let capabilities = vec![leave_out];
        self.execute(&MigrateSetCapabilities { capabilities }, PATIENCE)?;
        if self.takes_sets() {
            self.execute_with(&AddFd { fdset_id: SET }, file, PATIENCE)?;
            Ok(format!("file:/dev/fdset/{SET}"))
        } else {
            self.execute_with(&GetFd { fdname: NAME }, file, PATIENCE)?;
            Ok(format!("fd:{NAME}"))
        }
    }

    fn takes_sets(&self) -> bool {
        self.version() >= Version { major: 9, minor: 1, micro: 0 }
    }

    fn finish(&mut self, command: &'static str, patience: Duration) -> Result<(), QmpError> {
        let deadline = Instant::now() + patience;
        loop {
            let MigrationInfo { status, error } = self.execute(&QueryMigrate {}, PATIENCE)?;
            match status {
                Some(MigrationStatus::Completed) => break,
                Some(MigrationStatus::Failed | MigrationStatus::Cancelled) => {
                    let reason = error.as_deref().map_or("it failed".to_owned(), message::shown);
                    return Err(QmpError::Failed { command, reason });
                }
                Some(MigrationStatus::UnderWay) | None if Instant::now() < deadline => {
                    std::thread::sleep(ASK_EVERY);
                }
                Some(MigrationStatus::UnderWay) | None => return Err(QmpError::Late(command)),
            }
        }
        if self.takes_sets() {
            self.execute(&RemoveFd { fdset_id: SET }, PATIENCE)?;
        }
        Ok(())
    }
}
