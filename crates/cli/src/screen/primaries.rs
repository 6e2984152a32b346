//! Primaries as tables and pages.

use umbra_drift::remote::Remote;
use umbra_drift::service::{AgentInfo, Phase, PrimaryInfo};
use umbra_state::escape::escape;

use super::summary::{right, table, trimmed};
use super::{safe, units};

/// All primaries.
pub fn list(all: &[PrimaryInfo]) -> String {
    if all.is_empty() {
        return "no primaries yet; `umbra primary add NAME` takes this machine under care\n".into();
    }
    let mut table =
        table(&["primary", "phase", "drift", "parameters", "facts", "shadows", "looked", "where"]);
    for one in all {
        table.add_row(vec![
            safe(&one.name).into(),
            phase(one).into(),
            open(one).into(),
            right(one.parameters.to_string()),
            right(one.items.to_string()),
            right(one.shadows.to_string()),
            one.looked_at_ms.map_or(String::new(), units::moment).into(),
            place(one).into(),
        ]);
    }
    trimmed(&table)
}

/// One primary.
pub fn one(one: &PrimaryInfo) -> String {
    let mut text = format!("{}: {}\n", safe(&one.name), phase(one));
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<11} {value}\n"));
    if let Some(why) = &one.why {
        line("why", safe(why));
    }
    line("drift", open(one));
    match &one.remote {
        None => line("root", safe(one.root.as_deref().unwrap_or("/ (this machine)"))),
        Some(remote) => {
            line("root", safe(one.root.as_deref().unwrap_or("/ (the whole machine)")));
            line("ssh", ssh(remote));
        }
    }
    if let Some(agent) = &one.agent {
        line("agent", self::agent(agent));
    }
    if let Some(image) = &one.image {
        line("image", safe(image));
    }
    line("watched", format!("{} parameters, {} facts", one.parameters, one.items));
    line("by", safe(one.config_path.as_deref().unwrap_or("what is worth watching here")));
    line("shadows", format!("{}, known good is #{}", one.shadows, one.good));
    if let Some(at) = one.looked_at_ms {
        line("looked", units::moment(at));
    }
    for covered in &one.coverage {
        let misses = covered.misses.as_deref().map_or(String::new(), |why| format!("; {why}"));
        let (at, kind) = (escape(&covered.at.0), safe(&covered.kind));
        line("coverage", format!("{at} ({kind}) by {}{}", safe(&covered.by), safe(&misses)));
    }
    text
}

/// That another machine is reached, and what is done there.
pub fn reaching(remote: &Remote) -> String {
    let to = safe(&remote.destination);
    match &remote.agent {
        Some(path) => format!("reaching {to} by ssh; its agent is {}\n", safe(path)),
        None => format!(
            "reaching {to} by ssh; its agent is put into {} unless this version is there\n",
            safe(remote.dir())
        ),
    }
}

/// That one was added.
pub fn added(one: &PrimaryInfo) -> String {
    let name = safe(&one.name);
    let agent = one.agent.as_ref().filter(|agent| agent.path.is_some());
    let agent = agent.map_or(String::new(), |one| format!("  agent: {}\n", self::agent(one)));
    format!(
        "{name} is under care: {} parameters, {} facts, shadow #{} taken\n{agent}  \
         umbra drift watch {name}\n",
        one.parameters, one.items, one.good
    )
}

/// Where it is.
fn place(one: &PrimaryInfo) -> String {
    let root = one.root.as_deref();
    match &one.remote {
        None => safe(root.unwrap_or("/")),
        Some(remote) => {
            let root = root.map_or(String::new(), |root| format!(" {}", safe(root)));
            format!("{}{root}", safe(&remote.destination))
        }
    }
}

fn ssh(remote: &Remote) -> String {
    let options = remote.options.iter().map(|option| format!(" -o {}", safe(option)));
    format!("{}{}", safe(&remote.destination), options.collect::<String>())
}

fn agent(agent: &AgentInfo) -> String {
    let mut text = safe(&agent.program);
    if let Some(path) = &agent.path {
        text.push_str(&format!(" at {}", safe(path)));
    }
    if let Some(bytes) = agent.copied_bytes {
        text.push_str(&format!(", put there ({})", units::bytes(bytes)));
    }
    text
}

fn phase(one: &PrimaryInfo) -> String {
    match one.phase {
        Phase::Starting => "starting",
        Phase::Watched => "watched",
        Phase::Unwatched => "not watched",
    }
    .to_owned()
}

fn open(one: &PrimaryInfo) -> String {
    let counts: Vec<String> =
        one.open.iter().map(|(severity, count)| format!("{count} {severity}")).collect();
    let drift = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
    match one.unknown {
        0 => drift,
        unknown => format!("{drift}; {unknown} not known"),
    }
}
