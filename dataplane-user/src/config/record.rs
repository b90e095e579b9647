//! How does a tree become a record? Every field on its own: one that is wrong
//! is reported and marked broken, and the reading goes on.

use schemars::JsonSchema;

use super::tree::{NodeId, Tree, Value, quote};
use super::{Findings, Place};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub node: NodeId,
}

/// Something that stands somewhere in the file.
pub trait Placed {
    /// Where.
    fn node(&self) -> NodeId;
}

impl<T> Placed for At<T> {
    fn node(&self) -> NodeId {
        self.node
    }
}

/// A field of a record.
#[derive(Debug, Clone)]
pub enum Field<T> {
    /// Not written, or `null`.
    Absent,
    /// Wrong, and an error has been reported.
    Broken,
    /// Read.
    Given(T),
}

impl<T> Field<T> {
    /// The value, if there is one.
    pub fn given(&self) -> Option<&T> {
        match self {
            Field::Given(value) => Some(value),
            Field::Absent | Field::Broken => None,
        }
    }

    /// Whether nothing was written.
    pub fn is_absent(&self) -> bool {
        matches!(self, Field::Absent)
    }

    /// Whether an error has been reported here.
    pub fn is_broken(&self) -> bool {
        matches!(self, Field::Broken)
    }
}

impl<T: Clone> Field<At<T>> {
    /// The value of a required field; `None` if an error has been reported.
    pub fn value(&self) -> Option<T> {
        self.given().map(|at| at.value.clone())
    }

    /// The value or its default; `None` if an error has been reported.
    pub fn or(&self, default: T) -> Option<T> {
        if self.is_absent() { Some(default) } else { self.value() }
    }

    /// The value of an optional field; `None` if an error has been reported.
    pub fn optional(&self) -> Option<Option<T>> {
        if self.is_absent() { Some(None) } else { self.value().map(Some) }
    }
}

/// A list, as far as its elements could be read.
#[derive(Debug, Clone)]
pub struct List<T> {
    items: Vec<T>,
    whole: bool,
}

impl<T> Field<List<T>> {
    /// The elements; none if the list is absent or broken.
    pub fn items(&self) -> &[T] {
        self.given().map_or(&[], |list| &list.items)
    }

    /// Whether nothing of it is broken: only then does it tell what is missing.
    pub fn whole(&self) -> bool {
        match self {
            Field::Absent => true,
            Field::Broken => false,
            Field::Given(list) => list.whole,
        }
    }

    /// Whether it was written, and has no elements.
    pub fn is_empty(&self) -> bool {
        !self.is_absent() && self.whole() && self.items().is_empty()
    }
}

/// A type of the site file.
pub(crate) trait Read: JsonSchema + Sized {
    /// Reads it; `None` if an error has been reported.
    fn read(reader: &mut Reader<'_>, node: NodeId) -> Option<Self>;
}

/// A type that is written as one word.
pub(crate) trait Scalar: Sized + Clone {
    /// What is allowed, to complete "… is not".
    const WHAT: &'static str;
    /// Parses the word; the error says why not, and may be empty.
    fn parse(text: &str) -> Result<Self, String>;
    /// Its JSON Schema.
    fn schema() -> schemars::Schema;
}

/// What [`record!`] says of a field.
pub(crate) struct Spec {
    pub name: &'static str,
    pub doc: &'static str,
    pub required: bool,
}

/// Fields that are planned. A file that uses them is told so.
const LATER: &[&str] = &["limits", "host", "floating_ips", "validity", "tunnel"];

/// A walk over a tree.
#[derive(Debug)]
pub struct Reader<'a> {
    tree: &'a Tree,
    out: &'a mut Findings,
}

impl<'a> Reader<'a> {
    /// Reads the records of the whole file.
    pub fn file(tree: &'a Tree, root: NodeId, out: &'a mut Findings) -> Option<super::file::File> {
        Read::read(&mut Reader { tree, out }, root)
    }

    /// The node of each field of a map, in the order of `specs`.
    pub(crate) fn fields(&mut self, map: NodeId, specs: &[Spec]) -> Option<Vec<Field<NodeId>>> {
        let Value::Map(children) = &self.tree.node(map).value else {
            let names: Vec<_> = specs.iter().map(|spec| spec.name).collect();
            self.mismatch(map, &format!("a map of {}", names.join(", ")));
            return None;
        };
        let mut fields: Vec<_> = specs.iter().map(|_| Field::Absent).collect();
        let mut strangers = Vec::new();
        for child in children {
            let key = self.tree.node(*child).key.as_ref().map_or("", |key| key.text.as_str());
            match specs.iter().position(|spec| spec.name == key) {
                Some(known) => self.keep(&mut fields[known], *child),
                None => strangers.push((*child, key)),
            }
        }
        for (child, key) in strangers {
            if LATER.contains(&key) {
                let message = format!("`{key}` is not supported yet");
                self.out.error(Place::Key(child), message).help("leave it out");
                continue;
            }
            let message = format!("unknown field `{}`", quote(key));
            let found = self.out.error(Place::Key(child), message);
            let names = || specs.iter().map(|spec| spec.name);
            let Some(meant) = nearest(key, names()) else {
                found.help(format!("allowed here: {}", names().collect::<Vec<_>>().join(", ")));
                continue;
            };
            found.help(format!("did you mean `{meant}`?"));
            // Going on as if it were spelt right keeps the rest of the report true.
            if let Some(known) = names().position(|name| name == meant)
                && fields[known].is_absent()
            {
                self.keep(&mut fields[known], child);
            }
        }
        for (spec, field) in specs.iter().zip(&mut fields) {
            if spec.required && field.is_absent() {
                let found = self.out.error(map, format!("missing field `{}`", spec.name));
                found.help(spec.doc.trim());
                *field = Field::Broken;
            }
        }
        Some(fields)
    }

