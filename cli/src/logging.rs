//! What the server logs, and how: on stderr, for people or as JSON lines.

use clap::ValueEnum;
use std::io::stderr;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, registry};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people
    Text,
    /// An object a line, for programs
    Json,
}

/// Which events are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Nothing
    Off,
    /// What ends the server
    Error,
    /// What somebody should look at
    Warn,
    /// What happens to the server as a whole
    Info,
    /// What happens to each connection and session
    Debug,
    /// Everything
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> LevelFilter {
        match level {
            LogLevel::Off => LevelFilter::OFF,
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        }
    }
}

/// Starts to log. Once per process.
pub(crate) fn start(format: LogFormat, level: LogLevel) {
    let lines = fmt::layer().with_writer(stderr);
    match format {
        LogFormat::Text => begin(lines.with_ansi(false), level),
        LogFormat::Json => begin(
            lines.json().flatten_event(true).with_current_span(false),
            level,
        ),
    }
}

fn begin<L>(lines: L, level: LogLevel)
where
    L: Layer<registry::Registry> + Send + Sync + 'static,
{
    let level = LevelFilter::from(level);
    // What the libraries under it say of their own accord is for those who look for bugs in them.
    let libraries = if level == LevelFilter::TRACE {
        level
    } else {
        level.min(LevelFilter::ERROR)
    };
    let wanted = Targets::new()
        .with_default(libraries)
        .with_target("lockwright", level);
    let subscriber = registry().with(lines.with_filter(wanted));
    install(subscriber);
}

fn install(subscriber: impl Subscriber + Send + Sync + 'static) {
    tracing::subscriber::set_global_default(subscriber).expect("it is set once");
}
