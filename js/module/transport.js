import { incomingDatagrams, incomingStreams, isClean } from "./arrivals.js";
import { WebSocketTransportDatagrams } from "./datagrams.js";
import { WebSocketTransportError, errorOf } from "./error.js";
import { parseCloseInfo, parseOptions, parseStreamOptions, parseUrl } from "./options.js";
import {
  WebSocketTransportBidirectionalStream,
  WebSocketTransportReceiveStream,
  WebSocketTransportSendStream,
  named,
} from "./streams.js";
import { load } from "./wasm.js";

const STATS = [
  "bytesSent",
  "bytesReceived",
  "messagesSent",
  "messagesReceived",
  "smoothedRtt",
  "streamsOpened",
  "streamsAccepted",
  "streamsLive",
  "buffered",
  "windowGrowth",
  "blockedByStreamCredit",
  "blockedByConnectionCredit",
  "blockedBySocket",
  "droppedIncoming",
  "expiredOutgoing",
  "resumptions",
  "resentMessages",
  "resentBytes",
  "longestGap",
  "replayHeld",
];

function statsOf(connection) {
  const { droppedIncoming, expiredOutgoing, resumptions, resentMessages, resentBytes, longestGap, replayHeld, ...stats } =
    named(STATS, connection.stats());
  if (Number.isNaN(stats.smoothedRtt)) stats.smoothedRtt = null;
  const session = { resumptions, resentMessages, resentBytes, longestGap, replayHeld };
  return { ...stats, datagrams: { droppedIncoming, expiredOutgoing }, session };
}

/** Returns the promise. If it is rejected, the page does not have to handle the rejection. */
function quiet(promise) {
  promise.catch(() => {});
  return promise;
}

/**
 * One WebSocket with the API of WebTransport. It dispatches the events `suspended` and `resumed`.
 */
export class WebSocketTransport extends EventTarget {
  #state = "connecting";
  #dial;
  #giveUp;
  /** A promise of the core's connection. */
  #connected;
  /**
   * The core's connection. This field is set when the connection is established, and is cleared
   * when the connection is freed.
   */
  #connection;
  #closeInfo;
  #ready;
  #closed;
  #draining;
  #drained;
  #bidirectional;
  #unidirectional;
  #datagrams;
  #incomingDatagrams;
  #maxDatagramSize = 0;
  #protocol = "";
  #stats;

