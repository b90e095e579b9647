//! What is wrong, where, and what would be right?

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use super::tree::{NodeId, Tree};

/// How many findings are kept. A file with more is not a site file.
pub const FINDINGS_MAX: usize = 1000;

/// Whether the file can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is good, and probably not what was meant.
    Warning,
}

/// One finding, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The object, as `tenants.blue.ports.web-1.mac`; empty for the file itself.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What is allowed, or what was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(skip)]
    span: Range<usize>,
}

/// Where a finding stands.
#[derive(Debug, Clone)]
pub enum Place {
    /// At a value.
    Node(NodeId),
    /// At the key of a value.
    Key(NodeId),
    /// Where there is no node: bytes of the text.
    Bytes(Range<usize>),
}

impl From<NodeId> for Place {
    fn from(node: NodeId) -> Self {
        Place::Node(node)
    }
}

/// A finding that has not been given its line yet.
#[derive(Debug)]
pub struct Finding {
    severity: Severity,
    place: Place,
    message: String,
    help: Option<String>,
}

impl Finding {
    /// Says what is allowed or was meant.
    pub fn help(&mut self, help: impl Into<String>) {
        self.help = Some(help.into());
    }
}

/// Everything found so far.
#[derive(Debug, Default)]
pub struct Findings {
    list: Vec<Finding>,
    errors: usize,
}

impl Findings {
    /// The file is refused.
    pub fn error(&mut self, place: impl Into<Place>, message: impl Into<String>) -> &mut Finding {
        self.errors += 1;
        self.add(Severity::Error, place.into(), message.into())
    }

    /// The file is good, and probably not what was meant.
    pub fn warning(&mut self, place: impl Into<Place>, message: impl Into<String>) -> &mut Finding {
        self.add(Severity::Warning, place.into(), message.into())
    }

    fn add(&mut self, severity: Severity, place: Place, message: String) -> &mut Finding {
        // Beyond the limit only the last one is kept, so that callers need not ask.
        self.list.truncate(FINDINGS_MAX);
        self.list.push(Finding { severity, place, message, help: None });
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    /// Whether the file is refused.
    pub fn any_error(&self) -> bool {
        self.errors > 0
    }

    /// Sorted by position, with lines, columns and paths.
    pub fn locate(mut self, text: &str, tree: &Tree) -> Vec<Diagnostic> {
        let lines = Lines::new(text);
        let full = self.list.len() > FINDINGS_MAX;
        self.list.truncate(FINDINGS_MAX);
        let mut found: Vec<_> =
            self.list.into_iter().map(|finding| finding.locate(&lines, tree)).collect();
        found.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.severity as u8));
        if full {
            let message =
                format!("more than {FINDINGS_MAX} findings (FINDINGS_MAX): the rest is not shown");
            let end = text.len()..text.len();
            found.push(
                Finding {
                    severity: Severity::Error,
                    place: Place::Bytes(end),
                    message,
                    help: None,
                }
                .locate(&lines, tree),
            );
        }
        found
    }
}

impl Finding {
    fn locate(self, lines: &Lines<'_>, tree: &Tree) -> Diagnostic {
        let (path, span) = match self.place {
            Place::Node(id) => (tree.path(id), tree.node(id).span.clone()),
            Place::Key(id) => {
                let node = tree.node(id);
                let key = node.key.as_ref().map_or(&node.span, |key| &key.span);
                (tree.path(id), key.clone())
            }
            Place::Bytes(bytes) => (String::new(), bytes),
        };
        let (line, column) = lines.position(span.start);
        let Finding { severity, message, help, .. } = self;
        Diagnostic { severity, line, column, path, message, help, span }
    }
}

/// Where the lines of a text begin.
#[derive(Debug)]
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Finds the lines.
    pub fn new(text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Lines { text, starts: std::iter::once(0).chain(ends).collect() }
    }

    /// Line and column of a byte, both from 1, the column in characters.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= byte).max(1);
        let before = self.text.get(self.starts[line - 1]..byte).unwrap_or("");
        (line, before.chars().count() + 1)
    }

    /// A line's text and its first byte.
    fn line(&self, line: usize) -> (&'a str, usize) {
        let start = self.starts[line - 1];
        (self.text[start..].lines().next().unwrap_or(""), start)
    }
}

/// The findings as a compiler would show them, with colour on a terminal.
pub fn render(file: &str, text: &str, found: &[Diagnostic]) -> String {
    let renderer = Renderer::styled().decor_style(DecorStyle::Ascii);
    let lines = Lines::new(text);
    let mut shown = String::new();
    for diagnostic in found {
        shown.push_str(&renderer.render(&[report(file, &lines, diagnostic)]));
        shown.push_str("\n\n");
    }
    shown
}

fn report<'a>(file: &'a str, lines: &Lines<'a>, diagnostic: &'a Diagnostic) -> Group<'a> {
    let (line, start) = lines.line(diagnostic.line);
    let from = diagnostic.span.start.saturating_sub(start).min(line.len());
    let to = diagnostic.span.end.saturating_sub(start).clamp(from, line.trim_end().len().max(from));
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = match diagnostic.path.as_str() {
        "" => diagnostic.message.clone(),
        path => format!("{path}: {}", diagnostic.message),
    };
    let snippet = Snippet::source(line).path(file).line_start(diagnostic.line);
    let snippet = snippet.annotation(AnnotationKind::Primary.span(from..to));
    let group = level.primary_title(title).element(snippet);
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    }
}
