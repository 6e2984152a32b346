//! Runs one step on a root of its own and leaves its upper directory: the delta.

mod place;
mod script;
mod secrets;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use umbra_recipe::{Action, Step};
use umbra_shadow::ShadowError;
use umbra_shadow::provider::Limits;
use umbra_shadow::sandbox::{Bind, Finished, SandboxProvider, Workshop, WorkshopSpec};
use umbra_state::escape::escape_output;
use umbra_state::{Exit, Tree};
use umbra_store::overlay::{Layers, settle_links};

use crate::error::{BuildError, system};

/// How much of a step's output is kept for a failure.
const OUTPUT_KEPT_BYTES: usize = 16 << 10;

/// Where the steps of one build run.
pub(crate) struct Steps<'a> {
    pub(crate) sandbox: &'a SandboxProvider,
    /// The recipe's directory.
    pub(crate) base_dir: &'a Path,
    /// This build's own directory, on the store's filesystem.
    pub(crate) dir: &'a Path,
    /// Directories that survive builds, for `cache:`.
    pub(crate) cache_dir: &'a Path,
    /// The name of the build's workshops.
    pub(crate) name: &'a str,
    /// The workshop that runs something now, for whoever must stop it.
    pub(crate) current: &'a Current,
}

/// What came of a step.
pub(crate) struct StepEnd {
    pub(crate) exit: Exit,
    pub(crate) took: Duration,
    /// When its last process had ended.
    pub(crate) ended_at: Instant,
    /// What it wrote.
    pub(crate) upper: PathBuf,
    /// The end of what it printed, escaped.
    pub(crate) output: String,
}

impl Steps<'_> {
    /// Runs a step on `layers`. `on_output` gets what it prints, escaped; `parent` is asked for
    /// the files below only if hard links were written to.
    pub(crate) fn run(
        &self,
        index: usize,
        step: &Step,
        layers: &Layers,
        parent: impl FnOnce() -> Tree,
        on_output: &(dyn Fn(String) + Sync),
    ) -> Result<StepEnd, BuildError> {
        let started = Instant::now();
        let network = needs_network(step);
        let workshop = self.sandbox.workshop(&WorkshopSpec {
            name: format!("{}-{index}", self.name),
            limits: Limits::default(),
            network,
        })?;
        let workshop = self.current.begin(workshop)?;
        let mut secrets = secrets::Secrets::take(step, self.base_dir)?;
        let binds = self.binds(step, network, &secrets)?;
        let stage_dir = self.dir.join(format!("step-{index}"));
        remove_if_there(&stage_dir)?;
        let stage = workshop.stage(layers, &stage_dir, &binds)?;
        secrets.unname();
        let tail = Tail::default();
        let exit = match &step.action {
            Action::Run(_) | Action::Packages(_) => {
                let command = script::command(step);
                let output = stage.run(&command, &|bytes| {
                    let text = escape_output(bytes).to_string();
                    tail.push(&text);
                    on_output(text);
                })?;
                output.exit
            }
            Action::Copy(copy) => {
                let inputs = step
                    .inputs(self.base_dir)
                    .map_err(|source| BuildError::Inputs { step: step.name.clone(), source })?;
                let result = place::copy(&stage.root()?, copy, &inputs, self.base_dir);
                tail.outcome(result, on_output)
            }
            Action::Write(write) => tail.outcome(place::write(&stage.root()?, write), on_output),
        };
        let finished = stage.finish()?;
        secrets.remove_mountpoints(&finished.root);
        settle_links(&finished.root, &finished.work, parent)?;
        let ended_at = Instant::now();
        let Finished { upper, .. } = finished;
        self.current.end();
        Ok(StepEnd { exit, took: started.elapsed(), ended_at, upper, output: tail.into_text() })
    }

    fn binds(
        &self,
        step: &Step,
        network: bool,
        secrets: &secrets::Secrets,
    ) -> Result<Vec<Bind>, BuildError> {
        let mut binds = secrets.binds();
        if network {
            for name in ["/etc/resolv.conf", "/etc/hosts"] {
                if let Ok(source) = std::fs::canonicalize(name) {
                    binds.push(Bind {
                        source,
                        target: name.to_owned(),
                        read_only: true,
                        required: false,
                    });
                }
            }
        }
        for path in &step.cache {
            let source = self.cache_dir.join(path.trim_matches('/').replace('/', "-"));
            std::fs::create_dir_all(&source)
                .map_err(system(|| format!("make cache {}", source.display())))?;
            binds.push(Bind { source, target: path.clone(), read_only: false, required: true });
        }
        Ok(binds)
    }
}

