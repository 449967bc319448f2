/** One WebSocket with the API of WebTransport: many streams, each with its own flow control. */

/** The wire protocol: `qmux` (the default), or the protocol of `@matrixai/ws`. */
export type Wire = "qmux" | "js-ws";

/** Bytes are whole numbers, times are milliseconds. wsmux's manual explains each default. */
export interface WebSocketTransportOptions {
  wire?: Wire;
  /** Application protocols in order of preference. On the js-ws wire, no protocol is offered. */
  protocols?: Iterable<string>;
  /** A single application protocol, which may be given instead of `protocols`. */
  protocol?: string;
  /**
   * Application protocols that are offered by their bare names (draft-lcurley-qmux-websocket-00),
   * after the others.
   */
  bareProtocols?: Iterable<string>;
  /**
   * Which of the browser's APIs to use; default `WebSocket`. Chromium's `WebSocketStream` stops
   * reading from the network while received data is not read. But Chromium 156 crashes if the
   * network is lost while a message waits to be sent on a `WebSocketStream`, so `resumeTimeout` is
   * of little use with `WebSocketStream`.
   */
  browserApi?: "WebSocket" | "WebSocketStream";
  /** How many bytes the peer may send on a stream before any of them are read. */
  streamReceiveWindow?: number;
  /** The size in bytes up to which the receive window of a stream may grow. */
  maxStreamReceiveWindow?: number;
  /** By how many bytes the receive windows of all streams together may grow. */
  windowGrowthBudget?: number;
  maxConcurrentBidirectionalStreams?: number;
  maxConcurrentUnidirectionalStreams?: number;
  /**
   * On the js-ws wire, how many of the server's streams may wait beyond
   * `maxConcurrentBidirectionalStreams`.
   */
  maxWaitingStreams?: number;
  cancelledStreamsPerSecond?: number;
  /** How many streams of each kind this end may have open, even if the server allows more. */
  maxLocalStreams?: number;
  /** How many unsent bytes a stream may buffer. */
  sendBuffer?: number;
  /** How many unsent bytes all streams together may buffer. */
  sendWindow?: number;
  /** The largest message that is sent, in bytes. */
  maxMessageSent?: number;
  maxRecordSize?: number;
  /** `Infinity` turns the idle timeout off. */
  maxIdleTimeout?: number;
  /** `Infinity` turns keep-alive off. */
  keepAliveInterval?: number;
  /**
   * How long the server may read nothing while this end has something to send; `Infinity` turns
   * this timeout off.
   */
  writeStallTimeout?: number;
  /** How long the browser may take to reach the server. */
  connectTimeout?: number;
  handshakeTimeout?: number;
  closeTimeout?: number;
  /**
   * How long the connection may be without a WebSocket. During this time it dials again, and goes
   * on over the new WebSocket as if nothing had happened. `Infinity` sets no limit. 0 turns
   * resumption off, and is the default. Resumption has three conditions: the server has turned it
   * on too, the wire is `qmux`, and the connection uses `wss` or the server is on this machine. If
   * the two ends have set different times, the shorter time applies.
   */
  resumeTimeout?: number;
  /**
   * With `resumeTimeout`, how many bytes of sent messages are kept until the server acknowledges
   * them. When this many bytes are unacknowledged, sending pauses.
   */
  replayBudget?: number;
  datagramReceiveBufferSize?: number;
  datagramSendBufferSize?: number;
}

export interface WebSocketTransportCloseInfo {
  /** 0 to 2^53 - 1. The js-ws wire carries only codes below 1000, and 3000 to 3999. */
  closeCode?: number;
  reason?: string;
}

export interface WebSocketTransportSendStreamOptions {
  /**
   * As long as a stream with a higher value has data that it may send, streams with lower values
   * send nothing. Streams with equal values take turns. A signed integer of 32 bits; default 0.
   */
  sendOrder?: number;
  /**
   * Whether to wait if the peer's limit is reached, instead of failing with a `QuotaExceededError`.
   * Default false.
   */
  waitUntilAvailable?: boolean;
}

