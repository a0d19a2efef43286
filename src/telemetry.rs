//! The log: events as text or JSON lines on standard error, as `log.format` and `log.level` ask.
//!
//! [`request`] names the request that a line is about, [`floods`] keeps one fault from filling the
//! log and [`origins`] the pages that may open no socket; [`security`] is the log of what was
//! refused. The subscriber is `tracing`'s own global, the only one there is: a program that embeds
//! the server may have set another, which then stays. [`trace`] is beside it: spans, where somebody
//! collects them.

mod fields;
mod floods;
pub mod origins;
pub mod request;
pub mod security;
pub mod trace;

use std::io::{IsTerminal, stderr};
use std::panic;

use tracing::Subscriber;
use tracing_subscriber::Layer as _;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

use self::floods::Floods;
use crate::config::{Format, Level, Log};

/// The process logs somewhere already, and goes on doing so.
#[derive(Debug, thiserror::Error)]
#[error("the log was set up before; it stays as it is")]
pub struct AlreadySet;

/// Handle that changes the log at run time.
#[derive(Clone, Debug)]
pub struct Logging {
    level: reload::Handle<Targets, Registry>,
    floods: Floods,
}

impl Logging {
    /// Logs by this level from now on.
    pub fn set_level(&self, level: &Level) {
        // It fails when there is no log any more, and then there is nothing to tell it to.
        let _ = self.level.reload(level.targets().clone());
    }

    /// Tells what was left out lately. To be called every few seconds.
    pub fn upkeep(&self) {
        self.floods.summarise();
    }
}

/// Makes the process log as the settings ask.
///
/// # Errors
/// When a subscriber is set already: harmless, it is the one that is used.
pub fn init(log: &Log) -> Result<Logging, AlreadySet> {
    let colours = stderr().is_terminal();
    let (subscriber, logging) = subscriber(log, stderr, colours);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| AlreadySet)?;
    Ok(logging)
}

/// Makes a panic report its place and nothing else: its message may quote content,
/// which does not belong into a log.
pub fn keep_panics_quiet() {
    panic::set_hook(Box::new(|panicked| {
        let place = panicked.location().map(ToString::to_string);
        tracing::error!(place, "a task panicked");
    }));
}

