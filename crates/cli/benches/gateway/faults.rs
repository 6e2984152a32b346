//! Production's latency while everything is mirrored to a shadow with something wrong with it,
//! beside the same gateway's latency a moment before and after without one.
//!
//! Both halves of a pair are the same processes under the same load, which goes on all the time;
//! they take turns at being first. The control is pairs in which neither half mirrors: what their
//! ratio strays by is what these figures cannot tell from nothing. What one half leaves behind for
//! the next (requests that wait) makes a ratio smaller than it is, never larger.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use umbra_api::client::Client;
use umbra_gateway::control::{GatewayStatus, MirrorStatus};

use crate::load::{Load, Sample, Schedule, percentile};
use crate::memory;
use crate::peers::{self, Peer};
use crate::place::Shadow;
use crate::process::Outcome;
use crate::shadow::{FAULTS, Fault};

const RATE: u32 = 2_000;
const CONNECTIONS: u32 = 16;
const PAIRS: usize = 7;
const HALF: Duration = Duration::from_millis(800);
/// What has just been begun or ended has settled then.
const SETTLE: Duration = Duration::from_millis(100);
/// A copy to a shadow that hangs ends so soon, to be out of the next half's way.
const COPY_TIME_MS: u64 = 500;
const REST_MAX: Duration = Duration::from_secs(10);
/// What the gateway may use for copies unless it is told otherwise, and what buffers of
/// connections to shadows may take beside that.
const MEMORY_KIB: u64 = 64 << 10;
const SLACK_KIB: u64 = 16 << 10;

pub(crate) fn faults() -> Outcome {
    let dir = tempfile::tempdir()?;
    let server = peers::server(dir.path())?;
    let (gateway, control) = peers::gateway(dir.path(), server.port)?;
    println!(
        "faults: {RATE} requests/s of 1 KB; {PAIRS} pairs of {HALF:?}, everything mirrored and \
         nothing; p99 with and without, the ratio's middle (and range) in pairs; asked: 1.02"
    );
    let bench = Bench { gateway, control };
    bench.pairs("nobody mirrors: control", None)?;
    bench.pairs("answers", Some(Fault::None))?;
    FAULTS.into_iter().try_for_each(|fault| bench.pairs(&format!("{fault:?}"), Some(fault)))
}

struct Bench {
    gateway: Peer,
    control: Client,
}

/// From when to when a half of a pair was looked at.
type Half = (Instant, Instant);

impl Bench {
    fn pairs(&self, name: &str, fault: Option<Fault>) -> Outcome {
        let shadow = fault.map(Shadow::start).transpose()?;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, self.gateway.port));
        let load = Load::begin(Schedule { at, rate: RATE, connections: CONNECTIONS });
        std::thread::sleep(SETTLE);
        let (pid, mut copies) = (self.gateway.process.id(), Copies::default());
        let base = memory::forget_peak(pid)?;
        let halves = self.in_turns(shadow.as_ref(), &mut copies)?;
        let samples = load.end();
        let more = memory::peak(pid)?.saturating_sub(base);
        self.check(&samples)?;
        let pairs = halves.into_iter().map(|pair| pair.map(|half| within(&samples, half)));
        let ratio = Ratio::of(&pairs.collect::<Vec<_>>());
        let mib = more as f64 / 1024.0;
        println!("  {name:<24}{ratio}  {copies}, {mib:.1} MiB more");
        match more <= MEMORY_KIB + SLACK_KIB {
            true => Ok(()),
            false => Err("the gateway took more memory than it may".into()),
        }
    }

    /// Pairs of halves: mirroring, and not.
    fn in_turns(&self, shadow: Option<&Shadow>, copies: &mut Copies) -> Outcome<Vec<[Half; 2]>> {
        let mut pairs = Vec::new();
        for pair in 0..PAIRS {
            pairs.push(if pair % 2 == 0 {
                [self.with(shadow, copies)?, self.half()]
            } else {
                let without = self.half();
                [self.with(shadow, copies)?, without]
            });
        }
        Ok(pairs)
    }

    /// A moment as it is.
    fn half(&self) -> Half {
        std::thread::sleep(SETTLE);
        let began = Instant::now();
        std::thread::sleep(HALF);
        (began, Instant::now())
    }

    /// A moment in which everything is mirrored, if there is a shadow; its copies have ended.
    fn with(&self, shadow: Option<&Shadow>, copies: &mut Copies) -> Outcome<Half> {
        let Some(shadow) = shadow else { return Ok(self.half()) };
        peers::mirror(&self.control, &shadow.at, Some(COPY_TIME_MS))?;
        let half = self.half();
        copies.add(&self.status()?.mirrors[0])?;
        self.control.delete("/v1/mirrors/bench".to_owned())?;
        let until = Instant::now() + REST_MAX;
        while self.status()?.mirror_bytes > 0 {
            if Instant::now() > until {
                return Err("copies do not end".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(half)
    }

    fn status(&self) -> Outcome<GatewayStatus> {
        Ok(self.control.get("/v1/gateway")?)
    }

    /// Every request was answered, with what it asked for.
    fn check(&self, samples: &[Sample]) -> Outcome {
        let lost = samples.iter().filter(|sample| !sample.good).count();
        let failed = self.status()?.failed;
        match (lost, failed) {
            (0, 0) => Ok(()),
            _ => Err(format!("{lost} requests were lost or changed, {failed} failed").into()),
        }
    }
}

fn within(samples: &[Sample], (from, to): Half) -> Vec<Sample> {
    samples.iter().filter(|sample| (from..to).contains(&sample.due)).copied().collect()
}

/// What became of copies, over all halves.
#[derive(Debug, Default)]
struct Copies {
    mirrored: u64,
    dropped: u64,
}

impl Copies {
    fn add(&mut self, mirror: &MirrorStatus) -> Outcome {
        let counted = &mirror.counted;
        let told = counted.mirrored + counted.dropped();
        if told != counted.eligible || counted.eligible != mirror.seen {
            return Err(format!("the account is not exact: {mirror:?}").into());
        }
        self.mirrored += counted.mirrored;
        self.dropped += counted.dropped();
        Ok(())
    }
}

impl fmt::Display for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} mirrored, {} dropped", self.mirrored, self.dropped)
    }
}

/// How p99 with compares to p99 without.
struct Ratio {
    with: Duration,
    without: Duration,
    of_pairs: Vec<f64>,
}

impl Ratio {
    fn of(pairs: &[[Vec<Sample>; 2]]) -> Self {
        let p99 = |samples: &[Sample]| percentile(samples, 99);
        let ratio = |[with, without]: &[Vec<Sample>; 2]| {
            p99(with).as_secs_f64() / p99(without).as_secs_f64()
        };
        let mut of_pairs: Vec<f64> = pairs.iter().map(ratio).collect();
        of_pairs.sort_by(f64::total_cmp);
        let all = |at: usize| -> Vec<Sample> {
            pairs.iter().flat_map(|pair| pair[at].iter().copied()).collect()
        };
        Self { with: p99(&all(0)), without: p99(&all(1)), of_pairs }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { with, without, of_pairs } = self;
        let at = |at: usize| of_pairs.get(at).copied().unwrap_or(f64::NAN);
        let (middle, last) = (of_pairs.len() / 2, of_pairs.len().saturating_sub(1));
        let ms = |time: &Duration| time.as_secs_f64() * 1e3;
        write!(f, "{:>6.2} ms {:>6.2} ms", ms(with), ms(without))?;
        write!(f, "  {:.2} ({:.2} to {:.2})", at(middle), at(0), at(last))
    }
}
