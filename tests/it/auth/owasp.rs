//! The lists of `src/auth/README.md` name only tests that there are.

use std::path::Path;

#[test]
fn every_row_of_the_security_lists_is_held_by_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("src/auth/README.md")).unwrap();
    let (_, lists) = readme
        .split_once("## Against whom, and what holds it")
        .unwrap();
    let rows = lists.lines().filter(|line| line.starts_with("| "));
    let mut held = 0;
    for row in rows {
        let (_, last) = row.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        if last == "Held by" {
            continue;
        }
        let names = last.split('`').skip(1).step_by(2);
        let tests: Vec<_> = names.map(|name| name.split_once("::").unwrap()).collect();
        assert!(!tests.is_empty(), "{row}");
        for (file, test) in tests {
            let places = ["tests/it", "src"].map(|place| root.join(place).join(file));
            let mut files = places.iter().map(|place| place.with_extension("rs"));
            let is_there = files.any(|place| {
                let text = std::fs::read_to_string(place).unwrap_or_default();
                text.contains(&format!("fn {test}("))
            });
            assert!(is_there, "there is no {file}::{test}");
        }
        held += 1;
    }
    assert_eq!(held, 45, "rows");
}
