//! Content negotiation: the form of an answer, and the requests that no form suits.
//!
//! Stands in for `DefaultContentNegotiation` in `rest_framework/negotiation.py` with its two
//! default renderers. `q` is ignored there, `q=0` included; only how specific a type is counts.
//! Test: `how_specific_a_type_is_decides_and_neither_order_nor_q_does`.

use super::forms;
use super::header::Header;
use crate::python::pystr::{decimal_digit, strip_str};

/// Renderer of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renderer {
    /// JSON, compact or with that many spaces (1 to 8) a level.
    Json { indent: Option<usize> },
    /// A page for people.
    Html,
}

/// Why no answer suits; answered as compact JSON before anything else about the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNegotiated {
    /// 406, `Vary: Accept` only.
    #[error("Could not satisfy the request Accept header.")]
    NotAcceptable,
    /// 404, `Vary: Accept` only: `?format=` with an unknown name.
    #[error("Not found.")]
    UnknownFormat,
    /// Django's bare 400 page: more than a thousand query parameters.
    #[error(transparent)]
    TooManyFields(#[from] forms::TooManyFields),
}

/// In DRF's order: the first one wins among equally specific types.
const RENDERERS: [(&str, &str); 2] = [("application/json", "json"), ("text/html", "api")];
/// Precedence of `application/json` itself.
const PLAIN: u8 = 2;
/// Python's limit for reading an integer.
const MAX_INT_DIGITS: usize = 4300;

/// Chooses by the `Accept` header (repeated ones joined by `,`) and the query string.
///
/// # Errors
/// See [`NotNegotiated`]. A type whose parameters make Django crash suits nothing.
pub fn negotiate(accept: Option<&str>, query: Option<&str>) -> Result<Renderer, NotNegotiated> {
    let format = forms::query_value(query.unwrap_or_default(), "format")?;
    let renderers: Vec<&str> = RENDERERS
        .iter()
        .filter(|(_, name)| format.as_deref().is_none_or(|f| f.is_empty() || f == *name))
        .map(|(media_type, _)| *media_type)
        .collect();
    if renderers.is_empty() {
        return Err(NotNegotiated::UnknownFormat);
    }
    let accepted: Vec<MediaType> = accept
        .unwrap_or("*/*")
        .split(',')
        .filter_map(|token| MediaType::parse(strip_str(token)))
        .collect();
    choose(&renderers, &accepted).ok_or(NotNegotiated::NotAcceptable)
}

fn choose(renderers: &[&str], accepted: &[MediaType]) -> Option<Renderer> {
    (0..=3).rev().find_map(|precedence| {
        renderers.iter().find_map(|renderer| {
            let suits = |t: &&MediaType| t.precedence() == precedence && t.covers(renderer);
            let media_type = accepted.iter().find(suits)?;
            Some(match *renderer {
                "text/html" => Renderer::Html,
                _ => Renderer::Json {
                    indent: media_type.indent(),
                },
            })
        })
    })
}

/// One entry of an `Accept` header.
struct MediaType {
    header: Header,
}

impl MediaType {
    fn parse(token: &str) -> Option<Self> {
        let header = Header::parse(token).ok()?;
        Some(MediaType { header })
    }

    fn main_and_sub(&self) -> (&str, &str) {
        self.header
            .main
            .split_once('/')
            .unwrap_or((&self.header.main, ""))
    }

    /// 0 for `*/*` up to 3 for a type with parameters.
    fn precedence(&self) -> u8 {
        match self.main_and_sub() {
            ("*", _) => 0,
            (_, "*") => 1,
            _ if self.header.params.iter().all(|(name, _)| name == "q") => PLAIN,
            _ => 3,
        }
    }

    fn covers(&self, renderer: &str) -> bool {
        let (main, sub) = self.main_and_sub();
        renderer
            .split_once('/')
            .is_some_and(|(m, s)| (main == "*" || main == m) && (sub == "*" || sub == s))
    }

    /// Returns the `indent` parameter. DRF puts the parameters of a wildcard behind its own media
    /// type without their quotes and reads them once more, so a quoted `;` starts a parameter
    /// there. Test: `the_parameters_of_a_wildcard_are_read_twice`.
    fn indent(&self) -> Option<usize> {
        if self.precedence() >= PLAIN {
            return parse_indent(self.header.param("indent")?);
        }
        let params = self
            .header
            .params
            .iter()
            .map(|(name, value)| format!(";{name}={value}"));
        let reread = Header::parse(&params.collect::<String>()).ok()?;
        parse_indent(reread.param("indent")?)
    }
}

