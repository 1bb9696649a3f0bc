//! Readers on every node, and a writer for every table.

mod reader;
mod writer;

use std::sync::Arc;

use tokio::task::JoinSet;

use super::load::Load;
use super::question::Table;

/// Starts them; they end when the load does.
#[must_use]
pub fn start(load: &Arc<Load>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for number in 0..load.readers() {
        tasks.spawn(reader::run(load.clone(), number % load.ports.len(), number));
    }
    for (number, table) in (0..).zip(Table::ALL) {
        tasks.spawn(writer::run(load.clone(), table, number));
    }
    tasks
}
