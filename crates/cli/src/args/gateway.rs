//! What can be typed about the gateway and its mirrors.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use umbra_gateway::listen::proxy_header::Version;

use super::compare::Comparing;
use super::listening::Listening;

/// A gateway in front of production.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Gateway {
    /// Ask or tell one that runs.
    #[command(subcommand)]
    pub ask: Option<Ask>,
    /// Where clients come to; `:8080` is every address.
    #[arg(long, value_name = "ADDRESS:PORT", required = true)]
    pub listen: Option<String>,
    /// Where production is; with https:// or h2c:// in front if that is what it speaks.
    #[arg(long, value_name = "HOST:PORT", required_unless_present_any = ["routes", "replace"])]
    pub primary: Option<String>,
    /// A file with routes, if production is more than one server. SIGHUP reads it again.
    #[arg(long, value_name = "FILE", conflicts_with = "primary")]
    pub routes: Option<PathBuf>,
    /// Tell production whose a connection is, by a PROXY protocol header: `v1` or `v2`.
    #[arg(long, value_name = "VERSION", requires = "primary", value_parser = version())]
    pub send_proxy: Option<Version>,
    /// Whom https:// targets have to be.
    #[command(flatten)]
    pub trust: Trust,
    /// Where `umbra mirror` finds it; in the state directory if left out.
    #[command(flatten)]
    pub control: Control,
    /// Believe what clients say of where a request is from (they are proxies of your own).
    #[arg(long)]
    pub trust_forwarded: bool,
    /// How long production may take until its answer begins.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub answer_time: u64,
    /// How long what is under way may take once the gateway goes down.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub drain_time: u64,
    /// Connections of clients at once; more wait.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Memory for copies of requests, of all mirrors together, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub mirror_memory: u32,
    /// Threads that serve; one for each processor if left out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// The side clients see.
    #[command(flatten)]
    pub listening: Listening,
}

/// What a gateway that runs is asked and told.
#[derive(Debug, Subcommand)]
pub enum Ask {
    /// Say how it stands: requests, certificates, access log, mirrors.
    Status {
        /// Which gateway.
        #[command(flatten)]
        control: Control,
    },
    /// Have it read its certificates and routes again and open its access log anew.
    Reload {
        /// Which gateway.
        #[command(flatten)]
        control: Control,
    },
}

/// Whom targets that speak TLS have to be.
#[derive(Debug, Args)]
pub struct Trust {
    /// Certificates of authorities (PEM) that targets' certificates are from; this machine's own
    /// if left out.
    #[arg(long, value_name = "FILE")]
    pub target_ca: Option<PathBuf>,
    /// The name their certificates are for, instead of the host that is connected to.
    #[arg(long, value_name = "NAME")]
    pub target_name: Option<String>,
    /// Believe any certificate of a target.
    #[arg(long, conflicts_with = "target_ca")]
    pub target_insecure: bool,
}

/// Which requests go where.
#[derive(Debug, Subcommand)]
pub enum Route {
    /// Say which routes there are, how their targets stand, and whom a rollout manages.
    #[command(visible_alias = "status")]
    List {
        /// Of which gateway.
        #[command(flatten)]
        control: Control,
    },
    /// Print the JSON Schema of files of routes.
    Schema,
    /// Put the routes of a file into force, from one request to the next.
    Apply {
        /// The file.
        file: PathBuf,
        /// Only check it.
        #[arg(long)]
        dry_run: bool,
        /// Of which gateway.
        #[command(flatten)]
        control: Control,
    },
    /// Weigh targets of a route otherwise. Sessions only move to targets whose weight was raised.
    Weigh {
        /// The route.
        route: String,
        /// Targets and their weights; others keep theirs.
        #[arg(value_name = "HOST:PORT=WEIGHT", required = true)]
        weights: Vec<String>,
        /// Of which gateway.
        #[command(flatten)]
        control: Control,
    },
    /// Give a route back to the file of routes, after a rollout left other targets to it.
    Release {
        /// The route.
        route: String,
        /// Also where the file has no target for it: nobody is answered there then.
        #[arg(long)]
        to_nothing: bool,
        /// Of which gateway.
        #[command(flatten)]
        control: Control,
    },
}

/// Where a gateway is asked and told.
#[derive(Debug, Args)]
pub struct Control {
    /// The gateway's socket; in the state directory if left out.
    #[arg(long, env = "UMBRA_GATEWAY", hide_env_values = true, value_name = "PATH")]
    pub gateway: Option<PathBuf>,
}

/// Copies of production's requests for shadows.
#[derive(Debug, Subcommand)]
pub enum Mirror {
    /// Mirror a part of the requests to a shadow, or go on otherwise.
    Start(Box<Start>),
    /// Mirror no more.
    Stop {
        /// Its name.
        name: String,
        /// Of which gateway.
        #[command(flatten)]
        control: Control,
    },
    /// Say what was mirrored, what was not and why, and how it ended.
    Status {
        /// Of which gateway.
        #[command(flatten)]
        control: Control,
    },
}

/// A mirror.
#[derive(Debug, Args)]
pub struct Start {
    /// What it is to be called; the shadow reads it in `x-umbra-shadow`.
    pub name: String,
    /// The shadow: HOST:PORT, or the name of one of `umbra shadow ls`, where that is now.
    #[arg(long, value_name = "SHADOW")]
    pub to: String,
    /// The port of a shadow that is named.
    #[arg(long, value_name = "PORT", default_value_t = 80, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// How much, from 0.001 to 100: of the requests, or of the sessions.
    #[arg(long, value_name = "PERCENT", default_value = "100")]
    pub percent: String,
    /// Only requests of this method; can be given again.
    #[arg(long = "method", value_name = "METHOD")]
    pub methods: Vec<String>,
    /// Only requests whose path begins so.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub path: String,
    /// Only requests with this header of this value; can be given again, then all must be there.
    #[arg(long = "header", value_name = "NAME:VALUE")]
    pub headers: Vec<String>,
    /// Only requests of this route of `umbra route list`.
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,
    /// Mirror sessions whole or not at all, told by this: cookie:NAME, header:NAME or address.
    /// Requests of no session are not mirrored.
    #[arg(long, value_name = "WHAT")]
    pub sessions: Option<String>,
    /// The `Host` the shadow gets instead of production's.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Requests under way at once; what is more is dropped.
    #[arg(long, value_name = "N")]
    pub in_flight: Option<usize>,
    /// Bytes of a body that are copied; longer ones break off.
    #[arg(long, value_name = "BYTES")]
    pub body_bytes: Option<u64>,
    /// How long the shadow may take, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub timeout_ms: Option<u64>,
    /// Tell the shadow whose a request is, by a PROXY protocol header.
    #[arg(long, value_name = "VERSION", value_parser = version())]
    pub send_proxy: Option<Version>,
    /// Whether its answers are compared.
    #[command(flatten)]
    pub comparing: Comparing,
    /// Of which gateway.
    #[command(flatten)]
    pub control: Control,
}

/// Which PROXY protocol header.
fn version() -> impl TypedValueParser<Value = Version> {
    PossibleValuesParser::new(["v1", "v2"])
        .map(|word| if word == "v1" { Version::V1 } else { Version::V2 })
}
