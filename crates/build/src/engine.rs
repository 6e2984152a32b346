//! Starts builds and is the handle on each.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use umbra_api::build::{Answer, BuildPhase, BuildRequest, OnError};
use umbra_recipe::{Overrides, Recipe, base_dir};
use umbra_shadow::Shadow;
use umbra_shadow::sandbox::SandboxProvider;
use umbra_store::Store;
use umbra_suite::Test;

use crate::error::{BuildError, system};
use crate::pool::KeptShadow;
use crate::ports::{EventSink, Providers, StepCache};
use crate::session::{Input, Session};
use crate::steps::Current;

/// What all builds of a daemon share.
#[derive(Clone)]
pub struct Engine {
    pub(crate) store: Store,
    /// Make the shadows that tests run on.
    pub(crate) providers: Arc<dyn Providers>,
    /// Makes the workshops that steps run in.
    pub(crate) sandbox: Arc<SandboxProvider>,
}

/// A running build, or the remains of one that ended: the shadow it failed on is kept until
/// this is dropped. Dropping a running one cancels it and waits.
pub struct Build {
    inputs: Sender<Input>,
    current: Arc<Current>,
    ended: Mutex<Ended>,
}

enum Ended {
    Running(JoinHandle<Remains>),
    Done(Remains),
}

/// What is left when a build ended.
pub(crate) struct Remains {
    pub(crate) phase: BuildPhase,
    pub(crate) kept: Option<KeptShadow>,
    /// The layers that the kept shadow shows: dropped after it.
    pub(crate) _dir: Option<BuildDir>,
}

/// A build's own directory in the store, removed when dropped.
pub(crate) struct BuildDir {
    path: PathBuf,
}

/// What names of such directories begin with.
const BUILD_DIR_PREFIX: &str = "build-";

impl BuildDir {
    /// Makes an empty one; an older one of the same build is the remains of a killed daemon.
    pub(crate) fn make(store: &Store, build: u64) -> Result<Self, BuildError> {
        let dir = Self { path: store.layers_dir().join(format!("{BUILD_DIR_PREFIX}{build}")) };
        remove(&dir.path)
            .and_then(|()| std::fs::create_dir_all(&dir.path))
            .map_err(system(|| format!("make {}", dir.path.display())))?;
        Ok(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for BuildDir {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::error!(%error, path = %self.path.display(), "could not remove a directory");
        }
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what builds of a killed daemon left in the store. Only while no build runs.
pub fn remove_remains(store: &Store) -> Result<(), BuildError> {
    let layers = store.layers_dir();
    let doing = || format!("clean {}", layers.display());
    for entry in std::fs::read_dir(&layers).map_err(system(doing))? {
        let entry = entry.map_err(system(doing))?;
        if entry.file_name().to_string_lossy().starts_with(BUILD_DIR_PREFIX) {
            remove(&entry.path()).map_err(system(doing))?;
        }
    }
    Ok(())
}

/// A build's order, checked.
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) recipe: Recipe,
    pub(crate) tests: Vec<Test>,
    pub(crate) base_dir: PathBuf,
    pub(crate) on_error: OnError,
    pub(crate) no_cache: bool,
    /// How many steps are to run.
    pub(crate) end: usize,
    /// Seal an image when all is well: not when stopping early.
    pub(crate) seal: bool,
}

impl Engine {
    /// An engine over this store; shadows come from `providers`, workshops from `sandbox`.
    pub fn new(store: Store, providers: Arc<dyn Providers>, sandbox: Arc<SandboxProvider>) -> Self {
        Self { store, providers, sandbox }
    }

    /// Begins a build on threads of its own and returns at once; what happens later is an
    /// event.
    pub fn start(
        &self,
        id: u64,
        request: BuildRequest,
        sink: Arc<dyn EventSink>,
        cache: Arc<dyn StepCache>,
    ) -> Result<Build, BuildError> {
        let order = Order::check(id, &request)?;
        let (inputs, received): (Sender<Input>, Receiver<Input>) = channel();
        let current = Arc::new(Current::default());
        let session =
            Session::new(self.clone(), order, sink, cache, Arc::clone(&current), inputs.clone());
        let thread = std::thread::spawn(move || session.run(&received));
        Ok(Build { inputs, current, ended: Mutex::new(Ended::Running(thread)) })
    }
}

impl Order {
    fn check(id: u64, request: &BuildRequest) -> Result<Self, BuildError> {
        let path = Path::new(&request.recipe);
        let overrides: Overrides = request.vars.iter().cloned().collect();
        let recipe = umbra_recipe::load(path, &overrides).map_err(BuildError::Recipe)?;
        let base_dir = base_dir(path).to_owned();
        let tests = recipe.suite(&base_dir).map_err(BuildError::Suite)?;
        let end = match &request.until {
            None => recipe.steps.len(),
            Some(name) => {
                let index = recipe.step_index(name);
                index.ok_or_else(|| BuildError::Until(name.clone()))? + 1
            }
        };
        let on_error = request.on_error.unwrap_or(match recipe.on_error {
            umbra_recipe::OnError::Halt => OnError::Halt,
            umbra_recipe::OnError::Ask => OnError::Ask,
            umbra_recipe::OnError::Continue => OnError::Continue,
        });
        let (no_cache, seal) = (request.no_cache, request.until.is_none());
        Ok(Self { id, recipe, tests, base_dir, on_error, no_cache, end, seal })
    }
}

impl Build {
    /// Asks it to end at once; returns before it has.
    pub fn cancel(&self) {
        self.current.cancel();
        // A build that has ended needs no telling.
        let _ = self.inputs.send(Input::Cancel);
    }

    /// Answers an [`umbra_api::build::Event::Asked`]; false where the build has ended. An answer
    /// to no question is ignored.
    pub fn answer(&self, answer: Answer) -> bool {
        self.inputs.send(Input::Answer(answer)).is_ok()
    }

    /// Waits for its end.
    pub fn wait(&self) -> BuildPhase {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let broken = || Remains { phase: BuildPhase::Broken, kept: None, _dir: None };
        let before = std::mem::replace(&mut *ended, Ended::Done(broken()));
        let remains = match before {
            Ended::Running(thread) => thread.join().unwrap_or_else(|_| broken()),
            Ended::Done(remains) => remains,
        };
        let phase = remains.phase;
        *ended = Ended::Done(remains);
        phase
    }

    /// The shadow it failed on, if it ended so and keeps one. It shows what it showed as long as
    /// this build is not dropped.
    pub fn kept_shadow(&self) -> Option<Arc<dyn Shadow>> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        match &*ended {
            Ended::Done(Remains { kept: Some(kept), .. }) => Some(kept.shadow()),
            _ => None,
        }
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        self.cancel();
        self.wait();
    }
}
