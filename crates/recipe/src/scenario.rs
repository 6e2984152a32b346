//! What simulated users do, as a file of its own: named by load tests, and replayed by itself.

use std::path::Path;

use umbra_document::check::shorten;
use umbra_document::diagnostic::{Found, Problem, Problems};
use umbra_document::source::Source;
use umbra_document::whole::Whole;
use umbra_document::yaml::{Key, Node, Value};
use umbra_document::{check, take, yaml};
use umbra_suite::spec as suite;

use crate::load::{FILE_BYTES_MAX, Overrides, Reader, beside};
use crate::test::Journey;
use crate::{extract, formats, semantic, shapes, vars};

/// A scenario file.
const DOCUMENT: Whole = Whole { noun: "scenario file", bytes_max: FILE_BYTES_MAX };

/// Reads and checks a scenario file. All problems are reported, not the first.
///
/// # Errors
/// It cannot be read, or something in it is wrong.
pub fn load(path: &Path) -> Result<Vec<Journey>, Problems> {
    DOCUMENT.load(path, journeys)
}

/// Checks the text of a scenario file; `name` stands for its path in problems.
///
/// # Errors
/// Something in it is wrong.
pub fn parse(name: &str, text: &str) -> Result<Vec<Journey>, Problems> {
    DOCUMENT.parse(name, text, journeys)
}

fn journeys(mut root: Node, sources: &[Source], found: &mut Found) -> Option<Vec<Journey>> {
    // A recipe's variables are the recipe's: here, none is defined.
    vars::substitute(&mut root, &Overrides::new(), sources, found);
    check::check(&root, &shapes::SCENARIO, found);
    let scenario = root.get("scenario")?;
    semantic::check_scenario(scenario.list(), "scenario", found);
    take::each(Some(scenario), extract::journey)
}

/// Journeys ready to run; requests are for `host`, or for the target's address.
///
/// # Errors
/// Something in one cannot be had; what was checked never fails.
pub fn to_suite(scenario: &[Journey], host: Option<&str>) -> Result<Vec<suite::Journey>, String> {
    crate::suite::journeys(scenario, "", host)
}

/// Puts the scenarios of files where a recipe names them.
pub(crate) fn put(
    root: &mut Node,
    sources: &mut Vec<Source>,
    mut reader: Option<Reader<'_>>,
    found: &mut Found,
) {
    let Value::Map(entries) = &mut root.value else { return };
    let tests = entries.iter_mut().find(|(key, _)| key.text == "tests");
    let Some(Value::List(tests)) = tests.map(|(_, node)| &mut node.value) else { return };
    for (index, test) in tests.iter_mut().enumerate() {
        let Value::Map(test) = &mut test.value else { continue };
        let load = test.iter_mut().find(|(key, _)| key.text == "load");
        let Some((_, load)) = load else { continue };
        let Some((span, name)) = named(load) else { continue };
        let problem = |code, message: String| {
            Problem::new(code, message, span, "").at(format!("tests[{index}].load.scenario_file"))
        };
        if load.get("scenario").is_some() {
            let message = "a load test has a `scenario` or a `scenario_file`, not both".to_owned();
            found.push(problem("conflict", message));
            continue;
        }
        let Some(reader) = reader.as_deref_mut() else {
            let message = "a recipe that is no file cannot name another file".to_owned();
            found.push(problem("missing-file", message));
            continue;
        };
        match reader(&name) {
            Ok(text) => sources.push(Source { name: beside(&sources[0].name, &name), text }),
            Err(error) => {
                let message = format!("cannot read `{}`: {error}", shorten(&name));
                found.push(problem("missing-file", message));
                continue;
            }
        }
        let file = sources.len() - 1;
        insert(load, file, &sources[file].text, found);
    }
}

fn named(load: &Node) -> Option<(umbra_document::source::Span, String)> {
    let node = load.get("scenario_file")?;
    let name = node.text().filter(|name| (formats::BESIDE.check)(name).is_ok())?;
    Some((node.span, name.to_owned()))
}