  constructor(url, options) {
    super();
    if (arguments.length === 0) throw new TypeError("a URL is wanted");
    const target = parseUrl(url);
    const settings = parseOptions(options);
    const connected = new Promise((resolve, reject) => {
      this.#giveUp = reject;
      this.#connect(target, settings).then(resolve, (fault) => reject(errorOf(fault)));
    });
    this.#connected = quiet(connected);
    this.#ready = quiet(connected.then(() => {}));
    this.#draining = new Promise((resolve) => (this.#drained = resolve));
    this.#bidirectional = incomingStreams(
      connected,
      (connection) => connection.acceptBi(),
      (halves) => new WebSocketTransportBidirectionalStream(halves),
    );
    this.#unidirectional = incomingStreams(
      connected,
      (connection) => connection.acceptUni(),
      (half) => new WebSocketTransportReceiveStream(half),
    );
    this.#incomingDatagrams = incomingDatagrams(connected);
    this.#datagrams = new WebSocketTransportDatagrams(
      this.#incomingDatagrams.readable,
      (bytes) => this.#ask((connection) => connection.sendDatagram(bytes)),
      () => this.#connection?.maxDatagramSize() ?? this.#maxDatagramSize,
    );
    this.#closed = quiet(this.#run());
  }

  static get supportsReliableOnly() {
    return true;
  }

  get ready() {
    return this.#ready;
  }

  get closed() {
    return this.#closed;
  }

  get draining() {
    return this.#draining;
  }

  get reliability() {
    return this.#connection || this.#stats ? "reliable-only" : "pending";
  }

  get congestionControl() {
    return "default";
  }

  get protocol() {
    return this.#protocol;
  }

  get sessionState() {
    return this.#connection?.sessionState() ?? (this.#state === "connecting" ? "connecting" : "ended");
  }

  get datagrams() {
    return this.#datagrams;
  }

  get incomingBidirectionalStreams() {
    return this.#bidirectional.readable;
  }

  get incomingUnidirectionalStreams() {
    return this.#unidirectional.readable;
  }

  async createBidirectionalStream(options) {
    const { sendOrder, waitUntilAvailable } = parseStreamOptions(options);
    const halves = await this.#ask((connection) => connection.openBi(waitUntilAvailable));
    return new WebSocketTransportBidirectionalStream(halves, sendOrder);
  }

  async createUnidirectionalStream(options) {
    const { sendOrder, waitUntilAvailable } = parseStreamOptions(options);
    const half = await this.#ask((connection) => connection.openUni(waitUntilAvailable));
    return new WebSocketTransportSendStream(half, sendOrder);
  }

  /** Closes the connection now. Unsent data is lost. */
  close(closeInfo) {
    const info = parseCloseInfo(closeInfo);
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#closeInfo = info;
    this.#connection?.close(info.closeCode, info.reason);
    this.#dial?.abort();
    this.#giveUp(new WebSocketTransportError("closed before it was ready", { source: "session", culprit: "local" }));
  }

  /** Ends the connection once its streams have ended. */
  async shutdown() {
    await this.#ask((connection) => connection.shutdown());
    this.#drained();
  }

  async getStats() {
    if (this.#state === "connecting") await this.ready;
    if (this.#connection) return statsOf(this.#connection);
    if (this.#stats) return structuredClone(this.#stats);
    throw new DOMException("there was no connection", "InvalidStateError");
  }

  async #connect(url, settings) {
    const core = await load();
    if (this.#state !== "connecting") return undefined;
    const dial = new core.Dial(url, settings);
    this.#dial = dial;
    let connection;
    try {
      connection = await dial.connection;
    } finally {
      this.#dial = undefined;
      dial.free();
    }
    if (this.#state !== "connecting") {
      // Here the state is `closed`, so `close` has set the code and the reason.
      connection.close(this.#closeInfo.closeCode, this.#closeInfo.reason);
      connection.free();
      return undefined;
    }
    this.#state = "connected";
    this.#connection = connection;
    connection.watch(
      () => this.dispatchEvent(new Event("suspended")),
      (gap, resentMessages, resentBytes) =>
        this.dispatchEvent(new CustomEvent("resumed", { detail: { gap, resentMessages, resentBytes } })),
      this.#drained,
    );
    this.#protocol = connection.protocol() ?? "";
    return connection;
  }

  /** Follows the connection to its end. */
  async #run() {
    const incoming = [this.#bidirectional, this.#unidirectional, this.#incomingDatagrams];
    let connection;
    try {
      connection = await this.#connected;
    } catch (error) {
      this.#state = "closed";
      for (const { source } of incoming) source.fail(error);
      throw error;
    }
    const end = await connection.closed();
    this.#state = "closed";
    await Promise.all(incoming.map(({ source }) => source.drain(connection, end)));
    this.#maxDatagramSize = connection.maxDatagramSize();
    this.#stats = statsOf(connection);
    this.#connection = undefined;
    connection.free();
    if (!isClean(end)) throw errorOf(end);
    const { closeCode, reason } = end.culprit === "local" ? { closeCode: 0, reason: "", ...this.#closeInfo } : end;
    return { closeCode, reason };
  }

  /** Waits for the core's connection, and then calls `question` with it. */
  async #ask(question) {
    if (this.#state !== "closed") {
      try {
        await this.#connected;
        if (this.#connection) return await question(this.#connection);
      } catch (fault) {
        throw errorOf(fault);
      }
    }
    throw new DOMException("the connection has ended", "InvalidStateError");
  }
}
