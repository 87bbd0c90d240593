//! The state machine under test: append registers.
//!
//! An append adds a number that no other append uses; its reply is the position in the register. Each replica keeps the order in
//! which it applied, so that replicas are compared entry by entry, and a read is judged by the length that it saw.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use slimcluster_core::machine::{ApplyContext, StateMachine};

/// The name of the machine in the cluster.
pub const MACHINE: &str = "registers";

/// The registers of one replica.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Registers {
    /// Every append that was applied, in order.
    pub order: Vec<Appended>,
    /// How long each register is.
    pub lengths: BTreeMap<u64, u64>,
}

/// An append as it was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// The register.
    pub key: u64,
    /// The number of the append.
    pub id: u64,
}

/// Appends to one register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// What is appended where.
    pub appended: Appended,
    /// Bytes without meaning, so that commands differ in size.
    pub padding: Vec<u8>,
}

impl StateMachine for Registers {
    type Command = Append;
    type Reply = u64;

    fn apply(&mut self, _: &ApplyContext, command: Append) -> u64 {
        self.order.push(command.appended);
        let length = self.lengths.entry(command.appended.key).or_default();
        *length += 1;
        *length - 1
    }
}

impl Registers {
    /// How long the register is.
    pub fn length(&self, key: u64) -> u64 {
        self.lengths.get(&key).copied().unwrap_or_default()
    }
}
