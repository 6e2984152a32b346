//! A state to the first command in a new sandbox, one by one and many at once.

use std::fs;
use std::time::{Duration, Instant};

use umbra_shadow::Provider;
use umbra_store::overlay::Layers;

use crate::Failure;
use crate::place::{Place, must_run};
use crate::stats::{Samples, print_one};
use crate::tree;

const ROUNDS: usize = 200;
const AT_ONCE: usize = 200;

/// Between two shadows of a quiet hour: what can be made ahead has been.
const APART: Duration = Duration::from_millis(50);

/// See the module.
pub(crate) fn sandboxes() -> Result<(), Failure> {
    let place = Place::new()?;
    let root = place.path("root");
    tree::make(&root, tree::ENTRIES)?;
    let known = place.ingest(&root)?;
    // The bridge belongs to the first shadow that needs it and stays while one does.
    let holder = place.shadow("holder", &known.layers)?;
    let goal = Some(Duration::from_millis(5));
    let (started, removed) = one_by_one(&place, &known.layers, APART)?;
    started.print("state -> first command in a new sandbox has ended", goal, None);
    removed.print("its removal", None, None);
    let (started, _) = one_by_one(&place, &known.layers, Duration::ZERO)?;
    started.print("the same without a pause: none is made ahead in time", None, None);
    many(&place, &known.layers)?;
    holder.destroy()?;
    let left = remains(&place)?;
    println!(
        "  left behind: {}",
        if left.is_empty() { "nothing".to_owned() } else { left.join(", ") }
    );
    Ok(())
}

/// A shadow at a time, `pause` after the one before was gone.
fn one_by_one(
    place: &Place,
    layers: &Layers,
    pause: Duration,
) -> Result<(Samples, Samples), Failure> {
    let (mut started, mut removed) = (Samples::default(), Samples::default());
    for round in 0..ROUNDS {
        std::thread::sleep(pause);
        let began = Instant::now();
        let shadow = place.shadow(&format!("one-{round}"), layers)?;
        must_run(&*shadow, &["true"])?;
        started.add(began.elapsed());
        let began = Instant::now();
        shadow.destroy()?;
        removed.add(began.elapsed());
    }
    Ok((started, removed))
}

fn many(place: &Place, layers: &Layers) -> Result<(), Failure> {
    let began = Instant::now();
    let mut shadows = Vec::new();
    for number in 0..AT_ONCE {
        let shadow = place.shadow(&format!("many-{number}"), layers)?;
        must_run(&*shadow, &["true"])?;
        shadows.push(shadow);
    }
    let goal = Some(Duration::from_secs(5));
    print_one(
        &format!("{AT_ONCE} sandboxes of one state, a command run in each"),
        began.elapsed(),
        goal,
    );
    let began = Instant::now();
    for shadow in &shadows {
        shadow.destroy()?;
    }
    print_one("their removal, one after the other", began.elapsed(), None);
    Ok(())
}

/// What should be gone; the provider empties its trash by and by.
fn remains(place: &Place) -> Result<Vec<String>, Failure> {
    let mut left = place.provider.list()?;
    for entry in fs::read_dir(place.path("shadows"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_ahead = name.starts_with("warm.");
        if name != "lock" && name != ".trash" && !is_ahead {
            left.push(name);
        }
    }
    Ok(left)
}
