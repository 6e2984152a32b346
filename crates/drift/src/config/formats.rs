//! The forms of text only a drift configuration knows.

use umbra_document::formats::{Format, line, refuse_if};

use super::policy::QuietHours;

/// A part of a whole.
pub(super) static PERCENT: Format = Format {
    noun: "a percentage",
    example: "10%",
    pattern: r"^(?:0|[1-9][0-9]{0,5})(?:\.[0-9]{1,6})?%$",
    check: |text| match percent(text) {
        Some(_) => Ok(()),
        None => Err("it is a number of 0 or more with `%` behind".to_owned()),
    },
};

/// The part, as a fraction of 1.
pub(super) fn percent(text: &str) -> Option<f64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_and_patterns_agree() {
        let all = [&PERCENT, &PATHS, &UNIT, &QUIET_HOURS, &PROBE];
        umbra_document::laws::forms_agree(&all, &[]);
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
