//! Room for recursion over deep trees.
//!
//! A tree may be [`DEPTH_MAX`] directories deep, and a caller's thread may have little stack
//! left. Whatever walks a tree recursively runs here.

use std::sync::Mutex;
use std::thread;

/// How many directories deep a tree may be. Deeper ones are refused with an error: nothing
/// real is, and a hostile archive must not overflow a stack.
pub const DEPTH_MAX: usize = 1024;

/// Address space only: pages are allocated as they are touched.
const STACK_BYTES: usize = 64 << 20;

/// Runs `work` on a thread with a large stack, or on this one where no thread can be had.
pub(crate) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = Mutex::new(Some(work));
    let run = || {
        let work = work.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        work.map(|work| work())
    };
    let done = thread::scope(|scope| {
        let builder = thread::Builder::new().name("umbra-store".to_owned()).stack_size(STACK_BYTES);
        match builder.spawn_scoped(scope, run) {
            Ok(handle) => handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => run(),
        }
    });
    match done {
        Some(done) => done,
        None => unreachable!("the work is taken exactly once"),
    }
}