export interface WebSocketTransportSendStreamStats {
  /** Bytes that were accepted from the writer. */
  bytesWritten: number;
  /** Bytes that were handed to the WebSocket. */
  bytesSent: number;
  /** Bytes that wait in the send buffer. */
  buffered: number;
  /** Bytes that the peer's credit still allows to be sent. */
  credit: number;
  /** Milliseconds during which there was data but no credit. */
  blocked: number;
}

export interface WebSocketTransportReceiveStreamStats {
  bytesReceived: number;
  /** Bytes that were handed to the reader. */
  bytesRead: number;
  /** Bytes that were received but not read. */
  buffered: number;
  /** Bytes that the peer may still send before it is granted more. */
  credit: number;
  /** How many bytes the peer may currently send before any of them are read. */
  window: number;
}

export interface WebSocketTransportStats {
  /** Bytes that were sent, without the WebSocket's own framing. */
  bytesSent: number;
  bytesReceived: number;
  messagesSent: number;
  messagesReceived: number;
  /** The round-trip time in milliseconds; null before the first answer to a ping. */
  smoothedRtt: number | null;
  streamsOpened: number;
  streamsAccepted: number;
  streamsLive: number;
  /** Bytes in all send buffers. */
  buffered: number;
  windowGrowth: number;
  /**
   * Milliseconds during which streams had data but no credit of their own, summed over all streams.
   */
  blockedByStreamCredit: number;
  /**
   * Milliseconds during which a stream had data and credit of its own, but the connection had no
   * credit.
   */
  blockedByConnectionCredit: number;
  /** Milliseconds during which there was data to send while the socket was full. */
  blockedBySocket: number;
  datagrams: { droppedIncoming: number; expiredOutgoing: number };
  session: WebSocketTransportSessionStats;
}

/** All of these are 0 if the connection cannot be resumed. */
export interface WebSocketTransportSessionStats {
  /** How often the connection went on over a new WebSocket. */
  resumptions: number;
  /** Messages that were sent again, or still have to be sent again. */
  resentMessages: number;
  /** The length of these messages in bytes. */
  resentBytes: number;
  /** The longest time without a WebSocket, in milliseconds. */
  longestGap: number;
  /** Bytes that are kept because the server has not acknowledged them. */
  replayHeld: number;
}

/**
 * `fixed`: there is a WebSocket, and if the WebSocket is lost, the connection ends. `live`: there
 * is a WebSocket, and if the WebSocket is lost, the connection is suspended. `suspended`: there is
 * no WebSocket, and the connection dials again. `resuming`: there is a new WebSocket, and the
 * server has not answered yet.
 */
export type SessionState = "connecting" | "fixed" | "live" | "suspended" | "resuming" | "ended";

/** The `detail` of a `resumed` event. */
export interface WebSocketTransportResumedDetail {
  /** How long the connection had no WebSocket, in milliseconds. */
  gap: number;
  /** How many messages this end sends again. */
  resentMessages: number;
  /** The length of these messages in bytes. */
  resentBytes: number;
}

export interface WebSocketTransportEventMap {
  /** The connection has lost its WebSocket. Reads and writes wait. */
  suspended: Event;
  /** The connection goes on over a new WebSocket. */
  resumed: CustomEvent<WebSocketTransportResumedDetail>;
}

export type WebSocketTransportErrorSource = "stream" | "session";

/**
 * The party or the event that ended a connection, or that made an attempt to connect fail. If the
 * browser does not say why it could not connect, this is `network`.
 */
export type Culprit = "local" | "peer" | "network" | "timeout";

export interface WebSocketTransportErrorOptions {
  source?: WebSocketTransportErrorSource;
  streamErrorCode?: number | null;
  culprit?: Culprit | null;
}

/**
 * The name of this error is `WebTransportError`. If the page has a class of that name, the error is
 * an instance of it. If the error is the reason of an `abort` or `cancel`, its code is sent to the
 * peer.
 */
export class WebSocketTransportError extends DOMException {
  constructor(message?: string, options?: WebSocketTransportErrorOptions);
  readonly source: WebSocketTransportErrorSource;
  readonly streamErrorCode: number | null;
  /** Set only on the error of a connection. */
  readonly culprit: Culprit | null;
}

