//! Commands and HTTP requests of a goss file, made as from inside the shadow.

use std::net::IpAddr;
use std::time::Duration;

use umbra_state::{Command, Exit};

use super::value::Value;
use super::world::World;
use super::{Actual, Facts, Resource, network};
use crate::check::http::client::{self, Exchange, Reach};
use crate::check::http::url::Url;
use crate::check::http::{HttpRequest, Tls};
use crate::target::ProbeError;

/// goss's own defaults.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
const HTTP_TIMEOUT: Duration = Duration::from_secs(5);
const REDIRECTS_MAX: u32 = 10;
const BODY_BYTES_MAX: u64 = 4 << 20;

pub(super) fn observe_command(resource: &Resource, world: &World<'_>) -> Result<Facts, ProbeError> {
    let script = resource.text("exec").unwrap_or_else(|| resource.id.clone());
    let timeout = resource.millis("timeout").unwrap_or(COMMAND_TIMEOUT);
    let command = Command::new(["/bin/sh".to_owned(), "-c".to_owned(), script]);
    let output = world.run(command, Some(timeout))?;
    if output.dropped_bytes > 0 && (resource.wants("stdout") || resource.wants("stderr")) {
        return Err(ProbeError::Malformed {
            what: "the command's output".to_owned(),
            detail: format!("{} bytes of it were not kept", output.dropped_bytes),
        });
    }
    let status = match output.exit {
        Exit::Code(code) => Actual::number(code),
        exit => Actual::text(exit.to_string()),
    };
    Ok(Facts::from([
        ("exit-status", status),
        ("stdout", Actual::Lines(output.stdout)),
        ("stderr", Actual::Lines(output.stderr)),
    ]))
}

pub(super) fn observe_http(resource: &Resource, world: &World<'_>) -> Result<Facts, ProbeError> {
    let malformed =
        |detail: &str| ProbeError::Malformed { what: "the URL".into(), detail: detail.into() };
    let url = Url::parse(&resource.id).map_err(malformed)?;
    let timeout = resource.millis("timeout").unwrap_or(HTTP_TIMEOUT);
    let Some(address) = address(&url, timeout, world)? else {
        return Ok(Facts::from([("status", Actual::text("the host's name cannot be resolved"))]));
    };
    let tls = match (resource.flag("allow-insecure"), resource.text("ca-file")) {
        (true, _) => Tls::Insecure,
        (false, ca_file) => Tls::Verify { ca_file: ca_file.filter(|file| !file.is_empty()) },
    };
    let request = request(resource, &url);
    let redirects_max = if resource.flag("no-follow-redirects") { 0 } else { REDIRECTS_MAX };
    let exchange =
        Exchange { request: &request, tls: &tls, redirects_max, body_bytes_max: BODY_BYTES_MAX };
    let time = world.time(Some(timeout));
    let answer = client::fetch(world.target, Reach::Inside(address), url, &exchange, time)?;
    let response = match answer {
        Ok(response) => response,
        Err(failure) => return Ok(Facts::from([("status", Actual::text(failure.in_words()))])),
    };
    let mut headers = Vec::new();
    for (name, value) in &response.headers {
        headers.extend_from_slice(canonical(name.as_str()).as_bytes());
        headers.extend_from_slice(b": ");
        headers.extend_from_slice(value.as_bytes());
        headers.push(b'\n');
    }
    Ok(Facts::from([
        ("status", Actual::number(response.status)),
        ("headers", Actual::Lines(headers)),
        ("body", Actual::Lines(response.body)),
    ]))
}

fn address(url: &Url, timeout: Duration, world: &World<'_>) -> Result<Option<IpAddr>, ProbeError> {
    if let Some(address) = client::host_address(url) {
        return Ok(Some(address));
    }
    Ok(network::resolve(url.server_name(), Some(timeout), world)?.into_iter().next())
}

fn request(resource: &Resource, url: &Url) -> HttpRequest {
    let mut headers = Vec::new();
    if let Some(Value::List(values)) = resource.option("request-headers").map(|node| &node.value) {
        let split = |value: &Value| {
            let text = value.scalar_text()?;
            let (name, value) = text.split_once(':')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        headers.extend(values.iter().filter_map(split));
    }
    let user = resource.text("username").filter(|user| !user.is_empty());
    if let Some(user) = user {
        let password = resource.text("password").unwrap_or_default();
        let credentials = base64(format!("{user}:{password}").as_bytes());
        headers.push(("Authorization".to_owned(), format!("Basic {credentials}")));
    }
    HttpRequest {
        method: resource.text("method").filter(|m| !m.is_empty()).unwrap_or("GET".to_owned()),
        path: url.path.clone(),
        host: None,
        headers,
        body: resource.text("request-body").unwrap_or_default().into_bytes(),
    }
}

/// Header names as goss shows them: `Content-Type`.
fn canonical(name: &str) -> String {
    let capital = |part: &str| {
        let mut chars = part.chars();
        let first = chars.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(chars).collect::<String>()
    };
    name.split('-').map(capital).collect::<Vec<_>>().join("-")
}

/// Standard alphabet with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte));
        let word = word << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (word >> (18 - 6 * place)) & 63;
            let filled = place <= chunk.len();
            text.push(if filled { char::from(ALPHABET[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_encoded() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(canonical("content-type"), "Content-Type");
    }
}
