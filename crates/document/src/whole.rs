//! A document that is one file: from its path to a value, or to all that is wrong with it.

use std::path::Path;

use umbra_state::escape::escape;

use crate::file::{ReadError, read_text};
use crate::source::{Source, Span};
use crate::yaml::{self, Node};
use crate::{Found, Problem, Problems};

/// Documents of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Whole {
    /// What problems call one, without an article.
    pub noun: &'static str,
    /// It may be this long.
    pub bytes_max: u64,
}

impl Whole {
    /// The document at `path`, as `read` takes it from its tree.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place.
    pub fn load<T>(
        &self,
        path: &Path,
        read: impl FnOnce(Node, &[Source], &mut Found) -> Option<T>,
    ) -> Result<T, Problems> {
        let name = path.display().to_string();
        match read_text(path, self.bytes_max) {
            Ok(text) => self.parse(&name, &text, read),
            Err(error) => Err(unreadable(&name, &error)),
        }
    }

    /// The same of a text; `name` stands for its path in problems. Whatever `read` finds wrong it
    /// says; the value then does not count.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place.
    pub fn parse<T>(
        &self,
        name: &str,
        text: &str,
        read: impl FnOnce(Node, &[Source], &mut Found) -> Option<T>,
    ) -> Result<T, Problems> {
        let bytes_max = self.bytes_max;
        if text.len() as u64 > bytes_max {
            return Err(unreadable(name, &ReadError::TooLong { bytes_max }));
        }
        let mut found = Found::default();
        let sources = [Source { name: name.to_owned(), text: text.to_owned() }];
        let root = yaml::parse(0, text, self.noun, &mut found);
        let value = root.and_then(|root| read(root, &sources, &mut found));
        if value.is_none() && !found.has_errors() {
            let message = "the file passed every check and still cannot be read; this is a bug";
            found.push(Problem::new("bug", message, Span::new(0, 0..0), ""));
        }
        match value.filter(|_| !found.has_errors()) {
            Some(value) => Ok(value),
            None => Err(found.into_problems(&sources)),
        }
    }
}

fn unreadable(name: &str, error: &ReadError) -> Problems {
    let message = format!("cannot read `{}`: {error}", escape(name.as_bytes()));
    Problems::without_place("unreadable", message, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Whole = Whole { noun: "word", bytes_max: 20 };

    fn word(root: Node, _: &[Source], found: &mut Found) -> Option<String> {
        let text = root.text()?.to_owned();
        if text == "bad" {
            found.push(Problem::new("bad", "it is bad", root.span, ""));
        }
        Some(text)
    }

    #[test]
    fn a_value_or_all_that_is_wrong() {
        #[track_caller]
        fn check(text: &str, read: Result<&str, &str>) {
            let is = WORDS.parse("a.yaml", text, word).map_err(|wrong| wrong.render(false));
            match (&is, read) {
                (Ok(is), Ok(read)) => assert_eq!(is, read),
                (Err(is), Err(wrong)) => assert!(is.contains(wrong), "{is}"),
                _ => panic!("{is:?}, not {read:?}"),
            }
        }
        check("good", Ok("good"));
        check("bad", Err("it is bad"));
        check("[bad", Err("a.yaml"));
        check("[good]", Err("this is a bug"));
        check("longer than it may be", Err("it is longer than 20 bytes"));
        let missing = WORDS.load(Path::new("/nothing/here"), word).expect_err("it is not there");
        assert!(missing.render(false).contains("there is no such file"));
    }
}
