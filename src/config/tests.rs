//! Loading as an operator sees it: precedence, spellings, warnings and errors.

mod secrets;
mod traces;

use std::path::Path;

use super::*;

impl Config {
    /// Makes the settings of a test anywhere: these, and else the defaults.
    pub(crate) fn of(flags: &[(&str, &str)]) -> Self {
        load("", &[], flags).unwrap().config
    }
}

/// Loads from texts: a file, variables, flags.
fn load(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let flags: Vec<_> = flags.iter().map(own).collect();
    Config::load(
        Some((Path::new("chat.toml"), file)),
        env.iter().map(own),
        &flags,
    )
}

fn error(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    load(file, env, flags).map(|_| ()).unwrap_err().to_string()
}

fn warnings(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Vec<String> {
    let loaded = load(file, env, flags).unwrap();
    let unknown = loaded.unknown.iter().map(ToString::to_string);
    let warnings = loaded.warnings.iter().map(ToString::to_string);
    unknown.chain(warnings).collect()
}

#[test]
fn nothing_set_is_the_embedded_default() {
    let loaded = Config::load(None, std::iter::empty(), &[]).unwrap();
    let config = &loaded.config;
    assert_eq!(config.server.bind.to_string(), "127.0.0.1:8000");
    assert_eq!(
        config.store.url.sqlite_file(),
        Some(Path::new("chat.sqlite3"))
    );
    assert_eq!(config.store.tables, Tables::default());
    assert_eq!(config.django.group_pattern.group("x"), "chat_x");
    assert_eq!(config.layer.backend, Backend::Memory);
    assert_eq!(config.ws.max_message_bytes, 1 << 20);
    assert!(config.ws.allowed_origins.is_empty() && config.django.secret_key.is_none());
    assert!(loaded.warnings.is_empty() && loaded.refusals().is_empty());
    assert!(loaded.effective.iter().all(|e| e.origin == "default"));
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let file = "[layer]\ncapacity = 1\nexpiry = 1\ngroup_expiry = 1";
    let env = [
        ("CHATFERRY__LAYER__CAPACITY", "2"),
        ("CHATFERRY__LAYER__EXPIRY", "2"),
    ];
    let loaded = load(file, &env, &[("layer.capacity", "3")]).unwrap();
    let layer = &loaded.config.layer;
    assert_eq!(
        (layer.capacity, layer.expiry, layer.group_expiry),
        (3, 2, 1)
    );
    assert_eq!(loaded.origin("layer.capacity"), "flag --set");
    assert_eq!(
        loaded.origin("layer.expiry"),
        "environment CHATFERRY__LAYER__EXPIRY"
    );
    assert_eq!(loaded.origin("layer.group_expiry"), "file chat.toml");
    assert_eq!(loaded.origin("layer.backend"), "default");
}

#[test]
fn lists_are_comma_separated_outside_the_file() {
    let expected = [
        AllowedOrigin::Same,
        AllowedOrigin::Exact("https://a.example".to_owned()),
    ];
    let in_file = r#"ws.allowed_origins = ["same", "https://a.example"]"#;
    assert_eq!(
        load(in_file, &[], &[]).unwrap().config.ws.allowed_origins,
        expected
    );
    let env = [("CHATFERRY__WS__ALLOWED_ORIGINS", "same, https://a.example,")];
    assert_eq!(
        load("", &env, &[]).unwrap().config.ws.allowed_origins,
        expected
    );
    let emptied = load(in_file, &[], &[("ws.allowed_origins", "")]).unwrap();
    assert!(emptied.config.ws.allowed_origins.is_empty());
}

#[test]
fn the_well_known_variables_work_and_yield_to_our_own() {
    let env = [
        ("DATABASE_URL", "sqlite:///data/a.db"),
        ("PORT", "9000"),
        ("SECRET_KEY", "k"),
    ];
    let loaded = load("store.url = 'sqlite://file.db'", &env, &[]).unwrap();
    assert_eq!(loaded.config.store.url.to_string(), "sqlite:///data/a.db");
    assert_eq!(loaded.config.server.bind, Bind::any(9000));
    assert_eq!(
        loaded.config.django.secret_key.as_ref().map(Secret::expose),
        Some("k")
    );
    assert_eq!(loaded.origin("server.bind"), "environment PORT");
    assert!(loaded.warnings.is_empty());

    let ours = [env[1], ("CHATFERRY__SERVER__BIND", "127.0.0.1:1")];
    assert_eq!(
        load("", &ours, &[]).unwrap().config.server.bind.to_string(),
        "127.0.0.1:1"
    );
    let empty = [("DATABASE_URL", ""), ("PORT", ""), ("SECRET_KEY", "")];
    assert_eq!(
        load("", &empty, &[]).unwrap().origin("server.bind"),
        "default"
    );
}

#[test]
fn a_redis_url_makes_redis_the_default_backend_only() {
    let env = [("REDIS_URL", "redis://cache:6379/0")];
    let loaded = load("", &env, &[]).unwrap();
    assert_eq!(loaded.config.layer.backend, Backend::Redis);
    assert_eq!(loaded.origin("layer.backend"), "environment REDIS_URL");
    let chosen = load("layer.backend = 'memory'", &env, &[]).unwrap();
    assert_eq!(chosen.config.layer.backend, Backend::Memory);
}

#[test]
fn an_unknown_name_is_a_warning_that_names_the_nearest() {
    assert_eq!(
        warnings("[server]\nbnid = 1\n[sky]\ncolour = 'blue'", &[], &[]),
        [
            "server.bnid (file chat.toml) is no setting; did you mean server.bind?",
            "sky.colour (file chat.toml) is no setting; `chatferry config --example` lists all",
        ]
    );
    assert_eq!(
        warnings(
            "",
            &[("CHATFERRY__LAYER__CAPCITY", "1")],
            &[("ws.ping_interval", "5")]
        ),
        [
            "CHATFERRY__LAYER__CAPCITY (environment) is no setting; did you mean \
             CHATFERRY__LAYER__CAPACITY?",
            "ws.ping_interval (flag --set) is no setting; did you mean ws.ping_interval_s?",
        ]
    );
}

#[test]
fn a_single_underscore_is_noticed_and_other_peoples_variables_are_not() {
    let env = [
        ("CHATFERRY_SERVER_MAX_CONNECTIONS", "5"),
        ("CHATFERRY_PORT", "tcp://10.0.0.1:8000"),
        ("CHATFERRY_SERVICE_HOST", "10.0.0.1"),
        ("PATH", "/bin"),
    ];
    assert_eq!(
        warnings("", &env, &[]),
        [
            "CHATFERRY_SERVER_MAX_CONNECTIONS (environment) is no setting; did you mean \
          CHATFERRY__SERVER__MAX_CONNECTIONS?"
        ]
    );
}

#[test]
fn unknown_names_keep_the_server_from_starting() {
    let typo = "gateway.rollout_percnt = 0";
    let refusals = load(typo, &[], &[]).unwrap().refusals();
    let texts: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    let meant = "did you mean gateway.rollout_percent?";
    assert_eq!(
        texts,
        [format!(
            "gateway.rollout_percnt (file chat.toml) is no setting; {meant}"
        )]
    );
    assert!(
        load("events.sinks = []", &[], &[])
            .unwrap()
            .refusals()
            .is_empty()
    );
}

#[test]
fn an_upstream_without_a_share_keeps_everything() {
    let upstream = ("gateway.upstream", "http://127.0.0.1:8001");
    let share = |flags: &[(&str, &str)]| {
        let loaded = load("", &[], flags).unwrap();
        let origin = loaded.origin("gateway.rollout_percent").to_owned();
        (loaded.config.gateway.rollout_percent, origin)
    };
    assert_eq!(share(&[]), (100, "default".to_owned()));
    let kept = (0, "default with gateway.upstream".to_owned());
    assert_eq!(share(&[upstream]), kept);
    let set = share(&[upstream, ("gateway.rollout_percent", "100")]);
    assert_eq!(set, (100, "flag --set".to_owned()));
}

#[test]
fn a_wrong_value_is_an_error_that_names_key_value_source_and_what_is_accepted() {
    assert_eq!(
        error("", &[("CHATFERRY__SERVER__MAX_CONNECTIONS", "many")], &[]),
        "server.max_connections = \"many\" (environment CHATFERRY__SERVER__MAX_CONNECTIONS): \
         expected a whole number from 1 to 10000000"
    );
    assert_eq!(
        error("server.bind = 'here'", &[], &[]),
        "server.bind = \"here\" (file chat.toml): expected an address as `127.0.0.1:8000` or \
         `[::1]:8000`, or `unix:/path`"
    );
    assert_eq!(
        error("", &[], &[("log.format", "xml")]),
        "log.format = \"xml\" (flag --set): expected one of `text`, `json`"
    );
    assert_eq!(
        error("", &[("PORT", "http")], &[]),
        "server.bind = \"http\" (environment PORT): expected a port number from 0 to 65535"
    );
    assert_eq!(
        error("ws.allowed_origins = ['same', 'nowhere']", &[], &[]),
        "ws.allowed_origins = [\"same\", \"nowhere\"] (file chat.toml): expected `same`, `null`, or \
         origins as browsers send them, `https://chat.example` or `https://chat.example:8443` (no \
         path, no `*`, no port that is the scheme's own), or `https://.chat.example` for subdomains \
         too"
    );
}

#[test]
fn every_wrong_value_is_an_error_of_its_own() {
    let file = "log.format = 'xml'\nserver.bnid = 'x'\nserver.max_connections = 0";
    let flags = [("auth.policy", "members"), ("store.url", "mongo://h/d")];
    let errors = load(file, &[("PORT", "http")], &flags).unwrap_err();
    let keys: Vec<String> = errors
        .to_string()
        .lines()
        .map(|line| line.split_once([' ', '(']).unwrap().0.to_owned())
        .collect();
    let expected = [
        "server.max_connections",
        "server.bind",
        "store.url",
        "auth.policy",
        "log.format",
        "server.bnid",
    ];
    assert_eq!(keys, expected, "{errors}");
}

#[test]
fn a_special_character_in_a_password_is_named_whatever_the_url_is_of() {
    for (key, url) in [
        ("store.url", "mysql://chat:s3c#ret@h:3306/db"),
        ("store.url", "postgres://chat:s3c#ret@h/db"),
        ("layer.hosts", "redis://:s3c#ret@h:6379/0"),
        ("layer.hosts", "sentinel://:s3c#ret@h:26379/m/0"),
    ] {
        let error = error("", &[], &[(key, url)]);
        assert!(error.contains("`#` as `%23`"), "{error}");
        assert!(!error.contains("s3c") && !error.contains("ret"), "{error}");
    }
}

#[test]
fn every_form_is_held_to() {
    for (file, expected) in [
        (
            "server.max_connections = 0",
            "a whole number from 1 to 10000000",
        ),
        (
            "server.max_connections = -1",
            "a whole number from 1 to 10000000",
        ),
        (
            "server.max_connections = 1.5",
            "a whole number from 1 to 10000000",
        ),
        (
            "server.max_connections = true",
            "a whole number from 1 to 10000000",
        ),
        (
            "server.max_connections = '5'",
            "a whole number from 1 to 10000000",
        ),
        ("rest.broadcast = 1", "true or false"),
        ("rest.broadcast = 'yes'", "true or false"),
        ("server.bind = 8000", "a text"),
        ("server.bind = { host = 'a' }", "a text"),
        ("server.bind = ''", "an address as"),
        ("ws.allowed_origins = 'same'", "a list of texts"),
        ("ws.allowed_origins = [1]", "a list of texts"),
        (
            "django.time_zone = 'Asia/Atlantis'",
            "a zone of the IANA database",
        ),
        ("django.language = 'fr'", "one of `en-us`, `ko`"),
        (
            "django.url_prefix = 'api'",
            "a path that starts and ends with `/`",
        ),
        ("django.group_pattern = 'chat'", "`{conversation_id}` once"),
        ("store.tables.messages = 'a b'", "1 to 63 ASCII letters"),
    ] {
        let text = error(file, &[], &[]);
        assert!(
            text.contains(&format!("expected {expected}")),
            "{file}: {text}"
        );
    }
}

#[test]
fn a_file_that_is_no_toml_is_told_by_line() {
    assert_eq!(
        error("[django]\nsecret_key = hunter2", &[], &[]),
        "chat.toml: not a TOML file: TOML parse error at line 2, column 14: string values must be \
         quoted, expected literal string"
    );
    assert!(error("a = 1\na = 2", &[], &[]).contains("duplicate key"));
    assert!(load(&"[".repeat(100_000), &[], &[]).is_err());
    assert!(load(&format!("a = {}", "[".repeat(100_000)), &[], &[]).is_err());
}

#[test]
fn two_tables_cannot_share_a_name() {
    let text = error("store.tables.messages = 'Conversations'", &[], &[]);
    assert_eq!(text, "store.tables: each table needs a name of its own");
}

#[test]
fn no_secret_is_shown_by_any_of_it() {
    let env = [
        ("SECRET_KEY", "hunter2"),
        ("DATABASE_URL", "mysql://chat:hunter2@db/chat"),
    ];
    let loaded = load("", &env, &[]).unwrap();
    let shown = format!("{loaded:?} {:?}", loaded.refusals());
    assert!(!shown.contains("hunter2"), "{shown}");
    for env in [
        ("DATABASE_URL", "mongo://u:hunter2@db/c"),
        ("REDIS_URL", "redis://:hunter2@c/0"),
        ("REDIS_URL", "sentinel://c/m/0?sentinel_password=hunter2"),
        ("REDIS_URL", "unix:///run/redis.sock?db=0&password=hunter2"),
        ("REDIS_URL", "redis://c:6379/0?password=hunter2&db=x"),
        (
            "CHATFERRY__LAYER__SYMMETRIC_ENCRYPTION_KEYS",
            "hunter2,hunter2",
        ),
    ] {
        let shown = format!("{:?}", load("", &[env], &[]).map(|l| l.config));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn an_open_address_must_be_asked_for_by_name() {
    let refused = |flags: &[(&str, &str)]| !load("", &[], flags).unwrap().refusals().is_empty();
    assert!(refused(&[("server.bind", "0.0.0.0:80")]));
    assert!(refused(&[("server.bind", "[::]:80")]));
    assert!(!refused(&[
        ("server.bind", "0.0.0.0:80"),
        ("auth.allow_anonymous", "true")
    ]));
    assert!(!refused(&[("server.bind", "unix:/run/chat.sock")]));
}

#[test]
fn the_metrics_cannot_have_the_address_of_everything_else() {
    let refusals = |metrics| {
        let flags = [("metrics.bind", metrics)];
        load("", &[], &flags).unwrap().refusals()
    };
    let refused = refusals("127.0.0.1:8000");
    assert_eq!(refused.len(), 1);
    let text = refused[0].to_string();
    let expected = "metrics.bind = \"127.0.0.1:8000\" (flag --set) is server.bind too";
    assert!(text.starts_with(expected), "{text}");
    assert!(refusals("0.0.0.0:9000").is_empty());
}

#[test]
fn the_example_sets_nothing_and_uncommented_sets_the_defaults() {
    let example = example_toml();
    let as_is = load(&example, &[], &[]).unwrap();
    assert!(as_is.effective.iter().all(|e| e.origin == "default"));

    let is_option = |line: &str| line.starts_with('#') && !line.starts_with("# ");
    let uncommented: Vec<&str> = example
        .lines()
        .map(|line| if is_option(line) { &line[1..] } else { line })
        .collect();
    let set = load(&uncommented.join("\n"), &[], &[]).unwrap();
    assert!(set.warnings.is_empty() && set.unknown.is_empty());
    for (set, default) in set.effective.iter().zip(&as_is.effective) {
        assert_eq!(set.origin, "file chat.toml", "{}", set.key);
        assert_eq!((set.key, &set.value), (default.key, &default.value));
    }
}

#[test]
fn every_option_has_a_manual_and_its_own_name() {
    let mut seen = std::collections::HashSet::new();
    for option in Config::options() {
        assert!(seen.insert(option.key), "{} twice", option.key);
        assert!(
            option.doc.trim().ends_with('.'),
            "{}: {:?}",
            option.key,
            option.doc
        );
    }
}

/// `UPDATE_README=1 cargo test the_readme` writes the table instead.
#[test]
fn the_readme_has_this_settings_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (before, rest) = readme.split_once("<!-- settings:begin -->").unwrap();
    let (block, after) = rest.split_once("<!-- settings:end -->").unwrap();
    let table = settings_table_markdown();
    if std::env::var_os("UPDATE_README").is_some() {
        let (begin, end) = ("<!-- settings:begin -->", "<!-- settings:end -->");
        let text = format!("{before}{begin}\n{}\n{end}{after}", table.trim());
        std::fs::write(path, text).unwrap();
    } else {
        assert_eq!(block.trim(), table.trim());
    }
}

#[test]
fn a_certificate_alone_is_an_error() {
    assert_eq!(
        error("[server.tls]\ncert = 'a.pem'", &[], &[]),
        "server.tls: a certificate needs its key, and a key its certificate: set both"
    );
}

#[test]
fn an_event_that_cannot_hold_a_message_is_an_error_where_there_is_redis() {
    let small = [("layer.max_event_bytes", "1000000")];
    assert!(load("", &[], &small).is_ok());
    let shared = [&small[..], &[("layer.backend", "redis")]].concat();
    assert_eq!(
        error("", &[], &shared),
        "layer.max_event_bytes: an event takes ws.max_message_bytes and 128 KiB more at least"
    );
}
