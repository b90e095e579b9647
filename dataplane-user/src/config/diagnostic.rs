//! What is wrong, where, and what would be right?

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
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
    /// The same as a JSON pointer (RFC 6901), as `/tenants/0/ports/3/mac`.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What is allowed, or what was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(skip)]
    span: Range<usize>,
}

impl Diagnostic {
    /// The finding in one line.
    #[must_use]
    pub fn in_line(&self, file: &str) -> String {
        let Self { line, column, path, message, help, .. } = self;
        let help = help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
        format!("{file}:{line}:{column} {path}: {message}{help}")
    }
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
        if self.list.len() > FINDINGS_MAX {
            self.list.truncate(FINDINGS_MAX);
            let message =
                format!("more than {FINDINGS_MAX} findings (FINDINGS_MAX): the rest is not shown");
            self.error(Place::Bytes(text.len()..text.len()), message);
        }
        let mut found: Vec<_> = self.list.into_iter().map(|finding| finding.place(tree)).collect();
        found.sort_by_key(|found| (found.span.start, found.severity as u8));
        let lines = Lines::new(text);
        // A line may be the whole file, so its characters are counted once.
        let mut counted = (0, 0, 0);
        for found in &mut found {
            let (line, start) = lines.line_of(found.span.start);
            if counted.0 != line {
                counted = (line, start, 0);
            }
            let between = text.get(counted.1..found.span.start).unwrap_or("");
            counted = (line, found.span.start, counted.2 + between.chars().count());
            (found.line, found.column) = (line, counted.2 + 1);
        }
        found
    }
}

impl Finding {
    fn place(self, tree: &Tree) -> Diagnostic {
        let (node, span) = match self.place {
            Place::Node(id) => (Some(id), tree.node(id).span.clone()),
            Place::Key(id) => {
                let node = tree.node(id);
                let key = node.key.as_ref().map_or(&node.span, |key| &key.span);
                (Some(id), key.clone())
            }
            Place::Bytes(bytes) => (None, bytes),
        };
        let path = node.map_or_else(String::new, |id| tree.path(id));
        let pointer = node.map_or_else(String::new, |id| tree.pointer(id));
        let Finding { severity, message, help, .. } = self;
        Diagnostic { severity, line: 0, column: 0, path, pointer, message, help, span }
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

    /// The line of a byte, from 1, and the line's first byte.
    pub fn line_of(&self, byte: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= byte).max(1);
        (line, self.starts[line - 1])
    }

    fn text_of(&self, start: usize) -> &'a str {
        self.text[start..].lines().next().unwrap_or("")
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

/// A longer line is not shown, only named.
const LINE_BYTES_MAX: usize = 500;

fn report<'a>(file: &'a str, lines: &Lines<'a>, found: &'a Diagnostic) -> Group<'a> {
    let level = match found.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = match found.path.as_str() {
        "" => found.message.clone(),
        path => format!("{path}: {}", found.message),
    };
    let title = level.primary_title(title);
    let (_, start) = lines.line_of(found.span.start);
    let line = lines.text_of(start);
    let group = if line.len() > LINE_BYTES_MAX {
        title.element(Origin::path(file).line(found.line).char_column(found.column))
    } else {
        let from = (found.span.start - start).min(line.len());
        let to = (found.span.end.max(found.span.start) - start).min(line.trim_end().len());
        let marked = AnnotationKind::Primary.span(from..to.max(from));
        let snippet = Snippet::source(line).path(file).line_start(found.line);
        title.element(snippet.annotation(marked))
    };
    match &found.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    }
}
