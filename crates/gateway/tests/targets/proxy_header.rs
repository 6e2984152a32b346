//! Whose a connection is, as a target is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use umbra_gateway::listen::proxy_header::{Ends, Parsed, Version, parse};

use crate::support::{all_to, gateway, listen};

pub(crate) type Seen = Arc<Mutex<Vec<Ends>>>;

/// A server that notes whose its connections are, and answers each request on them.
pub(crate) async fn server() -> (SocketAddr, Seen) {
    let (at, listener) = listen().await;
    let seen = Seen::default();
    let notes = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&notes)));
        }
    });
    (at, seen)
}

async fn answer(mut stream: TcpStream, seen: Seen) {
    let mut bytes = Vec::new();
    let ends = loop {
        match parse(&bytes) {
            Ok(Parsed::Whole { length, ends }) if bytes[length..].ends_with(b"\r\n\r\n") => {
                break ends;
            }
            Ok(_) => {}
            Err(error) => panic!("{error}: {bytes:?}"),
        }
        if stream.read_buf(&mut bytes).await.is_ok_and(|read| read == 0) {
            return;
        }
    };
    seen.lock().expect("nobody panicked").push(ends.expect("whose it is"));
    loop {
        let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        if stream.write_all(ok).await.is_err()
            || stream.read(&mut [0; 4096]).await.is_ok_and(|read| read == 0)
        {
            return;
        }
    }
}

async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET /some/path HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok") {
        assert!(stream.read_buf(&mut answer).await.expect("an answer") > 0);
    }
}

#[tokio::test]
async fn every_client_has_connections_of_its_own() {
    for version in [Version::V1, Version::V2] {
        let (primary, seen) = server().await;
        let mut setup = all_to(primary);
        setup.routes[0].targets[0].send_proxy = Some(version);
        let (at, _) = gateway(setup).await;
        let mut expected = Vec::new();
        for _ in 0..3 {
            let mut client = TcpStream::connect(at).await.expect("a connection");
            let source = client.local_addr().expect("an address");
            expected.push(Ends { source, destination: at });
            // Its second request is asked on the same connection.
            ask(&mut client).await;
            ask(&mut client).await;
        }
        assert_eq!(*seen.lock().expect("nobody panicked"), expected, "{version:?}");
    }
}
