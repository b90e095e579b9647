//! A site file is many objects, and they are one site file again.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json, json};

use super::path::{Kind, Path};
use crate::model::Number;

/// The objects of a site file in its order, each without those that stand in it.
///
/// What has no name, or is none of what a file has, is left out: whoever checks the file refuses
/// it for that.
#[must_use]
pub fn split(site: &Json) -> Vec<(Path, Json)> {
    let mut objects = Vec::new();
    let country = site.get("country_code");
    if let Some(code) = country {
        let settings = json!({ "country_code": code });
        objects.push((Path::of_site(Kind::Settings, "site"), settings));
    }
    let country = country.and_then(Json::as_u64).and_then(|code| u16::try_from(code).ok());
    let mut entitled = HashMap::new();
    for kind in Kind::of_site() {
        for item in items(site, kind) {
            let Some(name) = name(kind, item, country) else { continue };
            if kind == Kind::Tenant {
                tenant(&name, item, country, &mut objects);
                continue;
            }
            // A tenant's numbers on an access may be told in several entries.
            if kind == Kind::Entitlement {
                if let Some((_, first)) = entitled.get(&name).and_then(|at| objects.get_mut(*at)) {
                    add_numbers(first, item);
                    continue;
                }
                entitled.insert(name.clone(), objects.len());
            }
            objects.push((Path::of_site(kind, name), item.clone()));
        }
    }
    objects
}

fn tenant(own: &str, item: &Json, country: Option<u16>, objects: &mut Vec<(Path, Json)>) {
    let listed: Vec<_> = Kind::of_tenants().map(Kind::word).collect();
    objects.push((Path::of_site(Kind::Tenant, own), without(item, &listed)));
    for kind in Kind::of_tenants() {
        for item in items(item, kind) {
            let Some(name) = name(kind, item, country) else { continue };
            let Some(inner) = kind.inner() else {
                objects.push((Path::of_tenant(own, kind, name), item.clone()));
                continue;
            };
            let outer = without(item, &[inner.word()]);
            objects.push((Path::of_tenant(own, kind, name.clone()), outer));
            for item in items(item, inner) {
                let Some(of) = self::name(inner, item, country) else { continue };
                objects.push((Path::inside(own, &name, inner, of), item.clone()));
            }
        }
    }
}

fn add_numbers(first: &mut Json, other: &Json) {
    if let (Some(Json::Array(all)), Some(Json::Array(more))) =
        (first.get_mut("numbers"), other.get("numbers"))
    {
        all.extend(more.iter().cloned());
    }
}

