//! The JSON form of an op.

use super::Op;
use serde::{Deserialize, Serialize};

/// The flat object that an op is in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpObject {
    at: u64,
}

impl TryFrom<OpObject> for Op {
    type Error = String;
    fn try_from(_object: OpObject) -> Result<Op, String> {
        unimplemented!()
    }
}

impl From<Op> for OpObject {
    fn from(op: Op) -> OpObject {
        OpObject { at: op.at }
    }
}
