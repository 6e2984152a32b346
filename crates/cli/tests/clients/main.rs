//! Clients that others wrote, through a gateway as it is typed.

#![allow(clippy::unwrap_used)]

mod curl;
#[path = "../support/gateway.rs"]
mod gateway;
mod grpc;
mod h2load;
mod python;
mod server;
mod websocket;

use std::path::Path;

/// Whether a program or a library is here; says so if it is not.
fn is_here(file: &str, package: &str) -> bool {
    let here = Path::new(file).exists();
    if !here {
        println!("skipped: no {file} (apt-get install {package})");
    }
    here
}
