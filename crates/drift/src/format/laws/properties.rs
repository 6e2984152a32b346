//! Printing, get-put, put-get, put-put, and that nothing makes a parser panic
//! or take long.

use super::super::tree::{Node, Tree};
use super::super::{Format, Key, diff, parse};
use super::samples;
use proptest::prelude::*;

/// The file put together again from the tree's spans, which fails if they
/// overlap, are out of order or leave their parent.
fn printed(tree: &Tree<'_>) -> Vec<u8> {
    fn walk(bytes: &[u8], nodes: &[Node<'_>], mut at: usize, end: usize, out: &mut Vec<u8>) {
        for node in nodes {
            let span = node.span;
            assert!(at <= span.start() && span.end() <= end, "{node:?} in {at}..{end}");
            for part in [node.name, node.value] {
                assert!(span.start() <= part.start() && part.end() <= span.end(), "{node:?}");
            }
            out.extend_from_slice(&bytes[at..span.start()]);
            walk(bytes, &node.children, span.start(), span.end(), out);
            at = span.end();
        }
        out.extend_from_slice(&bytes[at..end]);
    }
    let mut out = Vec::new();
    walk(tree.bytes, &tree.nodes, 0, tree.bytes.len(), &mut out);
    out
}

fn reparsed(key: &Key) -> Key {
    key.to_string().parse().unwrap_or_else(|e| panic!("{key}: {e}"))
}

/// What holds for any bytes in any format.
fn laws_of_any(format: Format, bytes: &[u8]) {
    let tree = parse(format, bytes);
    assert_eq!(printed(&tree), bytes);
    assert_eq!(diff(&tree, &tree), [], "{format:?}");
    // Editing is linear; a few keys of many are enough.
    for key in tree.keys().iter().take(24) {
        let found = tree.find(key);
        assert!(found.is_some(), "{format:?} {key}");
        assert_eq!(found, tree.find(&reparsed(key)), "{format:?} {key}");
        assert_eq!(tree.spelled(key).as_ref(), Some(key), "{format:?} {key}");
        let value = tree.get(key).unwrap();
        assert_eq!(tree.edit(key, Some(value)).unwrap(), bytes, "get-put {format:?} {key}");
    }
}

/// Put-get, put-put, and that nothing else changes.
fn laws_of_put(format: Format, bytes: &[u8], key: &Key, value: &[u8]) -> bool {
    let tree = parse(format, bytes);
    let node = tree.node(&tree.find(key).unwrap()).unwrap();
    let (before, after) = (&bytes[..node.value.start()], &bytes[node.value.end()..]);
    let leaf = !node.is_container();
    let Ok(edited) = tree.edit(key, Some(value)) else { return false };
    assert!(edited.starts_with(before) && edited.ends_with(after), "{format:?} {key}");
    let again = parse(format, &edited);
    // A row's or a section's own name may be in its value, and a list's elements lie below it.
    let others = |tree: &Tree<'_>| -> Vec<(Key, Vec<u8>)> {
        let keys = tree.keys().into_iter().filter(|k| !k.steps.starts_with(&key.steps));
        keys.map(|k| (k.clone(), tree.get(&k).unwrap().to_vec())).collect()
    };
    if leaf {
        assert_eq!(again.get(key), Some(value), "put-get {format:?} {key}");
        assert_eq!(others(&tree), others(&again), "{format:?} {key}");
        assert_eq!(again.edit(key, Some(value)).unwrap(), edited, "put-put {format:?} {key}");
        let back = again.edit(key, tree.get(key)).unwrap();
        assert_eq!(parse(format, &back).get(key), tree.get(key), "{format:?} {key}");
    }
    true
}

#[test]
fn samples_are_understood_and_lawful() {
    for (format, text) in samples::ALL {
        let tree = parse(format, text.as_bytes());
        assert_eq!(tree.is_understood(), format != Format::Raw, "{format:?} {tree:?}");
        laws_of_any(format, text.as_bytes());
        // With the other line end, and without the last one.
        laws_of_any(format, text.replace('\n', "\r\n").as_bytes());
        laws_of_any(format, text.trim_end().as_bytes());
    }
}

#[test]
fn every_value_of_the_samples_can_be_replaced() {
    for (format, text) in samples::ALL {
        for key in parse(format, text.as_bytes()).keys() {
            let value = if format == Format::Json { "\"new\"" } else { "new" };
            let done = laws_of_put(format, text.as_bytes(), &key, value.as_bytes());
            // What a row is called is no value of it, and a schedule needs its fields.
            let last = key.to_string();
            let named =
                ["name", "file", "schedule"].iter().any(|f| last.ends_with(&format!(".{f}")));
            assert!(done || named, "{format:?} {key}");
        }
    }
}

#[test]
fn a_value_can_become_a_list() {
    for (format, text) in samples::ALL {
        for key in parse(format, text.as_bytes()).keys() {
            let done = laws_of_put(format, text.as_bytes(), &key, b"[1, [2], 3]");
            assert!(done || format != Format::Json, "{key}");
        }
    }
}

#[test]
fn whatever_stands_at_the_root_can_be_removed() {
    for (format, text) in samples::ALL {
        let tree = parse(format, text.as_bytes());
        for node in super::super::lookup::steps(format, &tree.nodes) {
            let key = Key::from(vec![node]);
            let without = tree.edit(&key, None).unwrap_or_else(|e| panic!("{format:?} {e}"));
            let rest = parse(format, &without);
            assert_ne!(diff(&tree, &rest), [], "{format:?} {key}");
        }
    }
}

