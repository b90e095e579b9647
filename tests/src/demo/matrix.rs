//! Who is to reach whom, and who did?

use super::probe::{Found, ITSELF, NOBODY};

/// The addresses that everybody tries. The first two are two hosts each.
pub const TARGETS: [&str; 6] =
    ["10.0.0.10", "10.0.0.20", "192.0.2.2", "2001:db8:1::2", "100.64.0.1", "198.51.100.1"];

/// A sender, and whom it is to find at each address.
pub struct Row {
    pub name: &'static str,
    /// The interface that its host is joined to.
    pub host: &'static str,
    /// The addresses that it uses, if its host has several.
    pub v4: Option<&'static str>,
    pub v6: Option<&'static str>,
    pub expected: [&'static str; TARGETS.len()],
}

const fn host(name: &'static str, expected: [&'static str; TARGETS.len()]) -> Row {
    Row { name, host: name, v4: None, v6: None, expected }
}

const fn line(
    name: &'static str,
    v4: &'static str,
    v6: &'static str,
    expected: [&'static str; TARGETS.len()],
) -> Row {
    Row { name, host: "mobile", v4: Some(v4), v6: Some(v6), expected }
}

#[rustfmt::skip]
pub const ROWS: [Row; 9] = [
    host("blue-pc", [ITSELF, "blue-db pt-", "blue-web ptu", "blue-web ptu", "robot ptu", NOBODY]),
    host("blue-db", [NOBODY, ITSELF, NOBODY, NOBODY, NOBODY, NOBODY]),
    host("blue-web", [NOBODY, "p--", ITSELF, ITSELF, "robot ptu", "outside ptu"]),
    host("red-pc", [ITSELF, "red-db ptu", NOBODY, NOBODY, NOBODY, NOBODY]),
    host("red-db", ["red-pc ptu", ITSELF, NOBODY, NOBODY, NOBODY, NOBODY]),
    line("robot", "100.64.0.1", "2001:db8:64:1::1",
        [NOBODY, "blue-db pt-", "blue-web ptu", "blue-web ptu", ITSELF, NOBODY]),
    line("stolen", "100.64.0.2", "2001:db8:64:2::1", [NOBODY, NOBODY, NOBODY, NOBODY, NOBODY, NOBODY]),
    line("unknown", "100.64.0.3", "2001:db8:64:3::1", [NOBODY, NOBODY, NOBODY, NOBODY, NOBODY, NOBODY]),
    host("internet", [NOBODY, NOBODY, "blue-web ptu", "blue-web ptu", NOBODY, ITSELF]),
];

/// Prints what was found, and answers how many cells are wrong.
pub fn show(found: &[Vec<Found>]) -> usize {
    let mut wrong = Vec::new();
    println!("{:<10}{}", "from \\ to", TARGETS.map(|target| format!("  {target:<14}")).concat());
    for (row, found) in ROWS.iter().zip(found) {
        print!("{:<10}", row.name);
        for ((found, expected), target) in found.iter().zip(row.expected).zip(TARGETS) {
            let is_right = found.is(expected);
            print!("{} {found:<14}", if is_right { "✓" } else { "✗" });
            if !is_right {
                wrong.push(format!("✗ {} → {target}: {found}, expected {expected}", row.name));
            }
        }
        println!();
    }
    let (wrong_count, cells) = (wrong.len(), ROWS.len() * TARGETS.len());
    println!("\n{} of {cells} cells as expected, {wrong_count} wrong", cells - wrong_count);
    for line in &wrong {
        println!("{line}");
    }
    wrong_count
}