/// Python's `int()`, clamped to 0..=8; 0 and what is no integer mean compact. Test:
/// `an_indent_is_clamped_and_junk_means_compact`.
fn parse_indent(text: &str) -> Option<usize> {
    let text = strip_str(text);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mut value, mut count) = (0, 0);
    for group in digits.split('_') {
        if group.is_empty() {
            return None;
        }
        for c in group.chars() {
            value = (value * 10 + decimal_digit(c)?).min(8);
            count += 1;
        }
    }
    let indent = if negative || count > MAX_INT_DIGITS {
        0
    } else {
        value
    };
    Some(indent as usize).filter(|&indent| indent > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPACT: Result<Renderer, NotNegotiated> = Ok(Renderer::Json { indent: None });
    const HTML: Result<Renderer, NotNegotiated> = Ok(Renderer::Html);
    const REFUSED: Result<Renderer, NotNegotiated> = Err(NotNegotiated::NotAcceptable);

    fn accept(accept: &str) -> Result<Renderer, NotNegotiated> {
        negotiate(Some(accept), None)
    }

    #[test]
    fn json_is_the_answer_to_nothing_in_particular() {
        assert_eq!(negotiate(None, None), COMPACT);
        for header in [
            "*/*",
            "application/*",
            "*/json",
            "APPLICATION/JSON",
            "application/json;q=0",
        ] {
            assert_eq!(accept(header), COMPACT, "{header}");
        }
    }

    #[test]
    fn browsers_get_html() {
        for header in [
            "text/html",
            "text/*",
            "text/html,application/xml;q=0.9,*/*;q=0.8",
        ] {
            assert_eq!(accept(header), HTML, "{header}");
        }
    }

    #[test]
    fn how_specific_a_type_is_decides_and_neither_order_nor_q_does() {
        assert_eq!(accept("text/html;q=0.1, application/json;q=0.9"), COMPACT);
        assert_eq!(accept("application/json, text/html"), COMPACT);
        assert_eq!(accept("application/json, text/html;level=1"), HTML);
        assert_eq!(accept("application/*, text/html;q=0"), HTML);
    }

    #[test]
    fn types_nobody_renders_are_refused() {
        for header in [
            "",
            ",",
            "garbage",
            "*",
            "application/xml",
            "application/vnd.api+json",
            "text/plain",
        ] {
            assert_eq!(accept(header), REFUSED, "{header:?}");
        }
    }

    #[test]
    fn an_indent_is_clamped_and_junk_means_compact() {
        for (value, indent) in [
            ("4", Some(4)),
            ("99", Some(8)),
            ("0", None),
            ("-3", None),
            ("x", None),
            ("\" +0_2 \"", Some(2)),
            ("1__0", None),
        ] {
            let header = format!("application/json; indent={value}");
            assert_eq!(accept(&header), Ok(Renderer::Json { indent }), "{header}");
        }
        assert_eq!(
            accept("*/*; indent=2"),
            Ok(Renderer::Json { indent: Some(2) })
        );
    }

    #[test]
    fn the_parameters_of_a_wildcard_are_read_twice() {
        let quoted = "a=\"x;indent=3\"";
        assert_eq!(
            accept(&format!("*/*; {quoted}")),
            Ok(Renderer::Json { indent: Some(3) })
        );
        assert_eq!(accept(&format!("application/json; {quoted}")), COMPACT);
    }

    #[test]
    fn the_format_parameter_leaves_one_renderer_that_must_suit() {
        assert_eq!(negotiate(None, Some("format=json")), COMPACT);
        assert_eq!(negotiate(None, Some("format=api")), HTML);
        assert_eq!(negotiate(Some("text/html"), Some("format=json")), REFUSED);
        assert_eq!(
            negotiate(Some("text/html,*/*;q=0.8"), Some("format=json")),
            COMPACT
        );
        assert_eq!(negotiate(None, Some("format=")), COMPACT);
    }

    #[test]
    fn an_unknown_format_is_not_found_whatever_is_accepted() {
        for query in ["format=xml", "format=JSON", "format=html"] {
            assert_eq!(
                negotiate(Some("text/plain"), Some(query)),
                Err(NotNegotiated::UnknownFormat)
            );
        }
    }

    #[test]
    fn the_last_format_counts() {
        assert_eq!(negotiate(None, Some("format=xml&format=json")), COMPACT);
    }

    #[test]
    fn more_than_a_thousand_query_parameters_are_refused() {
        let query = "&".repeat(1000);
        assert!(matches!(
            negotiate(None, Some(&query)),
            Err(NotNegotiated::TooManyFields(_))
        ));
    }
}
