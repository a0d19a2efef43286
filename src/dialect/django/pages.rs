//! The HTML pages: Django's three bare error pages, and one of our own for browsers.
//!
//! Stands in for `django/views/defaults.py` without templates (English in every language) and,
//! loosely, for Django REST Framework's browsable API: the same status and the same JSON, made
//! readable, without its forms and styles.

/// Unknown path, 404.
pub const NOT_FOUND: &str = "\n<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>Not Found</title>\n</head>\n<body>\n  <h1>Not Found</h1><p>The requested resource was not found on this server.</p>\n</body>\n</html>\n";

/// A request Django finds suspicious (bad `Host`, too many form fields), 400.
pub const BAD_REQUEST: &str = "\n<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>Bad Request (400)</title>\n</head>\n<body>\n  <h1>Bad Request (400)</h1><p></p>\n</body>\n</html>\n";

/// Makes an answer of the API for somebody who looks at it in a browser. Everything is escaped.
#[must_use]
pub fn readable_page(name: &str, description: &str, status: &str, json_pretty: &str) -> String {
    let head = readable_page_head(name, description, status);
    head + &escape(json_pretty) + READABLE_PAGE_END
}

/// Returns the page up to its JSON.
#[must_use]
pub fn readable_page_head(name: &str, description: &str, status: &str) -> String {
    let [name, description, status] = [name, description, status].map(escape);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n  <meta charset=\"utf-8\">\n  \
         <title>{name}</title>\n</head>\n<body>\n  <h1>{name}</h1>\n  <p>{description}</p>\n  \
         <p>HTTP {status}</p>\n  <pre>"
    )
}

/// The page after its JSON.
pub const READABLE_PAGE_END: &str = "</pre>\n</body>\n</html>\n";

/// `django.utils.html.escape`.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#x27;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_pages_are_as_long_as_djangos() {
        assert_eq!(NOT_FOUND.len(), 179);
        assert_eq!(BAD_REQUEST.len(), 143);
    }

    #[test]
    fn a_message_cannot_put_markup_into_the_readable_page() {
        let page = readable_page("N", "D", "200 OK", "{\"content\": \"<script>&'\"}");
        assert!(
            page.contains(
                "<pre>{&quot;content&quot;: &quot;&lt;script&gt;&amp;&#x27;&quot;}</pre>"
            )
        );
        assert!(page.contains("<p>HTTP 200 OK</p>"));
    }
}
