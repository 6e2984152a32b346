//! What a table of keys cannot say: names that must exist or be unique, numbers that must
//! fit each other, texts with a grammar of their own.
//!
//! Works on any tree, also one the structural check has found fault with: what cannot be
//! understood is passed over here, since it has been reported there.

use umbra_document::check::shorten;
use umbra_document::diagnostic::{Found, Problem};
use umbra_document::names::{self, Names};
use umbra_document::scalar::ScalarType;
use umbra_document::source::Span;
use umbra_document::suggest::advice;
use umbra_document::yaml::{Node, Value};
use umbra_suite::check::load::extract::references;
use umbra_suite::pattern::Globs;

use crate::suite;
use crate::url;

/// Records every such problem of a recipe.
pub(crate) fn check(root: &Node, found: &mut Found) {
    let steps = names::unique(list(root, "steps"), "steps", "step", found);
    names::unique(list(root, "services"), "services", "service", found);
    names::unique(list(root, "tests"), "tests", "test", found);
    for (index, step) in list(root, "steps").iter().enumerate() {
        check_step(step, &format!("steps[{index}]"), found);
    }
    for (index, service) in list(root, "services").iter().enumerate() {
        let path = format!("services[{index}]");
        step_names(service.get("after"), &steps, &path, found);
        globs(service.get("restart_on"), &path, found);
        program(service.get("run"), &path, found);
        if let Some(ready) = service.get("ready") {
            program(ready.get("command"), &path, found);
            address(ready.get("http"), &path, found);
        }
    }
    for (index, test) in list(root, "tests").iter().enumerate() {
        check_test(test, &steps, &format!("tests[{index}]"), found);
    }
    check_pool(root, found);
    for export in list(root, "export") {
        check_export(export, found);
    }
    for notify in list(root, "notify") {
        program(notify.get("command"), "notify", found);
        address(notify.get("webhook"), "notify", found);
    }
}

fn list<'n>(root: &'n Node, key: &str) -> &'n [Node] {
    root.get(key).map(Node::list).unwrap_or_default()
}

/// Every text of a scalar or a list must name a step.
fn step_names(node: Option<&Node>, steps: &Names<'_>, path: &str, found: &mut Found) {
    let Some(node) = node else { return };
    let named = std::slice::from_ref(node).iter().chain(node.list());
    for (name, span) in named.filter_map(|node| node.text().map(|text| (text, node.span))) {
        if name.is_empty() || steps.contains_key(name) {
            continue;
        }
        let known: Vec<&str> = steps.keys().copied().collect();
        let message = format!("no step is called `{}`", shorten(name));
        let help = if found.is_crowded() { None } else { advice(name, &known) };
        let problem = Problem::new("unknown-step", message, span, "unknown step");
        found.push(problem.at(format!("{path}.after")).help_if(help));
    }
}

fn check_step(step: &Node, path: &str, found: &mut Found) {
    program(step.get("run"), path, found);
    let file = step.get("write").and_then(|write| write.get("path"));
    if let Some(node) = file
        && node.text().is_some_and(|path| path.ends_with('/'))
    {
        let problem =
            Problem::new("bad-value", "a file's path does not end with `/`", node.span, "");
        found.push(problem.at(format!("{path}.write.path")));
    }
}

/// Only disks have a size.
fn check_export(export: &Node, found: &mut Found) {
    let format = export.get("format").and_then(Node::text).unwrap_or_default();
    if let Some(size) = export.get("size")
        && ["oci", "tar", "dir"].contains(&format)
    {
        let message = format!("an export as `{format}` has no size");
        let problem = Problem::new("bad-value", message, size.span, "only raw and qcow2 have one");
        found.push(problem.at("export"));
    }
}

fn check_test(test: &Node, steps: &Names<'_>, path: &str, found: &mut Found) {
    let names = test.get("after").filter(|node| node.scalar().is_none());
    step_names(names, steps, path, found);
    globs(test.get("when").and_then(|when| when.get("changed")), path, found);
    program(test.get("run"), path, found);
    for key in ["stdout", "stderr"] {
        patterns(test.get(key), &format!("{path}.{key}"), found);
    }
    if let Some(http) = test.get("http") {
        check_http(http, &format!("{path}.http"), found);
    }
    if let Some(load) = test.get("load") {
        check_load(load, &format!("{path}.load"), found);
    }
    for allow in test.get("security").map(|node| list(node, "allow")).unwrap_or_default() {
        globs(allow.get("path"), &format!("{path}.security.allow"), found);
    }
}

fn check_http(http: &Node, path: &str, found: &mut Found) {
    address(http.get("url"), &format!("{path}.url"), found);
    let Some(expect) = http.get("expect") else { return };
    let path = format!("{path}.expect");
    patterns(expect.get("body"), &format!("{path}.body"), found);
    for (_, value) in expect.get("headers").map(Node::map).unwrap_or_default() {
        patterns(Some(value), &format!("{path}.headers"), found);
    }
    for (key, _) in expect.get("json").map(Node::map).unwrap_or_default() {
        if let Err(reason) = suite::check_json_path(&key.text) {
            let message =
                format!("`{}` leads nowhere in a JSON value: {reason}", shorten(&key.text));
            let problem = Problem::new("bad-value", message, key.span, "");
            found.push(problem.at(format!("{path}.json")));
        }
    }
}

