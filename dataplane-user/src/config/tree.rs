//! Where does each value stand? YAML text as an arena of nodes with positions.
//!
//! Scalars stay text, so a telephone number without quotes keeps its leading
//! zero. JSON is read by the same parser as the YAML that it is, so YAML's liberties, a
//! trailing comma or single quotes, are taken there too. Anchors, tags and duplicate
//! keys are refused: each lets a file say something else than it seems to say.

use std::collections::HashSet;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::{Findings, Place};

/// The longest site file that is read: a million lines with their sessions take 160 MB.
pub const TEXT_BYTES_MAX: usize = 256 << 20;
/// How deep lists and maps may nest; the site file itself needs eight levels.
pub const DEPTH_MAX: usize = 32;

/// A node of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// A value, where it stands, and what it stands in.
#[derive(Debug)]
pub struct Node {
    parent: Option<NodeId>,
    /// The key, if the parent is a map.
    pub key: Option<Key>,
    /// Bytes of the text.
    pub span: Range<usize>,
    /// What was written.
    pub value: Value,
}

/// The key of a map's entry.
#[derive(Debug)]
pub struct Key {
    /// The key itself.
    pub text: String,
    /// Bytes of the text.
    pub span: Range<usize>,
}

/// What a node holds.
#[derive(Debug)]
pub enum Value {
    /// Text, after escapes; `quoted` is false for a plain scalar.
    Scalar {
        /// The text.
        text: String,
        /// Whether it stood in quotes or was a block.
        quoted: bool,
    },
    /// A sequence.
    List(Vec<NodeId>),
    /// A mapping; the keys are with the children.
    Map(Vec<NodeId>),
    /// An error has been reported here already.
    Broken,
}

/// The parsed text.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
}

/// A list or map that is still open, and the key that waits for its value.
struct Open {
    node: NodeId,
    key: Option<Key>,
    /// Those of a map that has many; those of others are in the tree.
    keys: HashSet<String>,
}

/// With so many keys a map has many.
const KEYS_MANY: usize = 16;

impl Tree {
    /// Parses the text; no root if its structure cannot be made out, and then
    /// the tree only tells where the findings are.
    pub fn parse(text: &str, out: &mut Findings) -> (Tree, Option<NodeId>) {
        let mut tree = Tree::default();
        let root = tree.build(text, out);
        (tree, root)
    }

    fn build(&mut self, text: &str, out: &mut Findings) -> Option<NodeId> {
        if text.len() > TEXT_BYTES_MAX {
            let found = out.error(Place::Bytes(0..0), "the file is too long");
            found.help(format!("at most {TEXT_BYTES_MAX} bytes (TEXT_BYTES_MAX) are read"));
            return None;
        }
        let mut open: Vec<Open> = Vec::new();
        let mut documents = 0;
        for event in Parser::new_from_str(text) {
            let (event, span) = match event {
                Ok(next) => next,
                Err(error) => {
                    let start = error.marker().byte_offset().unwrap_or(text.len());
                    let message = format!("the file is not YAML: {}", error.info());
                    out.error(Place::Bytes(start..start), message);
                    return None;
                }
            };
            let bytes = byte_range(&span);
            if open.len() >= DEPTH_MAX {
                let found = out.error(Place::Bytes(bytes), "lists and maps nest too deep");
                found.help(format!("at most {DEPTH_MAX} levels (DEPTH_MAX)"));
                return None;
            }
            if event.tag().is_some() {
                let found = out.error(Place::Bytes(bytes.clone()), "tags are not supported");
                found.help("leave out the word that begins with `!`");
            }
            if is_anchored(&event) {
                let found = out.error(Place::Bytes(bytes.clone()), "anchors are not supported");
                found.help("leave out the word that begins with `&`");
            }
            let value = match event {
                Event::Scalar(text, style, ..) => {
                    Value::Scalar { text: text.into_owned(), quoted: style != ScalarStyle::Plain }
                }
                Event::SequenceStart(..) => Value::List(Vec::new()),
                Event::MappingStart(..) => Value::Map(Vec::new()),
                Event::Alias(_) => {
                    let found = out.error(Place::Bytes(bytes.clone()), "aliases are not supported");
                    found.help("write the value again here");
                    Value::Broken
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(closed) = open.pop() {
                        self.nodes[closed.node.0 as usize].span.end = bytes.end;
                    }
                    continue;
                }
                Event::DocumentStart(..) => {
                    documents += 1;
                    if documents > 1 {
                        out.error(Place::Bytes(bytes), "a file holds one document");
                        return None;
                    }
                    continue;
                }
                Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentEnd
                | Event::Anchor(..)
                | Event::UnresolvedAlias(_)
                | _ => continue,
            };
            if let Some(map) = open.last_mut()
                && map.key.is_none()
                && matches!(self.nodes[map.node.0 as usize].value, Value::Map(_))
            {
                let Value::Scalar { text, .. } = value else {
                    out.error(Place::Bytes(bytes), "a key must be a plain word");
                    return None;
                };
                map.key = Some(Key { text, span: bytes });
                continue;
            }
            self.push(value, bytes, &mut open, out);
        }
        if self.nodes.is_empty() {
            out.error(Place::Bytes(0..0), "the file is empty").help("it begins with `version: 1`");
            return None;
        }
        Some(NodeId(0))
    }