/// Scripts and packages reach the network unless the recipe says otherwise.
fn needs_network(step: &Step) -> bool {
    let by_default = matches!(step.action, Action::Run(_) | Action::Packages(_));
    step.network.unwrap_or(by_default)
}

fn remove_if_there(dir: &Path) -> Result<(), BuildError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(system(|| format!("remove {}", dir.display()))(error))
        }
        _ => Ok(()),
    }
}

/// The workshop in which a step runs now, shared with whoever freezes or ends the build.
#[derive(Default)]
pub(crate) struct Current {
    inner: Mutex<CurrentInner>,
}

#[derive(Default)]
struct CurrentInner {
    workshop: Option<std::sync::Arc<Workshop>>,
    frozen: bool,
    stopped: bool,
    cancelled: bool,
}

impl Current {
    fn begin(&self, workshop: Workshop) -> Result<std::sync::Arc<Workshop>, ShadowError> {
        let workshop = std::sync::Arc::new(workshop);
        let mut inner = self.lock();
        if inner.stopped {
            return Err(ShadowError::Gone("the build's workshop".to_owned()));
        }
        if inner.frozen {
            workshop.freeze()?;
        }
        inner.workshop = Some(std::sync::Arc::clone(&workshop));
        Ok(workshop)
    }

    fn end(&self) {
        self.lock().workshop = None;
    }

    /// Stops the running step where it stands, and any that would begin.
    pub(crate) fn freeze(&self) -> Result<(), ShadowError> {
        let mut inner = self.lock();
        inner.frozen = true;
        inner.workshop.as_ref().map_or(Ok(()), |workshop| workshop.freeze())
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) -> Result<(), ShadowError> {
        let mut inner = self.lock();
        inner.frozen = false;
        inner.workshop.as_ref().map_or(Ok(()), |workshop| workshop.thaw())
    }

    /// Lets steps begin again after [`Current::stop`]; false once the build was cancelled.
    pub(crate) fn restart(&self) -> bool {
        let mut inner = self.lock();
        if !inner.cancelled {
            *inner = CurrentInner::default();
        }
        !inner.cancelled
    }

    /// Ends the running step for good.
    pub(crate) fn cancel(&self) {
        self.lock().cancelled = true;
        self.stop();
    }

    /// Whether [`Current::cancel`] was called.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Ends the running step; none begins until [`Current::restart`].
    pub(crate) fn stop(&self) {
        let mut inner = self.lock();
        inner.stopped = true;
        if let Some(workshop) = &inner.workshop
            && let Err(error) = workshop.kill()
        {
            tracing::error!(%error, "could not end a step");
        }
    }

    /// Whether [`Current::stop`] was called.
    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CurrentInner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The end of a step's output.
#[derive(Default)]
struct Tail {
    text: Mutex<String>,
}

impl Tail {
    fn push(&self, more: &str) {
        let mut text = self.text.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        text.push_str(more);
        if text.len() > 2 * OUTPUT_KEPT_BYTES {
            let mut cut = text.len() - OUTPUT_KEPT_BYTES;
            while !text.is_char_boundary(cut) {
                cut += 1;
            }
            text.drain(..cut);
        }
    }

    /// A file operation's result as an exit: its reason is the step's output.
    fn outcome(
        &self,
        result: Result<(), place::PlaceError>,
        on_output: &(dyn Fn(String) + Sync),
    ) -> Exit {
        match result {
            Ok(()) => Exit::Code(0),
            Err(error) => {
                let text = format!("failed to {}\n", error.chain());
                self.push(&text);
                on_output(text);
                Exit::Code(1)
            }
        }
    }

    fn into_text(self) -> String {
        self.text.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
