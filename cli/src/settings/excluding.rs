//! Options that exclude each other: the one from the stronger source counts, and the other is as if
//! it had not been given.

use super::{Defaults, name_of};
use crate::exit::Failure;
use clap::{ArgMatches, parser::ValueSource};

/// What holds when both come from the same source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tie {
    /// It is refused.
    Refused,
    /// On the command line it is refused. Elsewhere the command decides: one of them is a setting
    /// for several commands, and the other is not.
    RefusedIfTyped,
    /// The command refuses it with words of its own.
    Told,
}

/// Two options of a command, by their ids.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) command: &'static str,
    pub(super) options: [&'static str; 2],
    pub(super) tie: Tie,
}

const fn pair(command: &'static str, options: [&'static str; 2], tie: Tie) -> Pair {
    Pair {
        command,
        options,
        tie,
    }
}

/// All of them.
pub(super) const PAIRS: [Pair; 12] = [
    pair("lock", ["at_once", "wait"], Tie::Refused),
    pair("serve", ["data", "memory"], Tie::Refused),
    pair("serve", ["id", "memory"], Tie::Told),
    pair("serve", ["peers", "memory"], Tie::Told),
    pair("serve", ["peer_listen", "memory"], Tie::Told),
    pair("serve", ["cluster_name", "memory"], Tie::Told),
    pair("serve", ["heartbeat", "memory"], Tie::Told),
    pair("serve", ["election_timeout", "memory"], Tie::Told),
    pair("serve", ["node_timeout", "memory"], Tie::Told),
    pair("bench", ["spawn_data", "spawn_memory"], Tie::Refused),
    pair("bench", ["server", "spawn_data"], Tie::RefusedIfTyped),
    pair("bench", ["server", "spawn_memory"], Tie::RefusedIfTyped),
];

/// Where a value comes from; the stronger is the larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    File,
    Environment,
    CommandLine,
}

/// The command and the option that a stronger one excludes, of all those the one whose rival is the
/// strongest; none when nothing is excluded any more.
pub(super) fn loser(
    matches: &ArgMatches,
    defaults: &Defaults,
) -> Result<Option<(&'static str, &'static str)>, Failure> {
    let Some((command, settings)) = matches.subcommand() else {
        return Ok(None);
    };
    let pairs = PAIRS.iter().filter(|pair| pair.command == command);
    let both = pairs.filter_map(|pair| {
        let [first, second] = pair.options;
        let first = source(command, settings, defaults, first)?;
        let second = source(command, settings, defaults, second)?;
        Some((pair, first, second))
    });
    let both: Vec<_> = both.collect();
    let unequal = both.iter().filter(|(_, first, second)| first != second);
    let strongest = unequal.max_by_key(|(_, first, second)| first.max(second));
    if let Some((pair, first, second)) = strongest {
        let [one, other] = pair.options;
        return Ok(Some((
            pair.command,
            if first < second { one } else { other },
        )));
    }
    let refused = both.iter().find(|(pair, source, _)| match pair.tie {
        Tie::Refused => true,
        Tie::RefusedIfTyped => *source == Source::CommandLine,
        Tie::Told => false,
    });
    match refused {
        Some((pair, ..)) => {
            let [first, second] = pair.options.map(|option| name_of(command, option));
            let message = format!("both --{first} and --{second} are given: keep one of them");
            Err(Failure::usage(message))
        }
        None => Ok(None),
    }
}

/// Where an option comes from, if it is given; a flag that is off is not.
fn source(
    command: &str,
    settings: &ArgMatches,
    defaults: &Defaults,
    option: &str,
) -> Option<Source> {
    if matches!(settings.try_get_one::<bool>(option), Ok(Some(false))) {
        return None;
    }
    match settings.value_source(option)? {
        ValueSource::CommandLine => Some(Source::CommandLine),
        ValueSource::EnvVariable => Some(Source::Environment),
        // What the file says stands in place of the default.
        _ => {
            let key = (command.to_owned(), option.to_owned());
            defaults.contains_key(&key).then_some(Source::File)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_of_a_pair_can_be_given() {
        let command = crate::settings::command();
        for pair in PAIRS {
            let sub = command.find_subcommand(pair.command).unwrap();
            for option in pair.options {
                let arg = sub.get_arguments().find(|arg| arg.get_id() == option);
                let long = arg.and_then(clap::Arg::get_long);
                assert_eq!(
                    long,
                    Some(name_of(pair.command, option).as_str()),
                    "{option}"
                );
            }
        }
    }
}
