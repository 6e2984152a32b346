//! `{{service}}` and its like in queries, as Argo's arguments stand in them.

/// What a query may name, besides the document's own arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names<'a> {
    /// The service that is rolled out.
    pub service: &'a str,
    /// `candidate`, or `baseline`.
    pub arm: &'a str,
    /// The rollout's number.
    pub rollout: u64,
}

impl Names<'_> {
    /// What stands for a name of [`KNOWN`].
    pub fn of(&self, name: &str) -> Option<String> {
        match name {
            "service" => Some(self.service.to_owned()),
            "arm" => Some(self.arm.to_owned()),
            "rollout" => Some(self.rollout.to_string()),
            _ => None,
        }
    }
}

/// The names that are known in every document.
pub const KNOWN: [&str; 3] = ["service", "arm", "rollout"];

/// The names in a text, with the bytes they stand at, braces and all.
pub fn names(text: &str) -> impl Iterator<Item = (std::ops::Range<usize>, &str)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let first = from + text[from..].find(OPEN)?;
        let inside = first + OPEN.len();
        let end = inside + text[inside..].find(CLOSE)?;
        // Of `{{{a}}` the innermost braces are meant.
        let start = first + text[first..end].rfind(OPEN)?;
        from = end + CLOSE.len();
        Some((start..from, text[start + OPEN.len()..end].trim()))
    })
}

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// The text with values in place of those names that `value` knows; others stay as they are.
pub fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut from = 0;
    for (at, name) in names(text) {
        if let Some(value) = value(name) {
            filled.push_str(&text[from..at.start]);
            filled.push_str(&value);
            from = at.end;
        }
    }
    filled.push_str(&text[from..]);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'_> = Names { service: "web", arm: "candidate", rollout: 7 };

    #[track_caller]
    fn check(text: &str, filled: &str, all: &[&str]) {
        assert_eq!(fill(text, |name| NAMES.of(name)), filled);
        assert_eq!(names(text).map(|(_, name)| name).collect::<Vec<_>>(), all);
        for (at, name) in names(text) {
            assert!(text[at].contains(name));
        }
    }

    #[test]
    fn names_in_braces_are_filled_in() {
        check("", "", &[]);
        check("up", "up", &[]);
        check("up{job=\"x\"}", "up{job=\"x\"}", &[]);
        check("a{s=\"{{service}}\"}", "a{s=\"web\"}", &["service"]);
        check("{{ arm }}/{{rollout}}", "candidate/7", &["arm", "rollout"]);
        check("{{args.x}} {{arm}}", "{{args.x}} candidate", &["args.x", "arm"]);
        check("{{{arm}}}", "{candidate}", &["arm"]);
        check("{{{{arm}}}}", "{{candidate}}", &["arm"]);
        check("{{}}", "{{}}", &[""]);
        check("{{arm", "{{arm", &[]);
        check("arm}}{{", "arm}}{{", &[]);
        check("ä{{ä}}{{arm}}ä", "ä{{ä}}candidateä", &["ä", "arm"]);
        check("{{a\n}} }} {{service}}", "{{a\n}} }} web", &["a", "service"]);
    }

    #[test]
    fn what_is_filled_in_is_not_looked_at_again() {
        let filled = fill("{{a}}{{b}}", |name| Some(format!("{{{{{name}}}}}")));
        assert_eq!(filled, "{{a}}{{b}}");
    }
}
