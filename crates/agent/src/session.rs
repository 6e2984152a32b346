//! One conversation with a daemon, from its first line to its end.
//!
//! Watch first, read everything then: what changes in between is told twice rather than never.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::io::{self, BufRead, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use umbra_api::blob::Blob;
use umbra_drift::collect::packages::{self, Manifest};
use umbra_drift::collect::{Collector, Place};
use umbra_drift::config::{self, Config, Provenance, Source};
use umbra_drift::defaults::Survey;
use umbra_drift::discrepancy::Attribution;
use umbra_drift::file;
use umbra_drift::reading::{Item, Reading};
use umbra_drift::rollback::timer::{self, Timer};
use umbra_drift::rollback::{self, RollbackError, Rollbacks};
use umbra_drift::watch::who::Writer;
use umbra_drift::watch::{self, Change, Report, Seen as How};
use umbra_drift::wire::{self, Ask, Begin, Covered, READINGS_MAX, Say, Tell};
use umbra_state::chain;

use crate::eyes::{Eyes, Seen};
use crate::hands::Hands;
use crate::held::Held;
use crate::nerves::{self, Felt};
use crate::polls::Polls;
use crate::provenance;
use crate::pulse::{Mouth, Pulse, Work};
use crate::told::Told;

/// Bytes of contents in one line.
const BYTES_MAX: usize = 1 << 20;
/// A configuration file of which keys are watched is no longer.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What waits to be looked at; who sends more waits.
const QUEUE: usize = 256;
/// How long an event of a path at rest takes to get here.
const ARRIVAL: Duration = Duration::from_millis(30);
/// How long nothing at all may happen.
const IDLE: Duration = Duration::from_secs(3600);

/// What happens to a session.
enum Input {
    Said(Say),
    Seen(Seen),
    Felt(Felt),
    /// The daemon is gone.
    Gone,
    /// It says what makes no sense.
    Garbled(io::Error),
}

/// What speaks.
pub struct Program {
    /// Its name and version.
    pub name: String,
    /// What undoes a rollback when the program is gone.
    pub timer: Box<dyn Timer>,
}

impl Program {
    /// This program; called with `keep_watch` and a journal it keeps watch over that rollback
    /// ([`keep_watch`]).
    ///
    /// # Errors
    /// Its own file cannot be found.
    pub fn of_process(name: &str, keep_watch: &[&str]) -> io::Result<Self> {
        let exe = std::env::current_exe()?;
        let exe =
            exe.into_os_string().into_string().map_err(|_| garbled("its path is not UTF-8"))?;
        let words = keep_watch.iter().map(|word| (*word).to_owned());
        let argv = std::iter::once(exe).chain(words).chain(["{journal}".to_owned()]);
        Ok(Self { name: name.to_owned(), timer: timer::of_machine(argv.collect()) })
    }
}

/// Waits until the time of the rollback with this journal is over and undoes it then, unless it
/// was confirmed: what a rollback's timer runs. Says on standard output that it waits.
///
/// # Errors
/// The journal cannot be read.
pub fn keep_watch(journal: &Path) -> Result<(), RollbackError> {
    let journals = journal.parent().unwrap_or(Path::new("/")).to_owned();
    // What was armed is taken back with the rollback. Nothing is armed here, so there is no
    // program to name.
    let timer = timer::of_machine(Vec::new());
    Rollbacks::new(journals, timer.as_ref()).keep_watch(journal, io::stdout().lock()).map(drop)
}

