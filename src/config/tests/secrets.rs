//! Secrets that stand in files of their own.

use super::*;

/// A file with this text, removed at the end of the test.
struct File(std::path::PathBuf);

impl File {
    fn with(name: &str, text: &str) -> Self {
        let name = format!("chatferry-{}-{name}", std::process::id());
        let file = File(std::env::temp_dir().join(name));
        std::fs::write(&file.0, text).unwrap();
        file
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_secret_may_be_in_a_file_of_its_own() {
    let url = File::with("url", "mysql://u:hidden@h/db\n");
    let keys = File::with("keys", "one,and a half\ntwo\n\n");
    let secret = File::with("secret", " spaces count \r\n");
    let file = format!("[django]\nsecret_key_file = '{}'", secret.path());
    let env = [("CHATFERRY__STORE__URL_FILE", url.path())];
    let flags = [("layer.symmetric_encryption_keys_file", keys.path())];
    let loaded = load(&file, &env, &flags).unwrap();
    let config = &loaded.config;
    assert_eq!(config.store.url.expose(), "mysql://u:hidden@h/db");
    let secret_key = config.django.secret_key.as_ref().map(Secret::expose);
    assert_eq!(secret_key, Some(" spaces count "));
    let keys: Vec<_> = config
        .layer
        .symmetric_encryption_keys
        .iter()
        .map(Secret::expose)
        .collect();
    assert_eq!(keys, ["one,and a half", "two"]);
    assert_eq!(loaded.origin("store.url"), format!("file {}", url.path()));
    assert!(loaded.warnings.is_empty());
    assert!(!format!("{loaded:?}").contains("hidden"));

    let env = [("DATABASE_URL_FILE", url.path()), ("SECRET_KEY_FILE", "")];
    let loaded = load("", &env, &[]).unwrap();
    assert_eq!(loaded.config.store.url.expose(), "mysql://u:hidden@h/db");
}

#[test]
fn a_redis_in_a_file_is_a_redis() {
    let hosts = File::with("hosts", "redis://:hidden@a:6379\nsentinel://b:1,c:2/m/0\n");
    let loaded = load("", &[("REDIS_URL_FILE", hosts.path())], &[]).unwrap();
    assert_eq!(loaded.config.layer.backend, Backend::Redis);
    let entries = loaded.config.layer.hosts.entries();
    assert_eq!(
        entries,
        ["redis://:hidden@a:6379", "sentinel://b:1,c:2/m/0"]
    );
}

#[test]
fn a_file_that_is_not_there_is_an_error_and_so_are_two_values_for_one_secret() {
    let error_of = |flags: &[(&str, &str)]| error("", &[], flags);
    assert!(
        error_of(&[("store.url_file", "/no/such/file")]).starts_with(
            "store.url_file = \"/no/such/file\" (flag --set): expected a file that can be read"
        )
    );
    let both = [
        ("django.secret_key", "a"),
        ("django.secret_key_file", "/no/such/file"),
    ];
    assert!(error_of(&both).contains("both set in one place"));
    let unknown = warnings("", &[], &[("server.bind_file", "/no/such/file")]);
    assert!(
        unknown[0].starts_with("server.bind_file (flag --set) is no setting"),
        "{unknown:?}"
    );
}
