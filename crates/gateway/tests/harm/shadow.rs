//! Shadows with something wrong with them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Hangs,
    Refuses,
    ResetsMidBody,
    OneByteASecond,
    ClosesAtOnce,
    AnswersAGigabyte,
    AnswersGarbage,
    NameIsGone,
}

pub(crate) const FAULTS: [Fault; 8] = [
    Fault::Hangs,
    Fault::Refuses,
    Fault::ResetsMidBody,
    Fault::OneByteASecond,
    Fault::ClosesAtOnce,
    Fault::AnswersAGigabyte,
    Fault::AnswersGarbage,
    Fault::NameIsGone,
];

/// Where such a shadow is.
pub(crate) async fn shadow(fault: Fault) -> String {
    if fault == Fault::NameIsGone {
        // No resolver may know it (RFC 6761).
        return "shadow.invalid:80".to_owned();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    if fault != Fault::Refuses {
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, fault));
            }
        });
    }
    at.to_string()
}

async fn answer(mut stream: TcpStream, fault: Fault) {
    if fault == Fault::None {
        // The client may be gone.
        let _ = serve(stream).await;
        return;
    }
    let mut some = [0; 1024];
    if fault != Fault::ClosesAtOnce && stream.read(&mut some).await.is_err() {
        return;
    }
    // Whatever goes wrong here is what is wanted.
    let _ = match fault {
        Fault::None | Fault::ClosesAtOnce | Fault::Refuses | Fault::NameIsGone => Ok(()),
        Fault::Hangs => std::future::pending().await,
        Fault::ResetsMidBody => {
            let reset = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
            reset.map_err(std::io::Error::from)
        }
        Fault::OneByteASecond => drip(&mut stream).await,
        Fault::AnswersAGigabyte => flood(&mut stream).await,
        Fault::AnswersGarbage => stream.write_all(b"\x00\xff\r\n\r\nno answer at all\r\n").await,
    };
}

async fn drip(stream: &mut TcpStream) -> std::io::Result<()> {
    for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" {
        stream.write_all(&[*byte]).await?;
        // How slow it is, not a wait for something.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn flood(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await?;
    let block = vec![b'x'; 1 << 16];
    for _ in 0..(1 << 14) {
        stream.write_all(&block).await?;
    }
    Ok(())
}

/// Answers whatever is asked.
async fn serve(stream: TcpStream) -> std::io::Result<()> {
    use http_body_util::{BodyExt, Full};
    use hyper::body::{Bytes, Incoming};
    use hyper::{Request, Response};
    let service = hyper::service::service_fn(|request: Request<Incoming>| async {
        let mut body = request.into_body();
        let mut whole = true;
        while let Some(frame) = body.frame().await {
            whole &= frame.is_ok();
        }
        let body = Bytes::from_static(if whole { b"whole" } else { b"part" });
        Ok::<_, std::convert::Infallible>(Response::new(Full::new(body)))
    });
    let builder = hyper::server::conn::http1::Builder::new();
    let served = builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
    served.map_err(std::io::Error::other)
}