/// Speaks with the daemon at the other end until it is gone.
///
/// # Errors
/// The line breaks, or the daemon says what makes no sense.
pub fn converse(
    mut from: impl BufRead + Send + 'static,
    to: impl Write + Send + 'static,
    program: Program,
) -> io::Result<()> {
    let mut to = Mouth::new(to);
    let begin = match wire::read::<Say>(&mut from)? {
        None => return Ok(()),
        Some(Say::Begin(begin)) => begin,
        Some(Say::Survey { version, root }) => {
            let surveyed = speaks(version).and_then(|()| survey(root.as_deref()));
            return wire::write(&mut to, &surveyed.unwrap_or_else(|why| Tell::Refused { why }));
        }
        Some(Say::Forget { version, state_dir }) => {
            let forgotten = speaks(version)
                .and_then(|()| forget(Path::new(&state_dir), program.timer.as_ref()));
            return wire::write(&mut to, &forgotten.unwrap_or_else(|why| Tell::Refused { why }));
        }
        Some(Say::Alive { .. } | Say::Ask { .. }) => {
            return Err(garbled("the daemon did not begin"));
        }
    };
    let (sender, inputs) = sync_channel(QUEUE);
    let work = Work::begun();
    let (ears, pulse) = (sender.clone(), Pulse::new(to.clone(), work.clone()));
    std::thread::Builder::new().name("ears".into()).spawn(move || listen(from, ears, pulse))?;
    let Program { name: program, timer } = program;
    let mut session = match Session::begin(&begin, &sender, timer, work) {
        Ok(session) => session,
        Err(why) => return wire::write(&mut to, &Tell::Refused { why }),
    };
    // Whoever else sends is told by its failure that nobody receives any more.
    drop(sender);
    let ready = Tell::Ready { version: wire::VERSION, program };
    wire::write(&mut to, &ready)?;
    for settled in session.hands.recover() {
        wire::write(&mut to, &settled)?;
    }
    session.tell_all(None, &mut to)?;
    session.serve(&inputs, &mut to)
}

fn garbled(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Whether the daemon speaks what this agent does.
fn speaks(version: u32) -> Result<(), String> {
    let agent = wire::VERSION;
    if version == agent {
        return Ok(());
    }
    Err(format!("the daemon speaks version {version}, this agent {agent}"))
}

fn place(root: Option<&str>) -> Result<Place, String> {
    let place = match root {
        None => Place::machine(),
        Some(root) => Place::directory(Path::new(root)),
    };
    place.map_err(|error| chain(&error))
}

/// What there is that a configuration can name.
fn survey(root: Option<&str>) -> Result<Tell, String> {
    Ok(Tell::Surveyed(Survey::of(&place(root)?)))
}

/// Removes what an agent remembered, unless a rollback is not over: without its journal nobody
/// could undo it.
fn forget(state_dir: &Path, timer: &dyn Timer) -> Result<Tell, String> {
    let unfinished = Rollbacks::new(journals(state_dir), timer).unfinished();
    if let Some(journal) = unfinished.map_err(|error| chain(&error).to_string())?.pop() {
        return Err(format!("the rollback at {} is not over", journal.display()));
    }
    match std::fs::remove_dir_all(state_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("{} cannot be removed: {error}", state_dir.display()))
        }
        _ => Ok(Tell::Forgotten),
    }
}

/// Where the journals of rollbacks are.
fn journals(state_dir: &Path) -> PathBuf {
    state_dir.join("rollbacks")
}

fn listen(mut from: impl BufRead, to: SyncSender<Input>, mut pulse: Pulse<impl Write>) {
    // What waits for room in the queue must not keep a sign of life waiting.
    let (heard, waiting) = channel();
    let asks = std::thread::Builder::new().name("asks".into());
    let forwards = asks.spawn(move || {
        for input in waiting {
            if to.send(input).is_err() {
                return;
            }
        }
    });
    if forwards.is_err() {
        return;
    }
    loop {
        let input = match wire::read(&mut from) {
            Ok(Some(Say::Alive { number })) => match pulse.answer(number) {
                Ok(()) => continue,
                Err(_) => Input::Gone,
            },
            Ok(Some(said)) => Input::Said(said),
            Ok(None) => Input::Gone,
            Err(error) => Input::Garbled(error),
        };
        let last = !matches!(input, Input::Said(_));
        if heard.send(input).is_err() || last {
            return;
        }
    }
}

struct Session {
    config: Config,
    collector: Collector,
    manifest: Manifest,
    polls: Polls,
    told: Told,
    held: Held,
    /// How long a path rests before it is looked at.
    rest: Duration,
    hands: Hands,
    work: Work,
    _eyes: Eyes,
}