    fn push(&mut self, value: Value, span: Range<usize>, open: &mut Vec<Open>, out: &mut Findings) {
        // A node takes more than one byte of a text of 64 MiB, so u32 is enough.
        let id = NodeId(self.nodes.len() as u32);
        let (parent, key) = match open.last_mut() {
            Some(outer) => (Some(outer.node), outer.key.take()),
            None => (None, None),
        };
        if let Some(key) = &key
            && let Some(outer) = open.last_mut()
            && self.has_key(outer, &key.text)
        {
            out.error(Place::Key(id), format!("`{}` is given twice", quote(&key.text)));
        }
        if let Some(parent) = parent
            && let Value::List(children) | Value::Map(children) =
                &mut self.nodes[parent.0 as usize].value
        {
            children.push(id);
        }
        if matches!(value, Value::List(_) | Value::Map(_)) {
            open.push(Open { node: id, key: None, keys: HashSet::new() });
        }
        self.nodes.push(Node { parent, key, span, value });
    }

    /// Has the open map this key already? If not, it has it now.
    fn has_key(&self, map: &mut Open, key: &str) -> bool {
        let Value::Map(children) = &self.node(map.node).value else { return false };
        let keys = children.iter().filter_map(|child| self.node(*child).key.as_ref());
        if children.len() < KEYS_MANY {
            return keys.map(|other| &other.text).any(|other| other == key);
        }
        if map.keys.is_empty() {
            map.keys.extend(keys.map(|other| other.text.clone()));
        }
        !map.keys.insert(key.to_owned())
    }

    /// The node itself.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The object's path, as `tenants.blue.ports.web-1.mac`: an element of a
    /// list goes by its name, by its number, or by its position from 0.
    pub fn path(&self, id: NodeId) -> String {
        let mut words = Vec::new();
        let mut at = id;
        while let Some(parent) = self.node(at).parent {
            words.push(match &self.node(at).key {
                Some(key) => quote(&key.text),
                None => self.label(parent, at),
            });
            at = parent;
        }
        words.reverse();
        words.join(".")
    }

    /// The same as a JSON pointer (RFC 6901), by keys and positions.
    pub fn pointer(&self, id: NodeId) -> String {
        let mut words = Vec::new();
        let mut at = id;
        while let Some(parent) = self.node(at).parent {
            words.push(match &self.node(at).key {
                Some(key) => key.text.replace('~', "~0").replace('/', "~1"),
                None => self.position(parent, at).to_string(),
            });
            at = parent;
        }
        words.reverse();
        words.into_iter().map(|word| format!("/{word}")).collect()
    }

    /// The word under a key of a map, as it was written.
    pub fn word(&self, map: NodeId, key: &str) -> Option<&str> {
        let Value::Map(children) = &self.node(map).value else { return None };
        let mut nodes = children.iter().map(|child| self.node(*child));
        let node = nodes.find(|node| node.key.as_ref().is_some_and(|at| at.text == key))?;
        let Value::Scalar { text, .. } = &node.value else { return None };
        Some(text)
    }

    fn label(&self, list: NodeId, element: NodeId) -> String {
        let child = |key| self.word(element, key).filter(|text| !text.is_empty()).map(quote);
        child("name")
            .or_else(|| child("number"))
            .unwrap_or_else(|| self.position(list, element).to_string())
    }

    fn position(&self, list: NodeId, element: NodeId) -> usize {
        match &self.node(list).value {
            Value::List(children) => children.binary_search(&element).unwrap_or(0),
            Value::Scalar { .. } | Value::Map(_) | Value::Broken => 0,
        }
    }
}

/// Whether a node has a name for aliases; a node without one has number 0.
fn is_anchored(event: &Event<'_>) -> bool {
    if let Event::Scalar(_, _, anchor, _)
    | Event::SequenceStart(_, anchor, _)
    | Event::MappingStart(_, anchor, _) = event
    {
        *anchor != 0
    } else {
        false
    }
}

fn byte_range(span: &Span) -> Range<usize> {
    // The parser knows byte offsets whenever it reads from a `str`.
    span.byte_range().unwrap_or(0..0)
}

/// The user's own text, fit for a message: one line, short, harmless.
pub fn quote(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut quoted: String = text.chars().take(CHARS_MAX).flat_map(visible).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        quoted.push('…');
    }
    quoted
}

fn visible(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_given_once_in_a_map_of_any_size() {
        for (keys, twice) in [(3, [0, 2]), (KEYS_MANY, [0, KEYS_MANY - 1]), (60, [3, 50])] {
            let all = (0..keys).chain(twice).map(|key| format!("k{key}: {{a: 1, b: 2}}"));
            let text = format!("{{{}}}", all.collect::<Vec<_>>().join(", "));
            let mut out = Findings::default();
            let (tree, root) = Tree::parse(&text, &mut out);
            assert!(root.is_some());
            let found: Vec<_> = out.locate(&text, &tree).into_iter().map(|of| of.path).collect();
            assert_eq!(found, twice.map(|key| format!("k{key}")), "{keys} keys");
        }
    }
}
