//! What a hostile peer can try, what stops it, and the test that shows it.
//!
//! The attacker is the peer. It sends anything as fast as it can, or sends nothing, or reads
//! nothing. The peer must not be able to make this end use more memory than a formula allows, delay
//! other streams and connections, or do useless work without end. Numbers such as C-60 refer to
//! [SPEC.md]; tests are named with their files. [SECURITY.md] says what wsmux does not defend
//! against, and how to report a vulnerability.
//!
//! # Budgets
//!
//! Limits bound memory. Flow control and the stream limit bound most work: a peer that has to wait
//! for credit, or for a stream to end, cannot cause work faster than the application lets it. Each
//! kind of work that these limits do not bound has a budget, which is replenished by useful work
//! and with time (SPEC §8.6). In the table, "a frame" means a useful frame of the peer, "ours" are
//! the frames that this end sends about streams, and "2 a stream" means twice the largest number of
//! streams that were open at once:
//!
//! | budget | burst | replenished each second | replenished by useful work |
//! |---|---|---|---|
//! | bidirectional streams cancelled before they were read or answered | ten times the stream limit, but at least 1000 | 100, a [setting] | 4 for each stream that is served |
//! | streams refused at our limit, or cancelled while they waited there (js-ws) | 10000, or the number that may wait if that is larger | 1000 | 1 a frame |
//! | grants | 10000, and 2 a stream | 10000 | in proportion to the stream data that this end sends; a peer with small windows may grant as often as it must |
//! | blocked frames | 1000, and 2 a stream | 100 | 1 a frame, 1 for each of ours |
//! | pings of both kinds, and unsolicited pongs | 1000 | 100 | 1 a frame, 1 for each of ours |
//! | frames without effect | 1000, and 2 a stream | 100 | 1 a frame, 1 for each of ours |
//! | frames of ended streams | 10000, and 2 a stream | 1000 | 1 a frame, 2 for each of ours |
//! | padding | 64 MiB | 16 MiB | 64 KiB a frame, 64 KiB for each of ours |
//!
//! A peer never exhausts a budget by useful work, however fast, nor by slow useless work, however
//! long it lasts. These peers, for example, stay within all budgets (`engine/honest.rs`): a client
//! that cancels four of five calls, or whose calls all run into their deadlines; a peer that writes
//! or reads single bytes; a peer whose windows have one byte; a media sender that abandons nearly
//! all of its streams as stale; a page that cancels ten thousand streams as it closes; a peer that
//! pads its messages to hide their sizes; and a peer that sends a ping with each message. The
//! budgets are small relative to what a machine can do. A peer that does useless work as fast as
//! one budget is replenished keeps at most about two hundredths of a core busy.
//!
//! When a budget is exhausted, the connection closes with
//! [`EXCESSIVE_LOAD`](crate::proto::TransportErrorCode::EXCESSIVE_LOAD), and the reason names the
//! budget to both ends. Other connections are not affected.
//! [`useless_received`](crate::ConnectionStats::useless_received) counts the frames that were
//! charged to the budgets. In a plot, this count should grow much more slowly than
//! [`frames_received`](crate::ConnectionStats::frames_received).
//!
//! # Streams and credit
//!
//! | attack | defence | test |
//! |---|---|---|
//! | rapid reset: open and reset, CVE-2023-44487 | a stream counts against the limit until the application has dropped it (C-9, C-40); budget (C-62) | `engine/limits.rs` `a_flood_of_opens_and_resets_costs_no_more_than_the_limit`; `engine/abuse/cancelled.rs` `a_flood_of_requests_that_are_cancelled_at_once_ends_the_connection` |
//! | request and STOP_SENDING | as in the row above if the stream was not read; a request that was read is served like any other, and counts against the limit (C-9, C-62) | `engine/abuse/cancelled.rs` `uploads_whose_answers_nobody_wants_are_let_pass` |
//! | making us reset, CVE-2025-8671 | a stream error that the peer causes closes the connection; refusals have a budget (C-60, J-33) | `engine/abuse/answers.rs` `a_flood_of_refused_streams_ends_the_connection_of_one_that_reads`; `engine/limits.rs` `an_open_flood_on_js_ws_from_a_peer_that_does_not_read_is_cut_off` |
//! | streams that wait at our limit (js-ws), opened and cancelled without end | the streams wait in a bounded queue (J-43); a budget for them; the budget of cancelled streams applies to them as well | `engine/waiting.rs` `a_peer_that_opens_and_cancels_and_reads_nothing_makes_no_queue_grow`, `streams_opened_in_advance_are_no_way_around_the_budget` |
//! | streams that nobody accepts | they count against the limit (C-9, J-40) | `engine/limits.rs` `opening_waits_at_the_peers_limit_and_goes_on_when_it_rises` |
//! | more streams than allowed | STREAM_LIMIT_ERROR (Q-35); a bounded queue, and then refusal (J-43, J-31) | `engine/limits.rs` `a_stream_past_the_limit_is_an_error_whatever_frame_names_it` |
//! | data above the credit | FLOW_CONTROL_ERROR (C-27) | `engine/violations.rs` `data_or_a_final_size_past_the_credit` |
//! | grants of one byte, and grants for nothing | budget (C-63) | `engine/abuse/grants.rs` `a_flood_of_used_grants_of_one_byte_ends_the_connection`, `a_flood_of_grants_that_nobody_uses_ends_the_connection`; `engine/honest.rs` `a_declared_window_excuses_no_grants_that_are_smaller_or_useless` |
//! | a stream that is not read, to delay others | each stream has its own credit (C-28, C-31) | `engine/no_pause.rs` |
//! | a reset or a grant that brings an ended stream back | high-water marks (C-3, C-8, J-11) | `engine/streams.rs` |
//! | frames for ended streams | ignored; budget (C-8, C-60) | `engine/abuse/ended_streams.rs` `a_flood_of_frames_for_an_ended_stream_ends_the_connection` |
//! | stream ids that collide in a hash (js-ws) | there is no hash (C-85) | `stream_map.rs` `no_choice_of_ids_makes_a_stream_cost_more_than_a_constant` |
//! | MAX_DATA while very many streams wait for it | the cost of the frame is proportional to the data that it permits us to send (C-85) | `streams/work.rs` `a_raise_of_the_connections_credit_costs_as_much_as_it_lets_through` |
//! | delayed pings, to make a window grow | the smallest round-trip time counts (C-56 to C-58) | `engine/windows/round_trip.rs` |
//!
//! # Frames and messages
//!
//! | attack | defence | test |
//! |---|---|---|
//! | empty STREAM frames and messages, repeated FINs and resets | budget (C-60, Q-70); on js-ws an empty message is an error (J-3) | `engine/abuse/no_effect.rs` `a_flood_of_frames_without_effect_ends_the_connection`; `engine/versions.rs` `a_flood_of_empty_messages_ends_the_connection` |
//! | large messages of which only single bytes stay unread, to keep the messages allocated | small pieces are copied (C-53) | `streams/buffer/tests.rs` `single_bytes_out_of_large_messages_do_not_keep_the_messages_alive` |
//! | sizes that make a queue allocate a multiple of the bytes that it holds: single bytes between chunks, or a message of which all but one byte is read | blocks that fit their content, and copies of what is left (C-70 to C-73) | `memory/receive.rs` `whatever_is_not_read_holds_no_more_memory_than_the_formula`; `memory/sockets.rs` |
//! | a flood of pings, of either kind, from a peer that may or may not read the answers | at most one answer waits (W-9, Q-57); budget (C-60) | `engine/abuse/pings.rs` `a_flood_of_pings_or_pongs_of_either_kind_ends_the_connection` |
//! | blocked frames | they cause no answer; budget (C-60) | `engine/abuse/blocked.rs` `a_flood_of_blocked_frames_ends_the_connection` |
//! | padding | a run of padding is one frame; budget (C-60) | `engine/abuse/padding.rs` `a_flood_of_padding_ends_the_connection` |
//! | unread datagrams, including empty ones | a queue that drops the oldest (Q-55); empty ones have a budget (C-60) | `engine/datagrams.rs`; `engine/abuse/datagrams.rs` `a_flood_of_empty_datagrams_ends_the_connection` |
//! | a peer that demands answers and reads none of them | answers are kept as state, not in queues (C-32) | `engine/no_pause.rs` `a_peer_that_does_not_read_makes_nothing_grow`; `engine/abuse/answers.rs` `a_peer_that_floods_us_and_reads_nothing_makes_nothing_grow` |
//! | a peer that reads nothing while the application writes stream after stream | the send window, and this end's own limit on streams (C-75 to C-77) | `engine/send_window.rs` `a_fan_out_to_a_peer_that_reads_nothing_is_held_within_the_window`; `engine/local_streams.rs` `calls_that_are_dropped_hold_their_places_until_they_have_left`; `held_to_send.rs` `a_fan_out_to_a_peer_that_reads_nothing_stays_within_the_formula` |
//! | malformed, unknown and forbidden frames | the connection closes with the code of SPEC §6.10 | `engine/violations.rs`, `engine/jsws_wire.rs` |
//! | parameters that overflow | TRANSPORT_PARAMETER_ERROR (Q-18 to Q-24) | `engine/parameters.rs` |
//!
//! # The WebSocket
//!
//! | attack | defence | test |
//! |---|---|---|
//! | a length of 2^63 - 1, or just above the limit | detected in the frame's header: the connection closes with 1009 (W-6, W-7); memory grows only with what has arrived | `allocations.rs` `nothing_is_allocated_for_a_message_that_is_only_announced` |
//! | frames without a mask, reserved bits, control frames in fragments or too long, bad close codes | the connection closes with 1002 and a reason (W-24) | `bad_input_connect/websocket.rs` `each_violation_of_the_websocket_is_closed_on_with_a_code_and_a_reason` |
//! | endless empty fragments | at most 1000 in a message (W-30) | the test of the row above |
//! | a message that arrives byte by byte and never ends | one message is kept, and grows with what has arrived (W-6); only whole messages are signs of life (C-42) | `async_layer/bad_input.rs` `a_message_that_trickles_is_no_sign_of_life` |
//! | a text message | the connection closes with 1002 (W-2) | `bad_input_connect/websocket.rs` `each_violation_of_the_websocket_is_closed_on_with_a_code_and_a_reason` |
//! | a compression bomb, CRIME | no extension is accepted (W-3, W-4) | `bad_input_connect/requests.rs` `a_good_request_gets_its_subprotocol_and_no_extension` |
//! | a peer that has vanished, or whose process hangs while its kernel still acknowledges | liveness (C-45, C-90); write-stall timeout (C-78) | `engine/timers.rs`; `engine/slow_upload.rs` `an_upload_into_a_black_hole_is_given_up_in_time`, `a_peer_whose_kernel_acknowledges_for_nobody_is_given_up` |
//! | a peer that sends something each second and reads nothing | write-stall timeout (C-78) | `engine/write_stall.rs` `a_peer_that_pads_and_reads_nothing_is_given_up`; `async_layer/deaf_peer.rs` |
//! | a peer that never answers our Close, or never reads it | the close wait (C-50, C-79) | `engine/close.rs`; `engine/write_stall.rs` `a_peer_that_reads_nothing_holds_a_close_no_longer_than_the_wait` |
//! | a peer that answers a Close and never ends its byte stream | the close wait (W-57, W-58) | `carrier_end/witness.rs` `a_peer_that_never_ends_holds_a_connection_for_the_close_timeout` |
//! | a truncated stream that looks complete | the reader gets an error, never a clean end (C-19, W-29) | `async_layer/bad_input.rs` `a_peer_that_is_gone_in_the_middle_of_a_message_has_sent_none_of_it` |
//!
//! # The handshake
//!
//! One timeout covers the whole handshake, including TLS and the transport parameters (W-23). The
//! head of a request or response may have at most 64 KiB and 128 lines, and is parsed only a few
//! times, no matter in how many pieces it arrives. After a refusal, the server keeps reading for up
//! to a second and up to 1 MiB, so that the client can read the answer.
//!
//! | attack | defence | test |
//! |---|---|---|
//! | headers byte by byte | the timeout covers the whole handshake | `bad_input_connect/limits.rs` `slow_headers_time_out_whole` |
//! | endless headers | 431 at 64 KiB | `bad_input_connect/limits.rs` `a_bomb_of_headers_is_cut_off`, `a_bomb_without_end_is_closed_on` |
//! | a client that sends nothing, or only a part of the TLS handshake | the same timeout | `bad_input_connect/limits.rs` `a_client_that_says_nothing_times_out`; `bad_input_connect/tls.rs` `a_client_that_stalls_within_tls_times_out` |
//! | garbage instead of HTTP or TLS | refused at the first bytes | `bad_input_connect/requests.rs` `every_bad_request_gets_its_status_and_the_next_client_is_served`; `bad_input_connect/tls.rs` `a_client_without_tls_does_no_harm_to_a_server_with_it` |
//! | slow or silent clients before a route of hyper or axum | `hyper::HttpServer`: one timeout up to the end of the first request's head, one for idleness | `http_axum/crowd.rs` `eighty_clients_that_stand_still_hold_no_server_of_forty_descriptors` |
//! | half-open handshakes | no handshake waits for another | `bad_input_connect/limits.rs` `half_open_handshakes_of_every_kind_hold_up_no_other_client` |
//! | very many handshakes | [`max_handshakes`], and [`max_handshakes_per_address`] so that one address cannot use them up | `server_limits.rs` `handshakes_under_way_are_limited_apart_from_connections`, `an_address_that_only_connects_leaves_handshakes_to_others` |
//! | very many connections | [`max_connections`], [`max_connections_per_address`] | `server_limits.rs` `past_the_limit_of_connections_clients_wait_in_the_systems_queue` |
//! | using up all file descriptors | the server continues when some descriptors are free again | `bad_input_connect/limits.rs` `a_server_out_of_file_descriptors_takes_the_client_later` |
//! | a head with two hosts, without a host, or with an invalid host, which a proxy and this server could read differently | 400, before a hook runs; the target has precedence over `Host` (W-45 to W-48) | `http_axum/heads.rs` `a_request_says_whom_it_is_for_or_gets_status_400`, `the_targets_authority_wins_over_the_host_header` |
//! | a large head, to make this end keep the buffers into which the head was read | a connection keeps a copy of what [`ConnectionInfo`](crate::ConnectionInfo) shows | `head_memory.rs` `a_connection_holds_the_head_that_it_shows_and_no_more`, `a_handshake_under_way_holds_its_head_once` |
//! | a server that accepts a reconnecting client and closes at once | such a connection is a failed attempt: the pauses grow, and `max_attempts` counts it | `reconnect/giving_up.rs` `a_server_that_accepts_and_goes_away_is_given_up_in_the_end` |
//! | a name with a thousand addresses | 32 are tried | `client/native/dial.rs` `of_a_thousand_addresses_the_first_32_are_tried` |
//! | a refusal's body in endless chunks | 4 KiB and a second of it are read | `client/native/excerpt.rs` `a_chunked_excerpt_ends_at_a_fault_and_at_its_limit` |
//! | a `Retry-After` of a year | honoured up to an hour | `reconnect/pauses.rs` `a_server_that_asks_for_time_gets_it_and_up_to_an_hour` |
//! | a refusal that repeats the URL, to get the token in the URL logged | no body and no header value is in an error's text or in a log | `secrets/answers.rs` `what_a_proxy_or_a_strange_server_repeats_is_not_shown` |
//! | a token that a page sends as a subprotocol, and that the other end selects, or repeats in the reason of its close | only names of the form `qmux-...` and configured protocols are shown; no log has the reason | `secrets/subprotocols.rs` `a_token_that_a_hook_selects_is_not_shown`, `a_token_that_a_strange_server_selects_is_not_shown`; `secrets/close.rs` `the_reason_of_a_peers_close_is_in_its_error_and_in_no_log` |
//! | a foreign web page | [`AllowedOrigins`](crate::authorize::AllowedOrigins) | `authentication/logins.rs` |
//!
//! # Resumption
//!
//! These attacks are possible only at an end that has set
//! [`resume_timeout`](crate::Config::resume_timeout).
//!
//! | attack | defence | test |
//! |---|---|---|
//! | guessing the id or the secret of another client's connection | 128 and 256 random bits; the answer is the same for an unknown id and for a wrong proof (R-2, R-15) | `session/hostile.rs` `a_server_that_does_not_know_the_session_says_so_at_once` |
//! | a forged or changed request | an HMAC over the whole request, compared in constant time (R-12, R-13) | `session/hostile.rs` `whatever_is_changed_in_a_request_it_is_refused` |
//! | a request that is sent again | each attempt is accepted once (R-11) | `session/hostile.rs` `a_request_is_accepted_once` |
//! | a false server that continues a client's connection | the answer needs a proof for this attempt (R-14) | `session/hostile.rs` `a_client_goes_on_only_with_the_answer_to_its_own_request` |
//! | impossible counts, to make messages arrive twice or never | the request is refused (R-8, R-9) | `session/hostile.rs` `a_count_that_cannot_be_is_refused_in_spite_of_a_valid_proof` |
//! | an observer of a connection without TLS, who learns the secret | such connections are not resumed, except on loopback (R-23) | `resume/without_tls.rs` `without_tls_only_loopback_is_resumed_unless_asked_for` |
//! | another client that has the secret | the other client must also have the same identity: certificate, user, and the hook's own name | |
//! | endless requests, to keep a session | requests do not restart the session's timeout (R-17) | `session/silence.rs` `requests_alone_do_not_keep_a_session` |
//! | acknowledging nothing, to make us keep all that we send | the replay budget, and a timeout (R-21, R-22) | `session/budget.rs` `a_peer_that_acknowledges_nothing_is_given_up`; `session/stalls.rs` `a_peer_that_acknowledges_nothing_gains_no_time_by_new_sockets` |
//! | leaving very many connections without a socket | [`max_suspended_connections`](crate::WebSocketServerBuilder::max_suspended_connections) and [`max_suspended_bytes`](crate::WebSocketServerBuilder::max_suspended_bytes) | |
//!
//! # What to set on a public server
//!
//! By default none of the four limits on clients is set, because each of them can do harm. Suppose
//! that a server limits only the number of all handshakes. Then an attack that would otherwise only
//! cost memory (110 kB and the state of TLS for each handshake) locks out all other clients. A
//! limit for each address would lock out clients that share a proxy. A server that clients reach
//! directly should set all four:
//!
//! ```
//! use wsmux::WebSocketServer;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = WebSocketServer::builder()
//!     .max_connections(Some(10_000))
//!     .max_connections_per_address(Some(100))
//!     .max_handshakes(Some(1_000))
//!     .max_handshakes_per_address(Some(20))
//!     .bind("127.0.0.1:0")
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! All clients behind the same address translator or proxy have the same address. A refused client
//! still counts for up to a second, because the server gives it time to read why it was refused. So
//! allow each address more than a few connections; otherwise one client could lock out the others
//! at its address.
//!
//! An attacker with enough addresses can then make the server hold as much memory as
//! [`max_connections`] connections may hold together ([`flow_control`](super::flow_control) gives
//! the bound of one connection). Smaller windows and fewer streams reduce this memory. A stream
//! limit also bounds the work of one frame: the first frame of the last permitted stream opens all
//! streams below it (C-5).
//!
//! [SECURITY.md]: https://github.com/wsmux/wsmux/blob/main/SECURITY.md
//! [SPEC.md]: https://github.com/wsmux/wsmux/blob/main/SPEC.md
//! [`max_connections_per_address`]: crate::WebSocketServerBuilder::max_connections_per_address
//! [`max_connections`]: crate::WebSocketServerBuilder::max_connections
//! [`max_handshakes_per_address`]: crate::WebSocketServerBuilder::max_handshakes_per_address
//! [`max_handshakes`]: crate::WebSocketServerBuilder::max_handshakes
//! [setting]: crate::Config::cancelled_streams_per_second