/**
 * A write completes when the send buffer has taken the chunk. If the peer does not read, the buffer
 * fills, and then a writer's `ready` stays pending. `close` completes when everything has been
 * handed to the WebSocket. `abort` resets the stream at once.
 */
export class WebSocketTransportSendStream extends WritableStream<BufferSource> {
  private constructor();
  sendOrder: number;
  getStats(): Promise<WebSocketTransportSendStreamStats>;
}

/**
 * A byte stream, if the browser supports byte streams. Nothing is read ahead, so if the reader
 * stops, the peer runs out of credit and stops too.
 */
export class WebSocketTransportReceiveStream extends ReadableStream<Uint8Array> {
  private constructor();
  getStats(): Promise<WebSocketTransportReceiveStreamStats>;
}

export class WebSocketTransportBidirectionalStream {
  private constructor();
  readonly readable: WebSocketTransportReceiveStream;
  readonly writable: WebSocketTransportSendStream;
}

export interface WebSocketTransportDatagrams {
  /** A byte stream has no empty chunks, so empty datagrams are left out. */
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<BufferSource>;
  /**
   * Makes another writable. A datagram that is too long makes its writable fail permanently with a
   * `RangeError`.
   */
  createWritable(): WritableStream<BufferSource>;
  /**
   * The size of the largest datagram in bytes; 0 if the peer accepts no datagrams, as on the js-ws
   * wire.
   */
  readonly maxDatagramSize: number;
}

export class WebSocketTransport extends EventTarget {
  /**
   * `url` has the scheme `ws`, `wss`, `http` or `https`, and may be relative to the page's URL. Any
   * other scheme causes a `SyntaxError`.
   */
  constructor(url: string | URL, options?: WebSocketTransportOptions);
  static readonly supportsReliableOnly: true;
  readonly ready: Promise<void>;
  /**
   * Fulfilled if either application closed the connection, and rejected if anything else ended it.
   * It is settled once the socket is gone.
   */
  readonly closed: Promise<Required<WebSocketTransportCloseInfo>>;
  /**
   * Fulfilled when this end calls `shutdown`, or when the server announces that it shuts down. From
   * then on no streams can be opened, and the connection ends once its streams have ended. Only a
   * wsmux server on the `qmux` wire announces that.
   */
  readonly draining: Promise<void>;
  readonly reliability: "pending" | "reliable-only";
  readonly congestionControl: "default";
  /** The negotiated application protocol, or the empty string. */
  readonly protocol: string;
  /**
   * Whether the connection has a WebSocket, and whether it would outlive the loss of a WebSocket.
   */
  readonly sessionState: SessionState;
  readonly datagrams: WebSocketTransportDatagrams;
  readonly incomingBidirectionalStreams: ReadableStream<WebSocketTransportBidirectionalStream>;
  /** The js-ws wire has no such streams. */
  readonly incomingUnidirectionalStreams: ReadableStream<WebSocketTransportReceiveStream>;
  createBidirectionalStream(options?: WebSocketTransportSendStreamOptions): Promise<WebSocketTransportBidirectionalStream>;
  createUnidirectionalStream(options?: WebSocketTransportSendStreamOptions): Promise<WebSocketTransportSendStream>;
  /** Closes the connection now. Unsent data is lost, and received data can still be read. */
  close(closeInfo?: WebSocketTransportCloseInfo): void;
  /** Ends the connection once its streams have ended. After this call no streams can be opened. */
  shutdown(): Promise<void>;
  getStats(): Promise<WebSocketTransportStats>;
  addEventListener<K extends keyof WebSocketTransportEventMap>(
    type: K,
    listener: (this: WebSocketTransport, event: WebSocketTransportEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof WebSocketTransportEventMap>(
    type: K,
    listener: (this: WebSocketTransport, event: WebSocketTransportEventMap[K]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/**
 * Loads the WebAssembly module. If this was not called, the first connection loads the module.
 * `source` says where the module is, if it is not in the script's directory.
 */
export function init(source?: string | URL | Request | Response | BufferSource | WebAssembly.Module): Promise<void>;
