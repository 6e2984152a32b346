//! An exchange as bytes (`docs/capture-format.md`, "An exchange").

use bytes::{BufMut, Bytes};

use super::{Answered, Asked, Exchange, Headers, Kept};

/// Headers of one message, at most.
pub(super) const HEADERS_MAX: usize = 1024;

/// Appends an exchange. False where a part of it is longer than its length can say; what was
/// appended then is to be thrown away.
pub(super) fn encode(exchange: &Exchange, to: &mut Vec<u8>) -> bool {
    to.put_u64_le(exchange.began_us);
    to.put_u64_le(exchange.session);
    let asked = &exchange.request;
    let mut good = short(asked.method.as_bytes(), to) && long(asked.target.as_bytes(), to);
    good = good && message(&asked.headers, &asked.body, to);
    match &exchange.answer {
        None => to.put_u8(0),
        Some(answer) => {
            to.put_u8(1);
            to.put_u16_le(answer.status);
            to.put_u64_le(answer.after_us);
            good = good && message(&answer.headers, &answer.body, to);
        }
    }
    good
}

fn message(headers: &Headers, body: &Kept, to: &mut Vec<u8>) -> bool {
    let Ok(count) = u16::try_from(headers.len()) else { return false };
    to.put_u16_le(count);
    if headers.len() > HEADERS_MAX {
        return false;
    }
    let good = headers.iter().all(|(name, value)| short(name, to) && long(value, to));
    to.put_u8(u8::from(body.cut));
    good && long(&body.bytes, to)
}

fn short(bytes: &[u8], to: &mut Vec<u8>) -> bool {
    let Ok(length) = u16::try_from(bytes.len()) else { return false };
    to.put_u16_le(length);
    to.put_slice(bytes);
    true
}

fn long(bytes: &[u8], to: &mut Vec<u8>) -> bool {
    let Ok(length) = u32::try_from(bytes.len()) else { return false };
    to.put_u32_le(length);
    to.put_slice(bytes);
    true
}

/// Reads what [`encode`] wrote, all of it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn decode(bytes: Bytes) -> Result<Exchange, &'static str> {
    let mut rest = Rest(bytes);
    let (began_us, session) = (rest.u64()?, rest.u64()?);
    let method = rest.short().and_then(text)?;
    let target = rest.long().and_then(text)?;
    let (headers, body) = rest.message()?;
    let request = Asked { method, target, headers, body };
    let answer = match rest.u8()? {
        0 => None,
        1 => {
            let (status, after_us) = (rest.u16()?, rest.u64()?);
            if !(100..1000).contains(&status) {
                return Err("a status is from 100 to 999");
            }
            let (headers, body) = rest.message()?;
            Some(Answered { status, after_us, headers, body })
        }
        _ => return Err("an answer is there or not"),
    };
    if !rest.0.is_empty() {
        return Err("there is something behind its end");
    }
    Ok(Exchange { began_us, session, request, answer })
}

/// What is not read yet.
struct Rest(Bytes);

impl Rest {
    fn take(&mut self, count: usize) -> Result<Bytes, &'static str> {
        // Nothing is copied or allocated: a length that lies costs nothing.
        if count > self.0.len() {
            return Err("it is shorter than it says");
        }
        Ok(self.0.split_to(count))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let taken = self.take(N)?;
        taken.as_ref().try_into().map_err(|_| "it is shorter than it says")
    }

    fn u8(&mut self) -> Result<u8, &'static str> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    fn u16(&mut self) -> Result<u16, &'static str> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_le_bytes)
    }

    fn short(&mut self) -> Result<Bytes, &'static str> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    fn long(&mut self) -> Result<Bytes, &'static str> {
        let length = self.u32()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn message(&mut self) -> Result<(Headers, Kept), &'static str> {
        let count = usize::from(self.u16()?);
        if count > HEADERS_MAX {
            return Err("it has more than 1024 headers");
        }
        let headers = (0..count).map(|_| Ok((self.short()?, self.long()?)));
        let headers = headers.collect::<Result<_, &'static str>>()?;
        let cut = match self.u8()? {
            0 => false,
            1 => true,
            _ => return Err("a body is cut or not"),
        };
        Ok((headers, Kept { bytes: self.long()?, cut }))
    }
}

fn text(bytes: Bytes) -> Result<String, &'static str> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "its method or target is not UTF-8")
}
