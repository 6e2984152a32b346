//! Primaries under care: each has a desk on a thread of its own.
//!
//! | module | holds |
//! |---|---|
//! | `desk` | where everything about one primary arrives and is decided |
//! | [`agents`], [`ssh`] | agents of this machine and of others, and how they are started |
//! | `line`, `pulse`, `admission` | speaking with one, whether it lives, what it may say |
//! | `outgoing`, `sinks` | alerts on their way, and where to |
//! | `counts` | what is counted and survives a restart |
//! | `subject` | primaries as rehearsals need them |
//! | `timeline`, `shelf` | historical shadows, and how the database keeps them |
//! | `feed` | what happened, in the order in which it is committed |

mod admission;
pub mod agents;
mod counts;
mod desk;
pub(crate) mod feed;
mod line;
pub(crate) mod outgoing;
mod pulse;
mod scratch;
mod shelf;
pub(crate) mod sinks;
pub mod ssh;
mod subject;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use umbra_api::error::{ErrorCode, WireError};
use umbra_drift::collect::Place;
use umbra_drift::config::{self, Config};
use umbra_drift::metrics::Standing;
use umbra_drift::remote::Remote;
use umbra_drift::service::{
    AcceptReply, AcceptRequest, AddPrimary, Blame, By, DriftReply, Forecast, Phase, PrimaryInfo,
    RollbackInfo, RollbackReply, RollbackRequest, ShadowDiff, ShadowEntry, TakeShadow,
};
use umbra_drift::wire::{self, Say, Tell};
use umbra_drift::{defaults, history};
use umbra_rehearse::service::{RehearseReply, RehearseRequest};

use self::agents::Agents;
pub use self::desk::Pace;
use self::desk::{Answer, Desk, Given, Input, Task};
use self::feed::Feed;
use self::line::Undone;
pub(crate) use self::subject::Stages;
use crate::clock::now_ms;
use crate::db::drift::{DriftWrite, PrimaryRow, ShadowRow};
use crate::db::{Db, Writer};

/// What waits at a desk; who brings more waits.
const INBOX: usize = 256;
/// Changes looked at to answer who did something.
const BLAMED_MAX: u32 = 200;
/// Changes looked at to find what one deed did besides.
const AROUND_MAX: u32 = 2_000;

/// How long an agent may take to say what another machine has, or to forget what it remembers.
const ONCE: Duration = Duration::from_secs(60);
/// A root directory's path on another machine.
const ROOT_BYTES_MAX: usize = 1024;

/// All primaries.
pub struct Primaries {
    db: Db,
    runtime: Handle,
    feed: Arc<Feed>,
    agents: Arc<dyn Agents>,
    /// Where agents of this machine keep what they remember, one directory each.
    state_dir: PathBuf,
    rollbacks: Arc<AtomicU64>,
    stages: Arc<Stages>,
    pace: Pace,
    desks: Mutex<BTreeMap<String, Kept>>,
    /// Nobody waits for agents of other machines any more.
    closing: AtomicBool,
}

struct Kept {
    inbox: SyncSender<Input>,
    info: Arc<Mutex<PrimaryInfo>>,
    thread: Option<JoinHandle<()>>,
}

impl Primaries {
    /// All the database knows, each at its desk. Blocking.
    pub(crate) fn open(
        db: Db,
        writer: Arc<Writer>,
        runtime: Handle,
        agents: Arc<dyn Agents>,
        state_dir: PathBuf,
        stages: Stages,
        pace: Pace,
    ) -> Result<Self, WireError> {
        let next = runtime.block_on(db.next_drift_event())?;
        let rows = runtime.block_on(db.primaries())?;
        let feed = Arc::new(Feed::new(writer, next));
        let rollbacks = Arc::new(AtomicU64::new(runtime.block_on(db.next_rollback())?));
        let (stages, desks) = (Arc::new(stages), Mutex::default());
        let closing = AtomicBool::new(false);
        let all =
            Self { db, runtime, feed, agents, state_dir, rollbacks, stages, pace, desks, closing };
        for row in rows {
            let config = parsed(row.config_path.as_deref(), &row.config)?;
            all.seat(row, config, None, None)?;
        }
        Ok(all)
    }

