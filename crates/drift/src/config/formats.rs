//! The forms of text only a drift configuration knows.

use umbra_document::formats::{Format, line, refuse_if};

use super::policy::QuietHours;

/// A part of a whole.
pub static PERCENT: Format = Format {
    noun: "a percentage",
    example: "10%",
    pattern: r"^(?:0|[1-9][0-9]{0,5})(?:\.[0-9]{1,6})?%$",
    check: |text| match percent(text) {
        Some(_) => Ok(()),
        None => Err("it is a number of 0 or more with `%` behind".to_owned()),
    },
};

/// The part, as a fraction of 1.
pub fn percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str, count_max: usize| {
        (1..=count_max).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let plain =
        digits(whole, 6) && digits(decimals, 6) && (whole == "0" || !whole.starts_with('0'));
    plain.then(|| number.parse::<f64>().ok()).flatten().map(|percent| percent / 100.0)
}

/// A pattern of absolute paths, or with `!` of those to leave out.
pub(super) static PATHS: Format = Format {
    noun: "a pattern of absolute paths",
    example: "/etc/**",
    pattern: r"^!?/[^\u0000-\u001f\u007f-\u009f]*$",
    check: |text| {
        let path = text.strip_prefix('!').unwrap_or(text);
        refuse_if(!path.starts_with('/'), "it begins with `/`, or with `!/` to leave out")?;
        line(text)
    },
};

/// A unit of systemd.
pub(super) static UNIT: Format = Format {
    noun: "a unit",
    example: "ssh.service",
    pattern: r"^[A-Za-z0-9:_.\\@-]{1,255}$",
    check: |text| {
        refuse_if(text.is_empty() || text.len() > 255, "it has 1 to 255 characters")?;
        let all = text.bytes().all(|b| b.is_ascii_alphanumeric() || b":_.\\@-".contains(&b));
        refuse_if(!all, "it is made of letters, digits and `:_.\\@-`")
    },
};

/// A span of the day.
pub(super) static QUIET_HOURS: Format = Format {
    noun: "a span of the day",
    example: "22:00-06:00",
    pattern: r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]-(?:[01][0-9]|2[0-3]):[0-5][0-9]$",
    check: |text| match quiet_hours(text) {
        Some(_) => Ok(()),
        None => Err("it is written HH:MM-HH:MM".to_owned()),
    },
};

/// The span's minutes.
pub(super) fn quiet_hours(text: &str) -> Option<QuietHours> {
    let (from, to) = text.split_once('-')?;
    Some(QuietHours { from_minute: minute(from)?, to_minute: minute(to)? })
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |part: &str, below: u16| {
        let two_digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u16>().ok().filter(|number| two_digits && *number < below)
    };
    Some(number(hour, 24)? * 60 + number(minute, 60)?)
}

/// An address that accepts connections; `{host}` stands for the primary.
pub(super) static PROBE: Format = Format {
    noun: "an address to connect to",
    example: "tcp://{host}:22",
    pattern: r"^tcp://[A-Za-z0-9.{}-]{1,253}:(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$",
    check: |text| {
        let rest = text.strip_prefix("tcp://").ok_or("it begins with tcp://")?;
        let (host, port) = rest.rsplit_once(':').ok_or("the port is missing")?;
        let named = (1..=253).contains(&host.len())
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".{}-".contains(&b));
        refuse_if(!named, "the host is a name, an address or `{host}`")?;
        let digits = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
        let valid = digits && port.parse::<u16>().is_ok();
        refuse_if(!valid, "the port is a number from 1 to 65535")
    },
};

