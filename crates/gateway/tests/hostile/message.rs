//! One HTTP/1.1 message, read as strictly as can be: what has two readings is an error.

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt};

/// How a body's end is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClosed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) framing: Framing,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(is, _)| is == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands there twice: {self:?}");
        value
    }

    /// The request in a line: `POST /a 2:hi`, `POST /a chunked:hi`, `GET /a`.
    pub(crate) fn asked(&self) -> String {
        let line = self.line.strip_suffix(" HTTP/1.1").expect("HTTP/1.1 is written");
        let body = self.body.escape_ascii();
        match self.framing {
            Framing::None | Framing::UntilClosed => line.to_owned(),
            Framing::Length(length) => format!("{line} {length}:{body}"),
            Framing::Chunked => format!("{line} chunked:{body}"),
        }
    }

    pub(crate) fn status(&self) -> u16 {
        let status = self.line.strip_prefix("HTTP/1.1 ").or(self.line.strip_prefix("HTTP/1.0 "));
        let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
        status.unwrap_or_else(|| panic!("no answer: {self:?}"))
    }
}

/// The next request; `None` at the end.
pub(crate) async fn request(
    from: &mut (impl AsyncBufRead + Unpin),
) -> Result<Option<Message>, String> {
    let Some(mut message) = head(from).await? else { return Ok(None) };
    let hosts = message.headers.iter().filter(|(name, _)| name == "host").count();
    if hosts != 1 {
        return Err(format!("{hosts} Hosts: {message:?}"));
    }
    body(from, &mut message).await?;
    Ok(Some(message))
}

/// The next answer; `None` at the end.
pub(crate) async fn answer(
    from: &mut (impl AsyncBufRead + Unpin),
    to_head: bool,
) -> Result<Option<Message>, String> {
    let Some(mut message) = head(from).await? else { return Ok(None) };
    let status = message.status();
    if to_head || status < 200 || status == 204 || status == 304 {
        return Ok(Some(message));
    }
    if message.framing == Framing::None {
        message.framing = Framing::UntilClosed;
    }
    body(from, &mut message).await?;
    Ok(Some(message))
}

async fn head(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Message>, String> {
    let Some(first) = line(from).await? else { return Ok(None) };
    let mut message =
        Message { line: first, headers: Vec::new(), framing: Framing::None, body: Vec::new() };
    loop {
        let line = line(from).await?.ok_or("it ends within a head")?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or(format!("no header: {line:?}"))?;
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) {
            return Err(format!("no header's name: {line:?}"));
        }
        message.headers.push((name.to_ascii_lowercase(), value.trim_matches(' ').to_owned()));
    }
    message.framing = framing(&message)?;
    Ok(Some(message))
}

fn framing(message: &Message) -> Result<Framing, String> {
    let mut framing = Framing::None;
    for (name, value) in &message.headers {
        let is = match name.as_str() {
            "content-length" => {
                let length = value.parse::<usize>().ok();
                let length = length.filter(|length| length.to_string() == *value);
                Framing::Length(length.ok_or(format!("no length: {value:?}"))?)
            }
            "transfer-encoding" if value == "chunked" => Framing::Chunked,
            "transfer-encoding" => return Err(format!("encoded as {value:?}")),
            _ => continue,
        };
        if framing != Framing::None {
            return Err(format!("framed twice: {message:?}"));
        }
        framing = is;
    }
    Ok(framing)
}

async fn body(from: &mut (impl AsyncBufRead + Unpin), message: &mut Message) -> Result<(), String> {
    match message.framing {
        Framing::None => {}
        Framing::Length(length) => exactly(from, length, &mut message.body).await?,
        Framing::UntilClosed => {
            from.read_to_end(&mut message.body).await.map_err(|error| error.to_string())?;
        }
        Framing::Chunked => loop {
            let size = line(from).await?.ok_or("it ends before a chunk")?;
            let size = usize::from_str_radix(&size, 16).map_err(|_| format!("size {size:?}"))?;
            exactly(from, size, &mut message.body).await?;
            let end = line(from).await?;
            if end.as_deref() != Some("") {
                return Err(format!("{end:?} behind a chunk"));
            }
            if size == 0 {
                break;
            }
        },
    }
    Ok(())
}

async fn exactly(
    from: &mut (impl AsyncRead + Unpin),
    length: usize,
    to: &mut Vec<u8>,
) -> Result<(), String> {
    let read = from.take(length as u64).read_to_end(to).await;
    match read.map_err(|error| error.to_string())? == length {
        true => Ok(()),
        false => Err("it ends within a body".to_owned()),
    }
}

/// A line without its end; `None` at the end of everything.
async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    from.read_until(b'\n', &mut bytes).await.map_err(|error| error.to_string())?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let shown = || format!("no line: \"{}\"", bytes.escape_ascii());
    let line = bytes.strip_suffix(b"\r\n").ok_or_else(shown)?;
    if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(shown());
    }
    // Bytes beyond ASCII are compared as escapes.
    Ok(Some(String::from_utf8(line.to_vec()).unwrap_or_else(|_| line.escape_ascii().to_string())))
}
