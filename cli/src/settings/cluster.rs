//! The table `[cluster]` of the file: what options of `serve` say, in the words of a cluster, since
//! a list of nodes reads badly in one line.

use super::{Complaint, Defaults, key_of, option_of, unknown, values};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The table.
pub(super) const TABLE: &str = "cluster";

/// The command whose options it sets.
const COMMAND: &str = "serve";

/// The list of nodes; its key, and the option that it stands for.
const MEMBERS: &str = "members";
const PEERS: &str = "peers";

/// The other keys, and the options that they stand for.
const KEYS: [(&str, &str); 7] = [
    ("id", "id"),
    ("listen", "peer_listen"),
    ("name", "cluster_name"),
    ("secret_file", "cluster_secret_file"),
    ("heartbeat", "heartbeat"),
    ("election_timeout", "election_timeout"),
    ("node_timeout", "node_timeout"),
];

/// What the table says, as values of options.
pub(super) fn read(command: &clap::Command, table: &DeTable<'_>) -> Result<Defaults, Complaint> {
    let serve = command.find_subcommand(COMMAND).expect("there is `serve`");
    let mut read = Defaults::new();
    for (key, value) in table {
        let (at, key) = (key.span().start, key.get_ref().as_ref());
        let option = KEYS.iter().find(|(name, _)| *name == key);
        let (option, values) = match option {
            Some((_, option)) => {
                let arg = option_of(serve, option).expect("`serve` has it");
                let values = values(arg, value.get_ref()).map_err(|what| (at, what))?;
                (arg, values)
            }
            None if key == MEMBERS => {
                let arg = option_of(serve, PEERS).expect("`serve` has it");
                (arg, members(arg, value)?)
            }
            None => {
                let mut known: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
                known.push("[[cluster.members]]");
                return Err((at, unknown(key, &known)));
            }
        };
        read.insert((COMMAND.to_owned(), option.get_id().to_string()), values);
    }
    Ok(read)
}

/// The nodes, as the option has them.
fn members(peers: &clap::Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, Complaint> {
    let DeValue::Array(all) = value.get_ref() else {
        let what = "`members` is a list of tables: [[cluster.members]], with id, address and \
                    client_address";
        return Err((value.span().start, what.to_owned()));
    };
    all.iter()
        .map(|one| {
            let at = one.span().start;
            let text = member(one)?;
            // As if it were the only one: what is wrong with it is told with its line.
            let checked = values(peers, &DeValue::String(text.clone().into()));
            checked.map_err(|what| (at, what))?;
            Ok(text)
        })
        .collect()
}

fn member(value: &Spanned<DeValue<'_>>) -> Result<String, Complaint> {
    const PARTS: [&str; 3] = ["id", "address", "client_address"];
    let at = value.span().start;
    let DeValue::Table(table) = value.get_ref() else {
        return Err((at, "expected [[cluster.members]]".to_owned()));
    };
    for (key, _) in table {
        if !PARTS.contains(&key.get_ref().as_ref()) {
            return Err((key.span().start, unknown(key.get_ref(), &PARTS)));
        }
    }
    let part = |name: &str| match table.get(name).map(Spanned::get_ref) {
        Some(DeValue::String(text)) => Ok(text.to_string()),
        Some(DeValue::Integer(number)) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        Some(other) => Err((at, format!("`{name}` is {}", other.type_str()))),
        None => Err((
            at,
            format!("a member of a cluster has `{name}`, and this one has not"),
        )),
    };
    let (id, address, client) = (part(PARTS[0])?, part(PARTS[1])?, part(PARTS[2])?);
    Ok(format!("{id}={address}/{client}"))
}

/// What both this table and that of the command say, if there is such a thing.
pub(super) fn said_twice(
    command: &clap::Command,
    cluster: &Defaults,
    inside: &Defaults,
) -> Option<String> {
    let (_, option) = cluster.keys().find(|key| inside.contains_key(key))?;
    let serve = command.find_subcommand(COMMAND)?;
    let arg = serve.get_arguments().find(|arg| arg.get_id() == option)?;
    let key = key_of(arg);
    let ours = KEYS.iter().find(|(_, option)| *option == key);
    let ours = ours.map_or(MEMBERS, |(name, _)| name);
    Some(format!(
        "`{key}` of [{COMMAND}] and `{ours}` of [{TABLE}] are the same setting: keep one of them"
    ))
}