    /// Takes a machine under care: reads all its parameters, keeps that as its first shadow and
    /// begins to watch. Blocking.
    pub fn add(&self, request: AddPrimary) -> Result<PrimaryInfo, WireError> {
        let AddPrimary { name, root, remote, image, config } = request;
        check_name(&name)?;
        if let Some(remote) = &remote {
            remote.check().map_err(|why| {
                let message = format!("reach {name} by ssh: {why}");
                WireError::new(ErrorCode::BadRequest, message)
            })?;
        }
        let root = match &remote {
            None => root.map(|root| real_root(&root)).transpose()?,
            Some(_) => root.map(root_there).transpose()?,
        };
        let (config_path, text, copied) = match config {
            Some(config) => (Some(config.path), config.text, None),
            None => {
                let (text, copied) = match &remote {
                    None => (surveyed(root.as_deref())?, None),
                    Some(remote) => self.surveyed_there(&name, remote, root.clone())?,
                };
                (None, text, copied)
            }
        };
        let config = parsed(config_path.as_deref(), &text)?;
        let added_at_ms = now_ms();
        let row = PrimaryRow {
            name,
            root,
            remote,
            image,
            config_path,
            config: text,
            good: 0,
            added_at_ms,
        };
        let (answer, added) = oneshot::channel();
        let name = row.name.clone();
        self.seat(row, config, copied, Some(answer))?;
        let added = self.runtime.block_on(added).unwrap_or_else(|_| Err(closed(&name)));
        if added.is_err() {
            let info = self.unseat(&name);
            // Nothing is left of what was said until then.
            self.feed.send(&name, vec![DriftWrite::Forget(name.clone())], Vec::new())?;
            // Where no agent ever ran nothing was remembered.
            if let Some(info) = info.filter(|info| info.agent.is_some())
                && let Err(error) = self.forget(&info)
            {
                tracing::warn!(primary = name, %error, "what an agent remembered is left");
            }
        }
        added
    }

    /// What is worth watching on another machine, and what was copied there to find out.
    fn surveyed_there(
        &self,
        name: &str,
        remote: &Remote,
        root: Option<String>,
    ) -> Result<(String, Option<u64>), WireError> {
        let failed = |why: String| {
            WireError::new(ErrorCode::Environment, format!("look what {name} has: {why}"))
        };
        let say = Say::Survey { version: wire::VERSION, root };
        let told = line::once(&*self.agents, Some(remote), &say, ONCE, &self.closing);
        let told = told.map_err(|why| failed(why.to_string()))?;
        match told {
            (Tell::Surveyed(survey), there) => {
                let copied = there.and_then(|there| there.copied_bytes);
                Ok((defaults::configuration(&survey), copied))
            }
            _ => Err(failed("its agent says something else".to_owned())),
        }
    }

    /// Has an agent remove what a primary's agent remembered, wherever that is.
    fn forget(&self, info: &PrimaryInfo) -> Result<(), Undone> {
        let remote = info.remote.as_ref();
        let state_dir = self.remembers(&info.name, remote, info.added_at_ms);
        let say = Say::Forget { version: wire::VERSION, state_dir };
        line::once(&*self.agents, remote, &say, ONCE, &self.closing).map(drop)
    }

    /// Where a primary's agent keeps what it remembers. On another machine daemons do not know
    /// of each other: the time tells their primaries of one name apart.
    fn remembers(&self, name: &str, remote: Option<&Remote>, added_at_ms: i64) -> String {
        match remote {
            None => self.state_dir.join(name).display().to_string(),
            Some(remote) => format!("{}/primaries/{name}-{added_at_ms}", remote.dir()),
        }
    }

    /// Lets go of a primary and everything that is known of it, unless a rollback of it is not
    /// over. Blocking.
    pub fn remove(&self, name: &str) -> Result<(), WireError> {
        self.ask(name, Task::LetGo)?;
        let info = self.unseat(name).ok_or_else(|| unknown(name))?;
        let message = format!("let go of {name}");
        let kept = match self.forget(&info) {
            Ok(()) => None,
            // A machine that is gone for good can be let go of all the same: whatever waits there
            // has its journal still.
            Err(Undone::Unreached(why)) if info.remote.is_some() => {
                tracing::warn!(primary = name, why, "what its agent remembered is left there");
                None
            }
            Err(Undone::Unreached(why)) => {
                Some(WireError::new(ErrorCode::Environment, message).caused_by(why))
            }
            Err(refused @ Undone::Refused(_)) => {
                let look = format!("`umbra drift rollbacks {name}` lists them");
                let hint = format!("{}; {look}", how_to_decide(name));
                let error = WireError::new(ErrorCode::Conflict, message);
                Some(error.caused_by(refused).with_hint(hint))
            }
        };
        if let Some(error) = kept {
            return self.seat_again(name).and(Err(error));
        }
        self.feed.send(name, vec![DriftWrite::Forget(name.to_owned())], Vec::new())?;
        Ok(self.feed.flush()?)
    }

