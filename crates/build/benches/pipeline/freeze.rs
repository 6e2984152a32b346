//! A test's failure to the build standing still.

use std::time::{Duration, Instant};

use umbra_shadow::provider::Limits;
use umbra_shadow::sandbox::WorkshopSpec;
use umbra_state::Command;

use crate::Failure;
use crate::place::Place;
use crate::stats::Samples;
use crate::tree;

const ROUNDS: usize = 100;

/// A step that never stops working; a test that fails; the clock runs from the moment the test's
/// end is known until the kernel says that the step stands still.
pub(crate) fn freeze() -> Result<(), Failure> {
    let place = Place::new()?;
    let root = place.path("root");
    tree::make(&root, 300)?;
    let known = place.ingest(&root)?;
    let shadow = place.shadow("tested", &known.layers)?;
    let spec = WorkshopSpec { name: "step".into(), limits: Limits::default(), network: false };
    let workshop = place.provider.workshop(&spec)?;
    let stage = workshop.stage(&known.layers, &place.path("step"), &[])?;
    let mut samples = Samples::default();
    std::thread::scope(|scope| -> Result<(), Failure> {
        let (begun, begins) = std::sync::mpsc::channel();
        let step = scope.spawn(move || {
            let busy = Command::shell("echo busy; while :; do cat /etc/passwd >/srv/app/x; done");
            // Killed at the end: how it ended says nothing.
            let _ = stage.run(&busy, &|_| {
                let _ = begun.send(());
            });
        });
        let measured = begins.recv().map_err(|_| "the step did not begin".into()).and_then(|()| {
            for _ in 0..ROUNDS {
                let output = shadow.run(&Command::new(["false"]))?;
                let failed = Instant::now();
                if output.exit.success() {
                    return Err("the failing test passed".into());
                }
                workshop.freeze()?;
                samples.add(failed.elapsed());
                workshop.thaw()?;
            }
            Ok(())
        });
        let killed = workshop.kill();
        step.join().map_err(|_| "the step's thread panicked")?;
        measured.and(killed.map_err(Into::into))
    })?;
    samples.print("failing test has ended -> build frozen", Some(Duration::from_millis(20)), None);
    shadow.destroy()?;
    Ok(())
}
