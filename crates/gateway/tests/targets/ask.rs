//! A client.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::header::SET_COOKIE;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    pub(crate) cookie: Option<String>,
    pub(crate) trailers: Option<HeaderMap>,
}

pub(crate) async fn send(request: Request<BoxBody<Bytes, Infallible>>, http2: bool) -> Answer {
    let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
    let answer = client.request(request).await.expect("an answer");
    let (head, body) = answer.into_parts();
    let cookie = head.headers.get(SET_COOKIE);
    let cookie = cookie.map(|cookie| cookie.to_str().expect("text").to_owned());
    let body = body.collect().await.expect("a whole answer");
    let trailers = body.trailers().cloned();
    let text = String::from_utf8(body.to_bytes().to_vec()).expect("text");
    Answer { status: head.status, text, cookie, trailers }
}

/// A `GET` with these headers.
pub(crate) async fn get(at: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().uri(format!("http://{at}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request.body(Empty::new().boxed()).expect("a request"), false).await
}
