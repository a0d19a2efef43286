//! Names of uploaded files.
//!
//! Stands in for `MultiPartParser.sanitize_file_name` and `UploadedFile.name`. Only an upload in
//! the place of a user's name shows one, so two things are left out: `html.unescape` knows two
//! thousand more names of characters, and Python drops more characters than controls.

/// In characters.
const MAX_LEN: usize = 255;

/// Returns the name that Django gives an uploaded file; `None` if nothing is left, and then it is
/// no file.
pub(super) fn sanitize(raw: &str) -> Option<String> {
    let unescaped = unescape_html(raw);
    let base = unescaped.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = base.chars().filter(|&c| !c.is_control()).collect();
    match name.as_str() {
        "" | "." | ".." => None,
        _ => Some(shortened(&name)),
    }
}

/// At most 255 characters, the extension kept.
fn shortened(name: &str) -> String {
    if name.chars().count() <= MAX_LEN {
        return name.to_owned();
    }
    let stem_start = name.len() - name.trim_start_matches('.').len();
    let dot = name
        .rfind('.')
        .filter(|&dot| dot >= stem_start)
        .unwrap_or(name.len());
    let (stem, extension) = name.split_at(dot);
    let extension: String = extension.chars().take(MAX_LEN).collect();
    let room = MAX_LEN - extension.chars().count();
    stem.chars().take(room).chain(extension.chars()).collect()
}

/// Does the common part of `html.unescape`: old browsers escaped quotes in file names.
fn unescape_html(text: &str) -> String {
    text.replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_part_of_a_path_is_kept() {
        assert_eq!(sanitize("C:\\dir\\a.txt").as_deref(), Some("a.txt"));
        assert_eq!(sanitize("/etc/a&amp;b").as_deref(), Some("a&b"));
    }

    #[test]
    fn a_name_without_substance_is_none() {
        for name in ["", ".", "..", "a/", "x/..", "\u{1}"] {
            assert_eq!(sanitize(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_long_name_is_shortened_and_keeps_its_extension() {
        let name = sanitize(&format!("{}.txt", "x".repeat(300)));
        assert_eq!(name, Some(format!("{}.txt", "x".repeat(251))));
    }
}
