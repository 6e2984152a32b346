//! An overlay that is written to, layer after layer, as a build does.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use umbra_state::Tree;
use umbra_store::overlay::{Base, Layers, Mounter, Writable, attach};

use super::{Mounted, Temp, assert_same};

pub struct Overlay {
    pub temp: Temp,
    /// What the layers below show.
    pub parent: Tree,
    lower: Layers,
    layer: PathBuf,
    mounted: Option<Mounted>,
    layers: usize,
    mounter: Mounter,
}

impl Overlay {
    /// An overlay over a state of what `fill` makes.
    pub fn over(fill: impl FnOnce(&Path)) -> Self {
        super::own_mounts();
        Self::over_in(Temp::new(), Mounter::new(), fill)
    }

    /// The same in this place, mounted in one of the ways there are.
    pub fn over_in(temp: Temp, mounter: Mounter, fill: impl FnOnce(&Path)) -> Self {
        let source = temp.dir("source");
        temp.dir("merged");
        temp.dir("scratch");
        fill(&source);
        let parent = temp.capture(&source);
        let id = temp.store.put(&parent).unwrap();
        let (image, objects) = (temp.store.image_path(id), temp.store.objects_dir());
        let lower = Layers::of(Base::Image { image, objects });
        let layer = temp.folder.path().to_owned();
        let mut overlay = Self { temp, parent, lower, layer, mounted: None, layers: 0, mounter };
        overlay.start_layer();
        overlay
    }

    pub fn merged(&self) -> PathBuf {
        self.temp.folder.path().join("merged")
    }

    pub fn upper(&self) -> PathBuf {
        self.layer.join("upper")
    }

    fn start_layer(&mut self) {
        self.layer = self.temp.dir(&format!("layer-{}", self.layers));
        self.layers += 1;
        fs::create_dir(self.upper()).unwrap();
        fs::create_dir(self.layer.join("work")).unwrap();
        // The root directory of an upper layer is the root of what is shown.
        let root = &self.parent.root.meta;
        let (upper, nanos) = (self.upper(), u64::try_from(root.mtime.sec).unwrap() * 1_000_000_000);
        let time = UNIX_EPOCH + Duration::from_nanos(nanos + u64::from(root.mtime.nsec));
        fs::set_permissions(&upper, fs::Permissions::from_mode(root.mode.into())).unwrap();
        let times = fs::FileTimes::new().set_modified(time);
        fs::File::open(&upper).unwrap().set_times(times).unwrap();
        self.mount();
        // Every name of a hard link goes up first, so that writing to one reaches all.
        for path in self.parent.links().into_values().flatten() {
            let path = self.merged().join(OsStr::from_bytes(&path));
            let found = fs::symlink_metadata(&path).unwrap();
            std::os::unix::fs::lchown(&path, Some(found.uid()), Some(found.gid())).unwrap();
        }
    }

    fn mount(&mut self) {
        let (upper, work) = (self.upper(), self.layer.join("work"));
        let writable = Writable::dirs(&upper, &work).unwrap();
        let scratch = self.temp.folder.path().join("scratch");
        let root = self.mounter.mount(&self.lower, None, Some(writable), &scratch, None).unwrap();
        attach(&root, &self.merged()).unwrap();
        self.mounted = Some(Mounted(self.merged()));
    }

    pub fn remount(&mut self) {
        self.mounted = None;
        // What a volatile overlay leaves so that nobody trusts it after a crash.
        let _ = fs::remove_dir_all(self.layer.join("work/work/incompat"));
        self.mount();
    }

    /// Captures the upper directory, proves it against what is shown, and goes on in a new
    /// layer above it.
    pub fn next_layer(&mut self) {
        self.parent = self.check();
        self.mounted = None;
        self.lower = self.lower.with_upper(self.upper());
        self.start_layer();
    }

    /// Proves that the upper directory, read over the parent, is what is shown.
    ///
    /// It is shown by a fresh mount: a live one gives the names of one inode different inode
    /// numbers when a link was made to a file of a lower filesystem other than the upper's.
    #[track_caller]
    pub fn check(&mut self) -> Tree {
        self.remount();
        let shown = self.temp.capture(&self.merged());
        let store = &self.temp.store;
        let captured = store.capture_upper(&self.parent, &self.upper()).unwrap();
        assert_same(store, &shown, &captured, "shown, and captured from the upper directory");
        captured
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        self.mounted = None;
    }
}
