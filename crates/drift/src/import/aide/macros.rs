//! What AIDE does to lines before it reads them: variables, and lines that count sometimes.

use std::collections::HashMap;

/// A line may become this long.
const LINE_BYTES_MAX: usize = 8 << 10;
const VARIABLES_MAX: usize = 1_000;
const NESTING_MAX: usize = 64;

/// Variables and open conditions.
#[derive(Debug, Default)]
pub(super) struct Macros {
    variables: HashMap<String, String>,
    /// Whether the lines of each open condition count.
    conditions: Vec<bool>,
}

impl Macros {
    /// Whether lines count here.
    pub(super) fn counts(&self) -> bool {
        self.conditions.iter().all(|counts| *counts)
    }

    /// Does what a line behind `@@` says; an error is what it could not do.
    pub(super) fn directive(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "if" => self.open(rest, true),
            "ifdef" => self.open(&format!("defined {rest}"), true),
            "ifndef" => self.open(&format!("defined {rest}"), false),
            "ifhost" => self.open(&format!("hostname {rest}"), true),
            "ifnhost" => self.open(&format!("hostname {rest}"), false),
            "else" => match self.conditions.last_mut() {
                Some(counts) => {
                    *counts = !*counts;
                    Ok(())
                }
                None => Err("`@@else` stands in no condition".to_owned()),
            },
            "endif" => match self.conditions.pop() {
                Some(_) => Ok(()),
                None => Err("`@@endif` ends no condition".to_owned()),
            },
            _ if !self.counts() => Ok(()),
            "define" => {
                let (name, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                let value = self.replaced(value.trim())?;
                if self.variables.len() >= VARIABLES_MAX {
                    return Err(format!("more than {VARIABLES_MAX} variables are not kept"));
                }
                self.variables.insert(name.to_owned(), value);
                Ok(())
            }
            "undef" => {
                self.variables.remove(rest);
                Ok(())
            }
            "include" | "x_include" => {
                Err(format!("`{rest}` is not read along: import it by itself"))
            }
            word => Err(format!("`@@{word}` is not understood")),
        }
    }

    /// Whether what follows counts, if the condition is as it is `wanted`. What only a running
    /// machine knows is taken to be so.
    fn open(&mut self, condition: &str, wanted: bool) -> Result<(), String> {
        if self.conditions.len() >= NESTING_MAX {
            return Err(format!("conditions are nested deeper than {NESTING_MAX}"));
        }
        let counted = self.counts();
        let (condition, wanted) = match condition.strip_prefix("not ") {
            Some(condition) => (condition.trim(), !wanted),
            None => (condition, wanted),
        };
        let known = condition.strip_prefix("defined ");
        let known = known.map(|name| self.variables.contains_key(name.trim()) == wanted);
        self.conditions.push(known.unwrap_or(true));
        if known.is_some() || !counted {
            return Ok(());
        }
        let not = if wanted { "" } else { "not " };
        Err(format!("`{not}{condition}` is taken to be true: only the machine knows"))
    }

    /// The line with the values of its variables; an error says why there is none.
    pub(super) fn replaced(&self, line: &str) -> Result<String, String> {
        let (mut replaced, mut rest) = (String::new(), line);
        while let Some((before, after)) = rest.split_once("@@{") {
            let (name, after) = after.split_once('}').ok_or("its `@@{` is not closed")?;
            replaced.push_str(before);
            match (self.variables.get(name), name) {
                (Some(value), _) => replaced.push_str(value),
                (None, "HOSTNAME" | "AIDE_VERSION") => {
                    return Err(format!("only the machine knows `@@{{{name}}}`"));
                }
                // As there: nothing.
                (None, _) => {}
            }
            if replaced.len() > LINE_BYTES_MAX {
                break;
            }
            rest = after;
        }
        replaced.push_str(rest);
        match replaced.len() > LINE_BYTES_MAX {
            true => Err(format!("it becomes longer than {LINE_BYTES_MAX} bytes")),
            false => Ok(replaced),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directives in turn, then a line.
    #[track_caller]
    fn check(directives: &[&str], line: &str, expected: Option<&str>) {
        let mut macros = Macros::default();
        for directive in directives {
            macros.directive(directive).unwrap_or_else(|why| panic!("{directive}: {why}"));
        }
        let found = macros.counts().then(|| macros.replaced(line).expect("a line"));
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn variables_and_conditions_are_those_of_aide() {
        check(&["define A /var", "define B @@{A}/b"], "@@{B}/c@@{D}", Some("/var/b/c"));
        check(&["define A x", "undef A"], "@@{A}/", Some("/"));
        check(&["ifdef A"], "x", None);
        check(&["ifdef A", "define B y", "else", "define B z", "endif"], "@@{B}", Some("z"));
        check(&["define A", "if not defined A"], "x", None);
        check(&["ifndef A", "if defined A", "else"], "x", Some("x"));
        check(&["ifdef A", "if exists /x"], "x", None);
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let bad = ["else", "endif", "include /a", "x_include /b c", "frob", "if hostname a"];
        for directive in bad {
            assert!(Macros::default().directive(directive).is_err(), "{directive}");
        }
        let mut macros = Macros::default();
        macros.directive(&format!("define A {}", "x".repeat(5_000))).expect("short enough");
        for line in ["@@{", "@@{HOSTNAME}", "@@{A}@@{A}"] {
            assert!(macros.replaced(line).is_err(), "{line}");
        }
    }
}
