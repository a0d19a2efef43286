//! The manual of the settings, made from their declarations: the commented example file and the
//! table of `README.md` beside it.

use std::fmt::Write;

use super::{Config, OptionDoc, Section};

/// Returns a file with every option, its manual and its default. Nothing in it is set: the options
/// are commented out, so that a copy keeps following the defaults it does not change.
#[must_use]
pub fn example_toml() -> String {
    let mut text = String::from(
        "# Chatferry's settings: every option with its default. Remove the `#` to set one.\n\
         # Each is also a flag (`--set server.bind=…`) and a variable (`CHATFERRY__SERVER__BIND=…`,\n\
         # lists comma-separated). Flag comes before variable, variable before file.\n\
         # What is secret, and addresses with passwords in them, may be in a file of their own, which\n\
         # `…_file` names: `secret_key_file = \"/run/secrets/key\"`.\n",
    );
    for section in Config::SECTIONS {
        let _ = write!(text, "\n{}", commented(section.about));
        if !section.name.is_empty() {
            let _ = writeln!(text, "[{}]", section.name);
        }
        for option in section.options {
            let _ = write!(text, "\n{}", commented(option.doc));
            let _ = writeln!(text, "#{} = {}", option.name(), option.default);
        }
    }
    text
}

/// Returns the options as one Markdown table, headed.
#[must_use]
pub fn settings_table_markdown() -> String {
    let mut table = String::from("| Key | Default | Meaning |\n|---|---|---|\n");
    for option in Config::options() {
        let default = match option.default {
            "\"\"" | "[]" => "none".to_owned(),
            value => format!("`{}`", value.trim_matches('"')),
        };
        let meaning = meaning(option).replace('|', "\\|");
        let _ = writeln!(table, "| `{}` | {default} | {meaning} |", option.key);
    }
    table
}

fn commented(doc: &str) -> String {
    doc.lines().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "# {}", line.trim());
        text
    })
}

/// Returns the manual on one line, with the limits of a number.
fn meaning(option: &OptionDoc) -> String {
    let lines: Vec<&str> = option.doc.lines().map(str::trim).collect();
    let text = lines.join(" ");
    match option.range {
        Some((min, max)) => format!("{text} ({min} to {max})"),
        None => text,
    }
}

impl Config {
    /// Every section in the order of the manual.
    const SECTIONS: &[Section] = &[
        super::Dialects::SECTION,
        super::Server::SECTION,
        super::Tls::SECTION,
        super::Store::SECTION,
        super::Tables::SECTION,
        super::Django::SECTION,
        super::Layer::SECTION,
        super::Rest::SECTION,
        super::Native::SECTION,
        super::Messenger::SECTION,
        super::Matching::SECTION,
        super::Naebak::SECTION,
        super::Attachments::SECTION,
        super::Ws::SECTION,
        super::Cors::SECTION,
        super::Auth::SECTION,
        super::Jwt::SECTION,
        super::DjangoSession::SECTION,
        super::DjangoToken::SECTION,
        super::Limits::SECTION,
        super::ByAddress::SECTION,
        super::ByUser::SECTION,
        super::Gateway::SECTION,
        super::Host::SECTION,
        super::Events::SECTION,
        super::events::RedisStream::SECTION,
        super::events::Webhook::SECTION,
        super::events::RabbitMq::SECTION,
        super::events::Nats::SECTION,
        super::events::Inward::SECTION,
        super::events::InwardRabbitMq::SECTION,
        super::events::InwardNats::SECTION,
        super::Metrics::SECTION,
        super::Log::SECTION,
        super::Trace::SECTION,
    ];

    /// Every option in the order of the manual.
    pub fn options() -> impl Iterator<Item = &'static OptionDoc> {
        Self::SECTIONS.iter().flat_map(|section| section.options)
    }
}
