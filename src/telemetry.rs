//! The log: events as text or JSON lines on standard error, as `log.format` and `log.level` ask.
//!
//! What is logged is for the code that logs it. The subscriber is `tracing`'s own global, the only
//! one there is: whoever embeds the server may have set another, which then stays.

use std::io::{IsTerminal, stderr};
use std::panic;

use tracing::Subscriber;
use tracing_subscriber::Layer as _;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use crate::config::{Format, Log};

/// The process logs somewhere already, and goes on doing so.
#[derive(Debug, thiserror::Error)]
#[error("the log was set up before; it stays as it is")]
pub struct AlreadySet;

/// Makes the process log as the settings ask.
///
/// # Errors
/// When a subscriber is set already: harmless, it is the one that is used.
pub fn init(log: &Log) -> Result<(), AlreadySet> {
    let colours = stderr().is_terminal();
    tracing::subscriber::set_global_default(subscriber(log, stderr, colours))
        .map_err(|_| AlreadySet)
}

/// Makes a panic tell its place and nothing else: the message may quote what was being worked on,
/// and that is nobody's business.
pub fn keep_panics_quiet() {
    panic::set_hook(Box::new(|panicked| {
        let place = panicked.location().map(ToString::to_string);
        tracing::error!(place, "a task panicked");
    }));
}

/// What [`init`] sets, writing anywhere.
fn subscriber<W>(log: &Log, writer: W, colours: bool) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match log.format {
        Format::Text => lines.with_ansi(colours).boxed(),
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    };
    Box::new(Registry::default().with(lines.with_filter(log.level.targets().clone())))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;
    use crate::config::Config;

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

    /// The lines logged with these settings.
    fn lines(flags: &[(&str, &str)]) -> Vec<String> {
        let flags: Vec<_> = flags
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let log = Config::load(None, std::iter::empty(), &flags)
            .unwrap()
            .config
            .log;
        let page = Page::default();
        let writer = page.clone();
        let subscriber = subscriber(&log, move || writer.clone(), false);
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(target: "chatferry::ws", "a frame");
            tracing::info!(user = "민수\nERROR", "message stored");
            tracing::error!(target: "chatferry::store", code = 5, "lost");
        });
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
    fn a_second_start_in_one_process_is_told_and_does_no_harm() {
        let log = Config::load(None, std::iter::empty(), &[])
            .unwrap()
            .config
            .log;
        let _ = init(&log);
        assert!(init(&log).is_err());
    }
}
