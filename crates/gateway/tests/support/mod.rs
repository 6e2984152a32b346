//! A gateway in this process.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use umbra_gateway::gateway::{Limits, serve};
use umbra_gateway::listen::front::Front;
use umbra_gateway::proxy::{Proxy, Rules};
use umbra_gateway::routes::{Routes, RoutesSetup};
use umbra_gateway::upstream::Trust;

pub(crate) async fn listen() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    (listener.local_addr().expect("an address"), listener)
}

/// Everything to one target.
pub(crate) fn all_to(target: impl std::fmt::Display) -> RoutesSetup {
    RoutesSetup::all_to(&target.to_string().parse().expect("a target"))
}

/// A gateway with these routes, and as usual otherwise.
pub(crate) async fn gateway(setup: RoutesSetup) -> (SocketAddr, Arc<Front>) {
    gateway_with(setup, &Trust::default(), Limits::default(), |front| front).await
}

/// A gateway with these routes, of which clients see more than the usual.
pub(crate) async fn gateway_with(
    setup: RoutesSetup,
    trust: &Trust,
    limits: Limits,
    more: impl FnOnce(Front) -> Front,
) -> (SocketAddr, Arc<Front>) {
    let (at, listener) = listen().await;
    let routes = Routes::new(setup, trust).expect("routes");
    let proxy = Arc::new(Proxy::new(routes, Rules::default()));
    let front = Arc::new(more(Front::new(proxy, limits)));
    tokio::spawn(serve(Arc::new(listener), Arc::clone(&front), std::future::pending()));
    (at, front)
}
