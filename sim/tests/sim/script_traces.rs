//! The scripts under `traces/scripts` print what they expect, from the engine and from the model.

use lockwright_sim::script::{check_script, rewrite_script};
use std::path::{Path, PathBuf};

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/scripts");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    scripts
}

#[test]
fn every_script_prints_what_it_expects() {
    let mut failures = Vec::new();
    for path in scripts() {
        let text = std::fs::read_to_string(&path).unwrap();
        if let Err(error) = check_script(&text) {
            failures.push(format!("{}: {error}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// A script is read as a rule and its example: it says the rule first, and it is complete.
#[test]
fn every_script_states_its_rule_and_carries_its_output() {
    let scripts = scripts();
    assert!(!scripts.is_empty(), "no scripts found");
    for path in scripts {
        let place = path.display();
        assert_eq!(path.extension().unwrap(), "script", "{place}");
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("# ") && first.len() > 20,
            "{place} has no header"
        );
        assert_eq!(rewrite_script(&text).unwrap(), text, "{place}");
    }
}
