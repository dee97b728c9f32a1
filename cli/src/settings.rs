//! What the command line, the environment and a file say together.
//!
//! Each option has an environment variable, and a key in a TOML file; both follow from its name,
//! so none can be forgotten. What the file says takes the place of an option's default, so that
//! whoever reads a setting need not know where it comes from.

mod cluster;
mod excluding;

use crate::{
    cli::Cli,
    exit::{Exit, Failure},
    output,
};
use clap::{
    Arg, ArgAction, CommandFactory, FromArgMatches,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
};
use std::{
    collections::BTreeMap,
    error::Error,
    ffi::OsString,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};
use toml::de::{DeTable, DeValue};

/// Options that several commands share: their variables do not bear the name of a command, and
/// they may stand above the tables of the file.
const SHARED: [&str; 6] = [
    "server",
    "namespace",
    "holder",
    "label",
    "json",
    "admin-token-file",
];

/// The option that names the file; it cannot stand in it.
const CONFIG: &str = "config";
const CONFIG_VARIABLE: &str = "LOCKWRIGHT_CONFIG";

/// The command line, with the environment variable of each option.
pub(crate) fn command() -> clap::Command {
    let mut command = Cli::command();
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    for name in names {
        command = command.mut_subcommand(&name, |sub| {
            sub.mut_args(|arg| match arg.get_long() {
                Some(long) => {
                    let variable = variable(&name, long);
                    // `-5s` is no duration, which is to be told; it is no option.
                    let is_number =
                        matches!(arg.get_value_names(), Some([name]) if name == "D" || name == "N");
                    let arg = if is_number {
                        arg.allow_hyphen_values(true)
                    } else {
                        arg
                    };
                    arg.env(variable).hide_env_values(true)
                }
                None => arg,
            })
        });
    }
    command.mut_arg(CONFIG, |arg| arg.env(CONFIG_VARIABLE).hide_env_values(true))
}

/// The environment variable of an option: that of `serve`, which there is one of on a machine,
/// does without the command's name.
fn variable(command: &str, long: &str) -> String {
    let name = if SHARED.contains(&long) || command == "serve" {
        long.to_owned()
    } else {
        format!("{command}_{long}")
    };
    format!("LOCKWRIGHT_{}", name.replace('-', "_").to_uppercase())
}

/// Reads everything. Help and mistakes are printed here.
pub(crate) fn read(args: &[OsString]) -> Result<Cli, Failure> {
    let mut defaults = match config_path(args) {
        Some(path) => from_file(&command(), &path)?,
        None => Defaults::new(),
    };
    let mut silenced = Vec::new();
    let parsed = loop {
        let parsed = settled(&defaults, &silenced).try_get_matches_from(args);
        let Ok(matches) = &parsed else {
            break parsed;
        };
        // As if what a stronger setting excludes had not been said anywhere.
        match excluding::loser(matches, &defaults)? {
            Some((sub, option)) => {
                defaults.remove(&(sub.to_owned(), option.to_owned()));
                silenced.push((sub, option));
            }
            None => break parsed,
        }
    };
    let read = parsed.and_then(|matches| Cli::from_arg_matches(&matches));
    read.map_err(|mut error| {
        advise(&mut error, args);
        if let Err(failure) = print(&error) {
            return failure;
        }
        Failure::Silent(match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::DONE,
            _ => Exit::USAGE,
        })
    })
}

/// Prints help to stdout, and mistakes to stderr.
fn print(error: &clap::Error) -> Result<(), Failure> {
    if error.use_stderr() {
        // It fails when stderr is closed, and then it has no reader.
        let _ = error.print();
        return Ok(());
    }
    let printed = if io::stdout().is_terminal() {
        error.print()
    } else {
        output::write(error.render().to_string().as_bytes())
    };
    printed.map_err(|error| Failure::output(&error))
}

/// Whether a command line, also one that cannot be read, is one of `lock`.
pub(crate) fn is_lock(args: &[OsString]) -> bool {
    // Asked for help, it would tell of nothing else.
    let help = |arg: &&OsString| *arg == "--help" || *arg == "-h";
    let ours = args.iter().take_while(|arg| *arg != "--");
    let ours = ours.filter(|arg| !help(arg));
    let matches = command().ignore_errors(true).try_get_matches_from(ours);
    matches.is_ok_and(|matches| matches.subcommand_name() == Some("lock"))
}

