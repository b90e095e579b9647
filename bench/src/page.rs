//! What do the figures say? The page that `cargo xtask bench report` writes.

use std::collections::BTreeMap;

use crate::plot::Plot;
use crate::results::{Row, Run};
use crate::targets::{self, Bound, Outcome};

/// The curves of a plot: which benchmark's, which cases, against what.
struct Curves {
    file: &'static str,
    title: &'static str,
    bench: &'static str,
    cases: &'static [&'static str],
    x: &'static str,
}

/// Plots that README.md shows, out of `docs/`.
pub const IN_README: [&str; 3] = ["rules.svg", "flows.svg", "lookup.svg"];

const PLOTS: [Curves; 5] = [
    Curves {
        file: "rules.svg",
        title: "New flows, one CPU, by the rules of a policy",
        bench: "path",
        cases: &["new, access to uplink, IPv4, by rules"],
        x: "rules",
    },
    Curves {
        file: "flows.svg",
        title: "Packets of known flows, one CPU, by flows",
        bench: "path",
        cases: &["known, access to uplink, IPv4"],
        x: "flows",
    },
    Curves {
        file: "routes.svg",
        title: "Packets of known flows to 16k destinations, by routes",
        bench: "path",
        cases: &["known, to many destinations, by routes"],
        x: "routes",
    },
    Curves {
        file: "classify.svg",
        title: "Classifier alone, by the rules of a policy",
        bench: "classify",
        cases: &["usual rules, 4k flows", "usual rules, 1M flows"],
        x: "rules",
    },
    Curves {
        file: "lookup.svg",
        title: "Route lookup alone, by routes",
        bench: "lookup",
        cases: &["IPv4, 4k destinations", "IPv4, 1M destinations", "IPv6, 1M destinations"],
        x: "routes",
    },
];

