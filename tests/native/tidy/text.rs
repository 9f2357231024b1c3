//! Reading Rust source as text: what is code, what is a comment, a string or a test.

use std::collections::BTreeSet;

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Numbered lines that hold the name as a whole word.
pub(super) fn lines_with_word<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    (1..).zip(code.lines()).filter(move |(_, line)| {
        line.match_indices(name)
            .any(|(at, _)| !line[..at].ends_with(is_word) && !line[at + name.len()..].starts_with(is_word))
    })
}

/// Whether the line uses a crate (`name::`, `use name`) or a type (capitalised) of that name, rather than a variable.
pub(super) fn uses_crate(line: &str, name: &str) -> bool {
    name.starts_with(char::is_uppercase) || line.contains(&format!("{name}::")) || line.contains(&format!("use {name}"))
}

pub(super) fn starts_a_word(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| name.starts_with('.') || !line[..at].ends_with(is_word))
}

/// First segments after `crate::`, also inside braces.
pub(super) fn crate_paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, matched) in code.match_indices("crate::") {
        let rest = &code[at + matched.len()..];
        let first = |text: &str| text.trim().chars().take_while(|character| is_word(*character)).collect::<String>();
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut item) = (1, String::new());
            for character in group.chars() {
                match character {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 || (depth == 1 && character == ',') {
                    found.insert(first(&std::mem::take(&mut item)));
                } else {
                    item.push(character);
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.insert(first(rest));
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// Blanks everything in `#[cfg(test)]` modules, keeping line numbers.
pub(super) fn without_tests(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        // rustfmt closes an item at the column where it began; one without a body ends with a semicolon.
        let end = format!("{indent}}}");
        kept.push('\n');
        for inner in lines.by_ref() {
            kept.push('\n');
            if inner == end || (inner.ends_with(';') && inner.trim_start().len() + indent.len() == inner.len()) {
                break;
            }
        }
    }
    kept
}

pub(super) fn without_comments(text: &str) -> String {
    blanked(text, false)
}

pub(super) fn without_comments_and_strings(text: &str) -> String {
    blanked(text, true)
}

/// Replaces comments, and the insides of strings if asked, by spaces; lines stay where they are.
fn blanked(text: &str, strings: bool) -> String {
    let source: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let blank = |out: &mut String, part: &[char]| out.extend(part.iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
    while at < source.len() {
        let rest = &source[at..];
        let length = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => quoted(rest),
            ['r', '"' | '#', ..] if at == 0 || !is_word(source[at - 1]) => raw_string(rest),
            ['\'', '\\', ..] => 3 + rest[3.min(rest.len())..].iter().position(|c| *c == '\'').unwrap_or(0),
            ['\'', _, '\'', ..] => 3,
            _ => 0,
        };
        let length = length.min(rest.len());
        if length == 0 {
            out.push(source[at]);
            at += 1;
            continue;
        }
        let is_comment = source[at] == '/';
        if is_comment || strings {
            blank(&mut out, &rest[..length]);
        } else {
            out.extend(&rest[..length]);
        }
        at += length;
    }
    out
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at + 1 < rest.len() {
        match rest[at..at + 2] {
            ['/', '*'] => depth += 1,
            ['*', '/'] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `r"…"`, `r#"…"#`; a raw identifier (`r#type`) has no length.
fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let body = 2 + hashes;
    let closes = |at: usize| rest[at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    (body..rest.len()).find(|at| closes(*at)).map_or(rest.len(), |at| at + 1 + hashes)
}

// The rules are only as good as the reading.

#[test]
fn comments_and_strings_are_told_from_code() {
    let text =
        "let a = \"x.unwrap()\"; // .unwrap()\n/* a /* b */ c */ let c = '\"'; let r = r#\"panic!(\"#; z.unwrap()";
    let code = without_comments_and_strings(text);
    assert_eq!(code.matches(".unwrap()").count(), 1, "{code}");
    assert!(!code.contains("panic"), "{code}");
    assert_eq!(code.lines().count(), 2);
    assert!(without_comments("id: \"alibi\" // id: \"x\"").contains("\"alibi\""));
    assert!(!without_comments("// id: \"x\"").contains('x'));
}

#[test]
fn test_modules_are_left_out_and_lines_stay_in_place() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { c.unwrap() }\n}\nfn d() {}\n#[cfg(test)]\nuse x;\nfn e() {}\n";
    let kept = without_tests(text);
    assert!(!kept.contains("unwrap") && !kept.contains("use x"), "{kept}");
    assert_eq!(kept.lines().nth(5), Some("fn d() {}"));
    assert_eq!(kept.lines().nth(8), Some("fn e() {}"));
}

#[test]
fn paths_into_the_crate_are_found_in_groups_too() {
    let found = crate_paths("use crate::{spec::{A, B}, hook}; crate::shape::check()");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["hook", "shape", "spec"]);
}
