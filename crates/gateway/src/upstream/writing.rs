//! How a request is written for the HTTP a target speaks.

use http_body::Body;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Request, Uri, Version};

use super::{Protocol, Target};

/// Asks for a path, of a host. A body without a length is chunked, which has to be said: a `GET`
/// would be taken to have none.
pub(super) fn for_http1<B: Body>(request: &mut Request<B>, target: &Target) {
    *request.version_mut() = Version::HTTP_11;
    if !request.headers().contains_key(HOST) {
        let authority = request.uri().authority().unwrap_or(target.authority());
        // What is an authority can stand in a header.
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            request.headers_mut().insert(HOST, host);
        }
    }
    if request.uri().scheme().is_some() {
        *request.uri_mut() = Uri::from(path(request.uri()));
    }
    if !request.body().is_end_stream() && !request.headers().contains_key(CONTENT_LENGTH) {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
}

/// Asks for a whole URI; what its host is stands there and nowhere else.
pub(super) fn for_http2<B>(request: &mut Request<B>, target: &Target) {
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(TRANSFER_ENCODING);
    let host = request.headers_mut().remove(HOST);
    let host = host.and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let mut parts = hyper::http::uri::Parts::default();
    let is_tls = target.protocol() == Protocol::Https;
    parts.scheme = Some(if is_tls { Scheme::HTTPS } else { Scheme::HTTP });
    let asked = request.uri().authority().cloned();
    parts.authority = host.or(asked).or_else(|| Some(target.authority().clone()));
    parts.path_and_query = Some(path(request.uri()));
    // All three parts are there and valid.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

fn path(uri: &Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use hyper::body::Bytes;

    use super::*;

    fn request(uri: &str, host: Option<&str>) -> Request<Full<Bytes>> {
        let mut request = Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        request.body(Full::new(Bytes::from_static(b"body"))).expect("a request")
    }

    #[test]
    fn the_host_stands_where_the_protocol_has_it() {
        #[track_caller]
        fn check(uri: &str, host: Option<&str>, (path, header): (&str, &str), whole: &str) {
            let target: Target = "https://inside:443".parse().expect("a target");
            let mut asked = request(uri, host);
            for_http1(&mut asked, &target);
            let is = (asked.uri().to_string(), asked.headers()[HOST].to_str().expect("text"));
            assert_eq!(is, (path.to_owned(), header));
            assert_eq!(asked.headers()[TRANSFER_ENCODING], "chunked");
            for_http2(&mut asked, &target);
            assert_eq!(asked.uri().to_string(), whole);
            assert!(asked.headers().is_empty(), "{:?}", asked.headers());
            // And back, as a request that is asked again may be.
            for_http1(&mut asked, &target);
            assert_eq!(
                (asked.uri().to_string(), &asked.headers()[HOST]),
                (path.to_owned(), &HeaderValue::from_str(header).expect("a value"))
            );
        }
        check("/a?b", Some("shop"), ("/a?b", "shop"), "https://shop/a?b");
        check("http://shop:81/a", Some("shop:81"), ("/a", "shop:81"), "https://shop:81/a");
        check("/", None, ("/", "inside:443"), "https://inside:443/");
        check("http://shop", None, ("/", "shop"), "https://shop/");
    }
}
