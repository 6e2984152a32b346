//! What is not shown of answers that differ.

/// Words that name a secret wherever they stand in a field's name.
const USUAL: [&str; 14] = [
    "authorization",
    "cookie",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "credential",
    "privatekey",
    "session",
    "csrf",
    "xsrf",
    "signature",
];

/// Names of fields whose values are never shown, only that they differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Masks {
    more: Vec<String>,
}

impl Masks {
    /// The usual ones and these: a part of a name each, in any case and with or without `-` and
    /// `_`.
    pub fn and(more: &[String]) -> Self {
        let more = more.iter().map(|word| folded(word)).filter(|word| !word.is_empty());
        Self { more: more.collect() }
    }

    /// Those beside the usual ones.
    pub fn added(&self) -> &[String] {
        &self.more
    }

    /// Whether what this path names is hidden; of text, whether this line is.
    pub fn hides(&self, path_or_line: &str) -> bool {
        let name = folded(path_or_line);
        let mut words = USUAL.iter().copied().chain(self.more.iter().map(String::as_str));
        words.any(|word| name.contains(word))
    }
}

fn folded(name: &str) -> String {
    let kept = name.chars().filter(|c| !"-_ ".contains(*c));
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        let masks = Masks::and(&["Iban".to_owned(), "--".to_owned()]);
        for hidden in [
            "header:set-cookie",
            "header:x-api-key",
            "body.user.newPassword",
            "body.ACCESS_TOKEN",
            "body.account.IBAN",
            "<input name=\"csrf_token\" value=\"x\">",
        ] {
            assert!(masks.hides(hidden), "{hidden}");
        }
        for shown in ["status", "header:date", "body.items[].price", "body.line[3]"] {
            assert!(!masks.hides(shown), "{shown}");
        }
    }
}