fn insert(load: &mut Node, file: usize, text: &str, found: &mut Found) {
    let Some(root) = yaml::parse(file, text, DOCUMENT.noun, found) else { return };
    let Value::Map(entries) = root.value else {
        let problem = Problem::new("bad-type", "this is no scenario file", root.span, "");
        return found.push(problem.help("it begins with `scenario:`"));
    };
    let (scenario, others): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(key, _)| key.text == "scenario");
    for (key, _) in others {
        let message = format!("a scenario file has no `{}`", shorten(&key.text));
        found.push(Problem::new("unknown-key", message, key.span, ""));
    }
    let Some((key, node)) = scenario.into_iter().next() else {
        let problem = Problem::new("missing-key", "there is no `scenario`", root.span, "");
        return found.push(problem);
    };
    if let Value::Map(load) = &mut load.value {
        // Whatever is wrong in it is found with the rest of the recipe.
        load.push((Key { text: "scenario".to_owned(), span: key.span }, node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::{Extract, Place};

    #[track_caller]
    fn problems(text: &str) -> String {
        parse("s.yaml", text).map(drop).expect_err(text).render(false)
    }

    #[test]
    fn a_journey_takes_and_refers() {
        let text = "scenario:
- name: buyers
  weight: 3
  requests:
  - {path: /new, method: POST, body: '$${x}', extract: {name: id, json: 'data.id'}}
  - {path: '/things/${id}', headers: {If-Match: '${id}'}, extract: [{name: e, header: ETag}, {name: r, regex: 'a(.)'}]}
  - {path: '/${e}/${r}'}
";
        let scenario = parse("s.yaml", text).unwrap();
        let requests = &scenario[0].requests;
        let json = Place::Json("data.id".into());
        assert_eq!(requests[0].extract, [Extract { name: "id".into(), from: json }]);
        assert_eq!(requests[1].extract.len(), 2);
        let ready = to_suite(&scenario, None).unwrap();
        assert_eq!((ready[0].weight, ready[0].steps[1].extract.len()), (3, 2));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (request, said) in [
            ("path: '/${id}'", "no request before this one takes `id`"),
            ("path: /, body: '${id}', extract: {name: id, json: a}", "takes `id`"),
            ("path: /, extract: {name: id, json: 'a..b'}", "nothing can be taken there"),
            ("path: /, extract: {name: id, regex: '('}", "nothing can be taken there"),
            ("path: /, extract: {name: 1a, json: a}", "name for what is taken"),
            ("path: /, extract: {name: a}", "json"),
            ("path: /, extract: {name: a, json: a, header: b}", "json"),
            ("path: '/${{ vars.x }}'", "vars.x"),
        ] {
            let problems = problems(&format!("scenario: [{{name: a, requests: [{{{request}}}]}}]"));
            assert!(problems.contains(said), "{request}: {problems}");
        }
        for text in ["", "[]", "scenario: []", "journeys: []", "scenario: a"] {
            assert!(!problems(text).is_empty());
        }
    }

    const RECIPE: &str = "version: 1
name: a
from: debian:sid
steps: [{name: a, run: 'true'}]
tests:
- {name: l, load: {url: 'http://localhost/', rate: 1, duration: 1s, thresholds: ['max<1s'], scenario_file: s.yaml}}
";

    #[test]
    fn a_recipe_has_the_scenario_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let (recipe, file) = (dir.path().join("umbra.yaml"), dir.path().join("s.yaml"));
        std::fs::write(&recipe, RECIPE).unwrap();
        std::fs::write(&file, "scenario: [{name: j, requests: [{path: /a}]}]").unwrap();
        let read = crate::load(&recipe, &Overrides::new()).unwrap();
        let crate::test::Check::Load(load) = &read.tests[0].check else { panic!() };
        assert_eq!(load.scenario[0].name, "j");
        assert!(read.canonical().contains("/a") && !read.canonical().contains("s.yaml"));
        read.suite(dir.path()).unwrap();

        let told = || crate::load(&recipe, &Overrides::new()).unwrap_err().render(false);
        std::fs::write(&file, "scenario: [{name: j, requests: [{path: a}]}]").unwrap();
        assert!(told().contains("s.yaml"), "{}", told());
        std::fs::write(&file, "other: 1").unwrap();
        assert!(told().contains("`scenario`"), "{}", told());
        std::fs::remove_file(&file).unwrap();
        assert!(told().contains("cannot read `s.yaml`"), "{}", told());
        let both = RECIPE.replace(
            "scenario_file",
            "scenario: [{name: j, requests: [{path: /}]}], scenario_file",
        );
        std::fs::write(&recipe, both).unwrap();
        assert!(told().contains("not both"), "{}", told());
        assert!(crate::parse("x", RECIPE, &Overrides::new()).is_err());
    }
}