/// The file of settings. It is needed before the command line can be read.
fn config_path(args: &[OsString]) -> Option<PathBuf> {
    let ours = args.iter().take_while(|arg| *arg != "--");
    let given = ours.clone().zip(ours.skip(1)).find_map(|(arg, next)| {
        let equals = next
            .to_str()
            .and_then(|text| text.strip_prefix("--config="));
        match equals {
            Some(path) => Some(OsString::from(path)),
            None if arg == "--config" => Some(next.clone()),
            None => None,
        }
    });
    let variable = || std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty());
    given.or_else(variable).map(PathBuf::from)
}

/// The command line, with what a file says in place of defaults, and without the variables of what
/// is silenced.
fn settled(defaults: &Defaults, silenced: &[(&str, &str)]) -> clap::Command {
    silenced.iter().fold(
        with_defaults(command(), defaults),
        |command, (sub, option)| {
            command.mut_subcommand(sub, |sub| {
                sub.mut_arg(option, |arg| arg.env(Resettable::Reset))
            })
        },
    )
}

/// An option as it is typed, without the hyphens before it.
fn name_of(sub: &str, option: &str) -> String {
    let command = command();
    let sub = command.find_subcommand(sub);
    let arg = sub.and_then(|sub| sub.get_arguments().find(|arg| arg.get_id() == option));
    let name = arg.and_then(Arg::get_long).unwrap_or(option);
    name.to_owned()
}

/// Has the advice be right where the names stand in front of `--`.
fn advise(error: &mut clap::Error, args: &[OsString]) {
    if error.kind() == ErrorKind::UnknownArgument && is_lock(args) {
        let advice =
            "names that begin with `-` stand between two `--`: lockwright lock -- -NAME -- CMD";
        let advice = ContextValue::StyledStrs(vec![advice.into()]);
        error.insert(ContextKind::Suggested, advice);
    }
}

/// What a file says in place of defaults.
fn from_file(command: &clap::Command, path: &Path) -> Result<Defaults, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read the settings `{shown}`: {error}")))?;
    let (file, mistakes) = DeTable::parse_recoverable(&text);
    let complaint = mistakes.first().map(|error| {
        (
            error.span().map_or(0, |span| span.start),
            error.message().to_owned(),
        )
    });
    let defaults = match complaint {
        Some(complaint) => Err(complaint),
        None => read_table(command, file.get_ref()),
    };
    defaults.map_err(|(at, what)| {
        let line = text[..at.min(text.len())].matches('\n').count() + 1;
        Failure::usage(format!("{shown}:{line}: {what}"))
    })
}

/// The values of a command's options.
type Defaults = BTreeMap<(String, String), Vec<String>>;
/// A place in the file, in bytes, and what is wrong there.
type Complaint = (usize, String);

fn read_table(command: &clap::Command, file: &DeTable<'_>) -> Result<Defaults, Complaint> {
    let (mut above, mut inside) = (Defaults::new(), Defaults::new());
    let mut of_cluster = (0, Defaults::new());
    for (key, value) in file {
        let (at, key) = (key.span().start, key.get_ref().as_ref());
        if let DeValue::Table(table) = value.get_ref() {
            if key == cluster::TABLE {
                of_cluster = (at, cluster::read(command, table)?);
                continue;
            }
            let sub = command.get_subcommands().find(|sub| sub.get_name() == key);
            let sub = sub.ok_or_else(|| (at, unknown(key, &names_of_tables(command))))?;
            for (option, value) in table {
                let (at, option) = (option.span().start, option.get_ref().as_ref());
                let arg = option_of(sub, option)
                    .ok_or_else(|| (at, unknown(option, &names_of_options(sub))))?;
                let values = values(arg, value.get_ref()).map_err(|what| (at, what))?;
                inside.insert((key.to_owned(), arg.get_id().to_string()), values);
            }
        } else {
            let is_shared = SHARED.iter().any(|long| long.replace('-', "_") == key);
            let having = command
                .get_subcommands()
                .filter(|_| is_shared)
                .filter_map(|sub| Some((sub, option_of(sub, key)?)));
            let mut known = false;
            for (sub, arg) in having {
                known = true;
                let values = values(arg, value.get_ref()).map_err(|what| (at, what))?;
                above.insert(
                    (sub.get_name().to_owned(), arg.get_id().to_string()),
                    values,
                );
            }
            if !known {
                let mut names = SHARED.map(|name| name.replace('-', "_")).to_vec();
                names.extend(names_of_tables(command));
                return Err((at, unknown(key, &names)));
            }
        }
    }
    let (at, of_cluster) = of_cluster;
    if let Some(what) = cluster::said_twice(command, &of_cluster, &inside) {
        return Err((at, what));
    }
    above.extend(inside);
    above.extend(of_cluster);
    Ok(above)
}

