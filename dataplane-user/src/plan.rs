//! What would change? The difference between two site files, as lines to read.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;

/// A line for each thing that comes (`+`), goes (`-`) or changes (`~`), by its path.
#[must_use]
pub fn changes(before: &Json, after: &Json) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", before, after, &mut lines);
    lines
}

/// The lines of what is at this path.
pub fn compare(path: &str, before: &Json, after: &Json, lines: &mut Vec<String>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Json::Object(old), Json::Object(new)) => {
            let old = old.iter().map(|(key, value)| (key.clone(), value));
            let new = new.iter().map(|(key, value)| (key.clone(), value));
            by_name(path, &old.collect::<Vec<_>>(), &new.collect::<Vec<_>>(), lines);
        }
        (Json::Array(old), Json::Array(new)) => match (named(old), named(new)) {
            (Some(old), Some(new)) => by_name(path, &old, &new, lines),
            // Elements that have no names of their own are told by what they say.
            _ => {
                let told = |of: &[Json]| of.iter().map(ToString::to_string).collect::<Vec<_>>();
                let (old, new) = (told(old), told(new));
                let before = lines.len();
                let only = |sign: char, these: &[String], those: &[String]| {
                    let those: HashSet<_> = those.iter().collect();
                    let only = these.iter().filter(|one| !those.contains(one));
                    only.map(|one| format!("{sign} {path} {one}")).collect::<Vec<_>>()
                };
                lines.extend(only('-', &old, &new));
                lines.extend(only('+', &new, &old));
                if lines.len() == before {
                    lines.push(format!("~ {path}: in another order"));
                }
            }
        },
        _ => lines.push(format!("~ {path}: {before} → {after}")),
    }
}

fn by_name(path: &str, old: &[(String, &Json)], new: &[(String, &Json)], lines: &mut Vec<String>) {
    let under =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    let shown = |name: &str, value: &Json| {
        // An object or a list is known by its path; a scalar by what it says.
        let is_whole = value.is_object() || value.is_array();
        let value = if is_whole { String::new() } else { format!(": {value}") };
        format!("{}{value}", under(name))
    };
    // A line group may have 100,000 lines.
    let known: HashSet<_> = old.iter().map(|(name, _)| name).collect();
    let now: HashMap<_, _> = new.iter().map(|(name, value)| (name, *value)).collect();
    for (name, value) in old {
        match now.get(name) {
            Some(other) => compare(&under(name), value, other, lines),
            None => lines.push(format!("- {}", shown(name, value))),
        }
    }
    for (name, value) in new.iter().filter(|(name, _)| !known.contains(name)) {
        lines.push(format!("+ {}", shown(name, value)));
    }
}

/// What the elements of the site's lists are known by.
const NAMES: [&str; 7] = ["name", "id", "number", "destination", "prefix", "cidr", "network"];

/// The elements with their names, if each has one of its own.
fn named(elements: &[Json]) -> Option<Vec<(String, &Json)>> {
    let name =
        |element: &Json| NAMES.iter().find_map(|key| element.get(key)?.as_str().map(str::to_owned));
    let named: Vec<_> =
        elements.iter().map(|element| Some((name(element)?, element))).collect::<Option<_>>()?;
    let mut names: Vec<_> = named.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    (names.len() == elements.len()).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_difference_has_a_line() {
        let before = json!({
            "tenants": [{
                "name": "blue",
                "networks": [{"name": "dmz", "subnets": [{"cidr": "10.0.0.0/24"}]}],
                "ports": [{"name": "a", "fixed_ips": ["10.0.0.1"]}, {"name": "b"}],
                "groups": [{"name": "g", "rules": [{"direction": "ingress"}, {"direction": "egress"}]}],
            }],
        });
        let after = json!({
            "tenants": [{
                "name": "blue",
                "networks": [{"name": "dmz", "mtu": 1400, "subnets": [{"cidr": "10.0.0.0/24"}]}],
                "ports": [{"name": "c"}, {"name": "a", "fixed_ips": ["10.0.0.2"]}],
                "groups": [{"name": "g", "rules": [{"direction": "egress"}]}],
            }, {"name": "red"}],
        });
        assert_eq!(
            changes(&before, &after),
            [
                "- tenants/blue/groups/g/rules {\"direction\":\"ingress\"}",
                "+ tenants/blue/networks/dmz/mtu: 1400",
                "- tenants/blue/ports/a/fixed_ips \"10.0.0.1\"",
                "+ tenants/blue/ports/a/fixed_ips \"10.0.0.2\"",
                "- tenants/blue/ports/b",
                "+ tenants/blue/ports/c",
                "+ tenants/red",
            ]
        );
        assert_eq!(changes(&json!({"a": 1}), &json!({"a": 2})), ["~ a: 1 → 2"]);
        assert_eq!(
            changes(&json!({"a": [1, 2]}), &json!({"a": [2, 1]})),
            ["~ a: in another order"]
        );
        assert!(changes(&before, &before).is_empty());
    }
}