/// Builds what [`init`] installs, for any writer.
fn subscriber<W>(
    log: &Log,
    writer: W,
    colours: bool,
) -> (Box<dyn Subscriber + Send + Sync>, Logging)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match log.format {
        Format::Text => lines
            .with_ansi(colours)
            .fmt_fields(debug_fn(fields::write).delimited(" "))
            .boxed(),
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    };
    let (level, handle) = reload::Layer::new(log.level.targets().clone());
    let floods = Floods::default();
    let logging = Logging {
        level: handle,
        floods: floods.clone(),
    };
    // The level holds for everything: what it leaves out is not even made.
    let all = Registry::default().with(level).with(lines).with(floods);
    (Box::new(all), logging)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;
    use crate::config::Config;
    use crate::store::StoreError;

    /// A place to write that can be read afterwards.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(flags: &[(&str, &str)]) -> Log {
        Config::of(flags).log
    }

    /// Returns the lines logged with these settings.
    fn lines(flags: &[(&str, &str)]) -> Vec<String> {
        lines_of(flags, |_| {
            tracing::debug!(target: "chatferry::ws", "a frame");
            tracing::info!(user = "민수\nERROR", "message stored");
            tracing::error!(target: "chatferry::store", code = 5, "lost");
        })
    }

    /// Returns the lines that `events` logs with these settings.
    fn lines_of(flags: &[(&str, &str)], events: impl FnOnce(&Logging)) -> Vec<String> {
        let page = Page::default();
        let writer = page.clone();
        let (subscriber, logging) = subscriber(&log(flags), move || writer.clone(), false);
        tracing::subscriber::with_default(subscriber, || events(&logging));
        let written = page.0.lock().unwrap().clone();
        String::from_utf8(written)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn text_is_one_line_an_event_whatever_a_client_sent() {
        let lines = lines(&[]);
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].ends_with(r#"message stored user="민수\nERROR""#),
            "{lines:?}"
        );
        assert!(
            lines[1].ends_with("ERROR chatferry::store: lost code=5"),
            "{lines:?}"
        );
    }

    #[test]
    fn what_was_quoted_cannot_begin_a_line_in_any_format_and_at_any_level() {
        let forged = "x\r\n2026-11-29T00:00:00Z ERROR chatferry: \u{1b}[2Jforged\u{2028}end";
        let quote = |_: &Logging| {
            let _within = tracing::error_span!("request", quoted = %forged).entered();
            tracing::error!("{forged}");
            tracing::warn!(%forged, "a");
            tracing::info!(forged = ?Some(forged), "b");
            tracing::debug!("the token is not good: {forged}");
            tracing::trace!(error = %StoreError::Unavailable(forged.into()), "c");
        };
        for format in ["text", "json"] {
            let lines = lines_of(&[("log.format", format), ("log.level", "trace")], quote);
            assert_eq!(lines.len(), 5, "{lines:?}");
            let is_plain = |line: &String| !line.chars().any(char::is_control);
            assert!(lines.iter().all(is_plain), "{lines:?}");
        }
    }

    #[test]
    fn json_is_one_object_a_line() {
        let lines = lines(&[("log.format", "json")]);
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].starts_with('{') && lines[0].ends_with('}'),
            "{lines:?}"
        );
        assert!(
            lines[0].contains(r#""message":"message stored","user":"민수\nERROR""#),
            "{lines:?}"
        );
        assert!(lines[1].contains(r#""level":"ERROR""#), "{lines:?}");
    }

    #[test]
    fn the_level_and_its_exceptions_hold() {
        assert_eq!(lines(&[("log.level", "error")]).len(), 1);
        assert_eq!(lines(&[("log.level", "off")]).len(), 0);
        let exceptions = "error,chatferry::ws=debug,chatferry::store=off";
        assert!(lines(&[("log.level", exceptions)])[0].ends_with("chatferry::ws: a frame"));
    }

    #[test]
    fn the_level_changes_while_the_log_is_written() {
        let lines = lines_of(&[], |logging| {
            for level in ["info", "debug", "off", "warn,chatferry::ws=debug"] {
                logging.set_level(&log(&[("log.level", level)]).level);
                tracing::debug!(target: "chatferry::ws", "at {level}");
            }
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("at debug"), "{lines:?}");
        assert!(
            lines[1].ends_with("at warn,chatferry::ws=debug"),
            "{lines:?}"
        );
    }

    #[test]
    fn a_flood_is_summed_up_and_what_was_asked_for_is_not() {
        let lines = lines_of(&[("log.level", "debug")], |logging| {
            for number in 0..1000 {
                tracing::warn!(number, "no room");
                tracing::debug!("step");
            }
            tracing::warn!("another fault");
            logging.upkeep();
            tracing::warn!("again");
            logging.upkeep();
        });
        let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        assert_eq!((count("no room number="), count("step")), (20, 1000));
        assert_eq!((count("another fault"), count("again")), (1, 1));
        let summary = r#"lines were left out left_out=980 level=WARN from="chatferry::telemetry::tests" like="no room""#;
        assert_eq!(count(summary), 1, "{}", lines[lines.len() - 2]);
        assert_eq!(count("left out"), 1);
    }

    #[test]
    fn a_line_tells_its_request_and_the_trace_it_is_part_of() {
        let mut headers = hyper::HeaderMap::new();
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        headers.insert("traceparent", trace.parse().unwrap());
        headers.insert("x-request-id", "abc".parse().unwrap());
        let ask = |headers: &hyper::HeaderMap| {
            let _within = request::RequestId::new(17, 3).span(headers, None).entered();
            tracing::warn!("refused");
        };
        let text = lines_of(&[], |_| ask(&headers));
        let span =
            r#"request{id=17.3 request_id="abc" trace_id="4bf92f3577b34da6a3ce929d0e0e4736"}"#;
        assert!(text[0].contains(span), "{text:?}");
        let json = lines_of(&[("log.format", "json")], |_| ask(&headers));
        assert!(json[0].contains(r#""request_id":"abc""#), "{json:?}");
        headers.insert("x-request-id", "a\"b".parse().unwrap());
        headers.remove("traceparent");
        let forged = lines_of(&[("log.level", "error")], |_| {
            let _within = request::RequestId::new(1, 1).span(&headers, None).entered();
            tracing::error!("failed");
        });
        assert!(forged[0].contains("request{id=1.1}"), "{forged:?}");
    }

    /// Set in the process of a test that is to panic.
    const PANICS: &str = "CHATFERRY_TEST_PANICS";

    #[test]
    fn a_panic_tells_its_place_and_nothing_else() {
        if std::env::var_os(PANICS).is_some() {
            let _ = init(&log(&[]));
            keep_panics_quiet();
            panic!("a private word");
        }
        // A hook is the whole process's.
        let me = std::env::current_exe().unwrap();
        let child = std::process::Command::new(me)
            .args(["--exact", "--nocapture"])
            .arg("telemetry::tests::a_panic_tells_its_place_and_nothing_else")
            .env(PANICS, "1")
            .output();
        let child = child.unwrap();
        assert!(!child.status.success(), "it did panic");
        let told = [child.stdout, child.stderr].concat();
        let told = String::from_utf8(told).unwrap();
        let line = told.lines().find(|line| line.contains("a task panicked"));
        let line = line.unwrap_or_else(|| panic!("{told}"));
        assert!(line.contains("place=\"src/telemetry.rs:"), "{line}");
        assert!(!told.contains("private word"), "{told}");
    }

    #[test]
    fn a_second_start_in_one_process_is_told_and_does_no_harm() {
        let log = log(&[]);
        let _ = init(&log);
        assert!(init(&log).is_err());
    }
}
