//! A server that says what it got, and tells events when it is told to.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// What it answers to a request without a body.
pub(crate) const PAGE: &str = "a page\n";
/// Where events are told.
pub(crate) const EVENTS: &str = "/events";

type Answer = Response<Either<Full<Bytes>, Channel<Bytes>>>;
type Events = Arc<Mutex<Receiver<String>>>;

/// One that runs as long as this program. Its events come from the sender, one by one.
pub(crate) fn start() -> (SocketAddr, Sender<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    let (tell, events) = channel();
    let events = Arc::new(Mutex::new(events));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(serve(listener, events));
    });
    (at, tell)
}

async fn serve(listener: TcpListener, events: Events) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let events = Arc::clone(&events);
        let service = service_fn(move |request| {
            let events = Arc::clone(&events);
            async move { Ok::<_, Infallible>(answer(request, events).await) }
        });
        let builder = hyper::server::conn::http1::Builder::new();
        tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(request: Request<Incoming>, events: Events) -> Answer {
    let (head, body) = request.into_parts();
    if head.uri.path() == EVENTS {
        return tell(events);
    }
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let framing = framing(&head);
    let body = if body.is_empty() { Bytes::from_static(PAGE.as_bytes()) } else { body };
    let mut answer = Response::new(Either::Left(Full::new(body)));
    answer.headers_mut().insert("x-framing", framing);
    answer
}

/// How the request's body came.
fn framing(head: &Parts) -> HeaderValue {
    let none = HeaderValue::from_static("none");
    let chunked = head.headers.get(hyper::header::TRANSFER_ENCODING);
    chunked.or(head.headers.get(CONTENT_LENGTH)).cloned().unwrap_or(none)
}

fn tell(events: Events) -> Answer {
    let (mut to, body) = Channel::new(1);
    tokio::task::spawn_blocking(move || {
        let events = events.lock().unwrap();
        let runtime = tokio::runtime::Handle::current();
        for event in events.iter() {
            let text = Bytes::from(format!("data: {event}\n\n"));
            if runtime.block_on(to.send_data(text)).is_err() {
                return;
            }
        }
    });
    let mut answer = Response::new(Either::Right(body));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer
}