fn items(of: &Json, kind: Kind) -> &[Json] {
    of.get(kind.word()).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

fn without(item: &Json, keys: &[&str]) -> Json {
    let Json::Object(entries) = item else { return item.clone() };
    let rest = entries.iter().filter(|(key, _)| !keys.contains(&key.as_str()));
    Json::Object(rest.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// What the object goes by in its path.
fn name(kind: Kind, item: &Json, country: Option<u16>) -> Option<String> {
    let word = |key: &str| {
        let value = item.get(key)?;
        let number = || value.as_number().map(ToString::to_string);
        value.as_str().map(str::to_owned).or_else(number)
    };
    let number = || {
        let text = word("number")?;
        // However it is spelled, it is the same line.
        Some(Number::parse(&text, country).map_or(text, |number| number.to_string()))
    };
    let name = if kind == Kind::Rule {
        word("id").or_else(|| Some(digest(item)))
    } else if matches!(kind, Kind::Line | Kind::Session) {
        Some(format!("{}@{}", number()?, word("access")?))
    } else if kind == Kind::Entitlement {
        Some(format!("{}@{}", word("tenant")?, word("access")?))
    } else {
        word(if kind == Kind::Route { "destination" } else { "name" })
    };
    name.map(|name| name.replace('/', "_"))
}

/// Of what a rule says: a group does not have two that say the same.
fn digest(item: &Json) -> String {
    let hash = blake3::hash(item.to_string().as_bytes()).to_hex();
    format!("rule-{}", &hash[..12])
}

/// The site file of these objects, each list in the order of its objects.
#[must_use]
pub fn join<'o>(objects: impl IntoIterator<Item = (&'o Path, &'o Json)>) -> Json {
    let mut site = Map::new();
    site.insert("version".to_owned(), 1.into());
    let mut lists = BTreeMap::<Kind, Vec<Json>>::new();
    let mut tenants = BTreeMap::<&str, Tenant<'_>>::new();
    let mut order = Vec::new();
    for (path, item) in objects {
        if path.kind == Kind::Settings {
            site.extend(item.as_object().cloned().unwrap_or_default());
        } else if path.kind == Kind::Tenant {
            order.push(path.name.as_str());
            tenants.entry(&path.name).or_default().own = Some(item);
        } else if path.tenant.is_empty() {
            lists.entry(path.kind).or_default().push(item.clone());
        } else {
            let tenant = tenants.entry(&path.tenant).or_default();
            let list = tenant.lists.entry((path.kind, &path.within)).or_default();
            list.push((&path.name, item));
        }
    }
    let tenants = order.iter().filter_map(|name| tenants.remove(name)).map(Tenant::whole);
    let tenants: Vec<_> = tenants.collect();
    if !tenants.is_empty() {
        site.insert(Kind::Tenant.word().to_owned(), tenants.into());
    }
    site.extend(lists.into_iter().map(|(kind, items)| (kind.word().to_owned(), items.into())));
    Json::Object(site)
}

/// A tenant that is put together.
#[derive(Default)]
struct Tenant<'o> {
    own: Option<&'o Json>,
    /// By kind and by what they stand in.
    lists: BTreeMap<(Kind, &'o str), Vec<(&'o str, &'o Json)>>,
}

impl Tenant<'_> {
    fn whole(self) -> Json {
        let mut whole = self.own.and_then(Json::as_object).cloned().unwrap_or_default();
        for kind in Kind::of_tenants() {
            let Some(items) = self.lists.get(&(kind, "")) else { continue };
            let items = items.iter().map(|(name, item)| match kind.inner() {
                Some(inner) => self.with(inner, name, item),
                None => (*item).clone(),
            });
            whole.insert(kind.word().to_owned(), items.collect());
        }
        Json::Object(whole)
    }

    /// The object with what stands in it.
    fn with(&self, inner: Kind, name: &str, item: &Json) -> Json {
        let mut item = item.as_object().cloned().unwrap_or_default();
        if let Some(items) = self.lists.get(&(inner, name)) {
            let items = items.iter().map(|(_, item)| (*item).clone());
            item.insert(inner.word().to_owned(), items.collect());
        }
        Json::Object(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::json::of_text;

    const SITE: &str = "
version: 1
country_code: 81
tenants:
  - name: red
    networks: [{name: n}, {name: a, mtu: 1400}]
    routers: [{name: r, routes: [{destination: 0.0.0.0/0, uplink: o}, {destination: '::/0', uplink: o}]}]
    security_groups:
      - {name: z, rules: [{id: two, direction: egress}, {direction: ingress}]}
      - {name: b, description: none}
    lines: [{number: 090-1234-5678, access: mobile, router: r}]
  - name: blue
uplinks: [{name: o, interface: eth1}]
entitlements: [{tenant: red, access: mobile, numbers: [+819012345678]}]
sessions: [{access: mobile, number: +819012345678, addresses: [10.0.0.1]}]
";

    #[test]
    fn a_site_is_its_objects_and_they_are_the_site() {
        let site = of_text(SITE);
        let objects = split(&site);
        let paths: Vec<_> = objects.iter().map(|(path, _)| path.to_string()).collect();
        let rule = digest(&json!({"direction": "ingress"}));
        assert_eq!(
            paths,
            [
                "settings/site",
                "tenants/red",
                "tenants/red/networks/n",
                "tenants/red/networks/a",
                "tenants/red/routers/r",
                "tenants/red/routers/r/routes/0.0.0.0_0",
                "tenants/red/routers/r/routes/::_0",
                "tenants/red/security_groups/z",
                "tenants/red/security_groups/z/rules/two",
                &format!("tenants/red/security_groups/z/rules/{rule}"),
                "tenants/red/security_groups/b",
                "tenants/red/lines/+819012345678@mobile",
                "tenants/blue",
                "uplinks/o",
                "entitlements/red@mobile",
                "sessions/+819012345678@mobile",
            ]
        );
        assert_eq!(objects[1].1, json!({"name": "red"}));
        assert_eq!(objects[4].1, json!({"name": "r"}));
        assert_eq!(join(objects.iter().map(|(path, item)| (path, item))), site);
    }

    #[test]
    fn numbers_that_are_told_in_several_entries_are_one_entitlement() {
        let of = |numbers: &str| format!("{{tenant: red, access: m, numbers: [{numbers}]}}");
        let site = format!("{{entitlements: [{}, {}]}}", of("+811"), of("+812, +813"));
        let objects = split(&of_text(&site));
        assert_eq!(objects.len(), 1);
        assert_eq!(objects[0].1, of_text(&of("+811, +812, +813")));
    }

    #[test]
    fn what_stands_in_nothing_is_in_no_site() {
        let port: Path = "tenants/gone/ports/a".parse().expect("a path");
        assert_eq!(join([(&port, &json!({"name": "a"}))]), json!({"version": 1}));
    }
}