/// The address of a server. Secrets have keys of their own and are no part of it.
pub static URL: Format = Format {
    noun: "an http or https address",
    example: "https://hooks.example.com/drift",
    pattern: r"^https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[1-9][0-9]{0,4})?(?:[/?][^\u0000-\u0020\u007f-\u009f#]*)?$",
    check: |text| {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let rest = rest.ok_or("it begins with http:// or https://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        refuse_if(authority.contains('@'), "a password in it would be shown; use `token`")?;
        host_and_port(authority)?;
        let bad = |c: char| c.is_control() || c == ' ' || c == '#';
        refuse_if(path.contains(bad), "it holds a space, `#` or a control character")
    },
};

/// A host, and a port if wanted.
fn host_and_port(authority: &str) -> Result<(), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or("its `[` is not closed")?;
            let hex = |b: u8| b.is_ascii_hexdigit() || b == b':' || b == b'.';
            let good = (2..=45).contains(&address.len()) && address.bytes().all(hex);
            refuse_if(!good, "between `[` and `]` is an IPv6 address")?;
            (None, port)
        }
        None => {
            let at = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at(at);
            (Some(host), port)
        }
    };
    if let Some(host) = host {
        let named = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        let good = (1..=253).contains(&host.len()) && host.bytes().all(named);
        refuse_if(!good, "the host is a name or an address")?;
    }
    if port.is_empty() {
        return Ok(());
    }
    let digits = port.strip_prefix(':').unwrap_or("");
    let good = (1..=5).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0');
    refuse_if(!good, "the port is a number from 1 to 65535")
}

/// Where a syslog server is.
pub(super) static SYSLOG: Format = Format {
    noun: "the address of a syslog server",
    example: "udp://192.0.2.7:514",
    pattern: r"^(?:(?:udp|tcp)://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[1-9][0-9]{0,4}|unix:/[^\u0000-\u001f\u007f-\u009f]*)$",
    check: |text| {
        if let Some(path) = text.strip_prefix("unix:") {
            refuse_if(!path.starts_with('/'), "the path of the socket is absolute")?;
            return line(path);
        }
        let rest = text.strip_prefix("udp://").or_else(|| text.strip_prefix("tcp://"));
        let rest = rest.ok_or("it begins with udp://, tcp:// or unix:")?;
        let port = rest.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        refuse_if(!port, "the port is missing")?;
        host_and_port(rest)
    },
};

/// A variable of the environment.
pub(super) static VARIABLE: Format = Format {
    noun: "the name of a variable",
    example: "DRIFT_TOKEN",
    pattern: r"^[A-Za-z_][A-Za-z0-9_]{0,99}$",
    check: |text| umbra_document::formats::word(text, b"_", 100),
};

/// The name of an HTTP header.
pub static HEADER: Format = Format {
    noun: "the name of a header",
    example: "X-Drift-Token",
    pattern: r"^[A-Za-z][A-Za-z0-9-]{0,63}$",
    check: |text| {
        let letter = text.starts_with(|c: char| c.is_ascii_alphabetic());
        refuse_if(!letter, "it begins with a letter")?;
        refuse_if(text.len() > 64, "it has at most 64 characters")?;
        let all = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        refuse_if(!all, "it is made of letters, digits and `-`")
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_and_patterns_agree() {
        let all =
            [&PERCENT, &PATHS, &UNIT, &QUIET_HOURS, &PROBE, &URL, &SYSLOG, &VARIABLE, &HEADER];
        umbra_document::laws::forms_agree(&all, &[]);
    }

    #[test]
    fn addresses_name_a_host_and_no_password() {
        let accepted = |form: &Format, text: &str| (form.check)(text).is_ok();
        for good in ["http://a", "https://a.b:8080/x?y=1", "http://[::1]:9093/", "https://h?x"] {
            assert!(accepted(&URL, good), "{good}");
        }
        for bad in [
            "ftp://a",
            "http://",
            "http:///x",
            "http://u:p@h/",
            "http://a b",
            "http://a:0",
            "http://a/#x",
            "http://[::1",
            "a",
        ] {
            assert!(!accepted(&URL, bad), "{bad}");
        }
        for good in ["udp://a:514", "tcp://[::1]:6514", "unix:/dev/log"] {
            assert!(accepted(&SYSLOG, good), "{good}");
        }
        for bad in ["udp://a", "tcp://[::1]", "unix:dev", "http://a:1", "udp://:514"] {
            assert!(!accepted(&SYSLOG, bad), "{bad}");
        }
    }

    #[test]
    fn texts_have_values() {
        assert_eq!(percent("12.5%"), Some(0.125));
        for wrong in ["-1%", "01%", "1.%", "%", "1", ".5%", "1e3%"] {
            assert_eq!(percent(wrong), None, "{wrong}");
        }
        let night = QuietHours { from_minute: 22 * 60, to_minute: 6 * 60 + 30 };
        assert_eq!(quiet_hours("22:00-06:30"), Some(night));
        assert_eq!(quiet_hours("24:00-06:30"), None);
    }
}
