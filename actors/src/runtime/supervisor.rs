//! The supervisor of a node: hears of panics and spent restart budgets, logs them once, and remembers the last ones for operators.
//!
//! Restarting itself happens in place ([`super::hosted`]), because only there the mailbox and what must be kept are at hand.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{Behaviour, Cx, Kind};
use crate::message_kinds;

/// How many panics are remembered for `/admin/actors`.
const REMEMBERED: usize = 32;

/// What the supervisor hears.
#[derive(Debug)]
pub enum SupervisorMessage {
    /// A handler panicked; the actor was rebuilt.
    Panicked { kind: Kind, message: &'static str, text: String },
    /// An actor panicked too often within the window of its budget: it stopped, or rests if it is essential.
    BudgetSpent { kind: Kind, essential: bool },
}

message_kinds!(SupervisorMessage { Panicked, BudgetSpent });

/// What outlives a panic of the supervisor itself.
#[derive(Default)]
pub struct Tally {
    panics: u64,
    budgets_spent: u64,
    last: VecDeque<Value>,
}

/// The supervisor. Mailbox bound 1,024; when full, reports are dropped (the counters of the runtime have them already).
pub struct Supervisor;

impl Behaviour for Supervisor {
    type Message = SupervisorMessage;
    type Keep = Tally;
    const KIND: Kind = "supervisor";
    const MAILBOX: usize = 1024;
    const ESSENTIAL: bool = true;

    fn new(_cx: &mut Cx<'_, Self>) -> Self {
        Self
    }

    fn handle(&mut self, message: SupervisorMessage, cx: &mut Cx<'_, Self>) {
        let at_ms = cx.unix_ms();
        let tally = &mut *cx.keep;
        let entry = match message {
            SupervisorMessage::Panicked { kind, message, text } => {
                tracing::error!(actor = kind, message, panic = text, "a handler panicked; the actor was rebuilt");
                tally.panics += 1;
                json!({"at_ms": at_ms, "actor": kind, "message": message, "panic": text})
            }
            SupervisorMessage::BudgetSpent { kind, essential } => {
                tracing::error!(actor = kind, essential, "restart budget spent");
                tally.budgets_spent += 1;
                json!({"at_ms": at_ms, "actor": kind, "budget_spent": true})
            }
        };
        if tally.last.len() == REMEMBERED {
            tally.last.pop_front();
        }
        tally.last.push_back(entry);
    }

    fn observe(&self, keep: &Tally) -> Value {
        json!({"panics": keep.panics, "budgets_spent": keep.budgets_spent, "last": keep.last})
    }
}
