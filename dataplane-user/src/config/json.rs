//! The site file as JSON: what `sekisho get` shows.

use serde_json::{Map, Value as Json};

use super::Findings;
use super::tree::{NodeId, Tree, Value};

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
}
