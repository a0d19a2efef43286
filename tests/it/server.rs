//! The process and its connections: start and end, limits, TLS, probes, and peers that mean harm.

mod drain;
mod full;
mod hostile;
mod life;
mod nginx;
mod probes;
mod tls;
#[cfg(debug_assertions)]
mod vital;
