//! An error and its causes in one line.

use std::error::Error;

/// An error and everything below it, joined by colons: `Display` of our errors never repeats
/// its source.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::chain;

    #[derive(Debug, thiserror::Error)]
    #[error("open the door")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_follow_what_they_caused() {
        assert_eq!(
            chain(&Outer(std::io::Error::other("it is locked"))),
            "open the door: it is locked"
        );
    }
}
