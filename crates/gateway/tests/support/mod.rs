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

/// One in front of `primary`.
pub(crate) async fn gateway(primary: SocketAddr, limits: Limits) -> (SocketAddr, Arc<Proxy>) {
    let target = primary.to_string().parse().expect("a target");
    routed(RoutesSetup::all_to(&target), &Trust::default(), limits).await
}

/// One with these routes.
pub(crate) async fn routed(
    setup: RoutesSetup,
    trust: &Trust,
    limits: Limits,
) -> (SocketAddr, Arc<Proxy>) {
    let (at, listener) = listen().await;
    let routes = Routes::new(setup, trust, None).expect("routes");
    let proxy = Arc::new(Proxy::new(routes, Rules::default()));
    let front = Arc::new(Front::new(Arc::clone(&proxy), limits));
    tokio::spawn(serve(Arc::new(listener), front, std::future::pending()));
    (at, proxy)
}
