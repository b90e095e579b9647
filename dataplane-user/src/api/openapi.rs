//! What can be asked, as OpenAPI 3.1 has it: made of the table of routes and of the kinds of objects,
//! with the shapes that are read and written.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value as Json, json};

use super::{
    objects::{Ask, How},
    table::{Content, Operation, Shape, operations},
};
use crate::{
    config::file::File,
    desired::{Kind, Path},
    problem::{CONTENT_TYPE, Problem},
    view::{Resource, Resources, Written},
};

/// The document.
#[must_use]
pub fn document() -> Json {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    // First, so that its words are those of the site file.
    generator.subschema_for::<File>();
    let mut paths = Map::new();
    for operation in operations() {
        let entry = paths.entry(operation.path).or_insert_with(|| json!({}));
        entry[operation.method] = told(&operation, &mut generator);
    }
    for kind in Kind::ALL {
        objects(kind, &mut generator, &mut paths);
    }
    generator.subschema_for::<Problem>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sekisho",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What a daemon of sekisho is asked over its sockets. Whatever a write \
                            is answered with is in force.",
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": { "Problem": {
                "description": "Why it is refused (RFC 9457).",
                "content": { CONTENT_TYPE: { "schema": reference("Problem") } },
            }},
        },
    })
}

fn told(operation: &Operation, generator: &mut SchemaGenerator) -> Json {
    let Operation { path, method, summary, query, body, answer, .. } = operation;
    let mut parameters = query.map(|query| queries(query, generator)).unwrap_or_default();
    parameters.splice(..0, names(path));
    let mut told = json!({
        "operationId": operation_id(method, path),
        "summary": summary,
        "parameters": parameters,
        "responses": answers([("200", content(*answer, generator))]),
    });
    if let Some(body) = body {
        told["requestBody"] = json!({ "required": true, "content": content(*body, generator) });
    }
    told
}

/// What can be asked of an object of a kind, and of their list.
fn objects(kind: Kind, generator: &mut SchemaGenerator, paths: &mut Map<String, Json>) {
    let path = template(kind).to_string();
    let spec = spec(kind, generator);
    let mut of = |shape: Shape| json!({ "application/json": { "schema": shape(generator) } });
    let resource = of(SchemaGenerator::subschema_for::<Resource>);
    let list = of(SchemaGenerator::subschema_for::<Resources>);
    let written = of(SchemaGenerator::subschema_for::<Written>);
    let how = queries(How::json_schema, generator);
    let ask = queries(Ask::json_schema, generator);
    let url = format!("/api/v1/{path}");
    let operation = |method: &str, summary: String, query: &[Json], answers: Json| {
        let parameters: Vec<_> = names(&url).chain(query.iter().cloned()).collect();
        let operation_id = operation_id(method, &url);
        json!({
            "operationId": operation_id,
            "summary": summary,
            "parameters": parameters,
            "responses": answers,
        })
    };
    let body = |spec: &Json| {
        let of = json!({ "type": "object", "properties": { "spec": spec }, "required": ["spec"] });
        json!({ "required": true, "content": { "application/json": { "schema": of } } })
    };
    let conditions = ["If-Match", "If-None-Match"]
        .map(|name| json!({ "name": name, "in": "header", "schema": { "type": "string" } }));
    let write: Vec<_> = how.into_iter().chain(conditions).collect();
    let word = kind.word();
    let mut entry = json!({
        "get": operation("get", format!("One of {word}"), &ask, answers([("200", resource)])),
        "put": operation(
            "put",
            format!("Make or replace one of {word}"),
            &write,
            answers([("200", written.clone()), ("201", written.clone())]),
        ),
        "patch": operation(
            "patch",
            format!("Change one of {word} (RFC 7396)"),
            &write,
            answers([("200", written.clone())]),
        ),
        "delete": operation(
            "delete",
            format!("Delete one of {word}"),
            &write,
            answers([("200", written)]),
        ),
    });
    entry["put"]["requestBody"] = body(&spec);
    entry["patch"]["requestBody"] = body(&json!({ "type": "object" }));
    paths.insert(url.clone(), entry);
    if kind == Kind::Settings {
        return;
    }
    let url = url.trim_end_matches("/{name}");
    let parameters: Vec<_> = names(url).chain(ask).collect();
    let operation_id = operation_id("list", url);
    let list = json!({
        "operationId": operation_id,
        "summary": format!("All {word} there"),
        "parameters": parameters,
        "responses": answers([("200", list)]),
    });
    paths.insert(url.to_owned(), json!({ "get": list }));
}

