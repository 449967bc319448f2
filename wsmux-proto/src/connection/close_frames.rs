//! How the end of a connection is sent and received: as CONNECTION_CLOSE, if the wire has that
//! frame, and as the WebSocket's Close.

use bytes::Bytes;

use crate::{
    ApplicationClose, ConnectionClose, ConnectionError, TransportError, TransportErrorCode, VarInt,
    frame::Close,
};

/// The close codes of the WebSocket (RFC 6455 §7.4) that this end sends or interprets.
mod status {
    pub(super) const NORMAL: u16 = 1000;
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const PROTOCOL_ERROR: u16 = 1002;
    pub(super) const UNSUPPORTED: u16 = 1003;
    /// Stands for a Close that has no code. This code is never sent.
    pub(super) const NO_STATUS: u16 = 1005;
    pub(super) const BAD_DATA: u16 = 1007;
    pub(super) const TOO_BIG: u16 = 1009;
    pub(super) const INTERNAL_ERROR: u16 = 1011;
    /// Codes for libraries and frameworks. An application's error code in this range is sent
    /// unchanged.
    pub(super) const REGISTERED: std::ops::RangeInclusive<u64> = 3000..=3999;
    /// The base for private codes. An application's error code from 1 to 999 is sent as 4000 plus
    /// that code. The code 0 is sent as `NORMAL`, and any other code as the last private code.
    pub(super) const PRIVATE: u16 = 4000;
    pub(super) const LAST_PRIVATE: u16 = 4999;
}

/// The longest reason in a WebSocket Close, in bytes (RFC 6455 §5.5).
const MAX_CLOSE_REASON: usize = 123;

/// The longest reason in a close frame, in bytes. The frame must fit into the smallest message
/// limit that a peer may declare.
const MAX_FRAME_REASON: usize = 1024;

/// The frames that are sent to end the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CloseFrames {
    /// The CONNECTION_CLOSE frame. On a wire without this frame, it is not sent. It is `None` if
    /// the connection has timed out (draft-ietf-quic-qmux-02 §Initiating a Connection Close), or if
    /// the peer has closed the connection first.
    pub(super) frame: Option<Close>,
    /// The code of the WebSocket's Close.
    pub(super) code: u16,
    /// The reason in the WebSocket's Close.
    pub(super) reason: String,
}

impl CloseFrames {
    /// Returns a WebSocket Close without a reason. No close frame is sent before it.
    fn silent(code: u16) -> Self {
        Self { frame: None, code, reason: String::new() }
    }

    /// Returns the frames for a close by the application.
    pub(super) fn application(code: VarInt, reason: Bytes) -> Self {
        // Q-62 (QMux "max_record_size Transport Parameter")
        let reason = text(&reason, MAX_FRAME_REASON);
        Self {
            code: websocket_code(code),
            frame: Some(Close::Application {
                code,
                reason: Bytes::copy_from_slice(reason.as_bytes()),
            }),
            reason: shorten(reason, MAX_CLOSE_REASON),
        }
    }

    /// Returns the frames for a violation of the protocol.
    fn violation(error: &TransportError, code: u16) -> Self {
        let reason = shorten(error.reason.to_string(), MAX_FRAME_REASON);
        // W-25
        let words = format!("{}: {reason}", error.code);
        let frame = Close::Transport {
            code: error.code,
            frame: error.frame.unwrap_or_default(),
            reason: reason.into(),
        };
        Self { frame: Some(frame), code, reason: shorten(words, MAX_CLOSE_REASON) }
    }

    /// Returns what this end sends if the connection ends because of `error`, or `None` if nothing
    /// can be sent.
    pub(super) fn of(error: &ConnectionError) -> Option<Self> {
        let protocol = |code, reason: &str| TransportError::new(code, reason.to_owned());
        // W-24
        Some(match error {
            ConnectionError::TransportError(error) => {
                let code = match error.code {
                    TransportErrorCode::INTERNAL_ERROR => status::INTERNAL_ERROR,
                    _ => status::PROTOCOL_ERROR,
                };
                Self::violation(error, code)
            }
            ConnectionError::TextMessage => Self::violation(
                &protocol(TransportErrorCode::PROTOCOL_VIOLATION, "text message"),
                status::PROTOCOL_ERROR,
            ),
            ConnectionError::MessageTooLarge { .. } => Self::violation(
                &protocol(TransportErrorCode::FRAME_ENCODING_ERROR, "message is too large"),
                status::TOO_BIG,
            ),
            ConnectionError::WebSocketProtocol(_) => Self::violation(
                &protocol(TransportErrorCode::PROTOCOL_VIOLATION, "not a WebSocket frame"),
                status::PROTOCOL_ERROR,
            ),
            // Q-66 (QMux "Initiating a Connection Close")
            ConnectionError::TimedOut(_) => Self::silent(status::GOING_AWAY),
            // The peer has closed the connection, so this end sends only the WebSocket's Close
            //
            ConnectionError::ConnectionClosed(_) | ConnectionError::ApplicationClosed(_) => {
                Self::silent(status::NORMAL)
            }
            ConnectionError::LocallyClosed => Self::application(VarInt::default(), Bytes::new()),
            ConnectionError::SocketLost(_) | ConnectionError::DriverLost(_) => return None,
        })
    }
}