impl Session {
    fn begin(
        begin: &Begin,
        sender: &SyncSender<Input>,
        timer: Box<dyn Timer>,
        work: Work,
    ) -> Result<Self, String> {
        speaks(begin.version)?;
        let config = config::parse(&begin.config_name, &begin.config)
            .map_err(|problems| problems.render(false))?;
        let place = place(begin.root.as_deref())?;
        let collector = Collector::new(&config, place).map_err(|error| chain(&error))?;
        let state_dir = Path::new(&begin.state_dir);
        // What a rollback displaces can be anybody's secret.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(journals(state_dir))
            .map_err(|error| format!("its directory cannot be made: {error}"))?;
        let rests = config.parameters.iter().map(|parameter| parameter.debounce);
        let rest = rests.min().unwrap_or_default();
        let place = collector.place();
        let system = (!place.is_machine()).then(|| place.outside(Path::new("/")));
        let roots = collector.watched_roots();
        let options = watch::Options { quiet: rest, system, ..watch::Options::new(roots) };
        let eyes = Eyes::open(options, state_dir.join("memory"), sender.clone(), Input::Seen);
        let eyes = eyes.map_err(|error| format!("it cannot watch: {error}"))?;
        let root = begin.root.as_ref().map(PathBuf::from);
        let hands = Hands::new(journals(state_dir), root, timer);
        // A directory has no network of its own.
        if collector.place().is_machine() {
            nerves::feel(sender.clone(), Input::Felt)
                .map_err(|error| format!("it can make no thread: {error}"))?;
        }
        let polls = Polls::new(collector.polled(), Instant::now());
        Ok(Self {
            config,
            collector,
            manifest: Manifest::default(),
            polls,
            told: Told::default(),
            held: Held::default(),
            rest,
            hands,
            work,
            _eyes: eyes,
        })
    }

