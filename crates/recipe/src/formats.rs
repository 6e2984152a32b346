//! The forms of text only a recipe knows, beside those that all documents share.

use umbra_document::formats::{is_lower_or_digit, line, refuse_dots, refuse_if, title, word};

pub(crate) use umbra_document::formats::{
    ANY, ARGUMENT, DURATION, Format, GLOB, HOST, LINE, MODE, OWNER, SIZE, TITLE, USER,
};

/// A script or another text that must say something.
pub(crate) static SCRIPT: Format = Format {
    noun: "a command line",
    example: "apt-get update",
    pattern: r"^[^\u0000]*[^\u0000\t\n\r ][^\u0000]*$",
    check: |text| {
        let blank = text.chars().all(|c| matches!(c, '\t' | '\n' | '\r' | ' '));
        refuse_if(blank, "it is empty")?;
        refuse_if(text.contains('\0'), "it holds a NUL byte")
    },
};

/// The name of an image; it becomes part of references.
pub(crate) static IMAGE_NAME: Format = Format {
    noun: "a name of a-z, 0-9, `.`, `_` and `-`",
    example: "web",
    pattern: r"^[a-z0-9][a-z0-9._-]{0,62}$",
    check: |text| {
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        refuse_if(!begins, "it begins with a lower-case letter or a digit")?;
        refuse_if(text.len() > 63, "it has at most 63 characters")?;
        let all = text.bytes().all(|b| is_lower_or_digit(b) || b"._-".contains(&b));
        refuse_if(!all, "other characters are not allowed")
    },
};

/// The name of a step or service.
pub(crate) static NAME: Format = Format {
    noun: "a name",
    example: "install packages",
    pattern: r"^(?=.{1,100}$)[^\u0000-\u0020\u007f-\u009f/](?:[^\u0000-\u001f\u007f-\u009f/]*[^\u0000-\u0020\u007f-\u009f/])?$",
    check: |text| {
        refuse_if(text.contains('/'), "a slash is not allowed in it")?;
        title(text)
    },
};

/// The name of a variable.
pub(crate) static VAR: Format = Format {
    noun: "a variable's name",
    example: "debian_suite",
    pattern: r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$",
    check: |text| word(text, b"_-", 64),
};

/// What a later request of a journey calls what was taken from an answer.
pub(crate) static TAKEN: Format = Format {
    noun: "a name for what is taken",
    example: "order_id",
    pattern: r"^[A-Za-z_][A-Za-z0-9_]{0,39}$",
    check: |text| {
        let good = umbra_suite::check::load::extract::is_name(text);
        refuse_if(!good, "it is made of up to 40 letters, digits and `_`, and begins with no digit")
    },
};

/// The name of an environment variable.
pub(crate) static ENV: Format = Format {
    noun: "an environment variable's name",
    example: "LANG",
    pattern: r"^[A-Za-z_][A-Za-z0-9_]{0,127}$",
    check: |text| word(text, b"_", 128),
};

/// The name of an HTTP header.
pub(crate) static HEADER: Format = Format {
    noun: "a header's name",
    example: "Content-Type",
    pattern: r"^[A-Za-z0-9-]{1,64}$",
    check: |text| {
        refuse_if(text.is_empty() || text.len() > 64, "it has 1 to 64 characters")?;
        let all = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        refuse_if(!all, "it is made of letters, digits and `-`")
    },
};

/// A path inside the image.
pub(crate) static INSIDE: Format = Format {
    noun: "an absolute path inside the image",
    example: "/etc/nginx/nginx.conf",
    pattern: r"^(?!(?:.*/)?\.\.(?:/|$))/[^\u0000-\u001f\u007f-\u009f]*$",
    check: |text| {
        refuse_if(!text.starts_with('/'), "it begins with `/`")?;
        line(text)?;
        refuse_dots(text)
    },
};

/// A path below the recipe's directory.
pub(crate) static BESIDE: Format = Format {
    noun: "a path below the recipe's directory",
    example: "site/",
    pattern: r"^(?!/)(?!(?:.*/)?\.\.(?:/|$))[^\u0000-\u001f\u007f-\u009f]+$",
    check: |text| {
        refuse_if(text.starts_with('/'), "it does not begin with `/`")?;
        line(text)?;
        refuse_dots(text)
    },
};

/// A Debian suite or a component of one.
pub(crate) static SUITE: Format = Format {
    noun: "a Debian suite",
    example: "bookworm",
    pattern: r"^[a-z][a-z0-9-]{0,39}$",
    check: |text| {
        refuse_if(!text.starts_with(|c: char| c.is_ascii_lowercase()), "it begins with a-z")?;
        refuse_if(text.len() > 40, "it has at most 40 characters")?;
        let all = text.bytes().all(|b| is_lower_or_digit(b) || b == b'-');
        refuse_if(!all, "it is made of a-z, 0-9 and `-`")
    },
};

