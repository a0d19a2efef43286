//! The document of an application, as FastAPI makes it of its operations.

use super::{
    arguments::BodyInput,
    bearer::BearerScheme,
    field::{Fallback, Field, IntBounds, Kind, Model, TextBounds},
    invalid::member,
    routes::Route,
    validate::value_of,
};
use crate::{
    config::Generation,
    value::{Text, Value},
};

/// The head of an application's document.
#[derive(Clone, Copy, Debug)]
pub struct AppInfo {
    pub title: &'static str,
    pub version: &'static str,
    pub description: Option<&'static str>,
    /// URL at which [`BearerScheme::OAuth2`] gives tokens.
    pub token_url: &'static str,
}

/// An object in the making.
#[derive(Default)]
struct Object(Vec<(Text, Value)>);

impl Object {
    fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push(member(name, value.into()));
        self
    }

    fn maybe(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Sets a member whose name is made at run time.
    fn set(&mut self, name: String, value: Value) {
        self.0.push((name.into(), value));
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Value::Map(object.0)
    }
}

/// Makes the document, as `/openapi.json` shows it.
#[must_use]
pub fn document<H>(info: &AppInfo, routes: &[Route<H>], generation: Generation) -> Value {
    let about = Object::default()
        .with("title", info.title)
        .maybe("description", info.description)
        .with("version", info.version);
    let (mut models, mut schemes) = (Vec::new(), Vec::new());
    let mut paths: Vec<(&'static str, Object)> = Vec::new();
    for route in routes {
        let known = paths.iter().position(|(path, _)| *path == route.path);
        let place = known.unwrap_or(paths.len());
        if known.is_none() {
            paths.push((route.path, Object::default()));
        }
        let operation = operation(route, &mut models);
        if let Some((_, methods)) = paths.get_mut(place) {
            methods.set(route.method.to_ascii_lowercase(), operation);
        }
        schemes.extend(route.scheme.filter(|scheme| !schemes.contains(scheme)));
    }
    let mut shown = Object::default();
    for (path, methods) in paths {
        shown.set(path.to_owned(), methods.into());
    }
    Object::default()
        .with("openapi", "3.1.0")
        .with("info", about)
        .with("paths", shown)
        .with("components", components(info, models, &schemes, generation))
        .into()
}

fn operation<H>(route: &Route<H>, models: &mut Vec<&'static Model>) -> Value {
    let inputs = &route.inputs;
    let sources = [
        ("path", inputs.path),
        ("query", inputs.query),
        ("header", inputs.headers),
    ];
    let parameters: Vec<Value> = sources
        .into_iter()
        .flat_map(|(source, fields)| fields.iter().map(move |field| (source, field)))
        .map(|(source, field)| parameter(source, field, models))
        .collect();
    let body = match inputs.body {
        BodyInput::Nothing => None,
        BodyInput::Json(model) => Some(("application/json", model)),
        BodyInput::Form(model) => Some(("application/x-www-form-urlencoded", model)),
    };
    let is_checked = body.is_some() || !parameters.is_empty();
    let body = body.map(|(content_type, model)| {
        let schema = reference(model, models);
        Object::default()
            .with("required", true)
            .with("content", content(content_type, schema))
    });
    let tags = route.tags.iter().map(|tag| Value::from(*tag));
    let tags = (!route.tags.is_empty()).then(|| Value::List(tags.collect()));
    let security = route.scheme.map(|scheme| {
        let name = scheme_name(scheme);
        Value::List(vec![
            Object::default().with(name, Value::List(Vec::new())).into(),
        ])
    });
    Object::default()
        .maybe("tags", tags)
        .with("summary", title(route.name))
        .with("operationId", operation_id(route))
        .maybe("security", security)
        .maybe(
            "parameters",
            Some(parameters)
                .filter(|it| !it.is_empty())
                .map(Value::List),
        )
        .maybe("requestBody", body)
        .with("responses", responses(route, is_checked, models))
        .into()
}

fn parameter(source: &'static str, field: &Field, models: &mut Vec<&'static Model>) -> Value {
    Object::default()
        .with("name", field.name)
        .with("in", source)
        .with("required", field.fallback.is_none())
        .with("schema", field_schema(field, models))
        .into()
}

fn responses<H>(route: &Route<H>, is_checked: bool, models: &mut Vec<&'static Model>) -> Object {
    // FastAPI shows no content for the statuses that have none.
    let has_content = route.status != 204;
    let answer = has_content.then(|| match &route.answer {
        Some(kind) => {
            let mut schema = schema(kind, models);
            if !matches!(kind, Kind::Model(_)) {
                schema = schema.with("title", format!("Response {}", title(&operation_id(route))));
            }
            content("application/json", schema)
        }
        None => content("application/json", Object::default()),
    });
    let answer = Object::default()
        .with("description", "Successful Response")
        .maybe("content", answer);
    let mut responses = Object::default();
    responses.set(route.status.to_string(), answer.into());
    if is_checked {
        let mistakes = Object::default().with("$ref", "#/components/schemas/HTTPValidationError");
        let mistakes = Object::default()
            .with("description", "Validation Error")
            .with("content", content("application/json", mistakes));
        responses.set("422".to_owned(), mistakes.into());
    }
    responses
}

fn content(content_type: &'static str, schema: Object) -> Object {
    Object::default().with(content_type, Object::default().with("schema", schema))
}

fn operation_id<H>(route: &Route<H>) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let path = format!("{}{}", route.name, route.path);
    let path: String = path
        .chars()
        .map(|c| if is_word(c) { c } else { '_' })
        .collect();
    format!("{path}_{}", route.method.to_ascii_lowercase())
}

