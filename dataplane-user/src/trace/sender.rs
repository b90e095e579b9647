//! Who is meant to have sent the packet? Names and numbers become endpoints.

use super::{Error, Sender};
use crate::{
    compile::{Compiled, ids::Kind, line_name},
    model::{Line, Number, Site},
};

/// The endpoint of the one that the question names.
pub(super) fn endpoint(model: &Site, site: &Compiled, sender: &Sender) -> Result<u32, Error> {
    match sender {
        Sender::Port(name) => port(site, name),
        Sender::Line(name) => line(model, site, name),
        Sender::Uplink(name) => by_suffix(site, "uplink", name),
    }
}

fn port(site: &Compiled, name: &str) -> Result<u32, Error> {
    if name.contains('/') {
        return by_suffix(site, "port", name);
    }
    let suffix = format!("/{name}");
    let found: Vec<_> = site
        .ids
        .all(Kind::Endpoint)
        .filter(|(known, _)| known.starts_with("port ") && known.ends_with(&suffix))
        .collect();
    match found.as_slice() {
        [(_, number)] => Ok(*number),
        [] => Err(unknown(site, "port", name)),
        several => Err(Error::Ambiguous {
            kind: "port",
            name: name.to_owned(),
            known: listed(
                several.iter().map(|(known, _)| known["port ".len()..].to_owned()),
                KNOWN_MAX,
            ),
        }),
    }
}

fn line(model: &Site, site: &Compiled, name: &str) -> Result<u32, Error> {
    let (access, digits) = name.split_once('/').map_or((None, name), |(a, n)| (Some(a), n));
    let number = Number::parse(digits, model.country_code).ok();
    let is_it = |line: &Line| {
        let tenant = model.tenants[line.tenant].name.as_str();
        let is_named = line.name.as_ref().is_some_and(|own| {
            own.as_str() == digits && access.is_none_or(|named| named == tenant)
        });
        let comes_in = model.accesses[line.access].name.as_str();
        is_named || number == Some(line.number) && access.is_none_or(|named| named == comes_in)
    };
    let found: Vec<_> = model.lines.iter().filter(|(_, line)| is_it(line)).collect();
    match found.as_slice() {
        [(ix, _)] => {
            let endpoint = site.ids.number(Kind::Endpoint, &line_name(model, *ix));
            endpoint.ok_or_else(|| Error::NoSession { name: name.to_owned() })
        }
        [] => {
            let known = model.lines.values().map(|line| shown(model, line));
            Err(Error::Unknown {
                kind: "line",
                name: name.to_owned(),
                known: listed(known, KNOWN_MAX),
            })
        }
        several => {
            let known = several.iter().map(|(_, line)| match &line.name {
                Some(_) if number.is_none() => shown(model, line),
                _ => format!("{}/{digits}", model.accesses[line.access].name),
            });
            Err(Error::Ambiguous {
                kind: "line",
                name: name.to_owned(),
                known: listed(known, KNOWN_MAX),
            })
        }
    }
}

/// A line by its name, or else by its number, of which the middle is nobody's business.
fn shown(model: &Site, line: &Line) -> String {
    let tenant = &model.tenants[line.tenant].name;
    line.name.as_ref().map_or_else(|| line.number.masked(), |name| format!("{tenant}/{name}"))
}

fn by_suffix(site: &Compiled, kind: &'static str, name: &str) -> Result<u32, Error> {
    let is_it =
        |known: &str| known.strip_prefix(kind).is_some_and(|rest| rest.trim_start() == name);
    let found = site.ids.all(Kind::Endpoint).find(|(known, _)| is_it(known));
    found.map(|(_, number)| number).ok_or_else(|| unknown(site, kind, name))
}

fn unknown(site: &Compiled, kind: &'static str, name: &str) -> Error {
    let known = site
        .ids
        .all(Kind::Endpoint)
        .filter_map(|(known, _)| known.strip_prefix(kind))
        .map(|known| known.trim_start().to_owned());
    Error::Unknown { kind, name: name.to_owned(), known: listed(known, KNOWN_MAX) }
}

/// Names that an error lists at most.
pub(super) const KNOWN_MAX: usize = 20;

pub(super) fn listed(names: impl Iterator<Item = String>, max: usize) -> String {
    let mut names: Vec<_> = names.collect();
    let more = names.len().saturating_sub(max);
    names.truncate(max);
    match (names.join(", "), more) {
        (names, _) if names.is_empty() => "none".to_owned(),
        (names, 0) => names,
        (names, more) => format!("{names} and {more} more"),
    }
}
