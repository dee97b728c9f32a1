//! `lockwright lock`: a command that runs while a lock is held.
//!
//! `work` is what is asked for. `acquire` gets the lock, and `others` finds out who is in the way;
//! `keep` keeps it and tells when it is lost, `job` is the command and all that it starts,
//! `terminal` lends it the terminal, and `watch` is the loop over all of them; `hold` is that of a
//! lock without a command. `timing` says how long before the end of the lease the command has to
//! end.

mod acquire;
mod hold;
mod job;
mod keep;
mod others;
mod signals;
mod terminal;
mod timing;
mod watch;
mod work;

use crate::{
    cli::Target,
    exit::{Exit, Failure},
    label, output, units,
};
use acquire::Acquired;
use lockwright_client::{
    Claim, Client, ClientConfig, DurationMs, EndReason, Mode, Path, Token, Wait,
};
use lockwright_env::{Env, TokioEnv};
use nix::sys::signal::SigSet;
use std::{
    ffi::{OsStr, OsString},
    process::Command,
    time::Duration,
};
use timing::Timing;
use work::Work;

/// Run a command while holding a lock.
///
/// The lock is held as long as the command runs, is renewed by itself, and is released when the
/// command ends. Locks are exclusive unless --read is given; a name stands for itself and all that
/// is below it, as `a` for `a/b`; of several names all are locked, or none. Whoever asks first is
/// served first.
///
/// Without a command the lock is held until SIGINT, SIGTERM, SIGHUP or SIGQUIT comes; its token is
/// printed when it is held. Names that begin with `-` stand between two `--`.
///
/// When the lock is lost, or could be lost because the server cannot be reached, the command is
/// ended: all that it has started gets SIGTERM, and after the grace SIGKILL, and is dead before the
/// server could give the lock to somebody else.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,

    /// What to lock: segments joined by /
    #[arg(value_name = "NAME", value_parser = path)]
    names: Vec<Path>,

    /// Share the lock with others who only read
    #[arg(long)]
    read: bool,

    /// Do not wait: if the lock cannot be had at once, say who has it and exit with 124
    #[arg(long = "try")]
    at_once: bool,

    /// Wait no longer than this, then exit with 124
    #[arg(long, value_name = "D", value_parser = units::duration)]
    wait: Option<DurationMs>,

    /// Exit with this when the lock is not to be had, or not in time, instead of 124: 0 to 255
    #[arg(short = 'E', long, value_name = "CODE", default_value_t = Exit::NOT_ACQUIRED.0,
          hide_default_value = true, value_parser = units::number(0..=u8::MAX))]
    conflict_exit_code: u8,

    /// Give the lock a lease, renewed three times as often; without it, it lasts as the session
    #[arg(long, value_name = "D", value_parser = units::duration_above_zero)]
    ttl: Option<DurationMs>,

    /// How long the lock outlives the connection to the server
    #[arg(long, value_name = "D", default_value = "30s", value_parser = units::duration_above_zero)]
    abandon: DurationMs,

    /// How long the command has between SIGTERM and SIGKILL when the lock is about to be lost
    /// [default: a quarter of the lease, at most 5s]
    #[arg(long, value_name = "D", value_parser = units::duration)]
    grace: Option<DurationMs>,

    /// Give up when the server cannot be reached for so long at the start
    #[arg(long, value_name = "D", default_value = "10s", value_parser = units::duration_above_zero)]
    connect_timeout: DurationMs,

    /// What others are told of the lock and of who waits: up to 256 bytes [default: user, host,
    /// process and the command]; empty for nothing
    #[arg(long, value_name = "TEXT", value_parser = label::given)]
    label: Option<label::Given>,

    /// The command and its arguments; without it the lock is held until a signal comes
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  lockwright lock deploy/web -- ./deploy.sh
  lockwright lock --try backup -- sh -c 'tar czf backup-$LOCKWRIGHT_TOKEN.tgz data'
  lockwright lock --read --wait 30s config -- ./report
  lockwright lock --abandon 5s seat/7 seat/8 -- ./sell      # both seats, or none
  lockwright lock --try -E 0 cron/report -- ./report        # not now is no failure
  lockwright lock printer                                   # until Ctrl-C