    /// A primary that was not let go of after all.
    fn seat_again(&self, name: &str) -> Result<(), WireError> {
        self.feed.flush()?;
        let rows = self.runtime.block_on(self.db.primaries())?;
        let row = rows.into_iter().find(|row| row.name == name).ok_or_else(|| unknown(name))?;
        let config = parsed(row.config_path.as_deref(), &row.config)?;
        self.seat(row, config, None, None)
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<PrimaryInfo> {
        self.desks().values().map(Kept::info).collect()
    }

    /// One of them.
    pub fn one(&self, name: &str) -> Result<PrimaryInfo, WireError> {
        self.desks().get(name).map(Kept::info).ok_or_else(|| unknown(name))
    }

    /// What differs; `fresh` reads everything again first. Blocking.
    pub fn drift(&self, name: &str, fresh: bool) -> Result<DriftReply, WireError> {
        self.ask(name, |answer| if fresh { Task::Check(answer) } else { Task::Drift(answer) })
    }

    /// What is to be expected of numbers that are bounded, the most urgent first. Blocking.
    pub fn forecasts(&self, name: &str) -> Result<Vec<Forecast>, WireError> {
        self.ask(name, Task::Forecasts)
    }

    /// Keeps a shadow of what is now. Blocking.
    pub fn take(&self, name: &str, wanted: TakeShadow) -> Result<ShadowEntry, WireError> {
        self.ask(name, |answer| Task::Take(wanted, answer))
    }

    /// The timeline, oldest first. Blocking.
    pub fn shadows(&self, name: &str) -> Result<Vec<ShadowEntry>, WireError> {
        self.ask(name, Task::Shadows)
    }

    /// What differs between two shadows, or a shadow and what is now. Blocking.
    pub fn diff(&self, name: &str, from: u64, to: Option<u64>) -> Result<ShadowDiff, WireError> {
        self.ask(name, |answer| Task::Diff(from, to, answer))
    }

    /// Makes a drift the known good. Blocking.
    pub fn accept(&self, name: &str, request: AcceptRequest) -> Result<AcceptReply, WireError> {
        self.ask(name, |answer| Task::Accept(request, answer))
    }

    /// Plans a rollback, and makes it if that was asked for. Blocking until it is done, was
    /// refused or waits to be confirmed.
    pub fn roll_back(
        &self,
        name: &str,
        request: RollbackRequest,
    ) -> Result<RollbackReply, WireError> {
        self.ask(name, |answer| {
            let (by, answer) = (By::Person, Some(answer));
            Task::RollBack(Box::new(desk::Wanted { request, by, answer, rehearsed: None }))
        })
    }

    /// Tries a drift, a rollback or a reboot on a shadow. Blocking until that is over.
    pub fn rehearse(
        &self,
        name: &str,
        request: RehearseRequest,
    ) -> Result<RehearseReply, WireError> {
        self.ask(name, |answer| {
            Task::Rehearse(Box::new(desk::RehearsalWanted::by_person(request, answer)))
        })
    }

    /// Says that the rollback that waits is good, or has it undone. Blocking.
    pub fn decide(&self, name: &str, confirm: bool) -> Result<RollbackReply, WireError> {
        self.ask(name, |answer| Task::Decide(confirm, answer))
    }

    /// Rollbacks, newest first. Blocking.
    pub fn rollbacks(&self, name: &str) -> Result<Vec<RollbackInfo>, WireError> {
        self.ask(name, Task::Rollbacks)
    }

    /// Who changed a parameter when, and what else with it, newest first. Blocking.
    pub fn blame(&self, name: &str, parameter: &str, limit: u32) -> Result<Vec<Blame>, WireError> {
        self.one(name)?;
        let limit = limit.min(BLAMED_MAX);
        let rows = self.runtime.block_on(self.db.drift_changes(name, Some(parameter), limit))?;
        let change = |row: &crate::db::drift::ChangeRow| {
            serde_json::from_str::<history::Change>(&row.change).ok()
        };
        let blame = |change: history::Change| -> Result<Blame, WireError> {
            let (from, to) =
                (change.at_ms - history::TOGETHER_MS, change.at_ms + history::TOGETHER_MS);
            let around =
                self.runtime.block_on(self.db.drift_changes_between(name, from, to, AROUND_MAX))?;
            let mut others = around.iter().filter_map(|row| serde_json::from_str(&row.change).ok());
            let with = others.by_ref().filter(|other| change.together(other)).collect();
            Ok(Blame { change, with })
        };
        rows.iter().filter_map(change).map(blame).collect()
    }

    /// What is counted of each of them, by name. Blocking.
    pub fn standings(&self) -> Vec<Standing> {
        let names: Vec<String> = self.desks().keys().cloned().collect();
        // One that is removed meanwhile has none.
        names.iter().filter_map(|name| self.ask(name, Task::Standing).ok()).collect()
    }

    /// Removes what no shadow needs any more. Says how much went. Blocking.
    pub fn sweep(&self) -> Result<u64, WireError> {
        // A shadow that came meanwhile might need what nobody needed before.
        self.feed.alone(|| {
            let mut needed = BTreeSet::new();
            for shadow in self.all_shadows()? {
                shelf::needs(&self.db, &self.runtime, shadow.root, &mut needed)?;
            }
            Ok(self.runtime.block_on(self.db.sweep_drift_objects(&needed))?)
        })?
    }

    /// Reads every historical shadow; a sentence for each that is damaged. Blocking.
    pub fn fsck(&self) -> Result<Vec<String>, WireError> {
        let damaged = self.all_shadows()?.into_iter().filter_map(|shadow| {
            let error = shelf::get(&self.db, &self.runtime, shadow.root).err()?;
            let (name, sequence) = (shadow.name, shadow.sequence);
            let why = std::iter::once(error.message).chain(error.causes);
            let why = why.collect::<Vec<_>>().join(": ");
            Some(format!("shadow #{sequence} of the primary {name} is damaged: failed to {why}"))
        });
        Ok(damaged.collect())
    }

    fn all_shadows(&self) -> Result<Vec<ShadowRow>, WireError> {
        let mut all = Vec::new();
        for primary in self.runtime.block_on(self.db.primaries())? {
            all.extend(self.runtime.block_on(self.db.primary_shadows(&primary.name))?);
        }
        Ok(all)
    }

    /// What happens to all of them.
    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Ends all agents. Idempotent. Blocking.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        let desks = std::mem::take(&mut *self.desks());
        // All are told before any is waited for.
        desks.values().for_each(Kept::ask_to_close);
        desks.into_values().for_each(Kept::close);
    }

