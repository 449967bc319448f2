/** One WebSocket in the shape of WebTransport: many streams, each with its own credit. */

/** Which language the two ends speak: `qmux` (the default), or what `@matrixai/ws` speaks. */
export type Wire = "qmux" | "js-ws";

/** Bytes are whole numbers, times are milliseconds. Each has a default, given and explained in the manual of wsmux. */
export interface WebSocketTransportOptions {
  wire?: Wire;
  /** Application protocols, the most wanted first. On the js-ws wire none is offered. */
  protocols?: Iterable<string>;
  /** The same for one alone. */
  protocol?: string;
  /** Application protocols that are offered by their names alone (draft-lcurley-qmux-websocket-00), after the others. */
  bareProtocols?: Iterable<string>;
  /**
   * Which of the browser's own to use; default `WebSocket`. Chromium's `WebSocketStream` reads no more from the network
   * than is taken from it; but Chromium 156 crashes when the network is lost while a message waits to be sent.
   */
  browserApi?: "WebSocket" | "WebSocketStream";
  /** What the peer may send on a stream before any of it was read. */
  streamReceiveWindow?: number;
  /** What that window may grow to. */
  maxStreamReceiveWindow?: number;
  /** By how much all windows together may grow. */
  windowGrowthBudget?: number;
  maxConcurrentBidirectionalStreams?: number;
  maxConcurrentUnidirectionalStreams?: number;
  /** On js-ws: streams of the server's past the limit that may wait for a place. */
  maxWaitingStreams?: number;
  cancelledStreamsPerSecond?: number;
  /** Streams of each kind that this end may have open, whatever the server allows. */
  maxLocalStreams?: number;
  /** What a stream takes from its writer before it can be sent. */
  sendBuffer?: number;
  /** What all streams together take from their writers before it can be sent. */
  sendWindow?: number;
  /** The largest message that is sent. */
  maxMessageSent?: number;
  maxRecordSize?: number;
  /** `Infinity` for ever. */
  maxIdleTimeout?: number;
  /** `Infinity` for never. */
  keepAliveInterval?: number;
  /** For how long the server may read nothing of what there is to send; `Infinity` for ever. */
  writeStallTimeout?: number;
  /** How long the browser may take to reach the server. */
  connectTimeout?: number;
  handshakeTimeout?: number;
  closeTimeout?: number;
  datagramReceiveBufferSize?: number;
  datagramSendBufferSize?: number;
}

export interface WebSocketTransportCloseInfo {
  /** 0 to 2^53 - 1. The js-ws wire has only those below 1000, and 3000 to 3999. */
  closeCode?: number;
  reason?: string;
}

export interface WebSocketTransportSendStreamOptions {
  /** Streams of a higher one send first, strictly; equal ones take turns. 32 bits; default 0. */
  sendOrder?: number;
  /** At the peer's limit, wait; else it is a `QuotaExceededError`. Default false. */
  waitUntilAvailable?: boolean;
}

export interface WebSocketTransportSendStreamStats {
  /** Taken from the writer. */
  bytesWritten: number;
  /** Handed to the WebSocket. */
  bytesSent: number;
  /** Waiting in the send buffer. */
  buffered: number;
  /** What the peer's credit still allows to send. */
  credit: number;
  /** Milliseconds with data and no credit. */
  blocked: number;
}

export interface WebSocketTransportReceiveStreamStats {
  bytesReceived: number;
  /** Handed to the reader. */
  bytesRead: number;
  /** Received and not read. */
  buffered: number;
  /** What the peer may still send before it is granted more. */
  credit: number;
  /** How far the peer may be ahead of the reader, now. */
  window: number;
}

