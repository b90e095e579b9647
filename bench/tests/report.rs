//! Does the report say what is missing, and how it is measured?

use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs};

/// Runs it where these files are all that was measured.
fn report(name: &str, files: &[(&str, &str)]) -> Output {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&target);
    fs::create_dir_all(target.join("bench")).expect("a folder of ours");
    for (file, text) in files {
        fs::write(target.join("bench").join(file), text).expect("a folder of ours");
    }
    let mut report = Command::new(env!("CARGO_BIN_EXE_sekisho-bench"));
    report.env("CARGO_TARGET_DIR", &target).output().expect("it was built")
}

#[test]
fn without_any_figure_there_is_no_report() {
    let output = report("nothing", &[]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{told}");
    assert!(told.contains("nothing was measured yet") && told.contains("`cargo xtask bench`"));
}

#[test]
fn what_is_missing_is_told() {
    let run = r#"{"bench":"lookup","machine":"one","kernel":"6.18","commit":"abc"}"#;
    let row =
        r#"{"device":"sekisho","case":"IPv4, load","routes":1000000,"unit":"ms","figure":[1,1,1]}"#;
    let output = report("some", &[("lookup.json", &format!("{run}\n{row}\n"))]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let path = "P1, P2, P3, P4, P5, P7: no run of path, which `cargo xtask bench path` makes";
    assert!(told.contains(path), "{told}");
    assert!(told.contains("P8: lookup: no sekisho: IPv4, 4k destinations"), "{told}");
}
