//! Images leave: a sealed state written out as the recipe asks.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use umbra_api::build::Event;
use umbra_recipe::{Export, Format};
use umbra_store::{Lineage, Store};

use crate::error::{BuildError, system};
use crate::ports::EventSink;

/// Writes an export beside the recipe and reports it. What stood at its path is replaced only
/// once the new one is complete.
pub(crate) fn write(
    store: &Store,
    lineage: &Lineage,
    export: &Export,
    base_dir: &Path,
    sink: &dyn EventSink,
) -> Result<(), BuildError> {
    let started = Instant::now();
    let path = base_dir.join(&export.path);
    let partial = path.with_extension("partial");
    let doing = || format!("prepare {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(system(doing))?;
    }
    remove(&partial).map_err(system(doing))?;
    if let Err(error) = write_to(store, lineage, export, &partial, sink) {
        // The failure itself is what matters.
        let _ = remove(&partial);
        return Err(error);
    }
    let bytes = size_of(&partial).map_err(system(doing))?;
    remove(&path).map_err(system(doing))?;
    fs::rename(&partial, &path).map_err(system(doing))?;
    sink.emit(Event::Exported {
        format: format!("{:?}", export.format).to_lowercase(),
        path: path.display().to_string(),
        bytes,
        took_us: started.elapsed().as_micros() as u64,
    });
    Ok(())
}

/// Writes to a path where nothing is.
fn write_to(
    store: &Store,
    lineage: &Lineage,
    export: &Export,
    path: &Path,
    sink: &dyn EventSink,
) -> Result<(), BuildError> {
    let failed = |source| BuildError::Export { path: export.path.clone(), source };
    let doing = || format!("make {}", path.display());
    let state = lineage.last.state;
    let disk = match export.format {
        Format::Dir => {
            fs::create_dir(path).map_err(system(doing))?;
            return store.export_dir(state, path).map_err(failed);
        }
        Format::Tar => {
            let file = fs::File::create(path).map_err(system(doing))?;
            return store.export_tar(state, file).map(drop).map_err(failed);
        }
        Format::Oci => {
            fs::create_dir(path).map_err(system(doing))?;
            return store.export_oci_layout(lineage, path, "latest").map(drop).map_err(failed);
        }
        Format::Qcow2 => umbra_disk::Format::Qcow2,
        Format::Raw => umbra_disk::Format::Raw,
    };
    let file = fs::File::create(path).map_err(system(doing))?;
    let report = umbra_disk::write(store, state, &file, disk, export.size);
    let report = report.map_err(|source| BuildError::Disk { path: export.path.clone(), source })?;
    for message in report.warnings {
        sink.emit(Event::Warning { message: format!("{}: {message}", export.path) });
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn size_of(path: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    fs::read_dir(path)?.map(|entry| size_of(&entry?.path())).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use umbra_state::Tree;

    use super::*;

    #[derive(Default)]
    struct Said(Mutex<Vec<Event>>);

    impl EventSink for Said {
        fn emit(&self, event: Event) {
            self.0.lock().expect("nobody panicked").push(event);
        }
    }

    #[test]
    fn what_fails_half_way_leaves_what_stood_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&folder.path().join("store")).expect("a store");
        let lineage = Lineage::alone(store.put(&Tree::empty()).expect("kept"));
        let export = |format, path: &str| Export { format, path: path.into(), size: None };
        let said = Said::default();
        let write = |export| write(&store, &lineage, &export, folder.path(), &said);

        write(export(Format::Tar, "out/disk.raw")).expect("an archive");
        let before = fs::read(folder.path().join("out/disk.raw")).expect("there");
        let refused = write(export(Format::Raw, "out/disk.raw")).expect_err("no kernel");
        let refused = umbra_state::chain(&refused);
        assert!(refused.contains("out/disk.raw") && refused.contains("no kernel"), "{refused}");
        assert_eq!(fs::read(folder.path().join("out/disk.raw")).expect("there"), before);
        assert!(!folder.path().join("out/disk.partial").exists());
        let said = said.0.into_inner().expect("nobody panicked");
        assert!(matches!(&*said, [Event::Exported { format, .. }] if format == "tar"), "{said:?}");
    }
}