    fn serve(&mut self, inputs: &Receiver<Input>, to: &mut impl Write) -> io::Result<()> {
        let mut later = VecDeque::new();
        loop {
            let now = Instant::now();
            let waits = [self.polls.wait(now), self.held.wait(now)];
            let wait = waits.into_iter().flatten().min().unwrap_or(IDLE);
            self.work.end();
            let input = match later.pop_front() {
                Some(input) => Ok(input),
                None => inputs.recv_timeout(wait),
            };
            self.work.begin();
            match input {
                Ok(Input::Said(Say::Ask { number, ask })) => {
                    if ask == Ask::All {
                        self.catch_up(inputs, &mut later, to)?;
                        let released = self.held.release_all();
                        self.tell_released(released, to)?;
                    }
                    self.answer(number, ask, to)?;
                }
                Ok(Input::Said(_)) => return Err(garbled("the daemon began twice")),
                Ok(Input::Seen(seen)) => self.on_seen(seen, to)?,
                Ok(Input::Felt(felt)) => self.on_felt(felt, to)?,
                Ok(Input::Gone) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(Input::Garbled(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => {}
            }
            while let Some(parameter) = self.polls.take(Instant::now()).map(str::to_owned) {
                let readings = self.collector.parameter(&parameter);
                self.tell_changed(readings.into_iter().collect(), None, to)?;
            }
            let Self { held, collector, .. } = self;
            let released = held
                .release(|| packages::at_work(collector.place().root()).is_some(), Instant::now());
            self.tell_released(released, to)?;
        }
    }

    /// Tells of changes that were held back, as their paths are now.
    fn tell_released(
        &mut self,
        released: Vec<(PathBuf, Attribution)>,
        to: &mut impl Write,
    ) -> io::Result<()> {
        for (path, attribution) in released {
            let readings = self.collector.path(&path);
            self.tell_changed(readings, Some(attribution), to)?;
        }
        Ok(())
    }

    /// Lets what has happened already arrive: read without its event, a change would have
    /// nobody who made it.
    fn catch_up(
        &mut self,
        inputs: &Receiver<Input>,
        later: &mut VecDeque<Input>,
        to: &mut impl Write,
    ) -> io::Result<()> {
        let until = Instant::now() + self.rest + ARRIVAL;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match inputs.recv_timeout(left) {
                Ok(Input::Seen(seen)) => self.on_seen(seen, to)?,
                Ok(other) => later.push_back(other),
                Err(_) => return Ok(()),
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, number: u64, ask: Ask, to: &mut impl Write) -> io::Result<()> {
        let answer = match ask {
            Ask::All => return self.tell_all(Some(number), to),
            Ask::Files(paths) => self.files(number, paths),
            Ask::RollBack(wanted) => {
                let Self { hands, collector, .. } = self;
                hands.roll_back(number, *wanted, &mut |items| read_again(collector, items))
            }
            Ask::Confirm { id } => self.hands.confirm(number, &id),
            Ask::Abort { id, why } => self.hands.abort(number, &id, &why),
            Ask::Settle { id } => self.hands.settle(number, &id),
        };
        let settled = matches!(answer, Tell::RolledBack { .. });
        wire::write(to, &answer)?;
        let trouble = if settled { self.hands.tidy() } else { None };
        trouble.map_or(Ok(()), |trouble| wire::write(to, &trouble))
    }

    /// Whole files, as far as they can be read.
    fn files(&mut self, number: u64, paths: Vec<Blob>) -> Tell {
        let root = self.collector.place().root();
        let read = |path: Blob| {
            let bytes = file::read(root, Path::new(OsStr::from_bytes(&path.0)), FILE_BYTES_MAX);
            Some((path, Blob(bytes.ok()??)))
        };
        Tell::Files { number, files: paths.into_iter().filter_map(read).collect() }
    }

    fn on_seen(&mut self, seen: Seen, to: &mut impl Write) -> io::Result<()> {
        match seen {
            Seen::Report(Report::Change(change)) => self.on_change(&change, to),
            Seen::Report(Report::Receipt(receipt)) => wire::write(to, &Tell::Receipt(receipt)),
            Seen::Report(Report::Coverage(coverage)) => {
                wire::write(to, &Tell::Coverage(Covered::of(&coverage)))
            }
            Seen::Blind(why) => {
                let what = format!("nothing is watched any more, only polled: {why}");
                wire::write(to, &Tell::Warning { what })
            }
        }
    }

    fn on_felt(&mut self, felt: Felt, to: &mut impl Write) -> io::Result<()> {
        match felt {
            Felt::Nothing => Ok(()),
            Felt::Network => {
                let of_network =
                    |source: &Source| matches!(source, Source::Network { .. } | Source::Listen);
                let parameters = self.config.parameters.iter();
                let names: Vec<String> = parameters
                    .filter(|parameter| of_network(&parameter.source))
                    .map(|parameter| parameter.name.clone())
                    .collect();
                for name in names {
                    let readings = self.collector.parameter(&name);
                    self.tell_changed(readings.into_iter().collect(), None, to)?;
                }
                Ok(())
            }
            Felt::Clock => {
                let what = "the clock was set: times before and after cannot be compared";
                wire::write(to, &Tell::Warning { what: what.to_owned() })
            }
            Felt::Numb(why) => {
                let what = format!("changes of the network are only polled: {why}");
                wire::write(to, &Tell::Warning { what })
            }
        }
    }

    fn on_change(&mut self, change: &Change, to: &mut impl Write) -> io::Result<()> {
        // What a rollback stages is not there yet as far as anybody is concerned.
        if change.path.file_name().is_some_and(rollback::is_temporary) {
            return Ok(());
        }
        let readings = self.collector.path(&change.path);
        let attribution = attribution(&change.seen);
        if self.is_unfinished(&readings, &attribution) {
            self.held.hold(change.path.clone(), attribution, Instant::now());
            return Ok(());
        }
        self.tell_changed(readings, Some(attribution), to)
    }

    /// Whether a package manager made this and is not done: what it is, its lists say then.
    fn is_unfinished(&mut self, readings: &[(Item, Reading)], by: &Attribution) -> bool {
        let items = readings.iter().map(|(item, _)| item);
        let may_turn_out =
            |item: &&Item| provenance::may_turn_out(&by.writers, owners(&self.config, item));
        let open: Vec<&Item> = items.filter(may_turn_out).collect();
        // What costs most comes last: files are read to compare them with the lists.
        !open.is_empty()
            && self.held.has_room()
            && packages::at_work(self.collector.place().root()).is_some()
            && open
                .into_iter()
                .any(|item| self.provenance(item, &by.writers) == Provenance::Unexplained)
    }

    /// Tells what of these readings is news.
    fn tell_changed(
        &mut self,
        readings: Vec<(Item, Reading)>,
        attribution: Option<Attribution>,
        to: &mut impl Write,
    ) -> io::Result<()> {
        let news: Vec<(Item, Reading)> = readings
            .into_iter()
            .filter(|(item, reading)| self.told.is_news(item, reading))
            .collect();
        let writers = attribution.as_ref().map(|one| one.writers.as_slice()).unwrap_or_default();
        let mut of_kind: [(Provenance, Vec<_>); 2] =
            [(Provenance::Expected, Vec::new()), (Provenance::Unexplained, Vec::new())];
        for (item, reading) in news {
            let provenance = self.provenance(&item, writers);
            let place = usize::from(provenance == Provenance::Unexplained);
            of_kind[place].1.push((item, reading));
        }
        for (provenance, readings) in of_kind {
            for readings in lines(readings) {
                let attribution = attribution.clone();
                wire::write(to, &Tell::Changed { readings, attribution, provenance })?;
            }
        }
        Ok(())
    }

    fn provenance(&mut self, item: &Item, writers: &[Writer]) -> Provenance {
        let owners = owners(&self.config, item);
        let path = self.config.path_of(item);
        let (place, manifest) = (self.collector.place(), &mut self.manifest);
        provenance::of(writers, owners, || {
            let path = path.as_ref().map(|path| Path::new(OsStr::from_bytes(&path.0)));
            path.is_some_and(|path| manifest.explains(place, path).is_some())
        })
    }

    fn tell_all(&mut self, number: Option<u64>, to: &mut impl Write) -> io::Result<()> {
        let all = self.collector.all();
        self.told.all(&all);
        let mut lines = lines(all.readings.into_iter().collect()).peekable();
        if lines.peek().is_none() {
            return wire::write(to, &Tell::All { number, readings: Vec::new(), last: true });
        }
        while let Some(readings) = lines.next() {
            let last = lines.peek().is_none();
            wire::write(to, &Tell::All { number, readings, last })?;
        }
        Ok(())
    }
}

/// Whose changes of an item are expected.
fn owners<'a>(config: &'a Config, item: &Item) -> &'a [String] {
    let parameter = config.parameters.iter().find(|one| one.name == item.parameter);
    parameter.map(|one| one.owned_by.as_slice()).unwrap_or_default()
}

/// The items as they are now: by parameter, since that is how they are read.
fn read_again(collector: &mut Collector, items: &[Item]) -> BTreeMap<Item, Reading> {
    let parameters: BTreeSet<&str> = items.iter().map(|item| item.parameter.as_str()).collect();
    let mut all = BTreeMap::new();
    for parameter in parameters {
        all.extend(collector.parameter(parameter));
    }
    let now = items.iter().map(|item| (item.clone(), all.remove(item).unwrap_or(Reading::Absent)));
    now.collect()
}

/// Readings cut into lines that are not too long.
fn lines(readings: Vec<(Item, Reading)>) -> impl Iterator<Item = Vec<(Item, Reading)>> {
    let mut rest = readings.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let mut bytes = 0;
        while line.len() < READINGS_MAX && bytes < BYTES_MAX {
            let Some((item, reading)) = rest.next() else { break };
            bytes += reading.bytes().map_or(0, <[u8]>::len);
            line.push((item, reading));
        }
        (!line.is_empty()).then_some(line)
    })
}