/// Returns the error for a CONNECTION_CLOSE of the peer. The reason is copied, because the
/// application may keep the error for a long time, and a slice would keep the whole message alive.
pub(super) fn error_of_frame(close: Close) -> ConnectionError {
    match close {
        Close::Transport { code, frame, reason } => {
            ConnectionError::ConnectionClosed(ConnectionClose {
                error_code: code,
                frame_type: (frame != VarInt::default()).then_some(frame),
                reason: Bytes::copy_from_slice(&reason),
            })
        }
        Close::Application { code, reason } => {
            ConnectionError::ApplicationClosed(ApplicationClose {
                error_code: code,
                reason: Bytes::copy_from_slice(&reason),
            })
        }
    }
}

/// Returns the error for a WebSocket Close that the peer sent without a CONNECTION_CLOSE before it.
/// On a wire with CONNECTION_CLOSE, a peer whose application closes the connection sends this frame
/// first. So on this wire a Close alone does not come from the peer's application.
pub(super) fn error_of_websocket(
    code: Option<u16>,
    reason: &str,
    wire_has_frame: bool,
) -> ConnectionError {
    let code = code.unwrap_or(status::NO_STATUS);
    let application = match code {
        // Q-65 (QMux "Responding to a Connection Close")
        _ if wire_has_frame => None,
        // J-36
        status::NORMAL => Some(0),
        code if status::REGISTERED.contains(&code.into()) => Some(code),
        status::PRIVATE..=status::LAST_PRIVATE => Some(code - status::PRIVATE),
        _ => None,
    };
    if let Some(code) = application {
        let reason = Bytes::copy_from_slice(reason.as_bytes());
        return ConnectionError::ApplicationClosed(ApplicationClose {
            error_code: code.into(),
            reason,
        });
    }
    // J-37
    let error_code = match code {
        status::PROTOCOL_ERROR..=status::UNSUPPORTED | status::BAD_DATA..=status::TOO_BIG => {
            TransportErrorCode::PROTOCOL_VIOLATION
        }
        status::INTERNAL_ERROR => TransportErrorCode::INTERNAL_ERROR,
        _ => TransportErrorCode::NO_ERROR,
    };
    ConnectionError::ConnectionClosed(ConnectionClose {
        error_code,
        frame_type: None,
        reason: format!("WebSocket close {code}: {reason}").into(),
    })
}

/// Returns the WebSocket's close code for an application's error code.
fn websocket_code(code: VarInt) -> u16 {
    match code.into_inner() {
        0 => status::NORMAL,
        code @ 1..=999 => status::PRIVATE + code as u16,
        code if status::REGISTERED.contains(&code) => code as u16,
        _ => status::LAST_PRIVATE,
    }
}

/// Returns the close code that a web page sends in place of `code`. Browsers permit only a few
/// codes (W-27).
pub(super) fn code_of_page(code: u16) -> u16 {
    match code {
        status::NORMAL => code,
        code if status::REGISTERED.contains(&code.into()) => code,
        status::PRIVATE..=status::LAST_PRIVATE => code,
        _ => status::LAST_PRIVATE,
    }
}

fn text(bytes: &[u8], max: usize) -> String {
    shorten(String::from_utf8_lossy(bytes).into_owned(), max)
}

/// Cuts the text between two characters, so that it has at most `max` bytes.
fn shorten(mut text: String, max: usize) -> String {
    // W-26 (RFC 6455 §5.5, §5.5.1)
    text.truncate(text.floor_char_boundary(max));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_code_survives_the_websocket_where_it_fits() {
        for (code, websocket, back) in [
            (0, 1000, 0),
            (42, 4042, 42),
            (999, 4999, 999),
            (3100, 3100, 3100),
            (1 << 40, 4999, 999),
        ] {
            let code = VarInt::from_u64(code).unwrap();
            assert_eq!(websocket_code(code), websocket);
            let ConnectionError::ApplicationClosed(close) =
                error_of_websocket(Some(websocket), "x", false)
            else {
                panic!("not the application's");
            };
            assert_eq!(close.error_code.into_inner(), back);
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let reason = "ä".repeat(1_000);
        let frames = CloseFrames::application(VarInt::default(), reason.into());
        assert_eq!(frames.reason, "ä".repeat(61));
        let Some(Close::Application { reason, .. }) = frames.frame else { panic!("no frame") };
        assert_eq!(reason.len(), MAX_FRAME_REASON);
    }

    /// An application may keep an error for ever, and the message may be much larger than the
    /// reason.
    #[test]
    fn a_reason_does_not_keep_the_message_that_it_came_in() {
        let message = Bytes::from(vec![b'x'; 64 * 1024]);
        let (code, frame, reason) = (VarInt::default(), VarInt::default(), message.slice(..4));
        let application = error_of_frame(Close::Application { code, reason: reason.clone() });
        let code = TransportErrorCode::NO_ERROR;
        let transport = error_of_frame(Close::Transport { code, frame, reason });
        assert!(message.is_unique(), "{application} {transport}");
    }
}