    fn keep(&self, field: &mut Field<NodeId>, node: NodeId) {
        let null = match &self.tree.node(node).value {
            Value::Scalar { text, quoted: false } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) | Value::Broken => false,
        };
        *field = if null { Field::Absent } else { Field::Given(node) };
    }

    /// Reads the value of a field.
    pub(crate) fn field<T: Read>(&mut self, field: Option<Field<NodeId>>) -> Field<T> {
        match field {
            None | Some(Field::Absent) => Field::Absent,
            Some(Field::Broken) => Field::Broken,
            Some(Field::Given(node)) => T::read(self, node).map_or(Field::Broken, Field::Given),
        }
    }

    /// The text of a scalar; anything else is reported.
    pub(crate) fn text(&mut self, node: NodeId, what: &str) -> Option<&'a str> {
        match &self.tree.node(node).value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) | Value::Broken => {
                self.mismatch(node, what);
                None
            }
        }
    }

    /// Whether the node is a map: some values may be a word or a map.
    pub(crate) fn is_map(&self, node: NodeId) -> bool {
        matches!(self.tree.node(node).value, Value::Map(_))
    }

    fn mismatch(&mut self, node: NodeId, expected: &str) {
        let found = match &self.tree.node(node).value {
            Value::Scalar { text, .. } => format!("`{}`", quote(text)),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
            Value::Broken => return,
        };
        self.out.error(node, format!("{found} is not {expected}"));
    }
}

/// The candidate that `word` is probably a misspelling of.
pub(crate) fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let tolerance = (word.len() / 3).max(1);
    names
        .filter(|name| name.len().abs_diff(word.len()) <= tolerance)
        .map(|name| (strsim::osa_distance(word, name), name))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

impl<T: Scalar> Read for At<T> {
    fn read(reader: &mut Reader<'_>, node: NodeId) -> Option<Self> {
        let text = reader.text(node, T::WHAT)?;
        match T::parse(text) {
            Ok(value) => Some(At { value, node }),
            Err(why) => {
                let colon = if why.is_empty() { "" } else { ": " };
                let message = format!("`{}` is not {}{colon}{why}", quote(text), T::WHAT);
                reader.out.error(node, message);
                None
            }
        }
    }
}

impl<T: Scalar> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::WHAT.into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::schema()
    }
}

impl<T: Read> Read for List<T> {
    fn read(reader: &mut Reader<'_>, node: NodeId) -> Option<Self> {
        let Value::List(children) = &reader.tree.node(node).value else {
            reader.mismatch(node, "a list");
            return None;
        };
        let items: Vec<_> = children.iter().filter_map(|child| T::read(reader, *child)).collect();
        Some(List { whole: items.len() == children.len(), items })
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "List".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Vec::<T>::json_schema(generator)
    }
}

/// Declares a record of the site file: the type, how it is read, and its JSON
/// Schema with the doc comments as descriptions.
macro_rules! record {
    (
        $(#[doc = $doc:literal])*
        $Name:ident {
            $( $(#[doc = $field_doc:literal])* $need:ident $field:ident: $T:ty, )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug)]
        pub struct $Name {
            /// Where it stands.
            pub node: NodeId,
            $( $(#[doc = $field_doc])* pub $field: Field<$T>, )*
        }

        impl Placed for $Name {
            fn node(&self) -> NodeId {
                self.node
            }
        }

        impl Read for $Name {
            fn read(reader: &mut Reader<'_>, node: NodeId) -> Option<Self> {
                const SPECS: &[Spec] = &[ $( Spec {
                    name: stringify!($field),
                    doc: concat!($($field_doc),*),
                    required: record!(@ $need),
                }, )* ];
                let mut fields = reader.fields(node, SPECS)?.into_iter();
                Some($Name { node, $( $field: reader.field(fields.next()), )* })
            }
        }

        impl JsonSchema for $Name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($Name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let mut properties = serde_json::Map::new();
                let mut required: Vec<&str> = Vec::new();
                $(
                    let schema = if record!(@ $need) {
                        required.push(stringify!($field));
                        generator.subschema_for::<$T>()
                    } else {
                        generator.subschema_for::<Option<$T>>()
                    };
                    properties.insert(
                        stringify!($field).into(),
                        described(schema, concat!($($field_doc),*)),
                    );
                )*
                json_schema!({
                    "type": "object",
                    "description": concat!($($doc),*).trim(),
                    "properties": properties,
                    "required": required,
                    "additionalProperties": false,
                })
            }
        }
    };
    (@ required) => { true };
    (@ optional) => { false };
}

/// A field's schema with the field's own description.
pub(crate) fn described(mut schema: schemars::Schema, doc: &str) -> serde_json::Value {
    schema.insert("description".into(), doc.trim().into());
    schema.to_value()
}