/// A path with names in braces.
fn template(kind: Kind) -> Path {
    if kind == Kind::Settings {
        return Path::of_site(kind, "site");
    }
    if kind == Kind::Tenant || kind.is_of_site() {
        return Path::of_site(kind, "{name}");
    }
    match Kind::ALL.into_iter().find(|outer| outer.inner() == Some(kind)) {
        Some(_) => Path::inside("{tenant}", "{within}", kind, "{name}"),
        None => Path::of_tenant("{tenant}", kind, "{name}"),
    }
}

/// What an object of a kind says: what the elements of its list in the site file are.
fn spec(kind: Kind, generator: &SchemaGenerator) -> Json {
    let outer = match template(kind) {
        Path { tenant, .. } if tenant.is_empty() => "File".to_owned(),
        Path { within, .. } if within.is_empty() => "Tenant".to_owned(),
        Path { .. } => {
            let outer = Kind::ALL.into_iter().find(|outer| outer.inner() == Some(kind));
            let outer = outer.map(|outer| spec(outer, generator)["$ref"].clone());
            let name = outer.as_ref().and_then(Json::as_str).unwrap_or_default();
            name.rsplit('/').next().unwrap_or_default().to_owned()
        }
    };
    let fields = generator.definitions().get(&outer).map(|of| of["properties"].clone());
    let fields = fields.unwrap_or_default();
    if kind == Kind::Settings {
        let country = fields["country_code"].clone();
        return json!({ "type": "object", "properties": { "country_code": country } });
    }
    fields[kind.word()]["items"].clone()
}

/// What may stand behind the question mark.
fn queries(query: Shape, generator: &mut SchemaGenerator) -> Vec<Json> {
    let schema = query(generator).to_value();
    let fields = schema["properties"].as_object().cloned().unwrap_or_default();
    let parameter = |(name, schema): (String, Json)| {
        let description = schema["description"].clone();
        json!({ "name": name, "in": "query", "description": description, "schema": schema })
    };
    fields.into_iter().map(parameter).collect()
}

/// What stands in braces in a path.
fn names(path: &str) -> impl Iterator<Item = Json> {
    let name = |part: &str| part.split_once('}').map(|(name, _)| name.to_owned());
    let names: Vec<_> = path.split('{').filter_map(name).collect();
    names.into_iter().map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
    })
}

fn answers<const N: usize>(these: [(&str, Json); N]) -> Json {
    let mut answers = Map::new();
    for (status, content) in these {
        let description = if status == "201" { "It is made." } else { "It is so." };
        let answer = json!({ "description": description, "content": content });
        answers.insert(status.to_owned(), answer);
    }
    let problem = json!({ "$ref": "#/components/responses/Problem" });
    answers.insert("default".to_owned(), problem);
    Json::Object(answers)
}

fn content(content: Content, generator: &mut SchemaGenerator) -> Json {
    match content {
        Content::Json(shape) => json!({ "application/json": { "schema": shape(generator) } }),
        Content::Events(shape) => {
            let schema = shape(generator);
            json!({
                "application/x-ndjson": { "schema": &schema },
                "text/event-stream": { "schema": &schema },
            })
        }
        Content::Text(media) => json!({ media: { "schema": { "type": "string" } } }),
    }
}

fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A word for the operation: its method and path, without what is not of a word.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let words = words.filter(|word| !word.is_empty() && !matches!(*word, "api" | "v1"));
    [method].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// All references in it.
    fn references<'d>(of: &'d Json, found: &mut HashSet<&'d str>) {
        match of {
            Json::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Json::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Json::Array(items) => items.iter().for_each(|item| references(item, found)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }

    #[test]
    fn everything_that_is_named_is_there() {
        let document = document();
        let mut found = HashSet::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("it is in this document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let paths = document["paths"].as_object().expect("there are some");
        let mut ids = HashSet::new();
        for (path, entry) in paths {
            for (method, operation) in entry.as_object().expect("operations") {
                let id = operation["operationId"].as_str().expect("one");
                assert!(ids.insert(id), "{id} is there twice");
                assert!(operation["responses"]["200"].is_object(), "{method} {path}");
            }
        }
    }

    #[test]
    fn each_kind_has_the_shape_of_the_site_file() {
        let document = document();
        let spec = |path: &str| {
            let at = format!("/api/v1/{path}").replace('~', "~0").replace('/', "~1");
            let body = format!("/paths/{at}/put/requestBody/content/application~1json/schema");
            document.pointer(&body).expect("it can be written")["properties"]["spec"].clone()
        };
        for (path, name) in [
            ("tenants/{name}", "Tenant"),
            ("tenants/{tenant}/ports/{name}", "Port"),
            ("tenants/{tenant}/routers/{within}/routes/{name}", "Route"),
            ("uplinks/{name}", "Uplink"),
            ("sessions/{name}", "Session"),
        ] {
            assert_eq!(spec(path), reference(name), "{path}");
        }
        assert!(spec("settings/site")["properties"]["country_code"].is_object());
    }
}
