//! Settings that work and are not what most would want: findings of the
//! [rehearsal](super::rehearsal), and lines of the start that name what was decided by itself.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::advice::{Advice, told};
use crate::config::{Config, Identity, Loaded, Secret, Shown};

/// The beginning of each key that `django-admin startproject` makes.
const INSECURE: &str = "django-insecure-";

/// Logs what the settings leave to be decided.
pub(super) fn log(loaded: &Loaded) {
    if let Some(lowered) = loaded.lowered.filter(|lowered| !lowered.was_set) {
        tracing::info!("{lowered}");
    }
    if let Some(hidden) = hidden(&loaded.config) {
        tracing::info!("{hidden}");
    }
}

/// Finds all that is odd about the settings and the files they name.
pub(super) fn of(loaded: &Loaded) -> Vec<Advice> {
    let mut found = secrets(&loaded.config);
    let file = loaded.config.store.url.sqlite_file();
    found.extend(file.and_then(open_to_others));
    found
}

/// Finds keys in use that are those of Django's template.
fn secrets(config: &Config) -> Vec<Advice> {
    let (django, jwt) = (&config.django, &config.auth.jwt);
    let used: Vec<(&str, &Secret)> = match config.auth.identity {
        Identity::None | Identity::DjangoToken => Vec::new(),
        Identity::Jwt => jwt
            .secret
            .iter()
            .map(|it| ("auth.jwt.secret", it))
            .collect(),
        Identity::DjangoSession => {
            let key = django.secret_key.iter();
            let key = key.map(|it| ("django.secret_key", it));
            let older = django.secret_key_fallbacks.iter();
            key.chain(older.map(|it| ("django.secret_key_fallbacks", it)))
                .collect()
        }
    };
    let insecure = used
        .into_iter()
        .filter(|(_, secret)| secret.expose().starts_with(INSECURE));
    insecure
        .map(|(key, _)| {
            told(
                format!(
                    "{key} begins with `{INSECURE}`: Django made it for development, and it may be in \
                     a repository. Somebody who knows it is any user"
                ),
                "give Django another key, and the same here",
            )
        })
        .collect()
}

/// Names what clients do not see because of `auth.identity`.
fn hidden(config: &Config) -> Option<String> {
    if config.auth.identity == Identity::None {
        return None;
    }
    let mut names = Vec::new();
    let mut settings = Vec::new();
    if config.metrics.bind.is_none() && config.metrics.public == Shown::Auto {
        names.extend(["/metrics", "/status"]);
        settings.push("metrics.bind, or metrics.public = yes");
    }
    if config.server.docs == Shown::Auto {
        names.extend(["/docs", "/openapi.json", "/asyncapi.json"]);
        settings.push("server.docs = yes");
    }
    (!names.is_empty()).then(|| {
        format!(
            "not served on {}, as there is an auth.identity: {} (to have them, set {})",
            config.server.bind,
            names.join(", "),
            settings.join(", and ")
        )
    })
}

/// Warns of a database that other users of this machine can read or write.
fn open_to_others(file: &Path) -> Option<Advice> {
    let mode = fs::metadata(file).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let file = file.display();
        told(
            format!(
                "{file} has the permissions {mode:04o}: other users of this machine can read or write \
                 what people wrote"
            ),
            "`chmod 600` it, with its -wal and -shm, unless Django works on it as another user",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn djangos_key_of_development_is_reported_where_it_is_used() {
        let key = format!("{INSECURE}0123456789-0123456789-0123456789-0123456789-01");
        let jwt = [
            ("auth.identity", "jwt"),
            ("auth.jwt.secret", &key),
            ("auth.jwt.algorithms", "HS256"),
        ];
        let [found] = &secrets(&Config::of(&jwt))[..] else {
            panic!("one")
        };
        assert!(found.what.starts_with("auth.jwt.secret"), "{found}");
        assert!(!found.to_string().contains("0123456789"), "{found}");
        let session = [
            ("auth.identity", "django_session"),
            ("django.secret_key", "another"),
            ("django.secret_key_fallbacks", &key),
        ];
        assert_eq!(secrets(&Config::of(&session)).len(), 1);
        assert!(secrets(&Config::of(&[("django.secret_key", &key)])).is_empty());
    }

    #[test]
    fn what_an_identity_hides_is_named_with_the_settings_that_show_it() {
        let of = |flags: &[(&str, &str)]| hidden(&Config::of(flags)).unwrap_or_default();
        let identity = ("auth.identity", "jwt");
        assert_eq!(of(&[]), "");
        let text = of(&[identity]);
        assert!(
            text.contains("/metrics, /status, /docs, /openapi.json, /asyncapi.json"),
            "{text}"
        );
        assert!(text.contains("metrics.public = yes, and server.docs = yes"));
        let text = of(&[identity, ("metrics.bind", "127.0.0.1:9000")]);
        assert!(
            !text.contains("/metrics") && text.contains("/docs"),
            "{text}"
        );
        let both = [identity, ("metrics.public", "no"), ("server.docs", "yes")];
        assert_eq!(of(&both), "");
    }
}
