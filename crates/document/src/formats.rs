//! Forms of text: one check and one pattern for each.
//!
//! The check decides and explains; the pattern says the same to a JSON Schema validator. A
//! law holds both against each other.

use crate::units;

/// A form of text.
pub struct Format {
    /// What it is, with an article: "expected NOUN".
    pub noun: &'static str,
    /// How one looks.
    pub example: &'static str,
    /// An ECMA 262 pattern for the whole text.
    pub pattern: &'static str,
    /// Why a text is none.
    pub check: fn(&str) -> Result<(), String>,
}

/// Any text at all, of several lines too.
pub static ANY: Format = Format {
    noun: "a text",
    example: "text",
    pattern: r"^[^\u0000]*$",
    check: |text| refuse_if(text.contains('\0'), "it holds a NUL byte"),
};

/// A line that may be empty.
pub static ARGUMENT: Format = Format {
    noun: "an argument",
    example: "-g",
    pattern: r"^[^\u0000]*$",
    check: |text| refuse_if(text.contains('\0'), "it holds a NUL byte"),
};

/// One line with something on it.
pub static LINE: Format = Format {
    noun: "one line of text",
    example: "text",
    pattern: r"^[^\u0000-\u001f\u007f-\u009f]+$",
    check: line,
};

/// The name of a test; a slash is fine in it.
pub static TITLE: Format = Format {
    noun: "a name",
    example: "GET /health answers",
    pattern: r"^(?=.{1,100}$)[^\u0000-\u0020\u007f-\u009f](?:[^\u0000-\u001f\u007f-\u009f]*[^\u0000-\u0020\u007f-\u009f])?$",
    check: title,
};

/// A path on the machine that builds.
pub static HOST: Format = Format {
    noun: "a path",
    example: "base.tar",
    pattern: r"^[^\u0000-\u001f\u007f-\u009f]+$",
    check: line,
};

/// A span of time.
pub static DURATION: Format = Format {
    noun: "a duration",
    example: "10s",
    pattern: r"^[1-9][0-9]{0,8}(?:ms|s|m|h|d)$",
    check: |text| units::duration(text).map(drop),
};

/// An amount of bytes.
pub static SIZE: Format = Format {
    noun: "a size",
    example: "512M",
    pattern: r"^[1-9][0-9]{0,6}[KMGT]i?$",
    check: |text| units::size(text).map(drop),
};

/// Permission bits.
pub static MODE: Format = Format {
    noun: "a mode in quotes",
    example: "0644",
    pattern: r"^[0-7]{3,4}$",
    check: |text| units::mode(text).map(drop),
};

/// User and group of a file.
pub static OWNER: Format = Format {
    noun: "an owner",
    example: "root:root",
    pattern: r"^(?:[a-z_][a-z0-9_-]{0,31}|[0-9]{1,9}):(?:[a-z_][a-z0-9_-]{0,31}|[0-9]{1,9})$",
    check: |text| units::owner(text).map(drop),
};

/// A user to run as.
pub static USER: Format = Format {
    noun: "a user",
    example: "www-data",
    pattern: r"^(?:[a-z_][a-z0-9_-]{0,31}|[0-9]{1,9})$",
    check: units::account,
};

/// A path as the system knows it: absolute, and any characters in it.
pub static ABSOLUTE: Format = Format {
    noun: "an absolute path",
    example: "/etc/hostname",
    pattern: r"^(?!(?:[\s\S]*/)?\.\.(?:/|$))/[^\u0000]*$",
    check: |text| {
        refuse_if(!text.starts_with('/'), "it begins with `/`")?;
        refuse_if(text.contains('\0'), "it holds a NUL byte")?;
        refuse_dots(text)
    },
};

/// A pattern of paths.
pub static GLOB: Format = Format {
    noun: "a pattern of paths",
    example: "etc/nginx/**",
    pattern: r"^[^\u0000-\u001f\u007f-\u009f]+$",
    check: line,
};

/// All of them.
#[cfg(test)]
static ALL: &[&Format] = &[
    &ANY, &ARGUMENT, &LINE, &TITLE, &HOST, &ABSOLUTE, &DURATION, &SIZE, &MODE, &OWNER, &USER, &GLOB,
];

/// An error with this reason if something is `wrong`.
pub fn refuse_if(wrong: bool, reason: &str) -> Result<(), String> {
    if wrong { Err(reason.to_owned()) } else { Ok(()) }
}

/// a-z and 0-9.
pub fn is_lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// One line with something on it.
pub fn line(text: &str) -> Result<(), String> {
    refuse_if(text.is_empty(), "it is empty")?;
    refuse_if(text.contains(char::is_control), "it holds a control character or a line break")
}

/// One line of at most 100 characters that neither begins nor ends with a space.
pub fn title(text: &str) -> Result<(), String> {
    line(text)?;
    refuse_if(text.chars().count() > 100, "it has at most 100 characters")?;
    refuse_if(text.starts_with(' ') || text.ends_with(' '), "it begins or ends with a space")
}

/// A letter or `_`, then letters, digits and `others`; at most `length_max` bytes.
pub fn word(text: &str, others: &[u8], length_max: usize) -> Result<(), String> {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    refuse_if(!begins, "it begins with a letter or `_`")?;
    refuse_if(text.len() > length_max, "it is too long")?;
    let all = text.bytes().all(|b| b.is_ascii_alphanumeric() || others.contains(&b));
    refuse_if(!all, "other characters are not allowed")
}

/// A path in which no name is `..`.
pub fn refuse_dots(path: &str) -> Result<(), String> {
    refuse_if(path.split('/').any(|name| name == ".."), "`..` is not allowed in it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_and_patterns_agree() {
        crate::laws::forms_agree(ALL, &[]);
    }
}