/// Returns a name as `name.replace("_", " ").title()` has it.
fn title(name: &str) -> String {
    let mut after_letter = false;
    let titled = name.chars().map(|c| {
        let c = if c == '_' { ' ' } else { c };
        let shown = if after_letter {
            c.to_ascii_lowercase()
        } else {
            c.to_ascii_uppercase()
        };
        after_letter = c.is_alphabetic();
        shown
    });
    titled.collect()
}

fn reference(model: &'static Model, models: &mut Vec<&'static Model>) -> Object {
    if !models.iter().any(|known| known.name == model.name) {
        models.push(model);
    }
    Object::default().with("$ref", format!("#/components/schemas/{}", model.name))
}

fn field_schema(field: &Field, models: &mut Vec<&'static Model>) -> Object {
    let schema = schema(&field.kind, models);
    if matches!(field.kind, Kind::Model(_)) {
        return schema;
    }
    let fallback = field.fallback.filter(|it| !matches!(it, Fallback::Null));
    schema
        .maybe("default", fallback.map(value_of))
        .with("title", title(field.name))
}

fn schema(kind: &Kind, models: &mut Vec<&'static Model>) -> Object {
    let typed = |name: &'static str| Object::default().with("type", name);
    match kind {
        Kind::Text(bounds) => text_schema(bounds),
        Kind::Int(bounds) => int_schema(bounds),
        Kind::Float => typed("number"),
        Kind::Bool => typed("boolean"),
        Kind::Uuid => typed("string").with("format", "uuid"),
        Kind::Email => typed("string").with("format", "email"),
        Kind::DateTime => typed("string").with("format", "date-time"),
        Kind::Literal(words) => {
            let words = words.iter().map(|word| Value::from(*word)).collect();
            typed("string").with("enum", Value::List(words))
        }
        Kind::List(list) => typed("array")
            .with("items", schema(&list.item, models))
            .maybe(
                "maxItems",
                Some(list.max).filter(|max| *max < usize::MAX).map(size),
            )
            .maybe("minItems", Some(list.min).filter(|min| *min > 0).map(size)),
        Kind::Nullable(inner) => {
            let either = vec![schema(inner, models).into(), typed("null").into()];
            Object::default().with("anyOf", Value::List(either))
        }
        Kind::Model(model) => reference(model, models),
    }
}