fn attribution(seen: &How) -> Attribution {
    let seen_at_ms = ms(SystemTime::now());
    match seen {
        How::Events(chain) => Attribution {
            seen_at_ms,
            after_ms: None,
            writers: chain.writers.iter().map(|writer| writer.as_ref().clone()).collect(),
            more_writers: chain.more_writers,
        },
        How::Scan { since } => {
            let after_ms = since.map(ms);
            Attribution { seen_at_ms, after_ms, writers: Vec::new(), more_writers: 0 }
        }
        How::Mount => {
            Attribution { seen_at_ms, after_ms: None, writers: Vec::new(), more_writers: 0 }
        }
    }
}

fn ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use umbra_drift::rollback::timer::Manual;

    use super::*;

    #[test]
    fn a_rollback_that_is_not_over_is_not_forgotten() {
        let dir = tempfile::tempdir().expect("directory");
        let log = journals(dir.path()).join("r1/log");
        std::fs::create_dir_all(log.parent().expect("a directory")).expect("made");
        // Of what cannot be read nobody can say that it is over.
        std::fs::write(&log, "no record\nnor this\n").expect("written");
        let why = forget(dir.path(), &Manual::default()).expect_err("refused");
        assert!(why.ends_with("/rollbacks/r1 is not over"), "{why}");
        assert!(log.exists());
        // One that never began has touched nothing.
        std::fs::write(&log, "").expect("written");
        assert_eq!(forget(dir.path(), &Manual::default()), Ok(Tell::Forgotten));
        assert!(!dir.path().exists());
    }
}