The command finds in its environment
  LOCKWRIGHT_TOKEN             the fencing token: larger than that of all holders before
  LOCKWRIGHT_DEADLINE_UNIX_MS  until when the lock was sure when the command started; renewals
                               move it
  LOCKWRIGHT_KEYS              the names, one a line
  LOCKWRIGHT_SERVER, LOCKWRIGHT_NAMESPACE  where the lock is

It runs in a process group of its own, which gets the signals that lockwright gets, and the
terminal, if lockwright has it. It is killed when lockwright is.

Exit codes:
    that of the command; 128+n if signal n ended it, or ended lockwright while it waited
  123  the lock was lost, and the command ended for it
  124  the lock was not to be had (--try), or not in time (--wait); --conflict-exit-code changes it
  125  something else was wrong, not with the command
  126  the command cannot be run
  127  there is no such command
Without a command 0 when a signal has ended it.";

fn path(text: &str) -> Result<Path, String> {
    Path::parse(text).map_err(|error| error.to_string())
}

/// Runs the command.
pub(crate) fn execute(args: &Args) -> Result<Exit, Failure> {
    let failed = |what: String| Failure::new(Exit::LOCK_FAILED, what);
    let divided = std::env::args_os().any(|arg| arg == "--");
    let work = Work::new(&args.names, &args.command, divided).map_err(failed)?;
    let lease = args.ttl.unwrap_or(args.abandon).min(args.abandon);
    let timing = Timing::new(lease, args.grace).map_err(failed)?;
    let mask = signals::unblock().map_err(|error| failed(format!("cannot start: {error}")))?;
    // One thread: a command dies with the thread that started it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(format!("cannot start: {error}")))?;
    match runtime.block_on(run(args, &work, &timing, mask)) {
        Err(Failure::Told { exit, message }) if exit == Exit::NOT_ACQUIRED => {
            output::tell(&format!("error: {message}"));
            Ok(Exit(args.conflict_exit_code))
        }
        other => other,
    }
}

async fn run(args: &Args, work: &Work, timing: &Timing, mask: SigSet) -> Result<Exit, Failure> {
    let failed = |what: String| Failure::new(Exit::LOCK_FAILED, what);
    let mut signals = signals::Signals::catch().map_err(|error| failed(error.to_string()))?;
    let client =
        Client::connect(TokioEnv, config(args, work)).map_err(|error| failed(error.to_string()))?;
    let mode = if args.read { Mode::Read } else { Mode::Write };
    let claim = |path: &Path| Claim {
        path: path.clone(),
        mode,
    };
    let wanted = acquire::Wanted {
        target: args.target.clone(),
        claims: work.names.iter().map(claim).collect(),
        ttl: args.ttl,
        wait: match args.wait {
            _ if args.at_once => Wait::No,
            Some(wait) => Wait::For(wait),
            None => Wait::Forever,
        },
        connect_timeout: units::std(args.connect_timeout),
        call_timeout: timing.call_timeout,
    };
    let acquired = tokio::select! {
        biased;
        signal = signals.next() => {
            acquire::leave(&client, timing.call_timeout).await;
            return Ok(Exit::by_signal(signal));
        }
        acquired = acquire::acquire(&client, &wanted) => acquired?,
    };
    let exit = hold(args, work, timing, mask, signals, acquired).await;
    if let Err(error) = client.close().await {
        output::tell(&format!("lockwright: the lock was not released: {error}"));
    }
    exit
}