/// The page, and the plots by their file names.
#[must_use]
pub fn page(results: &[(Run, Vec<Row>)]) -> (String, Vec<(&'static str, String)>) {
    let plots: Vec<_> = PLOTS
        .iter()
        .filter_map(|curves| Some((curves.file, curves.plot(results)?.svg()?)))
        .collect();
    let mut page = "# Figures\n\n".to_owned();
    page += "| benchmark | machine | Linux | commit |\n|---|---|---|---|\n";
    for (run, _) in results {
        let Run { bench, machine, kernel, commit, .. } = run;
        page += &format!("| {bench} | {machine} | {kernel} | {commit} |\n");
    }
    for (run, _) in results {
        if let Some(why) = &run.cut_short {
            page += &format!("\n{} is not whole: {why}\n", run.bench);
        }
    }
    page += "\n## Targets\n\n";
    page += "| # | measure | must | aim | measured | result | |\n|---|---|---|---|---|---|---|\n";
    for target in targets::ALL {
        let (sign, must, aim) = match target.bound {
            Bound::AtMost(must, aim) => ("≤", must, aim),
            Bound::AtLeast(must, aim) => ("≥", must, aim),
        };
        page += &format!(
            "| {} | {} | {sign} {} | {sign} {} |",
            target.id,
            target.what,
            number(must),
            number(aim)
        );
        page += &match target.outcome(results) {
            Outcome::Measured(figure, parts, unit) => {
                let parts: Vec<_> = parts.into_iter().map(number).collect();
                let kept = match target.bound.met(figure) {
                    [_, true] => "pass, as good as the aim",
                    [true, false] => "pass",
                    [false, false] => "**fail**",
                };
                let parts = if parts.len() > 1 { parts.join(", ") } else { String::new() };
                format!(" {parts} | {} {unit} | {kept} |\n", number(figure))
            }
            Outcome::Missing(why) => format!(" | | not measured: {why} |\n"),
        };
    }
    if !plots.is_empty() {
        page += "\n## Curves\n";
        for (file, _) in &plots {
            page += &format!("\n![{file}]({file})\n");
        }
    }
    for (run, rows) in results {
        page += &format!("\n## {}\n\n", run.bench);
        page += "| case | device | flows | rules | routes | median | smallest–largest |\n";
        page += "|---|---|---|---|---|---|---|\n";
        for row in rows {
            let Row { device, case, unit, .. } = row;
            let [flows, rules, routes] = [row.flows, row.rules, row.routes].map(count);
            let figure = match (row.figure, &row.missing) {
                (Some([median, min, max]), _) => {
                    let [median, min, max] = [median, min, max].map(number);
                    format!("{median} {unit} | {min}–{max}")
                }
                (None, why) => format!("not measured: {} |", why.as_deref().unwrap_or_default()),
            };
            page += &format!("| {case} | {device} | {flows} | {rules} | {routes} | {figure} |\n");
        }
    }
    (page, plots)
}

/// Which targets have no figure, by the reason.
#[must_use]
pub fn missing(results: &[(Run, Vec<Row>)]) -> Vec<String> {
    let mut targets: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for target in targets::ALL {
        if let Outcome::Missing(why) = target.outcome(results) {
            targets.entry(why).or_default().push(target.id);
        }
    }
    let line = |(why, mut ids): (String, Vec<&str>)| {
        ids.dedup();
        format!("{}: {why}", ids.join(", "))
    };
    targets.into_iter().map(line).collect()
}

impl Curves {
    fn plot(&self, results: &[(Run, Vec<Row>)]) -> Option<Plot> {
        let (_, rows) = results.iter().find(|(run, _)| run.bench == self.bench)?;
        let mut curves: BTreeMap<(bool, String), Vec<[f64; 2]>> = BTreeMap::new();
        for row in rows.iter().filter(|row| self.cases.contains(&row.case.as_str())) {
            let Some([median, ..]) = row.figure else { continue };
            let x = match self.x {
                "rules" => row.rules,
                "flows" => row.flows,
                _ => row.routes,
            };
            let is_peer = row.device != "sekisho";
            let name = match self.cases.len() {
                1 => row.device.clone(),
                _ => format!("{}: {}", row.device, row.case),
            };
            curves.entry((is_peer, name)).or_default().push([f64::from(x), median]);
        }
        // Ours first. What is measured last need not be furthest to the right.
        let in_order = |((_, name), mut points): (_, Vec<[f64; 2]>)| {
            points.sort_by(|[a, _], [b, _]| a.total_cmp(b));
            (name, points)
        };
        let curves = curves.into_iter().map(in_order).collect();
        Some(Plot { title: self.title.to_owned(), x: self.x, curves })
    }
}

/// Three digits that count, or all before the point.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn count(value: u32) -> String {
    if value == 0 { String::new() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_names_every_target_and_what_is_missing() {
        let (page, plots) = page(&[]);
        for number in [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 15, 16, 17, 18, 19] {
            assert!(page.contains(&format!("| P{number} |")), "{page}");
        }
        assert_eq!(page.matches("not measured: no run of").count(), targets::ALL.len());
        assert!(plots.is_empty());
    }

    #[test]
    fn page_has_curves_and_results() {
        let run = Run {
            bench: "path".into(),
            machine: "2 × a processor".into(),
            kernel: "6.18".into(),
            commit: "abc".into(),
            cut_short: None,
        };
        let case = "known, access to uplink, IPv4";
        let row =
            |device: &str, flows, ns| Row::ns(device, case).of(flows, 10, 1).samples(vec![ns]);
        let rows = vec![
            row("bare redirect", 1 << 14, 300.0),
            row("sekisho", 1 << 14, 450.0),
            row("sekisho", 1, 350.0),
        ];
        let (page, plots) = page(&[(run, rows)]);
        assert!(page.contains("| 450, 300 | 1.50  | **fail** |"), "{page}");
        assert_eq!(plots.len(), 1);
        assert!(plots[0].1.contains(">sekisho</text>"));
        // From the left to the right, whichever was measured first.
        assert!(plots[0].1.contains("<polyline points=\"64.0,"), "{}", plots[0].1);
    }

    #[test]
    fn what_the_readme_shows_is_plotted() {
        assert!(IN_README.iter().all(|file| PLOTS.iter().any(|plot| plot.file == *file)));
    }
}
