//! The answers of `src/fastapi`, on an application that is the same in Rust and in Python: against
//! answers that FastAPI once gave, and against FastAPI itself.

mod app;
mod cases;
mod live;

use std::sync::Arc;

use chatferry::{config::Generation, dialect::Dialects};

use self::app::Application;
use crate::support::{Directory, Server, server::config};

/// The generations, by the names of their files.
const GENERATIONS: [Generation; 3] = [Generation::V0_115, Generation::V0_127, Generation::V0_165];

/// Starts the application as one generation serves it.
async fn server(generation: Generation) -> Server {
    let directory = Arc::new(Directory::new());
    let config = config(&directory, &[("native.enabled", "no")]);
    let dialects = Dialects::of(&config).and(|_| Box::new(Application::new(generation)));
    Server::mount(dialects, directory, config).await
}
