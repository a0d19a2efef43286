//! The table that says which test holds which statement of the wire contract names only tests that
//! there are.

use std::{collections::BTreeSet, path::Path};

const STATEMENTS: usize = 72;

/// The code of a module of the table, its tests with it: beside the layers, or on real servers.
fn sources(module: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    for place in ["src/layer/redis", "tests/it/redis"] {
        let place = root.join(place).join(module);
        text += &read(&place.with_extension("rs")).unwrap_or_default();
        text += &read(&place).unwrap_or_default();
    }
    text
}

/// A file, or all files below a directory.
fn read(path: &Path) -> std::io::Result<String> {
    if !path.is_dir() {
        return std::fs::read_to_string(path);
    }
    let files = std::fs::read_dir(path)?;
    files.map(|file| read(&file?.path())).collect()
}

/// The rows of the table: the statements, and what is said of them.
fn rows(readme: &str) -> Vec<(&str, &str)> {
    let rows = readme.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.splitn(3, " | ");
        let (numbers, _, held) = (cells.next()?, cells.next()?, cells.next()?);
        numbers
            .starts_with(|first: char| first.is_ascii_digit())
            .then_some((numbers, held))
    });
    rows.collect()
}

#[test]
fn every_statement_of_the_contract_is_held_by_a_test_that_exists() {
    let readme = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/layer/README.md"));
    let rows = rows(readme);
    let numbers = rows.iter().flat_map(|(numbers, _)| numbers.split(", "));
    let numbers: BTreeSet<usize> = numbers.map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=STATEMENTS).collect());
    for (numbers, held) in rows {
        let names = held.split('`').skip(1).step_by(2);
        let tests: Vec<_> = names.filter_map(|name| name.split_once("::")).collect();
        assert!(!tests.is_empty(), "{numbers}: no test");
        for (module, test) in tests {
            let found = sources(module).contains(&format!("fn {test}("));
            assert!(found, "{numbers}: there is no {module}::{test}");
        }
    }
}
