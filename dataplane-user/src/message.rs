//! How is an error told in one line?

/// The error and its causes, each said once: many messages name their cause already.
#[must_use]
pub fn of(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if said.contains(&cause) {
            continue;
        }
        if !said.is_empty() {
            said.push_str(": ");
        }
        said.push_str(&cause);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn causes_are_told_once() {
        let error = anyhow!("no such file").context("reading a: no such file").context("start");
        assert_eq!(of(&error), "start: reading a: no such file");
    }
}