/// Runs the command while the lock is held.
async fn hold(
    args: &Args,
    work: &Work,
    timing: &Timing,
    mask: SigSet,
    signals: signals::Signals,
    acquired: Acquired,
) -> Result<Exit, Failure> {
    let Acquired { lock, token } = acquired;
    let deadline = lock
        .deadline()
        .filter(|deadline| *deadline > TokioEnv.monotonic());
    let Some(deadline) = deadline else {
        return Err(Failure::new(
            Exit::LOST,
            "the lock was lost before the command could start",
        ));
    };
    let keeper = keep::keep(lock, args.ttl);
    if work.command.is_empty() {
        let said = say_held(work, token);
        said.map_err(|failure| failure.but_done("the lock is released again"))?;
        return Ok(hold::until_told(keeper, signals, timing).await);
    }
    let command = command(args, work, token, deadline);
    match job::Job::start(command, mask) {
        Ok(job) => Ok(watch::watch(job, keeper, signals, timing).await),
        Err(error) => {
            let exit = match error.kind() {
                std::io::ErrorKind::NotFound => Exit::NO_SUCH_COMMAND,
                _ => Exit::CANNOT_RUN,
            };
            let name = work
                .command
                .first()
                .map_or_else(Default::default, |name| name.display().to_string());
            // What flock -c and others take as one argument.
            let hint = match exit == Exit::NO_SUCH_COMMAND && name.contains(char::is_whitespace) {
                true => "; a line for the shell stands behind `-- sh -c`, as one argument",
                false => "",
            };
            Err(Failure::new(
                exit,
                format!("cannot run `{name}`: {error}{hint}"),
            ))
        }
    }
}

/// How the server ended a request, for people.
fn ended(reason: EndReason) -> String {
    match reason {
        EndReason::Broken => format!("{reason}, by an operator"),
        EndReason::SessionEnded => format!("{reason}: an operator ended the session"),
        reason => reason.to_string(),
    }
}

/// For a program that waits for the lock to be held.
fn say_held(work: &Work, token: Token) -> Result<(), Failure> {
    let names = names(work).join(", ");
    output::tell(&format!(
        "lockwright: holding {names} with the token {} until SIGINT or SIGTERM comes",
        token.0
    ));
    output::write_line(&token.0.to_string()).map_err(|error| Failure::not_written(&error, ""))
}

fn names(work: &Work) -> Vec<String> {
    work.names.iter().map(ToString::to_string).collect()
}

fn config(args: &Args, work: &Work) -> ClientConfig {
    let abandon = units::std(args.abandon);
    let mut config = ClientConfig::with_addresses(&args.target.servers);
    config.namespace = args.target.namespace.clone();
    config.abandon = args.abandon;
    let bare = OsStr::new("lockwright lock");
    let program = work.command.first().map_or(bare, OsString::as_os_str);
    config.label = label::label(args.label.as_ref(), Some(program));
    // Often enough that one that gets lost does no harm.
    config.keep_alive = config
        .keep_alive
        .min(abandon / 5)
        .max(Duration::from_nanos(1));
    config.call_timeout = timing::call_timeout(args.abandon);
    config.reconnect_max = Duration::from_secs(1);
    config
}

fn command(args: &Args, work: &Work, token: Token, deadline: Duration) -> Command {
    let (name, rest) = work.command.split_first().expect("there is a command");
    let mut command = Command::new(name);
    let left = deadline.saturating_sub(TokioEnv.monotonic());
    let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    command
        .args(rest)
        .env("LOCKWRIGHT_TOKEN", token.0.to_string())
        .env(
            "LOCKWRIGHT_DEADLINE_UNIX_MS",
            TokioEnv.wall_unix_ms().saturating_add(left_ms).to_string(),
        )
        .env("LOCKWRIGHT_KEYS", names(work).join("\n"))
        .env("LOCKWRIGHT_SERVER", args.target.servers())
        .env("LOCKWRIGHT_NAMESPACE", args.target.namespace.as_str());
    command
}
