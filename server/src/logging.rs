//! Logs: JSON lines or for people, to standard error. Never a token, a password or a message body (those are in no log statement).

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::config::{Config, LogFormat};

/// Starts logging. Once per process.
pub fn init(config: &Config) {
    let filter = EnvFilter::try_new(&config.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let done = match config.log_format {
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init(),
        LogFormat::Pretty => registry.with(fmt::layer().with_ansi(terminal).with_writer(std::io::stderr)).try_init(),
    };
    // Fails only if a test started logging before.
    drop(done);
}
