//! From tests as a recipe spells them to tests that can run.

use std::path::Path;
use std::time::Duration;

use umbra_state::Command;
use umbra_state::command::DEFAULT_PATH;
use umbra_suite::check::goss::{GossFile, GossLoadError};
use umbra_suite::check::http::{Endpoint, JsonPath};
use umbra_suite::spec::{self as suite, HttpExpect, JsonExpect, LoadStep};
use umbra_suite::{Globs, Pattern, TextMatch};

use crate::recipe::{CommandLine, Env, Recipe};
use crate::test::{
    After, Check, Expect, Extract, Http, Journey, Load, OpenScap, Place, Request, Run, RunFormat,
    Security, Test, Trust,
};
use crate::url::{self, Url};

/// What keeps a test of a checked recipe from becoming one that runs.
#[derive(Debug, thiserror::Error)]
#[error("prepare the test `{name}`: {reason}")]
pub struct SuiteError {
    /// The test's name.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl Recipe {
    /// The recipe's tests, ready to run, in order. Reads the goss files they name below
    /// `base_dir`, the recipe's directory; the only reason to fail is that such a file has
    /// changed since the recipe was checked.
    pub fn suite(&self, base_dir: &Path) -> Result<Vec<suite::Test>, SuiteError> {
        self.tests.iter().map(|test| test.to_suite(base_dir)).collect()
    }
}

impl Test {
    fn to_suite(&self, base_dir: &Path) -> Result<suite::Test, SuiteError> {
        let refuse = |reason| SuiteError { name: self.name.clone(), reason };
        let check = check(&self.check, base_dir).map_err(refuse)?;
        let when_changed = self.when.as_ref().map(|when| globs(&when.changed)).transpose();
        Ok(suite::Test {
            name: self.name.clone(),
            kind: self.kind,
            check,
            after: match &self.after {
                After::Each => suite::After::Each,
                After::Final => suite::After::Final,
                After::Steps(names) => suite::After::Steps(names.clone()),
            },
            when_changed: when_changed.map_err(refuse)?,
            retries: self.retries,
            retry_delay: self.retry_delay.unwrap_or_default(),
            timeout: self.timeout,
            services: self.services,
            allow_failure: self.allow_failure,
        })
    }
}

fn check(check: &Check, base_dir: &Path) -> Result<suite::Check, String> {
    Ok(match check {
        Check::Run(run) => suite::Check::Run(run_check(run)?),
        Check::Http(http) => suite::Check::Http(http_check(http)?),
        Check::Load(load) => suite::Check::Load(load_check(load)?),
        Check::Goss(path) => {
            let file = GossFile::load(&base_dir.join(path)).map_err(chain)?;
            suite::Check::Goss(file)
        }
        Check::Security(security) => suite::Check::Security(security_check(security)?),
        Check::OpenScap(openscap) => suite::Check::OpenScap(openscap_check(openscap, base_dir)),
        Check::Lynis(lynis) => suite::Check::Lynis(suite::LynisCheck {
            hardening_index_min: lynis.hardening_index,
            fail_on: lynis.fail_on,
            skip: lynis.skip.clone(),
            groups: lynis.groups.clone(),
        }),
    })
}

fn run_check(run: &Run) -> Result<suite::RunCheck, String> {
    Ok(suite::RunCheck {
        command: command(&run.run, &run.env, run.user.as_deref(), run.workdir.as_deref()),
        exit: i32::from(run.exit),
        format: match run.format {
            RunFormat::Auto => suite::RunFormat::Auto,
            RunFormat::Plain => suite::RunFormat::Plain,
            RunFormat::Tap => suite::RunFormat::Tap,
            RunFormat::Junit => suite::RunFormat::Junit { path: run.report.clone() },
        },
        stdout: text_matches(&run.stdout)?,
        stderr: text_matches(&run.stderr)?,
    })
}