    fn seat(
        &self,
        row: PrimaryRow,
        config: Config,
        copied_bytes: Option<u64>,
        added: Option<Answer<PrimaryInfo>>,
    ) -> Result<(), WireError> {
        let name = row.name.clone();
        let mut desks = self.desks();
        if desks.contains_key(&name) {
            let message = format!("add the primary {name:?}: there is one of that name");
            return Err(WireError::new(ErrorCode::Conflict, message));
        }
        let (inbox, arrives) = sync_channel(INBOX);
        let info = Arc::new(Mutex::new(info(&row, &config)));
        let state_dir = self.remembers(&name, row.remote.as_ref(), row.added_at_ms);
        let given = Given {
            row,
            config,
            state_dir,
            db: self.db.clone(),
            runtime: self.runtime.clone(),
            feed: Arc::clone(&self.feed),
            agents: Arc::clone(&self.agents),
            info: Arc::clone(&info),
            inbox: inbox.clone(),
            added,
            copied_bytes,
            rollbacks: Arc::clone(&self.rollbacks),
            stages: Arc::clone(&self.stages),
            pace: self.pace,
        };
        let desk = Desk::open(given)?;
        let thread = std::thread::Builder::new()
            .name("umbra-desk".into())
            .spawn(move || desk.work(&arrives))
            .map_err(|error| {
                WireError::new(ErrorCode::Environment, "start a thread").caused_by(error)
            })?;
        desks.insert(name, Kept { inbox, info, thread: Some(thread) });
        Ok(())
    }

    /// Closes a primary's desk; what was known of it last.
    fn unseat(&self, name: &str) -> Option<PrimaryInfo> {
        let kept = self.desks().remove(name)?;
        let info = kept.info();
        kept.close();
        Some(info)
    }

