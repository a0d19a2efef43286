//! The rooms of `src/` import what is below them in the map of `lib.rs`, and nothing above.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn no_room_imports_one_above_it() {
    let order = rooms_of_the_map();
    let place = |room: &str| order.iter().position(|it| it == room);
    let mut up = BTreeMap::new();
    for file in files(&source()) {
        let from = room_of(&file);
        for to in imports(&without_tests(&fs::read_to_string(&file).unwrap())) {
            let (Some(high), Some(low)) = (place(&from), place(&to)) else {
                continue;
            };
            if low < high {
                up.entry((from.clone(), to)).or_insert(file.clone());
            }
        }
    }
    assert!(up.is_empty(), "these imports run up the map: {up:#?}");
}

#[test]
fn the_map_names_every_room_once() {
    let mut named = rooms_of_the_map();
    let library = fs::read_to_string(source().join("lib.rs")).unwrap();
    let declared = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "));
    let mut declared: Vec<_> = declared
        .map(|it| it.trim_end_matches(';').to_owned())
        .collect();
    named.sort();
    declared.sort();
    assert_eq!(named, declared);
}

#[test]
fn imports_are_found_wherever_they_stand() {
    let text = "use crate::{\n    a::B,\n    c::{self, d::E},\n};\npub use crate::f;\n\
        // crate::g::H\nfn i() -> crate::j::K {}\n";
    assert_eq!(imports(text), ["a", "c", "f", "j"]);
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The rooms that the table of `lib.rs` names, the topmost first.
fn rooms_of_the_map() -> Vec<String> {
    let library = fs::read_to_string(source().join("lib.rs")).unwrap();
    let rows = library
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`"));
    let cells = rows.map(|row| row.split(" |").next().unwrap());
    let names = cells.flat_map(|cell| cell.split(", "));
    names
        .map(|it| it.trim_matches(['[', '`', ']']).to_owned())
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let found = entries.flat_map(|path| match path.extension() {
        _ if path.is_dir() => files(&path),
        Some(kind) if kind == "rs" && path.file_stem().unwrap() != "tests" => vec![path],
        _ => Vec::new(),
    });
    found.collect()
}

/// The room that a file is part of.
fn room_of(file: &Path) -> String {
    let inside = file.strip_prefix(source()).unwrap();
    let first = Path::new(inside.iter().next().unwrap());
    first.with_extension("").to_str().unwrap().to_owned()
}

/// A file without its tests, which come last.
fn without_tests(text: &str) -> String {
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap()
        .to_owned()
}

/// The rooms that a text names as `crate::…`, in an import or elsewhere.
fn imports(text: &str) -> Vec<String> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(heads(list)),
            None => found.push(word(rest)),
        }
    }
    found
}

/// The first word of each entry of a list in braces, up to its end.
fn heads(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut entries = vec![String::new()];
    for character in list.chars() {
        match character {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => entries.push(String::new()),
            it => entries.last_mut().unwrap().push(it),
        }
    }
    let heads = entries.iter().map(|entry| word(entry.trim_start()));
    heads.filter(|head| !head.is_empty()).collect()
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|it| it.is_alphanumeric() || *it == '_')
        .collect()
}
