//! Times the store's operations on a real tree: `measure DIR` captures it twice, puts, loads and
//! writes out its state, and captures an upper directory of 21 small files over it.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use umbra_store::{CaptureOptions, Store};

fn main() -> anyhow::Result<()> {
    let dir = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "/etc".into()));
    let folder = tempfile::tempdir()?;
    let store = Store::open(&folder.path().join("store"))?;
    let options = CaptureOptions::default();
    timed("capture, everything new", || Ok(store.capture_dir(&dir, &options)?))?;
    let tree = timed("capture, nothing new", || Ok(store.capture_dir(&dir, &options)?))?;
    println!("{:>10} entries", tree.entry_count());
    timed("id", || Ok(store.state_id(&tree)?))?;
    let id = timed("put", || Ok(store.put(&tree)?))?;
    timed("load", || Ok(store.load(id)?))?;
    let upper = folder.path().join("upper");
    fs::create_dir_all(upper.join("srv/app"))?;
    for number in 0..21 {
        fs::write(upper.join(format!("srv/app/file-{number}")), vec![number; 5333])?;
    }
    timed("capture an upper of 21 files", || Ok(store.capture_upper(&tree, &upper)?))?;
    timed("again", || Ok(store.capture_upper(&tree, &upper)?))?;
    let copy = folder.path().join("copy");
    fs::create_dir(&copy)?;
    timed("write out", || Ok(store.export_dir(id, &copy)?))?;
    timed("check", || Ok(store.fsck()?))?;
    timed("set a ref (with sync)", || Ok(store.set_ref("measured", id)?))?;
    Ok(())
}

fn timed<T>(what: &str, run: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    let done = run()?;
    println!("{:>10.1} ms  {what}", start.elapsed().as_secs_f64() * 1000.0);
    Ok(done)
}