    fn ask<T>(&self, name: &str, task: impl FnOnce(Answer<T>) -> Task) -> Result<T, WireError> {
        let inbox = self.desks().get(name).map(|kept| kept.inbox.clone());
        let inbox = inbox.ok_or_else(|| unknown(name))?;
        let (answer, answered) = oneshot::channel();
        inbox.send(Input::Do(task(answer))).map_err(|_| closed(name))?;
        self.runtime.block_on(answered).unwrap_or_else(|_| Err(closed(name)))
    }

    fn desks(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn info(&self) -> PrimaryInfo {
        self.info.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ask_to_close(&self) {
        // A desk that is gone needs no message.
        let _ = self.inbox.send(Input::Do(Task::Close));
    }

    fn close(mut self) {
        self.ask_to_close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a primary's desk panicked");
        }
    }
}

fn info(row: &PrimaryRow, config: &Config) -> PrimaryInfo {
    PrimaryInfo {
        name: row.name.clone(),
        root: row.root.clone(),
        remote: row.remote.clone(),
        agent: None,
        image: row.image.clone(),
        config_path: row.config_path.clone(),
        phase: Phase::Starting,
        why: None,
        parameters: config.parameters.len() as u64,
        items: 0,
        shadows: 0,
        good: row.good,
        open: Vec::new(),
        unknown: 0,
        looked_at_ms: None,
        coverage: Vec::new(),
        added_at_ms: row.added_at_ms,
    }
}

fn parsed(path: Option<&str>, text: &str) -> Result<Config, WireError> {
    config::parse(path.unwrap_or("default"), text).map_err(|problems| {
        let message = format!("accept the configuration\n{}", problems.render(false).trim_end());
        WireError::new(ErrorCode::BadConfig, message)
    })
}

/// What is worth watching where nobody said what is watched.
fn surveyed(root: Option<&str>) -> Result<String, WireError> {
    let place = match root {
        None => Place::machine(),
        Some(root) => Place::directory(Path::new(root)),
    };
    let place = place.map_err(|error| WireError::from_chain(ErrorCode::Environment, &error))?;
    Ok(defaults::configuration(&defaults::Survey::of(&place)))
}

/// The directory itself, whatever links lead to it: an agent reads nothing outside.
fn real_root(root: &str) -> Result<String, WireError> {
    let refuse = |why: String| {
        let root: String = root.chars().take(200).collect();
        WireError::new(ErrorCode::BadRequest, format!("use the root directory {root:?}: {why}"))
    };
    if !root.starts_with('/') {
        return Err(refuse("its path is not absolute".to_owned()));
    }
    let real = std::fs::canonicalize(root).map_err(|error| refuse(error.to_string()))?;
    if !real.is_dir() {
        return Err(refuse("it is no directory".to_owned()));
    }
    real.into_os_string().into_string().map_err(|_| refuse("it is not UTF-8".to_owned()))
}

/// A root directory of another machine, which only its agent can look at.
fn root_there(root: String) -> Result<String, WireError> {
    let plain = root.len() <= ROOT_BYTES_MAX && !root.chars().any(char::is_control);
    if plain && root.starts_with('/') && !root.split('/').any(|part| part == "..") {
        return Ok(root);
    }
    let root: String = root.chars().take(200).collect();
    let message = format!("use the root directory {root:?}: its path is not absolute and plain");
    Err(WireError::new(ErrorCode::BadRequest, message))
}

/// The name is a directory's, too.
fn check_name(name: &str) -> Result<(), WireError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let good = (1..=64).contains(&name.len())
        && name.chars().all(plain)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if good {
        return Ok(());
    }
    let name: String = name.chars().take(80).collect();
    let message = format!("call a primary {name:?}");
    Err(WireError::new(ErrorCode::BadRequest, message)
        .with_hint("a name has at most 64 letters, digits, `-`, `_` and `.`"))
}

fn unknown(name: &str) -> WireError {
    let name: String = name.chars().take(80).collect();
    WireError::new(ErrorCode::NotFound, format!("find a primary {name:?}"))
        .with_hint("`umbra primary ls` lists the primaries there are")
}

/// What ends a rollback that waits.
fn how_to_decide(name: &str) -> String {
    format!(
        "`umbra drift confirm {name}` says that it is good, `umbra drift abort {name}` undoes it"
    )
}

fn closed(name: &str) -> WireError {
    WireError::new(
        ErrorCode::ShuttingDown,
        format!("ask about {name}: nobody works on it any more"),
    )
}
