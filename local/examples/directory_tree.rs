//! Guards the files of a directory tree: writers of single files, one who moves things between
//! directories, and an auditor who needs all of it to stand still, each locking just what it needs.
//!
//! `cargo run -p lockwright-local --example directory_tree`

use lockwright_local::{LocalLocks, read, write};
use std::{fs, io, path::Path, thread};

const DIRECTORIES: [&str; 3] = ["north", "south", "west"];
const START: u64 = 100;

/// What is in a file. Without a lock, a reader would now and then find it empty: writing is
/// truncating first.
fn amount(file: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    text.parse()
        .map_err(|error| io::Error::other(format!("{} has {text:?}: {error}", file.display())))
}

/// Adds one coin to a file of one directory, and takes it from another file of the same one.
fn shuffle(locks: &LocalLocks, root: &Path, directory: &str) -> Result<(), Failure> {
    let _guard = locks.lock_blocking(write(format!("store/{directory}")))?;
    let (from, to) = (
        root.join(directory).join("left"),
        root.join(directory).join("right"),
    );
    if let Some(less) = amount(&from)?.checked_sub(1) {
        fs::write(&from, less.to_string())?;
        fs::write(&to, (amount(&to)? + 1).to_string())?;
    }
    Ok(())
}

/// Moves coins from one directory to another: both are locked at once, or neither, so that nobody
/// has to agree on an order.
fn carry(locks: &LocalLocks, root: &Path, from: &str, to: &str) -> Result<(), Failure> {
    let (source, target) = (format!("store/{from}/right"), format!("store/{to}/left"));
    let _guard = locks.lock_blocking([write(source), write(target)])?;
    let (source, target) = (root.join(from).join("right"), root.join(to).join("left"));
    let carried = amount(&source)?.min(3);
    fs::write(&source, (amount(&source)? - carried).to_string())?;
    fs::write(&target, (amount(&target)? + carried).to_string())?;
    Ok(())
}

/// Counts all coins, with a lock on the whole tree.
fn audit(locks: &LocalLocks, root: &Path) -> Result<u64, Failure> {
    let _guard = locks.lock_blocking(read("store"))?;
    let files = DIRECTORIES
        .iter()
        .flat_map(|directory| ["left", "right"].map(|file| root.join(directory).join(file)));
    let amounts: io::Result<Vec<u64>> = files.map(|file| amount(&file)).collect();
    Ok(amounts?.into_iter().sum())
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let root = std::env::temp_dir().join(format!("lockwright-tree-{}", std::process::id()));
    for directory in DIRECTORIES {
        fs::create_dir_all(root.join(directory))?;
        fs::write(root.join(directory).join("left"), START.to_string())?;
        fs::write(root.join(directory).join("right"), START.to_string())?;
    }
    let locks = LocalLocks::new();
    let audits = thread::scope(|scope| {
        let (locks, root) = (&locks, root.as_path());
        let mut workers = Vec::new();
        for directory in DIRECTORIES {
            workers.push(
                scope.spawn(move || (0..200).try_for_each(|_| shuffle(locks, root, directory))),
            );
        }
        for (from, to) in [("north", "south"), ("south", "north"), ("west", "north")] {
            workers
                .push(scope.spawn(move || (0..100).try_for_each(|_| carry(locks, root, from, to))));
        }
        let mut audits = Vec::new();
        while workers.iter().any(|worker| !worker.is_finished()) {
            audits.push(audit(locks, root)?);
        }
        for worker in workers {
            worker.join().expect("no worker panics")?;
        }
        Ok::<_, Failure>(audits)
    })?;
    let coins = 2 * START * DIRECTORIES.len() as u64;
    assert!(
        audits.iter().all(|sum| *sum == coins),
        "coins were lost: {audits:?}"
    );
    assert_eq!(audit(&locks, &root)?, coins);
    println!(
        "600 shuffles and 300 moves, audited {} times meanwhile:",
        audits.len()
    );
    println!("always {coins} coins, and no file was ever seen half written");
    fs::remove_dir_all(root)?;
    Ok(())
}