fn unknown(key: &str, known: &[impl AsRef<str>]) -> String {
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    format!("unknown key `{key}`; known here: {}", known.join(", "))
}

fn names_of_tables(command: &clap::Command) -> Vec<String> {
    command
        .get_subcommands()
        .filter(|sub| !names_of_options(sub).is_empty() || sub.get_name() == cluster::TABLE)
        .map(|sub| format!("[{}]", sub.get_name()))
        .collect()
}

fn names_of_options(command: &clap::Command) -> Vec<String> {
    options(command).map(key_of).collect()
}

/// What can be set in a file: options of the command itself.
fn options(command: &clap::Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|arg| key_of(arg) != CONFIG && !key_of(arg).is_empty())
        .filter(|arg| !arg.is_hide_set())
        .filter(|arg| {
            !matches!(
                arg.get_action(),
                ArgAction::Help | ArgAction::HelpLong | ArgAction::HelpShort | ArgAction::Version
            )
        })
}

fn option_of<'a>(command: &'a clap::Command, key: &str) -> Option<&'a Arg> {
    options(command).find(|arg| key_of(arg) == key)
}

/// An option's key in the file: its name, with the hyphens that TOML writes as underscores.
fn key_of(arg: &Arg) -> String {
    arg.get_long().unwrap_or("").replace('-', "_")
}

