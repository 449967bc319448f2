//! `--wire`.

use clap::ValueEnum;
use wsmux::Wire;

/// The wire that a client uses over the WebSocket.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WireArg {
    Qmux,
    Jsws,
}

impl From<WireArg> for Wire {
    fn from(wire: WireArg) -> Self {
        match wire {
            WireArg::Qmux => Self::QMux,
            WireArg::Jsws => Self::JsWs,
        }
    }
}

/// The wires that a server permits.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WiresArg {
    Auto,
    Qmux,
    Jsws,
}

impl WiresArg {
    pub(crate) fn wires(self) -> &'static [Wire] {
        match self {
            Self::Auto => &[Wire::QMux, Wire::JsWs],
            Self::Qmux => &[Wire::QMux],
            Self::Jsws => &[Wire::JsWs],
        }
    }
}