/// Whether a scenario's requests refer to what was taken before, and can take what they want.
pub(crate) fn check_scenario(scenario: &[Node], path: &str, found: &mut Found) {
    for (index, journey) in scenario.iter().enumerate() {
        let mut taken = Vec::new();
        for request in list(journey, "requests") {
            let path = format!("{path}[{index}].requests");
            let headers = request.get("headers").map(Node::map).unwrap_or_default();
            let texts = [request.get("path"), request.get("body")];
            for node in texts.into_iter().flatten().chain(headers.iter().map(|(_, value)| value)) {
                check_references(node, &taken, &path, found);
            }
            if let Some(extract) = request.get("extract") {
                let all = std::slice::from_ref(extract).iter().chain(extract.list());
                all.for_each(|extract| check_extract(extract, &mut taken, &path, found));
            }
        }
    }
}

fn check_references(node: &Node, taken: &[&str], path: &str, found: &mut Found) {
    for name in node.text().map(references).into_iter().flatten() {
        if !taken.contains(&name) {
            let message = format!("no request before this one takes `{}`", shorten(name));
            let help = advice(name, taken).unwrap_or_else(|| {
                "`extract` takes it from an earlier answer; `$${` stands for `${` itself".to_owned()
            });
            let problem = Problem::new("unknown-extraction", message, node.span, "used here");
            found.push(problem.at(path).help(help));
        }
    }
}

fn check_extract<'n>(extract: &'n Node, taken: &mut Vec<&'n str>, path: &str, found: &mut Found) {
    taken.extend(extract.get("name").and_then(Node::text));
    for key in ["json", "regex"] {
        let Some(node) = extract.get(key) else { continue };
        let check = if key == "json" { suite::check_json_path } else { suite::check_regex };
        if let Some(Err(reason)) = node.text().map(check) {
            let message = format!("nothing can be taken there: {}", shorten(&reason));
            let problem = Problem::new("bad-value", message, node.span, "");
            found.push(problem.at(format!("{path}.extract.{key}")));
        }
    }
}

fn check_load(load: &Node, path: &str, found: &mut Found) {
    address(load.get("url"), &format!("{path}.url"), found);
    check_scenario(list(load, "scenario"), &format!("{path}.scenario"), found);
    for node in list(load, "thresholds") {
        let Some(text) = node.text() else { continue };
        if let Err((at, reason)) = suite::check_threshold(text) {
            let message = format!("`{}` is no threshold: {reason}", shorten(text));
            let problem = Problem::new("bad-value", message, character(node, at), "from here on");
            let help = "for example `p(99)<20ms`, `errors<0.1%` or `rate>450`";
            found.push(problem.at(format!("{path}.thresholds")).help(help));
        }
    }
}

/// Where a character of a text was written, if it was written as it reads.
fn character(node: &Node, index: usize) -> Span {
    let Some(scalar) = node.scalar() else { return node.span };
    let span = node.span;
    let quotes = usize::from(!scalar.plain);
    if scalar.substituted || span.end - span.start != scalar.text.len() + 2 * quotes {
        return span;
    }
    let offset = scalar.text.char_indices().nth(index).map_or(scalar.text.len(), |(at, _)| at);
    Span::new(span.file, span.start + quotes + offset..span.end - quotes)
}

/// The least number of shadows is not above the greatest.
fn check_pool(root: &Node, found: &mut Found) {
    let Some(shadows) = root.get("shadows") else { return };
    let (Some((min, _)), Some((max, span))) = (number(shadows, "min"), number(shadows, "max"))
    else {
        return;
    };
    if min > max {
        let message = format!("`max` is {max}, which is below `min` ({min})");
        found.push(Problem::new("bad-value", message, span, "").at("shadows.max"));
    }
}

fn number(node: &Node, key: &str) -> Option<(i64, Span)> {
    let node = node.get(key)?;
    match node.scalar()?.value_type() {
        ScalarType::Int(value) => Some((value, node.span)),
        _ => None,
    }
}

fn globs(node: Option<&Node>, path: &str, found: &mut Found) {
    let Some(node) = node else { return };
    let patterns = std::slice::from_ref(node).iter().chain(node.list());
    for (text, span) in patterns.filter_map(|node| node.text().map(|text| (text, node.span))) {
        if let Err(error) = Globs::new([text]) {
            let source = std::error::Error::source(&error);
            let glob = source.and_then(|source| source.downcast_ref::<globset::Error>());
            let reason = glob.map_or(error.to_string(), |glob| glob.kind().to_string());
            let message =
                format!("`{}` is no pattern of paths: {}", shorten(text), shorten(&reason));
            found.push(Problem::new("bad-value", message, span, "").at(path));
        }
    }
}

/// Texts between slashes are regular expressions.
fn patterns(node: Option<&Node>, path: &str, found: &mut Found) {
    let Some(node) = node else { return };
    let texts = std::slice::from_ref(node).iter().chain(node.list());
    for (text, span) in texts.filter_map(|node| node.text().map(|text| (text, node.span))) {
        if let Err(reason) = suite::text_match(text, false) {
            let message = format!("this is no regular expression: {}", shorten(&reason));
            found.push(Problem::new("bad-value", message, span, "").at(path));
        }
    }
}

fn address(node: Option<&Node>, path: &str, found: &mut Found) {
    let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else { return };
    if (crate::formats::URL.check)(text).is_ok()
        && let Err(reason) = url::parse(text)
    {
        let message = format!("`{}` is no address: {reason}", shorten(text));
        found.push(Problem::new("bad-value", message, node.span, "").at(path));
    }
}

/// The first word of a list is a program.
fn program(node: Option<&Node>, path: &str, found: &mut Found) {
    let Some(Value::List(argv)) = node.map(|node| &node.value) else { return };
    if let Some(first) = argv.first()
        && first.text() == Some("")
    {
        let problem = Problem::new("bad-value", "the program's name is empty", first.span, "");
        found.push(problem.at(path));
    }
}