/// A Debian package, with an architecture, version or suite if wanted.
pub(crate) static PACKAGE: Format = Format {
    noun: "a package",
    example: "nginx",
    pattern: r"^[a-z0-9][a-z0-9+.-]{0,127}(?::[a-z0-9-]{1,32})?(?:=[A-Za-z0-9.+:~-]{1,128}|/[a-z][a-z0-9-]{0,39})?$",
    check: package,
};

/// An address of a server.
pub(crate) static URL: Format = Format {
    noun: "an http or https address",
    example: "https://localhost/health",
    pattern: r"^https?://[^\u0000-\u0020\u007f-\u009f/]+(?:/[^\u0000-\u0020\u007f-\u009f]*)?$",
    check: |text| {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let rest = rest.ok_or("it begins with http:// or https://")?;
        let blank = |c: char| c.is_control() || c == ' ';
        refuse_if(rest.contains(blank), "it holds a space or a control character")?;
        refuse_if(rest.is_empty() || rest.starts_with('/'), "the host is missing")
    },
};

/// What stands in an HTTP request line.
pub(crate) static REQUEST_PATH: Format = Format {
    noun: "a path",
    example: "/api/notes?limit=10",
    pattern: r"^/[^\u0000-\u0020\u007f-\u009f]*$",
    check: |text| {
        refuse_if(!text.starts_with('/'), "it begins with `/`")?;
        let blank = |c: char| c.is_control() || c == ' ';
        refuse_if(text.contains(blank), "it holds a space or a control character")
    },
};

/// Where a shadow may connect to.
pub(crate) static EGRESS: Format = Format {
    noun: "an address and a port",
    example: "192.0.2.7:443",
    pattern: r"^(?:[0-9.]{7,15}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}$",
    check: |text| match text.parse::<std::net::SocketAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err("names are not resolved; write the number, as in 192.0.2.7:443".to_owned()),
    },
};

/// A state's id or the name of a reference to one.
pub(crate) static STATE: Format = Format {
    noun: "a state's id or the name of an image",
    example: "web",
    pattern: r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}$",
    check: |text| {
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        refuse_if(!begins, "it begins with a letter or a digit")?;
        refuse_if(text.len() > 128, "it has at most 128 characters")?;
        let all = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/:@-".contains(&b));
        refuse_if(!all, "other characters are not allowed")
    },
};

/// `from` in one word.
pub(crate) static FROM: Format = Format {
    noun: "an origin",
    example: "debian:bookworm",
    pattern: r"^(?:debian:[a-z][a-z0-9-]{0,39}|(?:dir|tar|oci):[^\u0000-\u001f\u007f-\u009f]+|state:[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127})$",
    check: |text| {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "debian" => (SUITE.check)(rest),
            "dir" | "tar" | "oci" => (HOST.check)(rest),
            "state" => (STATE.check)(rest),
            _ => Err("it begins with debian:, dir:, tar:, oci: or state:".to_owned()),
        }
    },
};

/// All of its own.
#[cfg(test)]
pub(crate) static ALL: &[&Format] = &[
    &SCRIPT,
    &IMAGE_NAME,
    &NAME,
    &VAR,
    &TAKEN,
    &ENV,
    &HEADER,
    &INSIDE,
    &BESIDE,
    &SUITE,
    &PACKAGE,
    &URL,
    &REQUEST_PATH,
    &EGRESS,
    &STATE,
    &FROM,
];

fn package(text: &str) -> Result<(), String> {
    let (text, suite) =
        text.split_once('/').map_or((text, None), |(name, suite)| (name, Some(suite)));
    let (text, version) = match text.split_once('=') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let (name, arch) = text.split_once(':').map_or((text, None), |(name, arch)| (name, Some(arch)));
    let made_of = |part: &str, length_max: usize, allowed: fn(u8) -> bool| {
        (1..=length_max).contains(&part.len()) && part.bytes().all(allowed)
    };
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let named = begins && made_of(name, 128, |b| is_lower_or_digit(b) || b"+.-".contains(&b));
    refuse_if(!named, "its name is made of a-z, 0-9, `+`, `.` and `-`")?;
    let arch = arch.is_none_or(|arch| made_of(arch, 32, |b| is_lower_or_digit(b) || b == b'-'));
    refuse_if(!arch, "the architecture behind `:` is made of a-z, 0-9 and `-`")?;
    let versioned = version.is_none_or(|version| {
        made_of(version, 128, |b| b.is_ascii_alphanumeric() || b".+:~-".contains(&b))
    });
    refuse_if(!versioned, "the version behind `=` is made of letters, digits, `.+:~-`")?;
    refuse_if(suite.is_some() && version.is_some(), "it names a version or a suite, not both")?;
    suite.map_or(Ok(()), SUITE.check)
}