/// A command of a recipe as it runs in a shadow: with an ordinary environment and what the
/// recipe adds.
pub fn command(run: &CommandLine, env: &Env, user: Option<&str>, workdir: Option<&str>) -> Command {
    let mut command = Command::new(run.argv()).with_env("PATH", DEFAULT_PATH);
    for (name, value) in env {
        command = command.with_env(name.as_str(), value.as_str());
    }
    command.cwd = workdir.unwrap_or("/").to_owned();
    command.user = user.map(str::to_owned);
    command
}

fn http_check(http: &Http) -> Result<suite::HttpCheck, String> {
    let url = url::parse(&http.url)?;
    let request = Request {
        path: url.path.clone(),
        method: http.method.clone(),
        headers: http.headers.clone(),
        body: http.body.clone(),
        think: None,
        status: Vec::new(),
        extract: Vec::new(),
    };
    Ok(suite::HttpCheck {
        request: request_to_suite(&request, Some(&url.host)),
        endpoint: endpoint(&url, &http.trust),
        redirects_max: http.redirects,
        expect: expect(&http.expect)?,
    })
}

fn endpoint(url: &Url, trust: &Trust) -> Endpoint {
    let verify = || suite::Tls::Verify { ca_file: trust.ca.clone() };
    Endpoint {
        scheme: if url.tls { suite::Scheme::Https } else { suite::Scheme::Http },
        port: url.port,
        tls: if trust.insecure { suite::Tls::Insecure } else { verify() },
    }
}

fn request_to_suite(request: &Request, host: Option<&str>) -> suite::HttpRequest {
    let headers = request.headers.iter();
    suite::HttpRequest {
        method: request.method.clone(),
        path: request.path.clone(),
        host: host.map(str::to_owned),
        headers: headers.map(|(name, value)| (name.clone(), value.clone())).collect(),
        body: request.body.clone().unwrap_or_default().into_bytes(),
    }
}

fn expect(expect: &Expect) -> Result<HttpExpect, String> {
    let header = |(name, text): (&String, &String)| Ok((name.clone(), text_match(text, true)?));
    let json = |(path, value): (&String, &serde_json::Value)| {
        let path: JsonPath = path.parse().map_err(chain)?;
        Ok(JsonExpect { path, equals: value.clone() })
    };
    Ok(HttpExpect {
        status: expect.status.clone(),
        headers: expect.headers.iter().map(header).collect::<Result<_, String>>()?,
        body: text_matches(&expect.body)?,
        json: expect.json.iter().map(json).collect::<Result<_, String>>()?,
        latency_max: expect.latency,
        ..HttpExpect::default()
    })
}

fn load_check(load: &Load) -> Result<suite::LoadCheck, String> {
    let url = url::parse(&load.url)?;
    let base = url.path.trim_end_matches('/');
    let mut scenario = journeys(&load.scenario, base, Some(&url.host))?;
    if scenario.is_empty() {
        let request = suite::HttpRequest {
            host: Some(url.host.clone()),
            ..suite::HttpRequest::get(&url.path)
        };
        let steps = vec![LoadStep::new(request)];
        scenario.push(suite::Journey { name: url.path.clone(), weight: 1, steps });
    }
    let thresholds = load.thresholds.iter().map(|text| text.parse().map_err(chain));
    Ok(suite::LoadCheck {
        endpoint: endpoint(&url, &load.trust),
        rate: load.rate,
        arrival: match load.arrival {
            crate::test::Arrival::Constant => suite::Arrival::Constant,
            crate::test::Arrival::Poisson => suite::Arrival::Poisson,
        },
        duration: load.duration,
        warm_up: load.warm_up.unwrap_or(Duration::ZERO),
        in_flight_max: load.in_flight as usize,
        scenario,
        request_timeout: load.request_timeout,
        thresholds: thresholds.collect::<Result<_, String>>()?,
    })
}

