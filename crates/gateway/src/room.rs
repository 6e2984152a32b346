//! Memory that everything copied from production's path shares, a permit a byte.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is taken of it until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Room(Option<OwnedSemaphorePermit>);

impl Room {
    /// So much of `memory`, if there is as much. Never waits.
    pub(crate) fn of(memory: &Arc<Semaphore>, bytes: usize) -> Option<Self> {
        let mut room = Self::default();
        room.take(memory, bytes).then_some(room)
    }

    /// Takes so much more of `memory`, always the same; false where there is not as much. Never
    /// waits.
    pub(crate) fn take(&mut self, memory: &Arc<Semaphore>, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).ok();
        let more = bytes.and_then(|many| Arc::clone(memory).try_acquire_many_owned(many).ok());
        match (&mut self.0, more) {
            (_, None) => return false,
            (Some(all), Some(more)) => all.merge(more),
            (none, more) => *none = more,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let memory = Arc::new(Semaphore::new(10));
        let mut room = Room::default();
        assert!(room.take(&memory, 3) && room.take(&memory, 4));
        assert!(!room.take(&memory, 4) && !room.take(&memory, usize::MAX));
        assert_eq!(memory.available_permits(), 3);
        drop(room);
        assert_eq!(memory.available_permits(), 10);
    }
}
