//! `bug-finder script`: the engine, driven by hand.

use crate::error::{Exit, Failure};
use lockwright_sim::script::{LimitSetting, ScriptError, ScriptOptions, run_script};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

/// Drive the engine by hand: JSON lines in, JSON lines out.
///
/// One object a line says what happens and when, in milliseconds; the engine's answers and events
/// come out, an object a line, in the order in which things happen. Lines that start with # are
/// skipped. The reference model goes along, and must say the same. docs/scripts.md has the
/// language.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The script; - reads stdin
    file: PathBuf,

    /// Set a limit of the engine; may be given more than once
    #[arg(long = "limit", value_name = "NAME=NUMBER")]
    limits: Vec<LimitSetting>,

    /// Leave the reference model out
    #[arg(long)]
    no_check: bool,

    /// Say nothing on stderr about why a command was refused
    #[arg(short, long)]
    quiet: bool,
}

const EXAMPLES: &str = r#"Exit codes: 1 when engine and model differ, 2 when a line cannot be read or its time goes back.

Example:
  bug-finder script - <<'END'
  {"at":0,"op":"acquire","id":"L1","owner":"alice","claims":["w a/b"],"ttl":1000}
  {"at":5,"op":"acquire","id":"L2","owner":"bob","claims":["r a"],"wait":"forever"}
  {"at":1000,"op":"tick"}
  {"at":1001,"op":"inspect","path":"/"}
  END
prints that L1 was granted and L2 queued, and at 1000 that L1 expired and L2 was granted.

Ops: acquire, release, renew, cancel, break, open_session, attach, detach, keep_alive,
close_session, tick, inspect."#;

/// Runs the command.
///
/// # Errors
/// When the script cannot be read, or the output is closed.
pub fn execute(args: &Args) -> Result<Exit, Failure> {
    // Nothing is lost by an end at once, and a read of a terminal would not notice an interrupt.
    crate::os::default_interrupts();
    let name = args.file.display();
    let input: Box<dyn BufRead> = if args.file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        let file =
            File::open(&args.file).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
        Box::new(BufReader::new(file))
    };
    let options = ScriptOptions {
        limits: args.limits.clone(),
        check: !args.no_check,
    };
    let notes: Box<dyn io::Write> = if args.quiet {
        Box::new(io::sink())
    } else {
        Box::new(io::stderr())
    };
    match run_script(input, io::stdout().lock(), notes, &options) {
        Ok(()) => Ok(Exit::Clean),
        Err(error @ ScriptError::Violation { .. }) => {
            eprintln!("{name}: {error}");
            Ok(Exit::Violation)
        }
        Err(ScriptError::Write(error)) => Err(error.into()),
        Err(error @ (ScriptError::Unreadable { .. } | ScriptError::Read(_))) => {
            Err(Failure::Usage(format!("{name}: {error}")))
        }
    }
}
