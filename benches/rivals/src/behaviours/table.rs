//! Shows each behaviour of each backend in a process of its own, and prints a table.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::{Table, presets::ASCII_MARKDOWN};

use super::{Behaviour, Seen};
use crate::{backends::Backend, run::in_child};

/// The time after which a process counts as hanging. A process waits several times for something
/// that may never happen, for three seconds each time.
const DEADLINE: Duration = Duration::from_secs(30);

/// The muxes over a WebSocket, in their default configuration.
const BACKENDS: [Backend; 6] = [
    Backend::Wsmux,
    Backend::WsmuxJsws,
    Backend::Qmux,
    Backend::Zmux,
    Backend::Yamux,
    Backend::Penguin,
];

/// Runs these behaviours on these backends, and prints what was seen. An empty list selects all
/// backends or all behaviours.
pub fn run(backends: &[Backend], behaviours: &[Behaviour]) -> Result<()> {
    let backends = if backends.is_empty() { &BACKENDS } else { backends };
    let behaviours = if behaviours.is_empty() { Behaviour::value_variants() } else { behaviours };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    let names = backends.iter().map(|backend| backend.name());
    table.set_header([String::new()].into_iter().chain(names));
    for &behaviour in behaviours {
        let mut row = vec![behaviour.about()];
        for &backend in backends {
            eprintln!("{} {}", behaviour.name(), backend.name());
            row.push(runtime.block_on(show(backend, behaviour))?.to_string());
        }
        table.add_row(row);
    }
    println!("{table}");
    Ok(())
}

async fn show(backend: Backend, behaviour: Behaviour) -> Result<Seen> {
    let arguments = ["show".to_owned(), backend.name(), behaviour.name()];
    in_child(&arguments, DEADLINE, Seen::Hangs, Seen::Failed).await
}
