//! The API of our own in the API document. A test holds it to the rows, and `tests/openapi` to the
//! real answers.

use serde_json::Value;

use crate::config::{Config, Identity};

const OWN: &str = include_str!("openapi.json");

/// The parts of the document that get members of ours. The document says where: a member with the
/// name of the part in braces, before another one.
const PARTS: [&str; 4] = ["paths", "parameters", "schemas", "responses"];

/// The tag of the API, as an entry of a JSON list with its comma.
const TAG: &str = r#"{"name": "API v1", "description": "Chatferry's own, beside that of the Django chat. Its words are those of the protocol `chatferry.v1`."},"#;

/// Adds the API to a document, if it is served.
#[must_use]
pub fn add(mut document: String, config: &Config) -> String {
    let own = own(config);
    for part in PARTS {
        let place = format!("\"{{{{own_{part}}}}}\": {{}},");
        document = document.replace(&place, &members(own.as_ref().map(|own| &own[part])));
    }
    let tag = own.map_or("", |_| TAG);
    document.replace("\"{{own_tags}}\",", tag)
}

fn own(config: &Config) -> Option<Value> {
    let prefix = config.api_prefix()?;
    let needs_user = config.auth.identity == Identity::None;
    let text = OWN
        .replace("{{api_prefix}}", prefix.as_str())
        .replace("\"{{user_required}}\"", &needs_user.to_string())
        .replace(
            "\"{{per_message}}\"",
            &config.attachments.per_message.to_string(),
        );
    // A test holds that it is JSON.
    serde_json::from_str(&text).ok()
}

/// Returns the members of an object as text, each with a comma behind it.
fn members(object: Option<&Value>) -> String {
    let members = object.and_then(Value::as_object).into_iter().flatten();
    let members = members.map(|(name, value)| format!("{name:?}: {value:#},\n"));
    members.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::dialect::chatferry::api::routes::ROWS;

    #[test]
    fn every_row_is_in_the_document_with_its_methods_and_nothing_else_is() {
        let own = own(&Config::of(&[])).unwrap();
        let methods = |item: &Value| {
            let names = item.as_object().unwrap().keys();
            let names = names.filter(|name| *name != "parameters");
            names.map(|name| name.to_uppercase()).collect()
        };
        let paths = own["paths"].as_object().unwrap();
        let documented: BTreeMap<String, BTreeSet<String>> = paths
            .iter()
            .map(|(path, item)| (path.clone(), methods(item)))
            .collect();
        let served = ROWS.iter().map(|row| {
            let methods = row.ways.iter().map(|way| way.method.to_owned());
            (format!("/api/v1/{}", row.path), methods.collect())
        });
        assert_eq!(documented, served.collect());
    }

    #[test]
    fn the_document_has_the_api_only_where_it_is_served() {
        let of = |settings: &[(&str, &str)]| {
            let parts =
                PARTS.map(|part| format!("\"{part}\": {{\"{{{{own_{part}}}}}\": {{}},\"x\": 1}}"));
            let document = format!("{{{}}}", parts.join(", "));
            serde_json::from_str::<Value>(&add(document, &Config::of(settings))).unwrap()
        };
        for (settings, path) in [
            (&[][..], "/api/v1/me"),
            (&[("native.api_prefix", "/own/")], "/own/me"),
        ] {
            assert!(of(settings)["paths"][path].is_object());
        }
        let off = of(&[("native.api_prefix", "off")]);
        assert!(
            PARTS
                .iter()
                .all(|part| off[part].as_object().unwrap().len() == 1)
        );
        let user =
            |settings: &[(&str, &str)]| of(settings)["parameters"]["OwnUser"]["required"].clone();
        assert_eq!(user(&[]), true);
        assert_eq!(user(&[("auth.identity", "jwt")]), false);
    }
}