/// Bytes that mean something to some format, so that parsers get deep.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        8 => prop::sample::select(vec![
            "a", "b", "a.b", "key", "=", ":", ": ", " = ", "\n", "\n", "\n  ", "\n\t", "\r\n", " ",
            "\t", "#", ";", "{", "}", "{\n", "}\n", "[", "]", "[a]\n", "[[a]]\n", "\"", "'", "\\",
            "\\\n", ",", "- ", "- a: b\n", "a:\n", "  b: c\n", "|\n", "---\n", "\"\"\"", "a: [",
            "  - b\n", "   ?\n",
            "Match all\n", "Port 22\n", "table inet t {\n", "chain c {\n", "* * * * * x\n", "$",
            "@daily x y\n", "x:x:0:0::/:/sh\n", "{\"a\":", "[1,2]", "null", "-", "/", "\u{e9}",
            "\\u00e9", "x_by_lua_block {", "a b;\n", "1.2.3.4 a\n", "location / {\n", "\0", "?",
        ]).prop_map(|s| s.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

/// A key in any dialect, as likely to be read as not.
fn key_text() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "a", "b", "a.b", "/", "$", ".", "[", "]", "[0]", "[1]", "['a']", "[\"b\"]", "*", "1", "=",
        "'x'", "\"", "last()", "last", "\\", " ", "[b='c']", "[.='x']", "-1", "\\u00e9", "\u{e9}",
        "..",
    ]);
    let start = prop::sample::select(vec!["", "/", "$", "$.", "/a/"]);
    (start, prop::collection::vec(token, 0..8))
        .prop_map(|(s, tokens)| s.to_owned() + &tokens.concat())
}

fn format() -> impl Strategy<Value = Format> {
    prop::sample::select(samples::ALL.map(|(format, _)| format).to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes_are_lawful(format in format(), bytes in text()) {
        laws_of_any(format, &bytes);
    }

    /// What is printed is one of our keys, and means what was read.
    #[test]
    fn any_key_is_printed_as_ours(format in format(), bytes in text(), text in key_text()) {
        if let Ok(key) = text.parse::<Key>() {
            let ours = reparsed(&key);
            prop_assert_eq!(ours.to_string(), key.to_string());
            let tree = parse(format, &bytes);
            if key.path.is_none() {
                prop_assert_eq!(tree.find(&key), tree.locate(&ours.steps), "{}", key);
            }
            if let Some(spelled) = tree.spelled(&key) {
                prop_assert_eq!(tree.find(&spelled), tree.find(&key), "{}", spelled);
            }
        }
    }

    #[test]
    fn any_value_is_put_or_refused(
        format in format(), bytes in text(), value in text(), pick in any::<prop::sample::Index>(),
    ) {
        let keys = parse(format, &bytes).keys();
        if !keys.is_empty() {
            laws_of_put(format, &bytes, pick.get(&keys), &value);
        }
    }

    #[test]
    fn generated_files_take_any_plain_value(
        which in 0..samples::ALL.len(), picks in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
        value in "[a-z]{1,8}", pick in any::<prop::sample::Index>(),
    ) {
        // Lines of real files in any order and number.
        let (format, sample) = samples::ALL[which];
        let lines: Vec<&str> = sample.split_inclusive('\n').collect();
        let bytes: String = picks.iter().map(|p| *p.get(&lines)).collect();
        laws_of_any(format, bytes.as_bytes());
        let keys = parse(format, bytes.as_bytes()).keys();
        if !keys.is_empty() {
            laws_of_put(format, bytes.as_bytes(), pick.get(&keys), value.as_bytes());
        }
    }

    #[test]
    fn what_is_added_is_got_and_nothing_else_changes(
        format in format(), bytes in text(), name in "[a-z]{3,6}", value in "[a-z]{1,6}",
    ) {
        let tree = parse(format, &bytes);
        let key: Key = name.parse().unwrap();
        if tree.get(&key).is_none()
            && let Ok(edited) = tree.edit(&key, Some(value.as_bytes()))
        {
            let again = parse(format, &edited);
            prop_assert_eq!(again.get(&key), Some(value.as_bytes()));
            prop_assert_eq!(again.keys().len(), tree.keys().len() + 1);
        }
    }
}

/// Nanoseconds this thread has run, by the kernel's account: a wall clock
/// would measure the machine's other work.
fn ran_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn hostile_input_takes_linear_time() {
    const BYTES: usize = 100_000;
    let patterns = [
        "[",
        "{",
        "\"",
        "'",
        "a = [\n",
        "a: [\n",
        "- ",
        "a:\n",
        "a{",
        "{\"a\":",
        "a\\\n",
        "#",
        "x_by_lua_block {",
        "a = \"\"\"\n",
        "\n",
        "a",
        "a=\n",
        "[a]\n",
        "a: |\n",
        "table a {\n",
        ":",
        ".",
        " # ",
        "a: 'b\n",
        "Match a\n",
        " a\n",
        "-\n",
    ];
    for (format, _) in samples::ALL {
        for pattern in patterns {
            let bytes = pattern.repeat(BYTES / pattern.len() + 1);
            let start = ran_ns();
            let tree = parse(format, bytes.as_bytes());
            let took = ran_ns() - start;
            // Quadratic would be minutes.
            assert!(took < 4_000_000_000, "{format:?} {pattern:?} took {took} ns");
            drop(tree);

            // Comparing costs more for each node than reading it.
            let bytes = &bytes.as_bytes()[..BYTES / 8];
            let (start, tree) = (ran_ns(), parse(format, bytes));
            assert_eq!(diff(&tree, &tree), []);
            let took = ran_ns() - start;
            assert!(took < 1_000_000_000, "{format:?} {pattern:?} compared in {took} ns");
        }
    }
}
