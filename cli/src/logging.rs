//! What the server logs, and how: on stderr, for people or as JSON lines.

mod queue;

use crate::stderr;
use clap::ValueEnum;
pub(crate) use queue::Flush;
use queue::Queue;
use std::io;
use tracing::{Dispatch, dispatcher, level_filters::LevelFilter, warn};
use tracing_subscriber::{
    Layer, filter::Targets, fmt, fmt::MakeWriter, layer::SubscriberExt, registry,
};

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

/// Starts to log. Once per process; what waits when the result is dropped is given a moment to be written.
pub(crate) fn start(format: LogFormat, level: LogLevel) -> io::Result<Flush> {
    let queue = Queue::default();
    let flush = queue.write_to(stderr::Patient, notices(format))?;
    let all = subscriber(format, level, queue);
    dispatcher::set_global_default(all).expect("it is set once");
    Ok(flush)
}

/// The line that says how many lines are lost, whatever is logged else. Its time is that of writing it.
fn notices(format: LogFormat) -> impl Fn(u64) -> Vec<u8> + Send + 'static {
    let line = Queue::default();
    let direct = subscriber(format, LogLevel::Warn, line.clone());
    move |lost| {
        dispatcher::with_default(&direct, || {
            warn!(
                lost,
                "lines of the log are lost: stderr is not read fast enough"
            );
        });
        line.drain()
    }
}

fn subscriber<W>(format: LogFormat, level: LogLevel, to: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(to);
    match format {
        LogFormat::Text => filtered(lines.with_ansi(false), level),
        LogFormat::Json => filtered(
            lines.json().flatten_event(true).with_current_span(false),
            level,
        ),
    }
}

fn filtered<L>(lines: L, level: LogLevel) -> Dispatch
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
    Dispatch::new(registry().with(lines.with_filter(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_told_whatever_is_logged_else() {
        for (format, expected) in [(LogFormat::Text, "lost=7"), (LogFormat::Json, "\"lost\":7")] {
            let line = Queue::default();
            let all = subscriber(format, LogLevel::Error, line.clone());
            let told = dispatcher::with_default(&all, || notices(format)(7));
            let told = String::from_utf8(told).unwrap();
            assert!(told.contains(expected) && told.ends_with('\n'), "{told}");
            assert!(line.drain().is_empty());
        }
    }
}