/// What users do, with `base` before every path.
pub(crate) fn journeys(
    scenario: &[Journey],
    base: &str,
    host: Option<&str>,
) -> Result<Vec<suite::Journey>, String> {
    let step = |request: &Request| {
        let path = format!("{base}{}", request.path);
        let request_there = Request { path, ..request.clone() };
        Ok(LoadStep {
            request: request_to_suite(&request_there, host),
            think: request.think.unwrap_or_default(),
            status: request.status.clone(),
            extract: request.extract.iter().map(extraction).collect::<Result<_, String>>()?,
        })
    };
    let journey = |journey: &Journey| {
        Ok(suite::Journey {
            name: journey.name.clone(),
            weight: journey.weight,
            steps: journey.requests.iter().map(step).collect::<Result<_, String>>()?,
        })
    };
    scenario.iter().map(journey).collect()
}

fn extraction(extract: &Extract) -> Result<suite::Extract, String> {
    let from = match &extract.from {
        Place::Json(path) => suite::Place::Json(path.parse().map_err(chain)?),
        Place::Header(name) => suite::Place::Header(name.clone()),
        Place::Regex(text) => suite::Place::Regex(Pattern::new(text).map_err(chain)?),
    };
    Ok(suite::Extract { name: extract.name.clone(), from })
}

fn security_check(security: &Security) -> Result<suite::SecurityCheck, String> {
    let allow = security.allow.iter().map(|allow| {
        Ok(suite::Allow {
            rule: allow.rule.clone(),
            paths: allow.path.as_ref().map(|path| globs(std::slice::from_ref(path))).transpose()?,
            reason: allow.reason.clone(),
        })
    });
    Ok(suite::SecurityCheck {
        fail_on: security.fail_on,
        ports: security.ports.clone(),
        allow: allow.collect::<Result<_, String>>()?,
        certificate_days_min: security.certificate_days,
        ..suite::SecurityCheck::default()
    })
}

fn openscap_check(openscap: &OpenScap, base_dir: &Path) -> suite::OpenScapCheck {
    let on_host = || base_dir.join(&openscap.datastream).display().to_string();
    suite::OpenScapCheck {
        datastream: if openscap.inside { openscap.datastream.clone() } else { on_host() },
        profile: openscap.profile.clone(),
        fail_on: openscap.fail_on,
        inside: openscap.inside,
    }
}

fn globs(patterns: &[String]) -> Result<Globs, String> {
    Globs::new(patterns).map_err(chain)
}

fn text_matches(texts: &[String]) -> Result<Vec<TextMatch>, String> {
    texts.iter().map(|text| text_match(text, false)).collect()
}

/// A text between slashes is a regular expression; others stand for themselves, `exact` or
/// somewhere inside.
pub(crate) fn text_match(text: &str, exact: bool) -> Result<TextMatch, String> {
    let pattern = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    match pattern.filter(|pattern| !pattern.is_empty()) {
        Some(pattern) => Pattern::new(pattern).map(TextMatch::Matches).map_err(chain),
        None if exact => Ok(TextMatch::Exact(text.to_owned())),
        None => Ok(TextMatch::Contains(text.to_owned())),
    }
}

/// What is wrong with a goss file and those it includes, each with its place.
pub(crate) fn goss_problems(path: &Path) -> Vec<String> {
    match GossFile::load(path) {
        Ok(_) => Vec::new(),
        Err(GossLoadError::Problems(problems)) => {
            problems.iter().map(ToString::to_string).collect()
        }
        Err(error) => vec![chain(error)],
    }
}

/// Why a text is no path into a JSON value.
pub(crate) fn check_json_path(text: &str) -> Result<(), String> {
    text.parse::<JsonPath>().map(drop).map_err(chain)
}

/// Why a text is no regular expression.
pub(crate) fn check_regex(text: &str) -> Result<(), String> {
    Pattern::new(text).map(drop).map_err(chain)
}

/// Why a text is no threshold, and at which of its characters (from 0) that shows.
pub(crate) fn check_threshold(text: &str) -> Result<(), (usize, String)> {
    text.parse::<suite::Threshold>()
        .map(drop)
        .map_err(|error| (error.position.saturating_sub(1), format!("expected {}", error.expected)))
}

/// An error and what it comes from, in one line.
fn chain(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
