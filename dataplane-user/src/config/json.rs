//! The site file as JSON: what `sekisho get` shows.

use serde_json::{Map, Value as Json};

use super::Findings;
use super::tree::{NodeId, Tree, Value};
use crate::model;

/// The whole file; `null` if nothing of it could be made out.
#[must_use]
pub fn of_text(text: &str) -> Json {
    let (tree, root) = Tree::parse(text, &mut Findings::default());
    root.map_or(Json::Null, |root| of(&tree, root))
}

/// The value of a node: a plain scalar is what YAML 1.2 makes of it, but a number
/// with a sign or a leading zero stays text, for it may be a telephone number.
#[must_use]
pub fn of(tree: &Tree, id: NodeId) -> Json {
    match &tree.node(id).value {
        Value::Scalar { text, quoted: true } => Json::String(text.clone()),
        Value::Scalar { text, quoted: false } => plain(text),
        Value::List(items) => items.iter().map(|&item| of(tree, item)).collect(),
        Value::Map(entries) => {
            let entry =
                |&id: &NodeId| Some((tree.node(id).key.as_ref()?.text.clone(), of(tree, id)));
            Json::Object(entries.iter().filter_map(entry).collect::<Map<_, _>>())
        }
        Value::Broken => Json::Null,
    }
}

fn plain(text: &str) -> Json {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Json::Null,
        "true" | "True" | "TRUE" => Json::Bool(true),
        "false" | "False" | "FALSE" => Json::Bool(false),
        "0" => Json::from(0),
        _ if text.starts_with(|first: char| matches!(first, '1'..='9')) => {
            text.parse::<u64>().map_or_else(|_| Json::String(text.to_owned()), Json::from)
        }
        _ => Json::String(text.to_owned()),
    }
}

/// The same for those who may not see telephone numbers: each has its middle hidden.
#[must_use]
pub fn masked(json: Json) -> Json {
    match json {
        Json::Object(entries) => {
            let mask = |(key, value): (String, Json)| {
                let value =
                    if OF_NUMBERS.contains(&key.as_str()) { hidden(value) } else { masked(value) };
                (key, value)
            };
            Json::Object(entries.into_iter().map(mask).collect())
        }
        Json::Array(items) => items.into_iter().map(masked).collect(),
        scalar @ (Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_)) => scalar,
    }
}

/// Under these keys are telephone numbers and IMSIs, or names of lines.
const OF_NUMBERS: [&str; 5] = ["number", "numbers", "imsi", "lines", "remote_line"];

fn hidden(json: Json) -> Json {
    match json {
        // A name of a line has a letter.
        Json::String(name) if name.bytes().any(|c| c.is_ascii_lowercase()) => name.into(),
        Json::String(number) => model::masked(&number).into(),
        Json::Number(number) => model::masked(&number.to_string()).into(),
        Json::Array(items) => items.into_iter().map(hidden).collect(),
        other @ (Json::Null | Json::Bool(_) | Json::Object(_)) => masked(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_keep_what_they_say() {
        let text = "{a: 1, b: 090, c: \"1\", d: true, e: ~, f: [x, +81], g: {}}";
        let expected = serde_json::json!({
            "a": 1, "b": "090", "c": "1", "d": true, "e": null, "f": ["x", "+81"], "g": {}
        });
        assert_eq!(of_text(text), expected);
    }

    #[test]
    fn who_may_not_see_numbers_sees_none() {
        let text = "
tenants:
  - name: blue
    lines: [{name: robot, number: '+819012345678', imsi: 440101234567890, access: mobile}]
    line_groups: [{name: g, lines: [robot, 090-1234-5678]}]
    security_groups: [{name: s, rules: [{remote_line: 81901234567}]}]
entitlements: [{numbers: [+819012345678..+819012345699], access: mobile}]
sessions: [{number: 09012345678, addresses: [10.0.0.1]}]
";
        let shown = masked(of_text(text)).to_string();
        for word in ["blue", "robot", "mobile", "10.0.0.1", "\"lines\":[\"robot\""] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        for number in ["1234", "01234", "12345"] {
            assert!(!shown.contains(number), "{number}: {shown}");
        }
    }
}
