//! The store of profile `fencing`, and what holders do there, told to a person.

use super::service::of_clock;
use lockwright_sim::plan::{AccessPlan, StoreFault, StoreFaultKind, StorePlan};

/// What the store is like.
pub(super) fn of_store(store: &StorePlan) -> String {
    let line = if store.checked {
        format!(
            "the store checks tokens, has a disk that takes {} to {} us to sync, writes the file of \
             its fence anew above {} bytes",
            store.sync_us_min, store.sync_us_max, store.compact_above
        )
    } else {
        "the store does not check tokens".to_owned()
    };
    line + &of_clock(&store.clock)
}

/// What a holder does at the store.
pub(super) fn of_access(access: &AccessPlan) -> String {
    let what = if access.reads { "read" } else { "write" };
    format!(
        "looks {} ms after the grant, and {} ms later goes to {what} {}",
        access.after_ms, access.think_ms, access.key
    )
}

/// What goes wrong with the store.
pub(super) fn of_fault(fault: &StoreFault) -> String {
    let for_ms = fault.for_ms.max(1);
    match fault.kind {
        StoreFaultKind::Cut {
            host,
            to_store,
            from_store,
        } => {
            let way = match (to_store, from_store) {
                (true, false) => format!("from host {host} to the store"),
                (false, true) => format!("from the store to host {host}"),
                _ => format!("between host {host} and the store"),
            };
            format!("messages {way} get lost for {for_ms} ms")
        }
        StoreFaultKind::Hold { host } => {
            format!("messages between host {host} and the store are held back for {for_ms} ms")
        }
        StoreFaultKind::Slow { host, max_ms } => format!(
            "messages between host {host} and the store take up to {max_ms} ms, for {for_ms} ms"
        ),
        StoreFaultKind::Reset => "all connections of the store break".to_owned(),
        StoreFaultKind::Crash => format!("the store dies, and starts again after {for_ms} ms"),
        StoreFaultKind::Pause => format!("the store computes nothing for {for_ms} ms"),
        StoreFaultKind::PowerLoss => {
            format!("the store's host loses its power, and has it again after {for_ms} ms")
        }
        StoreFaultKind::DiskFull => format!("the store's disk is full for {for_ms} ms"),
        StoreFaultKind::DiskFails => format!("the store's disk fails to sync for {for_ms} ms"),
        StoreFaultKind::DiskSlow { by_ms } => {
            format!("each sync of the store's disk takes {by_ms} ms longer, for {for_ms} ms")
        }
    }
}