export interface WebSocketTransportStats {
  /** Without the WebSocket's own framing. */
  bytesSent: number;
  bytesReceived: number;
  messagesSent: number;
  messagesReceived: number;
  /** Milliseconds; null before the first answer to a ping. */
  smoothedRtt: number | null;
  streamsOpened: number;
  streamsAccepted: number;
  streamsLive: number;
  /** Bytes in all send buffers. */
  buffered: number;
  windowGrowth: number;
  /** Milliseconds, as the two that follow. */
  blockedByStreamCredit: number;
  blockedByConnectionCredit: number;
  blockedBySocket: number;
  datagrams: { droppedIncoming: number; expiredOutgoing: number };
}

export type WebSocketTransportErrorSource = "stream" | "session";

/** Who brought a connection to its end. `network` where the browser does not tell why there was none. */
export type Culprit = "local" | "peer" | "network" | "timeout";

export interface WebSocketTransportErrorOptions {
  source?: WebSocketTransportErrorSource;
  streamErrorCode?: number | null;
  culprit?: Culprit | null;
}

/** Its name is `WebTransportError`, and it is one where the page has those. As the reason of `abort` or `cancel` it gives the peer its code. */
export class WebSocketTransportError extends DOMException {
  constructor(message?: string, options?: WebSocketTransportErrorOptions);
  readonly source: WebSocketTransportErrorSource;
  readonly streamErrorCode: number | null;
  /** Of a session's error. */
  readonly culprit: Culprit | null;
}

/**
 * A write is done when the send buffer has taken the chunk, so `ready` of a writer waits while the peer does not
 * read. `close` is done when all has been handed to the WebSocket. `abort` resets the stream at once.
 */
export class WebSocketTransportSendStream extends WritableStream<BufferSource> {
  private constructor();
  sendOrder: number;
  getStats(): Promise<WebSocketTransportSendStreamStats>;
}

/** A byte stream where the browser has them. Nothing is read ahead, so a reader that stands still brakes the peer. */
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
  /** A byte stream has no empty chunks: empty datagrams are left out. */
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<BufferSource>;
  /** Another one. A datagram that is too long makes its writable fail with a `RangeError`, for good. */
  createWritable(): WritableStream<BufferSource>;
  /** In bytes; 0 where the peer takes none, as on the js-ws wire. */
  readonly maxDatagramSize: number;
}

export class WebSocketTransport {
  /**
   * `url` has the scheme `ws`, `wss`, `http` or `https`, and may be relative to the page's; any other is a `SyntaxError`.
   */
  constructor(url: string | URL, options?: WebSocketTransportOptions);
  static readonly supportsReliableOnly: true;
  readonly ready: Promise<void>;
  /** Fulfilled when either application has closed it, rejected when anything else ended it; the socket is gone. */
  readonly closed: Promise<Required<WebSocketTransportCloseInfo>>;
  /** Fulfilled after `shutdown`; neither wire lets a peer say so. */
  readonly draining: Promise<void>;
  readonly reliability: "pending" | "reliable-only";
  readonly congestionControl: "default";
  /** The application protocol that was agreed on, or nothing. */
  readonly protocol: string;
  readonly datagrams: WebSocketTransportDatagrams;
  readonly incomingBidirectionalStreams: ReadableStream<WebSocketTransportBidirectionalStream>;
  /** The js-ws wire has none. */
  readonly incomingUnidirectionalStreams: ReadableStream<WebSocketTransportReceiveStream>;
  createBidirectionalStream(options?: WebSocketTransportSendStreamOptions): Promise<WebSocketTransportBidirectionalStream>;
  createUnidirectionalStream(options?: WebSocketTransportSendStreamOptions): Promise<WebSocketTransportSendStream>;
  /** Closes it now: what was not sent is lost, what has come stays readable. */
  close(closeInfo?: WebSocketTransportCloseInfo): void;
  /** Ends it once its streams have ended, and opens no more. */
  shutdown(): Promise<void>;
  getStats(): Promise<WebSocketTransportStats>;
}

/**
 * Loads the WebAssembly module; the first connection does it by itself. `source` says where it is, if not beside the
 * script.
 */
export function init(source?: string | URL | Request | Response | BufferSource | WebAssembly.Module): Promise<void>;
