//! A body in chunks (RFC 9112, 7.1), as it comes. Read strictly: what two parties could read
//! differently is ambiguous.

/// What chunks may say besides their size, and trailers, all together.
const ASIDE_BYTES_MAX: usize = 64 << 10;

/// Why no more of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadChunks {
    /// It is no chunk, or could be read in two ways.
    Ambiguous,
    /// There is too much besides the body.
    TooLong,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    at: At,
    /// What is left of the chunk.
    left: u64,
    /// Bytes that were neither data nor a size.
    aside: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    /// A chunk's size; whether it has digits yet.
    #[default]
    Size,
    Digits,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    /// The first byte of a line behind the last chunk.
    TrailerStart,
    Trailer,
    TrailerLineFeed,
    LastLineFeed,
    Over,
}

impl Chunks {
    /// Whether the last one and what follows it have come.
    pub(crate) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// Takes some bytes, at least one; those that are data.
    pub(crate) fn take<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<&'a [u8], BadChunks> {
        if self.at == At::Data {
            let count = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let (data, rest) = bytes.split_at(count);
            *bytes = rest;
            self.left -= count as u64;
            if self.left == 0 {
                self.at = At::DataReturn;
            }
            return Ok(data);
        }
        if let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.at = self.after(byte)?;
        }
        Ok(&[])
    }

    fn after(&mut self, byte: u8) -> Result<At, BadChunks> {
        Ok(match (self.at, byte) {
            (At::Size | At::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                self.left = self.left.checked_mul(16).ok_or(BadChunks::Ambiguous)?;
                self.left += u64::from(digit);
                At::Digits
            }
            (At::Digits, b';' | b' ' | b'\t') => self.besides(At::Extension)?,
            (At::Digits | At::Extension, b'\r') => At::SizeLineFeed,
            (At::Extension, byte) if is_text(byte) => self.besides(At::Extension)?,
            (At::SizeLineFeed, b'\n') if self.left == 0 => At::TrailerStart,
            (At::SizeLineFeed, b'\n') => At::Data,
            (At::DataReturn, b'\r') => At::DataLineFeed,
            (At::DataLineFeed, b'\n') => At::Size,
            (At::TrailerStart, b'\r') => At::LastLineFeed,
            (At::TrailerStart, byte) if byte.is_ascii_graphic() => self.besides(At::Trailer)?,
            (At::Trailer, b'\r') => At::TrailerLineFeed,
            (At::Trailer, byte) if is_text(byte) => self.besides(At::Trailer)?,
            (At::TrailerLineFeed, b'\n') => At::TrailerStart,
            (At::LastLineFeed, b'\n') => At::Over,
            _ => return Err(BadChunks::Ambiguous),
        })
    }

    fn besides(&mut self, at: At) -> Result<At, BadChunks> {
        self.aside += 1;
        if self.aside > ASIDE_BYTES_MAX { Err(BadChunks::TooLong) } else { Ok(at) }
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (b' '..=b'~').contains(&byte) || byte >= 0x80
}
