//! The layout of the database.

use redb::TableDefinition;

/// Records of which there is one, by name.
pub(super) const META: TableDefinition<'static, &'static str, &'static [u8]> =
    TableDefinition::new("meta");

/// Parts of snapshots: number of the snapshot and place in it, to bytes.
pub(super) const SNAPSHOT: TableDefinition<'static, (u64, u32), &'static [u8]> =
    TableDefinition::new("snapshot");

/// The record that says that the database is Lockwright's, and how its rows are written.
pub(super) const FORMAT_KEY: &str = "format";

/// How rows are written. Another number is another program's, or another version's.
pub(super) const FORMAT: &[u8] = b"lockwright 8";