fn text_schema(bounds: &TextBounds) -> Object {
    Object::default()
        .with("type", "string")
        .maybe(
            "maxLength",
            Some(bounds.max).filter(|max| *max < usize::MAX).map(size),
        )
        .maybe(
            "minLength",
            Some(bounds.min).filter(|min| *min > 0).map(size),
        )
        .maybe("pattern", bounds.pattern.map(|pattern| pattern.text))
}

fn int_schema(bounds: &IntBounds) -> Object {
    let number = |bound: i64| Value::Int(bound.into());
    Object::default()
        .with("type", "integer")
        .maybe("maximum", bounds.at_most.map(number))
        .maybe("minimum", bounds.at_least.map(number))
        .maybe("exclusiveMinimum", bounds.above.map(number))
}

fn size(count: usize) -> Value {
    Value::Int(i128::try_from(count).unwrap_or(i128::MAX))
}

/// The models that operations name, those that these name, and FastAPI's own.
fn components(
    info: &AppInfo,
    mut models: Vec<&'static Model>,
    schemes: &[BearerScheme],
    generation: Generation,
) -> Object {
    let mut shown = Object::default();
    let mut place = 0;
    // Fields may name more of them.
    while let Some(model) = models.get(place).copied() {
        shown.set(model.name.to_owned(), model_schema(model, &mut models));
        place += 1;
    }
    for (name, own) in own_schemas(generation) {
        shown.set(name.to_owned(), own);
    }
    let mut security = Object::default();
    for scheme in schemes {
        security = security.with(scheme_name(*scheme), scheme_schema(*scheme, info));
    }
    Object::default().with("schemas", shown).maybe(
        "securitySchemes",
        Some(security).filter(|it| !it.0.is_empty()),
    )
}

fn model_schema(model: &'static Model, models: &mut Vec<&'static Model>) -> Value {
    let mut properties = Object::default();
    for field in model.fields {
        properties.set(field.name.to_owned(), field_schema(field, models).into());
    }
    let required = model.fields.iter().filter(|field| field.fallback.is_none());
    let required: Vec<Value> = required.map(|field| field.name.into()).collect();
    Object::default()
        .with("properties", properties)
        .with("type", "object")
        .maybe(
            "required",
            Some(required).filter(|it| !it.is_empty()).map(Value::List),
        )
        .with("title", model.name)
        .into()
}

fn scheme_name(scheme: BearerScheme) -> &'static str {
    match scheme {
        BearerScheme::Http => "HTTPBearer",
        BearerScheme::OAuth2 => "OAuth2PasswordBearer",
    }
}

fn scheme_schema(scheme: BearerScheme, info: &AppInfo) -> Object {
    match scheme {
        BearerScheme::Http => Object::default()
            .with("type", "http")
            .with("scheme", "bearer"),
        BearerScheme::OAuth2 => {
            let password = Object::default()
                .with("scopes", Object::default())
                .with("tokenUrl", info.token_url);
            Object::default()
                .with("type", "oauth2")
                .with("flows", Object::default().with("password", password))
        }
    }
}

/// The schemas of a 422.
fn own_schemas(generation: Generation) -> [(&'static str, Value); 2] {
    let typed = |name: &'static str, kind: &'static str| {
        Object::default().with("type", kind).with("title", name)
    };
    let items = Object::default().with("$ref", "#/components/schemas/ValidationError");
    let detail = typed("Detail", "array").with("items", items);
    let whole = typed("HTTPValidationError", "object")
        .with("properties", Object::default().with("detail", detail));
    let either = ["string", "integer"].map(|kind| Object::default().with("type", kind).into());
    let either = Object::default().with("anyOf", Value::List(either.into()));
    let mut properties = Object::default()
        .with("loc", typed("Location", "array").with("items", either))
        .with("msg", typed("Message", "string"))
        .with("type", typed("Error Type", "string"));
    if generation == Generation::V0_165 {
        properties = properties
            .with("input", Object::default().with("title", "Input"))
            .with("ctx", typed("Context", "object"));
    }
    let required = ["loc", "msg", "type"].map(Value::from);
    let one = typed("ValidationError", "object")
        .with("properties", properties)
        .with("required", Value::List(required.into()));
    [
        ("HTTPValidationError", whole.into()),
        ("ValidationError", one.into()),
    ]
}
