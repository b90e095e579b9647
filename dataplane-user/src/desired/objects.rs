//! A site file is many objects, and they are one site file again.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use serde_json::{Map, Value as Json, json};

use super::path::{Kind, Path};
use crate::model::Number;

/// The objects of a site file in its order, each without those that stand in it.
///
/// What has no name, or is none of what a file has, is left out: whoever checks the file refuses
/// it for that.
#[must_use]
pub fn split(site: &Json) -> Vec<(Path, Cow<'_, Json>)> {
    let mut objects = Vec::<(Path, Cow<'_, Json>)>::new();
    let country = site.get("country_code");
    if let Some(code) = country {
        let settings = Cow::Owned(json!({ "country_code": code }));
        objects.push((Path::of_site(Kind::Settings, "site"), settings));
    }
    let country = country.and_then(Json::as_u64).and_then(|code| u16::try_from(code).ok());
    let mut entitled = HashMap::<String, usize>::new();
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
                    add_numbers(first.to_mut(), item);
                    continue;
                }
                entitled.insert(name.clone(), objects.len());
            }
            objects.push((Path::of_site(kind, name), Cow::Borrowed(item)));
        }
    }
    objects
}

fn tenant<'j>(
    own: &str,
    item: &'j Json,
    country: Option<u16>,
    objects: &mut Vec<(Path, Cow<'j, Json>)>,
) {
    let listed: Vec<_> = Kind::of_tenants().map(Kind::word).collect();
    objects.push((Path::of_site(Kind::Tenant, own), Cow::Owned(without(item, &listed))));
    for kind in Kind::of_tenants() {
        for item in items(item, kind) {
            let Some(name) = name(kind, item, country) else { continue };
            let Some(inner) = kind.inner() else {
                objects.push((Path::of_tenant(own, kind, name), Cow::Borrowed(item)));
                continue;
            };
            let outer = Cow::Owned(without(item, &[inner.word()]));
            objects.push((Path::of_tenant(own, kind, name.clone()), outer));
            for item in items(item, inner) {
                let Some(of) = self::name(inner, item, country) else { continue };
                objects.push((Path::inside(own, &name, inner, of), Cow::Borrowed(item)));
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

/// What the object is called by whoever reads of it: a rule without an id by what it says.
#[must_use]
pub fn shown(path: &Path, spec: &Json) -> String {
    let is_digest = path.kind == Kind::Rule && spec.get("id").is_none();
    if is_digest { format!("{path} {spec}") } else { path.to_string() }
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

/// The object with what its path says of it, which need not be repeated.
///
/// # Errors
/// What it says against its path, or that has a path of its own.
pub fn named(path: &Path, spec: &Json) -> Result<Json, String> {
    let Json::Object(entries) = spec else { return Err("it is no object".to_owned()) };
    let mut item = entries.clone();
    let (first, second) = path.name.split_once('@').unwrap_or((&path.name, ""));
    let identity: &[(&str, &str)] = match path.kind {
        Kind::Settings => &[],
        Kind::Rule if path.name == digest(spec) => &[],
        Kind::Rule => &[("id", &path.name)],
        Kind::Route => &[("destination", &path.name.replacen('_', "/", 1))],
        Kind::Line | Kind::Session => &[("number", first), ("access", second)],
        Kind::Entitlement => &[("tenant", first), ("access", second)],
        Kind::Tenant
        | Kind::Network
        | Kind::Router
        | Kind::SecurityGroup
        | Kind::AddressGroup
        | Kind::Port
        | Kind::LineGroup
        | Kind::Uplink
        | Kind::Access => &[("name", &path.name)],
    };
    for (field, says) in identity {
        item.entry(*field).or_insert_with(|| (*says).into());
    }
    let inner = path.kind.inner();
    let own_paths = Kind::of_tenants().filter(|_| path.kind == Kind::Tenant).chain(inner);
    if let Some(kind) = own_paths.into_iter().find(|kind| item.contains_key(kind.word())) {
        return Err(format!("`{}` have paths of their own: {path}/{}/…", kind.word(), kind.word()));
    }
    let item = Json::Object(item);
    match name(path.kind, &item, None) {
        Some(name) if name == path.name => Ok(item),
        _ if path.kind == Kind::Settings => Ok(item),
        name => {
            let name = name.unwrap_or_else(|| "nothing".to_owned());
            Err(format!("it says that it is `{name}`, and its path that it is `{}`", path.name))
        }
    }
}

/// Whose a value of a site file is, by its JSON pointer, and where in that it is.
#[must_use]
pub fn locate<'p>(site: &Json, pointer: &'p str) -> Option<(Path, &'p str)> {
    let country = site.get("country_code").and_then(Json::as_u64);
    let country = country.and_then(|code| u16::try_from(code).ok());
    let mut found = None;
    let (mut at, mut rest) = (site, pointer);
    // Lists of objects stand in the site, in tenants, and in some of what stands there.
    loop {
        let mut words = rest.strip_prefix('/')?.splitn(3, '/');
        let (Some(list), Some(position)) = (words.next(), words.next()) else { break };
        let kind = Kind::ALL.into_iter().find(|kind| kind.word() == list);
        let Some(item) = at.get(list).and_then(|list| list.get(position.parse::<usize>().ok()?))
        else {
            break;
        };
        let Some(kind) = kind else { break };
        let name = name(kind, item, country)?;
        let path = match &found {
            None if kind.is_of_site() => Path::of_site(kind, name),
            Some(Path { kind: Kind::Tenant, name: tenant, .. }) => {
                Path::of_tenant(tenant, kind, name)
            }
            Some(outer) if outer.kind.inner() == Some(kind) => {
                Path::inside(&outer.tenant, &outer.name, kind, name)
            }
            _ => break,
        };
        found = Some(path);
        rest = &rest[1 + list.len() + 1 + position.len()..];
        at = item;
        if rest.is_empty() {
            break;
        }
    }
    found.map(|path| (path, rest))
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
        assert_eq!(*objects[1].1, json!({"name": "red"}));
        assert_eq!(*objects[4].1, json!({"name": "r"}));
        assert_eq!(join(objects.iter().map(|(path, item)| (path, &**item))), site);
    }

    #[test]
    fn numbers_that_are_told_in_several_entries_are_one_entitlement() {
        let of = |numbers: &str| format!("{{tenant: red, access: m, numbers: [{numbers}]}}");
        let site = format!("{{entitlements: [{}, {}]}}", of("+811"), of("+812, +813"));
        let site = of_text(&site);
        let objects = split(&site);
        assert_eq!(objects.len(), 1);
        assert_eq!(*objects[0].1, of_text(&of("+811, +812, +813")));
    }

    #[test]
    fn what_a_path_says_need_not_be_said_again() {
        let say = |path: &str, spec: Json| named(&path.parse().expect("a path"), &spec);
        let of = |path: &str, spec: Json| say(path, spec).expect("nothing against it");
        assert_eq!(of("tenants/t/ports/a", json!({"mac": "m"})), json!({"name": "a", "mac": "m"}));
        assert_eq!(
            of("tenants/t/routers/r/routes/10.0.0.0_8", json!({"uplink": "o"})),
            json!({"destination": "10.0.0.0/8", "uplink": "o"})
        );
        let line = json!({"number": "+811", "access": "m", "router": "r"});
        assert_eq!(of("tenants/t/lines/+811@m", json!({"router": "r"})), line);
        assert_eq!(of("tenants/t/lines/+811@m", line.clone()), line);
        let rule = json!({"direction": "egress"});
        let by_digest = format!("tenants/t/security_groups/g/rules/{}", digest(&rule));
        assert_eq!(of(&by_digest, rule.clone()), rule);
        assert_eq!(
            of("tenants/t/security_groups/g/rules/out", rule),
            json!({"id": "out", "direction": "egress"})
        );
        let refused = |path: &str, spec: Json| say(path, spec).expect_err("it is against it");
        let other = refused("tenants/t/ports/a", json!({"name": "b"}));
        assert_eq!(other, "it says that it is `b`, and its path that it is `a`");
        let inner = refused("tenants/t/security_groups/g", json!({"rules": []}));
        assert!(inner.contains("tenants/t/security_groups/g/rules/…"), "{inner}");
        let inner = refused("tenants/t", json!({"ports": []}));
        assert!(inner.contains("tenants/t/ports/…"), "{inner}");
        assert_eq!(refused("tenants/t", json!([])), "it is no object");
    }

    #[test]
    fn a_value_is_its_objects() {
        let site = of_text(SITE);
        let found =
            |pointer: &str| locate(&site, pointer).map(|(path, rest)| format!("{path} {rest}"));
        assert_eq!(found("/tenants/0").as_deref(), Some("tenants/red "));
        assert_eq!(
            found("/tenants/0/networks/1/mtu").as_deref(),
            Some("tenants/red/networks/a /mtu")
        );
        assert_eq!(
            found("/tenants/0/security_groups/0/rules/0/direction").as_deref(),
            Some("tenants/red/security_groups/z/rules/two /direction")
        );
        assert_eq!(found("/uplinks/0/interface").as_deref(), Some("uplinks/o /interface"));
        assert_eq!(
            found("/tenants/0/lines/0").as_deref(),
            Some("tenants/red/lines/+819012345678@mobile ")
        );
        assert_eq!(
            found("/sessions/0/addresses/0").as_deref(),
            Some("sessions/+819012345678@mobile /addresses/0")
        );
        for nobody in ["", "/version", "/tenants", "/tenants/7", "/ports/0"] {
            assert_eq!(found(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn what_stands_in_nothing_is_in_no_site() {
        let port: Path = "tenants/gone/ports/a".parse().expect("a path");
        assert_eq!(join([(&port, &json!({"name": "a"}))]), json!({"version": 1}));
    }
}
