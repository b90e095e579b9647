//! What may an object, and what may an interface be called?

use std::fmt;
use std::sync::Arc;

/// An object's name: `[a-z0-9][a-z0-9-_.]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The name, if it is one.
    pub fn new(text: &str) -> Option<Name> {
        let word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let (first, rest) = text.as_bytes().split_first()?;
        let good = word(*first)
            && rest.len() <= 62
            && rest.iter().all(|c| word(*c) || matches!(c, b'-' | b'_' | b'.'));
        good.then(|| Name(text.into()))
    }

    /// The name of the security group that every tenant has.
    pub fn default_group() -> Name {
        Name("default".into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A network interface's name: 1 to 15 bytes, as Linux has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interface(Arc<str>);

impl Interface {
    /// The name, if it is one.
    pub fn new(text: &str) -> Option<Interface> {
        let good = (1..=15).contains(&text.len())
            && !matches!(text, "." | "..")
            && text.bytes().all(|c| c.is_ascii_graphic() && !matches!(c, b'/' | b':' | b'%'));
        good.then(|| Interface(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "web-1", "0", "a.b_c", &"a".repeat(63)] {
            assert!(Name::new(good).is_some(), "{good}");
        }
        for bad in ["", "Web", "-a", "a b", "é", &"a".repeat(64)] {
            assert!(Name::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn interfaces() {
        for good in ["eth0", "tap1234567890ab", "eth0.10"] {
            assert!(Interface::new(good).is_some(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a:1", "tap1234567890abc", "vm%d"] {
            assert!(Interface::new(bad).is_none(), "{bad}");
        }
    }
}
