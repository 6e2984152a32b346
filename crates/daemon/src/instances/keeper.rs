//! All instances of a keeper: what is there, by name, and what of it is written down.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use umbra_api::error::WireError;
use umbra_shadow::Provider;
use umbra_shadow::provider::Init;
use umbra_store::Store;

use super::attended::ServiceLog;
use super::ground::Ground;
use super::held::Held;
use super::journal::Journal;
use super::refusal::{another, ending, nothing_runs, too_many, unknown};
use super::{Instance, InstanceSpec, Instances};
use crate::http::shadow_error;

/// How many instances there may be.
const INSTANCES_MAX: usize = 256;

/// See the module. Dropping it ends all of them; what is wanted stays written down.
pub struct Keeper {
    ground: Arc<Ground>,
    journal: Journal,
    table: Mutex<Table>,
}

struct Table {
    held: BTreeMap<String, Arc<Held>>,
    /// Since when there is none.
    empty_since: Instant,
    /// Nothing is begun any more.
    closing: bool,
}

impl Keeper {
    /// Begins with the instances that `dir` says are wanted, in which it writes alone.
    ///
    /// # Errors
    /// What is written there cannot be read, or the store cannot be used.
    pub fn open(dir: &Path, provider: Arc<dyn Provider>, store: Store) -> Result<Self, WireError> {
        let journal = Journal::of(dir);
        let ground = Arc::new(Ground::new(provider, store));
        let wanted = journal.read()?;
        let states: Vec<_> =
            wanted.iter().map(|wanted| (wanted.spec.name.clone(), wanted.spec.state)).collect();
        ground.settle(&states)?;
        let mut held = BTreeMap::new();
        for wanted in wanted {
            let name = wanted.spec.name.clone();
            tracing::info!(instance = name, "beginning an instance again");
            held.insert(name, Held::resume(wanted, &ground)?);
        }
        let table = Table { held, empty_since: Instant::now(), closing: false };
        Ok(Self { ground, journal, table: Mutex::new(table) })
    }

    /// What an instance's services printed last, so much of each.
    ///
    /// # Errors
    /// There is no such instance.
    pub fn logs(&self, name: &str, bytes_max: u64) -> Result<Vec<ServiceLog>, WireError> {
        Ok(self.find(name)?.logs(bytes_max))
    }

    /// Begins an instance anew, on a fresh view at the same address, and returns when it is ready.
    ///
    /// # Errors
    /// There is no such instance, or it does not become ready: then it is tried again.
    pub fn restart(&self, name: &str) -> Result<Instance, WireError> {
        let held = self.find(name)?;
        held.again();
        held.await_begun()?;
        Ok(held.instance())
    }

    /// Ends all instances, none of which is wanted any more; says which there were. Nothing is
    /// begun after that.
    ///
    /// # Errors
    /// It could not be written down: then all are there as before.
    pub fn stop_all(&self) -> Result<Vec<String>, WireError> {
        let mut table = self.lock();
        self.journal.write(Vec::new())?;
        table.closing = true;
        let held = std::mem::take(&mut table.held);
        drop(table);
        end(&held);
        held.keys().for_each(|name| self.ground.release(name));
        Ok(held.into_keys().collect())
    }

    /// Ends all instances, which are begun again by the next keeper.
    pub fn close(&self) {
        let mut table = self.lock();
        table.closing = true;
        let held = std::mem::take(&mut table.held);
        drop(table);
        end(&held);
    }

    /// Whether nothing is begun any more; after so long without an instance, nothing is.
    pub fn is_over(&self, idle: Duration) -> bool {
        let mut table = self.lock();
        table.closing |= table.held.is_empty() && table.empty_since.elapsed() >= idle;
        table.closing
    }

    fn find(&self, name: &str) -> Result<Arc<Held>, WireError> {
        self.lock().held.get(name).cloned().ok_or_else(|| unknown(name))
    }

    /// The one of this name, or a new one.
    fn held(&self, spec: &InstanceSpec) -> Result<Arc<Held>, WireError> {
        let mut table = self.lock();
        table.check_open()?;
        if let Some(held) = table.held.get(&spec.name) {
            let same = held.spec().is_same(spec);
            return if same { Ok(Arc::clone(held)) } else { Err(another(&spec.name)) };
        }
        if table.held.len() >= INSTANCES_MAX {
            return Err(too_many(&spec.name, INSTANCES_MAX));
        }
        self.ground.keep(spec)?;
        let held = Held::begin(spec.clone(), &self.ground);
        let held = held.inspect_err(|_| self.ground.release(&spec.name))?;
        table.held.insert(spec.name.clone(), Arc::clone(&held));
        Ok(held)
    }

    /// Ends one and takes it out.
    fn remove(&self, held: &Arc<Held>) -> Result<(), WireError> {
        let removed = held.end();
        held.ended();
        self.forget(held);
        removed.map_err(|error| shadow_error(&error))
    }

    /// Takes one out of which nothing is left.
    fn forget(&self, held: &Arc<Held>) {
        let name = &held.spec().name;
        let mut table = self.lock();
        if table.held.get(name).is_some_and(|known| Arc::ptr_eq(known, held)) {
            table.remove(name);
            self.ground.release(name);
        }
    }

    /// Writes down what is wanted.
    fn write(&self, table: &Table) -> Result<(), WireError> {
        self.write_without(table, None)
    }

    fn write_without(&self, table: &Table, without: Option<&str>) -> Result<(), WireError> {
        let kept = table.held.iter().filter(|(name, _)| Some(name.as_str()) != without);
        self.journal.write(kept.filter_map(|(_, held)| held.wanted()).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table is consistent between any two statements.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Refuses what a keeper that ends would not do, or not write down.
    fn check_open(&self) -> Result<(), WireError> {
        if !self.closing {
            return Ok(());
        }
        Err(ending())
    }

    fn remove(&mut self, name: &str) {
        self.held.remove(name);
        self.empty_since = Instant::now();
    }
}

impl Instances for Keeper {
    fn start(&self, spec: &InstanceSpec) -> Result<Instance, WireError> {
        spec.check()?;
        if spec.startup.services.is_empty() && spec.startup.init == Init::Small {
            return Err(nothing_runs(&spec.name));
        }
        let held = self.held(spec)?;
        if let Err(error) = held.await_begun() {
            self.lock().check_open()?;
            if held.wanted().is_none() {
                held.ended();
                self.forget(&held);
            }
            return Err(error);
        }
        // What is answered is written down, and what cannot be is not there.
        let table = self.lock();
        table.check_open()?;
        let Err(error) = self.write(&table) else { return Ok(held.instance()) };
        drop(table);
        self.remove(&held)?;
        Err(error)
    }

    fn stop(&self, name: &str) -> Result<(), WireError> {
        let table = self.lock();
        table.check_open()?;
        let Some(held) = table.held.get(name).cloned() else { return Ok(()) };
        self.write_without(&table, Some(name))?;
        // Before anybody else writes down what is wanted.
        held.is_to_end();
        drop(table);
        self.remove(&held)
    }

    fn list(&self) -> Result<Vec<Instance>, WireError> {
        Ok(self.lock().held.values().map(|held| held.instance()).collect())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.close();
    }
}

/// All at once: each takes its time to end.
fn end(held: &BTreeMap<String, Arc<Held>>) {
    for held in held.values() {
        if let Err(error) = held.end() {
            let instance = &held.spec().name;
            tracing::error!(instance, %error, "something of an instance could not be removed");
        }
    }
    held.values().for_each(|held| held.ended());
}
