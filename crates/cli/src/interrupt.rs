//! Ctrl-C while a build is followed.

use std::sync::mpsc::Sender;

use tokio::signal::unix::{SignalKind, signal};

/// Sends `message` at every SIGINT, SIGTERM or SIGHUP from now on, which no longer end the
/// process by themselves. False where that could not be arranged.
pub(crate) fn watch<T: Clone + Send + 'static>(sender: Sender<T>, message: T) -> bool {
    let (ready, wait) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("umbra-signals".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
                return;
            };
            // Whoever waits is there until it is told.
            let _ = ready.send(());
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                if sender.send(message.clone()).is_err() {
                    return;
                }
            }
        });
    });
    thread.is_ok() && wait.recv().is_ok()
}
