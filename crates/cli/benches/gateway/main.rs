//! The gateway beside nginx and HAProxy, and beside itself without a shadow.
//!
//! `cargo bench -p umbra-cli --bench gateway -- [peers] [http2] [faults] [bodies] [split]`, with nginx,
//! haproxy, wrk, h2load and taskset. What is measured has one processor, all else another.
//!
//! HAProxy mirrors only through a program that speaks its SPOE (spoa-mirror), which Debian does
//! not have: nginx is the only peer that mirrors.

mod bodies;
mod faults;
mod http2;
#[path = "../load/mod.rs"]
mod load;
mod measured;
mod memory;
#[path = "../middle/mod.rs"]
mod middle;
mod peers;
mod place;
#[path = "../process/mod.rs"]
mod process;
#[path = "../../../gateway/tests/harm/shadow.rs"]
mod shadow;
mod split;
mod wrk;

use process::Outcome;

fn main() -> Outcome {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if let [word, fault] = &words[..]
        && word == place::SHADOW
    {
        return place::be_shadow(fault);
    }
    place::be_load()?;
    type Bench = fn() -> Outcome;
    let all: [(&str, Bench); 5] = [
        ("peers", wrk::peers),
        ("http2", http2::http2),
        ("faults", faults::faults),
        ("bodies", bodies::bodies),
        ("split", split::split),
    ];
    for (name, bench) in all {
        if words.is_empty() || words.iter().any(|word| word == name) {
            bench()?;
        }
    }
    Ok(())
}