/// A value of the file as the command line would have it, if the option takes it.
fn values(arg: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let flag = matches!(arg.get_action(), ArgAction::SetTrue);
    let list = matches!(arg.get_action(), ArgAction::Append) || arg.get_value_delimiter().is_some();
    let values = match (value, flag) {
        (DeValue::Boolean(on), true) => vec![on.to_string()],
        (DeValue::String(_) | DeValue::Integer(_), false) => vec![scalar(value)?],
        // It would count as if it had been given, and say nothing.
        (DeValue::Array(all), false) if list && all.is_empty() => {
            let key = key_of(arg);
            return Err(format!(
                "`{key}` is an empty list: leave it out, or name one"
            ));
        }
        (DeValue::Array(all), false) if list => {
            let all = all.iter().map(|value| scalar(value.get_ref()));
            all.collect::<Result<_, _>>()?
        }
        _ => {
            let expected = match (flag, list) {
                (true, _) => "true or false",
                (false, true) => "a list, a string or a number",
                (false, false) => "a string or a number",
            };
            let key = key_of(arg);
            return Err(format!(
                "`{key}` is {}, expected {expected}",
                value.type_str()
            ));
        }
    };
    // As if the option were the only one: what is wrong with it is told with its line.
    let alone = clap::Command::new("settings").no_binary_name(true).arg(
        arg.clone()
            .required(false)
            .env(Resettable::Reset)
            .default_values(values.clone()),
    );
    match alone.try_get_matches_from(std::iter::empty::<OsString>()) {
        Ok(_) => Ok(values),
        Err(error) => {
            let why = error.source().map_or_else(
                || {
                    error
                        .to_string()
                        .lines()
                        .next()
                        .unwrap_or_default()
                        .to_owned()
                },
                ToString::to_string,
            );
            Err(format!(
                "`{}`: {}",
                key_of(arg),
                why.trim_start_matches("error: ")
            ))
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        other => Err(format!(
            "expected a string or a decimal number, got {}",
            other.type_str()
        )),
    }
}

fn with_defaults(mut command: clap::Command, defaults: &Defaults) -> clap::Command {
    for ((sub, option), values) in defaults {
        command = command.mut_subcommand(sub, |sub| {
            sub.mut_arg(option, |arg| arg.required(false).default_values(values))
        });
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    fn complaint(text: &str) -> (usize, String) {
        let (file, mistakes) = DeTable::parse_recoverable(text);
        assert_eq!(mistakes.len(), 0, "{text}");
        read_table(&command(), file.get_ref()).expect_err(text)
    }

    #[test]
    fn every_option_has_a_variable_of_its_own() {
        let mut seen = BTreeMap::new();
        for sub in command().get_subcommands() {
            for arg in options(sub) {
                let variable = arg.get_env().expect("each option has a variable");
                let long = arg.get_long().unwrap().to_owned();
                let before = seen.insert(variable.to_owned(), long.clone());
                assert!(
                    before.is_none_or(|before| before == long),
                    "{variable:?} means two things"
                );
            }
        }
        assert!(seen.contains_key(OsStr::new("LOCKWRIGHT_LISTEN")));
        assert!(seen.contains_key(OsStr::new("LOCKWRIGHT_LOCK_WAIT")));
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_told_with_their_place() {
        let (at, what) = complaint("server = 'a:1'\n[serve]\nlisten_on = 'a:1'\n");
        assert!(
            at > 20 && what.contains("`listen_on`") && what.contains("listen"),
            "{at} {what}"
        );
        assert!(complaint("listen = 'a:1'").1.contains("known here: server"));
        assert!(complaint("[sreve]").1.contains("[serve]"));
        assert!(
            complaint("[serve]\nmemory = 'yes'")
                .1
                .contains("true or false")
        );
        assert!(
            complaint("[serve]\nidle_timeout = '5 min'")
                .1
                .contains("no duration")
        );
        assert!(
            complaint("[serve]\nsessions = 1.5")
                .1
                .contains("expected a string or a number")
        );
        assert!(complaint("[serve]\nlog_level = 'loud'").1.contains("loud"));
    }

    #[test]
    fn the_table_of_a_cluster_is_read_and_its_mistakes_are_told() {
        let text = "[cluster]\nid = 2\nlisten = 'b:1'\nname = 'ours'\nheartbeat = '50ms'\n\
                    [[cluster.members]]\nid = 1\naddress = 'a:1'\nclient_address = 'a:2'\n\
                    [[cluster.members]]\nid = 2\naddress = 'b:1'\nclient_address = 'b:2'\n";
        let (file, _) = DeTable::parse_recoverable(text);
        let defaults = read_table(&command(), file.get_ref()).unwrap();
        let said = |option: &str| defaults[&("serve".to_owned(), option.to_owned())].clone();
        assert_eq!(said("id"), ["2"]);
        assert_eq!(said("peer_listen"), ["b:1"]);
        assert_eq!(said("peers"), ["1=a:1/a:2", "2=b:1/b:2"]);
        let matches = with_defaults(command(), &defaults)
            .try_get_matches_from(["lockwright", "serve", "--memory", "--id", "1"])
            .unwrap();
        let (_, serve) = matches.subcommand().unwrap();
        assert_eq!(serve.get_one::<u64>("id"), Some(&1));
        assert_eq!(serve.get_one::<String>("cluster_name").unwrap(), "ours");
        for (text, expected) in [
            ("[cluster]\npeers = 'x'", "[[cluster.members]]"),
            ("[cluster]\nid = 0", "`id`"),
            ("[cluster]\nmembers = 1", "list of tables"),
            (
                "[[cluster.members]]\nid = 1\naddress = 'a:1'",
                "`client_address`",
            ),
            ("[[cluster.members]]\nid = 1\naddres = 'a:1'", "`addres`"),
            (
                "[[cluster.members]]\nid = 1\naddress = 'a'\nclient_address = 'a:1'",
                "is no node",
            ),
            ("[serve]\nid = 1\n[cluster]\nid = 1", "the same setting"),
        ] {
            let (_, what) = complaint(text);
            assert!(what.contains(expected), "{text}: {what}");
        }
    }

    #[test]
    fn the_file_counts_less_than_the_command_line() {
        let text = "server = 'a:1'\n[lock]\nserver = 'b:2'\n";
        let (file, _) = DeTable::parse_recoverable(text);
        let defaults = read_table(&command(), file.get_ref()).unwrap();
        let server = |args: &[&str]| {
            let matches = with_defaults(command(), &defaults)
                .try_get_matches_from(args)
                .unwrap();
            let (_, settings) = matches.subcommand().unwrap();
            settings.get_one::<String>("server").unwrap().clone()
        };
        assert_eq!(server(&["lockwright", "lock", "x", "--", "true"]), "b:2");
        assert_eq!(
            server(&["lockwright", "lock", "--server", "c:3", "x", "--", "true"]),
            "c:3"
        );
    }
}
