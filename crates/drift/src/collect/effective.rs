//! What a service goes by, whatever its file declares.

use std::path::Path;
use std::time::Duration;

use super::command::{Program, run};
use super::context::Context;
use super::kernel::NOT_RUNNING;
use super::keyed;
use super::service::{runs, shown};
use super::sysctl::in_force;
use crate::format::{Format, Key};
use crate::reading::Reading;

const TIMEOUT: Duration = Duration::from_secs(10);
const OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// The value of a key as its service goes by it; unreadable with the reason where nothing tells.
pub(super) fn effective(
    context: &Context,
    path: &Path,
    format: Format,
    text: &str,
    key: Option<&Key>,
) -> Reading {
    let name = key.and_then(Key::dotted).unwrap_or_else(|| text.to_owned());
    match format {
        Format::Sshd => sshd(context, text, key),
        Format::Sysctl if context.place.is_machine() => in_force(context, &name),
        Format::Sysctl => unreadable(NOT_RUNNING),
        Format::Systemd => unit(context, path, &name),
        _ => unreadable("nothing tells what value this file's service goes by"),
    }
}

fn unreadable(why: &str) -> Reading {
    Reading::Unreadable { why: why.to_owned() }
}

/// `sshd -T` prints every setting as it is in force outside of all conditions.
fn sshd(context: &Context, text: &str, key: Option<&Key>) -> Reading {
    if text.contains(' ') || key.is_some_and(|key| key.depth() > 1) {
        return unreadable("what is in force inside a Match block depends on the connection");
    }
    let argv = ["sshd".to_owned(), "-T".to_owned()];
    let program =
        Program { argv: &argv, user: None, timeout: TIMEOUT, output_bytes_max: OUTPUT_BYTES_MAX };
    match run(&context.place, program) {
        Ok(output) => keyed::under(Reading::text(output), key, Format::Sshd, false),
        Err(why) => Reading::Unreadable { why },
    }
}

/// The property of the unit a file belongs to: `SECTION.PROPERTY` of `/.../UNIT` or
/// `/.../UNIT.d/NAME.conf`.
fn unit(context: &Context, path: &Path, text: &str) -> Reading {
    if !runs(&context.place) {
        return unreadable("systemd does not run there");
    }
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let drop_in = path.parent().and_then(name).and_then(|parent| {
        parent.strip_suffix(".d").filter(|unit| unit.contains('.')).map(str::to_owned)
    });
    let (Some(unit), Some((_, property))) = (drop_in.or_else(|| name(path)), text.rsplit_once('.'))
    else {
        return unreadable("this key is no property of a unit");
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    if property.is_empty() || !property.bytes().all(plain) || unit.starts_with('-') {
        return unreadable("this key is no property of a unit");
    }
    shown(&context.place, &unit, property)
}
