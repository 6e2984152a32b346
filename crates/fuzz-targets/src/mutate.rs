//! The next input: a seed, changed. Everything follows from the case's number, so a case can be
//! had again.

use fastrand::Rng;

/// The longest input.
pub const BYTES_MAX: usize = 256 << 10;

/// Where parsers count, shift and overflow.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// The input of case `number`.
pub fn case(number: u64, seeds: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    // Neighbouring seeds of the generator are no neighbours in what it yields.
    let mut rng = Rng::with_seed(number);
    let mut bytes = rng.choice(seeds).cloned().unwrap_or_default();
    for _ in 0..1 << rng.u32(0..4) {
        change(&mut bytes, &mut rng, seeds, words);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn change(bytes: &mut Vec<u8>, rng: &mut Rng, seeds: &[Vec<u8>], words: &[&str]) {
    let at = rng.usize(0..=bytes.len());
    match rng.u32(0..10) {
        0 => flip(bytes, rng),
        1 => insert(bytes, at, &[rng.u8(..)]),
        2 => drop(bytes.drain(slice(bytes.len(), rng))),
        3 => number(bytes, rng),
        4 | 5 => insert(bytes, at, rng.choice(words).unwrap_or(&"").as_bytes()),
        6 => repeat(bytes, rng, words),
        7 => {
            let piece = bytes[slice(bytes.len(), rng)].to_vec();
            insert(bytes, at, &piece);
        }
        8 => {
            let other = rng.choice(seeds).map_or(&[][..], Vec::as_slice);
            insert(bytes, at, &other[slice(other.len(), rng)]);
        }
        _ => bytes.truncate(at),
    }
}

fn flip(bytes: &mut [u8], rng: &mut Rng) {
    if !bytes.is_empty() {
        let at = rng.usize(0..bytes.len());
        bytes[at] ^= 1 << rng.u32(0..8);
    }
}

/// Overwrites a field with a number that is an edge of something, in a width and byte order.
fn number(bytes: &mut [u8], rng: &mut Rng) {
    let number = NUMBERS[rng.usize(0..NUMBERS.len())];
    let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
    let width = 1 << rng.usize(0..4);
    let field = if rng.bool() { &little[..width] } else { &big[8 - width..] };
    if let Some(room) = bytes.len().checked_sub(width) {
        let at = rng.usize(0..=room);
        bytes[at..at + width].copy_from_slice(field);
    }
}

/// Nesting and length: one piece very often.
fn repeat(bytes: &mut Vec<u8>, rng: &mut Rng, words: &[&str]) {
    let piece = match rng.bool() {
        true => rng.choice(words).unwrap_or(&"").as_bytes().to_vec(),
        false => {
            let mut range = slice(bytes.len(), rng);
            range.end = range.end.min(range.start + 64);
            bytes[range].to_vec()
        }
    };
    let at = rng.usize(0..=bytes.len());
    let times = 1 << rng.u32(0..15);
    let room = BYTES_MAX.saturating_sub(bytes.len()) / piece.len().max(1);
    insert(bytes, at, &piece.repeat(times.min(room)));
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}

fn slice(length: usize, rng: &mut Rng) -> std::ops::Range<usize> {
    let start = rng.usize(0..=length);
    start..rng.usize(start..=length)
}
