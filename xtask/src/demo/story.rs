//! What a build reported, as far as the demo judges and shows it.

use serde_json::Value;

use crate::stop::Stop;

/// One build, from its events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Story {
    pub(crate) build: u64,
    pub(crate) phase: String,
    pub(crate) verdict: String,
    pub(crate) failure: Option<Failure>,
    pub(crate) figures: Figures,
}

/// What halted it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Failure {
    pub(crate) step: String,
    pub(crate) test: Option<String>,
    /// State ids.
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) shadow: Option<String>,
}

/// What it measured; times in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    pub(crate) steps_run: u64,
    pub(crate) steps_cached: u64,
    pub(crate) tests_run: u64,
    pub(crate) tests_kept: u64,
    pub(crate) delta_applied_us: Vec<u64>,
    pub(crate) first_test_us: Vec<u64>,
    pub(crate) ingested_us: Vec<u64>,
    pub(crate) frozen_after_us: Option<u64>,
    pub(crate) total_us: u64,
}

impl Story {
    /// Reads the answer of `umbra --json log BUILD`.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Stop> {
        let events: Vec<Value> = serde_json::from_slice(json)
            .map_err(|error| Stop::Failed(format!("the build's events cannot be read: {error}")))?;
        let mut story = Self::default();
        for event in &events {
            story.on(event);
        }
        if story.phase.is_empty() {
            return Err(Stop::Failed("the build's events have no end".to_owned()));
        }
        Ok(story)
    }

    fn on(&mut self, event: &Value) {
        match event["event"].as_str() {
            Some("started") => self.build = event["build"].as_u64().unwrap_or(0),
            Some("halted") => self.failure = Some(Failure::of(&event["failure"])),
            Some("ended") => {
                self.phase = text(&event["phase"]);
                self.verdict = text(&event["verdict"]);
                self.figures = Figures::of(&event["figures"]);
            }
            _ => {}
        }
    }
}

impl Failure {
    fn of(value: &Value) -> Self {
        Self {
            step: text(&value["step_name"]),
            test: value["test"]["name"].as_str().map(str::to_owned),
            before: text(&value["before"]),
            after: text(&value["after"]),
            shadow: value["shadow"].as_str().map(str::to_owned),
        }
    }
}

impl Figures {
    fn of(value: &Value) -> Self {
        let number = |name: &str| value[name].as_u64().unwrap_or(0);
        let numbers = |name: &str| {
            let list = value[name].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(Value::as_u64).collect()
        };
        Self {
            steps_run: number("steps_run"),
            steps_cached: number("steps_cached"),
            tests_run: number("tests_run"),
            tests_kept: number("tests_kept"),
            delta_applied_us: numbers("delta_applied_us"),
            first_test_us: numbers("first_test_us"),
            ingested_us: numbers("ingested_us"),
            frozen_after_us: value["frozen_after_us"].as_u64(),
            total_us: number("total_us"),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halted_build_tells_what_failed_and_what_it_measured() {
        let json = br#"[
            {"seq":0,"at_us":1,"event":"started","build":7,"name":"web","steps":[],"tests":[]},
            {"seq":1,"at_us":2,"event":"halted","failure":{"step_name":"tune","before":"aa",
             "after":"bb","shadow":"web-7-1","test":{"name":"valid"}}},
            {"seq":2,"at_us":3,"event":"ended","phase":"halted","verdict":"fail","figures":
             {"steps_run":2,"delta_applied_us":[5,6],"frozen_after_us":9,"total_us":10}}
        ]"#;
        let story = Story::parse(json).unwrap();
        assert_eq!((story.build, story.phase.as_str()), (7, "halted"));
        let failure = story.failure.unwrap();
        assert_eq!(failure.test.as_deref(), Some("valid"));
        assert_eq!(failure.shadow.as_deref(), Some("web-7-1"));
        assert_eq!(story.figures.delta_applied_us, [5, 6]);
        assert_eq!(story.figures.frozen_after_us, Some(9));
    }

    #[test]
    fn a_story_without_an_end_is_none() {
        assert!(Story::parse(b"[]").is_err());
        assert!(Story::parse(b"nonsense").is_err());
    }
}
