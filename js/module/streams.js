import { codeOf, errorOf } from "./error.js";
import { bytesOf, parseSendOrder } from "./options.js";

/** The largest chunk that a default reader gets, in bytes. */
const CHUNK = 256 * 1024;

/** The properties that make an underlying source a byte source, if the browser has byte streams. */
export const BYTES = (() => {
  try {
    new ReadableStream({ type: "bytes" });
    return { type: "bytes" };
  } catch {
    return {};
  }
})();

/**
 * The core is given one chunk at a time, and no further chunks are queued here, because the core's
 * own buffer is the queue.
 */
const ONE_CHUNK = { highWaterMark: 1 };

/**
 * Nothing is read before a reader asks for it. So data that has arrived stays in the core, where
 * flow control counts it.
 */
export const NOTHING_AHEAD = { highWaterMark: 0 };

/** Whether a stream without read-ahead holds data that an error would discard. */
export const hasUnread = (controller) => controller.desiredSize < 0;

const SEND_STATS = ["bytesWritten", "bytesSent", "buffered", "credit", "blocked"];
const RECEIVE_STATS = ["bytesReceived", "bytesRead", "buffered", "credit", "window"];

/** Makes an object of the core's numbers, with `names` as its keys. */
export function named(names, numbers) {
  return Object.fromEntries(names.map((name, at) => [name, numbers[at]]));
}

/**
 * One half of a stream in the core. It is freed once, when it has ended, and its last statistics
 * are kept.
 */
class Half {
  #core;
  #names;
  #last;

  constructor(core, names) {
    this.#core = core;
    this.#names = names;
  }

  /** The core's object, until it is freed. */
  get core() {
    return this.#core;
  }

  stats() {
    return { ...(this.#core ? named(this.#names, this.#core.stats()) : this.#last) };
  }

  release() {
    if (!this.#core) return;
    this.#last = this.stats();
    this.#core.free();
    this.#core = undefined;
  }
}

/** The underlying sink of a sending half. */
class Sink {
  #half;
  #sent;

  constructor(half) {
    this.#half = half;
    // This promise is fulfilled with the fault that ended the half, or with undefined if there was
    // no fault. `start` adds a step that frees the half first.
    this.#sent = half.core.ended().then(
      (code) => (code === undefined ? undefined : { kind: "stream", message: `stopped by the peer with code ${code}`, code }),
      (fault) => fault,
    );
  }

  start(controller) {
    const half = this.#half;
    this.#sent = this.#sent.then((fault) => {
      half.release();
      if (fault) controller.error(errorOf(fault));
      return fault;
    });
    // This listener resets the half at once. Without the listener, a write that waits for credit
    // would have to complete first.
    controller.signal.addEventListener("abort", () => half.core?.reset(codeOf(controller.signal.reason)));
  }

  async write(chunk) {
    const bytes = bytesOf(chunk);
    try {
      await this.#half.core?.write(bytes);
    } catch (fault) {
      throw errorOf(fault);
    }
  }

  async close() {
    try {
      this.#half.core?.finish();
    } catch (fault) {
      throw errorOf(fault);
    }
    const fault = await this.#sent;
    if (fault) throw errorOf(fault);
  }

  abort(reason) {
    this.#half.core?.reset(codeOf(reason));
  }
}

/** A sending half (WebTransportSendStream). */
export class WebSocketTransportSendStream extends WritableStream {
  #half;
  #sendOrder;

  constructor(core, sendOrder = 0) {
    const half = new Half(core, SEND_STATS);
    super(new Sink(half), ONE_CHUNK);
    this.#half = half;
    this.sendOrder = sendOrder;
  }

  /**
   * As long as a stream with a higher value has data that it may send, streams with lower values
   * send nothing. Streams with equal values take turns.
   */
  get sendOrder() {
    return this.#sendOrder;
  }

  set sendOrder(sendOrder) {
    this.#sendOrder = parseSendOrder(sendOrder);
    this.#half.core?.setPriority(sendOrder);
  }

  async getStats() {
    return this.#half.stats();
  }
}

/** The underlying source of a receiving half. */
class Source {
  type = BYTES.type;
  #half;
  /**
   * Whether a read is in progress in the core. The result of this read is delivered before any end.
   */
  #reading = false;
  /**
   * The fault that ended the stream or its connection before everything was read, if there is one.
   */
  #fault;

  constructor(half) {
    this.#half = half;
  }

  start(controller) {
    const ended = (fault) => {
      this.#fault = fault;
      this.#failUnread(controller);
    };
    // A reset must be noticed also while no read is in progress.
    this.#half.core.reset().then(
      (code) => ended({ kind: "stream", message: `reset by the peer with code ${code}`, code }),
      (fault) => fault.kind === "session" && ended(fault),
    );
  }

  async pull(controller) {
    this.#reading = true;
    await this.#read(controller);
    this.#reading = false;
    this.#failUnread(controller);
  }

  async #read(controller) {
    const { core } = this.#half;
    const request = controller.byobRequest;
    try {
      if (request) {
        const { buffer, byteOffset, byteLength } = request.view;
        const length = await core.readInto(new Uint8Array(buffer, byteOffset, byteLength));
        // If the core's half is gone, the stream was cancelled during the read.
        if (!this.#half.core) return;
        if (length === 0) this.#end(controller);
        else request.respond(length);
      } else {
        const chunk = await core.read(CHUNK);
        if (!this.#half.core) return;
        if (chunk) controller.enqueue(chunk);
        else this.#end(controller);
      }
    } catch (fault) {
      this.#fail(controller, fault);
    }
  }

  cancel(reason) {
    this.#half.core?.stop(codeOf(reason));
    this.#half.release();
  }

  #end(controller) {
    this.#half.release();
    controller.close();
    // The read may have begun for an earlier reader. If a later reader now waits with a buffer of
    // its own, this response ends the wait of the later reader.
    controller.byobRequest?.respond(0);
  }

  /**
   * Fails the stream if it has a fault and no bytes are left to read. Bytes may be left in the
   * core, or in a read that is in progress, or here, if the read that requested them was cancelled.
   * Once these bytes have been read, the fault is reported.
   */
  #failUnread(controller) {
    if (!this.#fault || this.#reading || !this.#half.core) return;
    if (this.#half.stats().buffered > 0 || hasUnread(controller)) return;
    this.#fail(controller, this.#fault);
  }

  #fail(controller, fault) {
    if (!this.#half.core) return;
    this.#half.release();
    controller.error(errorOf(fault));
  }
}

/** A receiving half (WebTransportReceiveStream). */
export class WebSocketTransportReceiveStream extends ReadableStream {
  #half;

  constructor(core) {
    const half = new Half(core, RECEIVE_STATS);
    super(new Source(half), NOTHING_AHEAD);
    this.#half = half;
  }

  async getStats() {
    return this.#half.stats();
  }
}

/** Both halves of a stream (WebTransportBidirectionalStream). */
export class WebSocketTransportBidirectionalStream {
  #readable;
  #writable;

  constructor([send, receive], sendOrder) {
    this.#writable = new WebSocketTransportSendStream(send, sendOrder);
    this.#readable = new WebSocketTransportReceiveStream(receive);
  }

  get readable() {
    return this.#readable;
  }

  get writable() {
    return this.#writable;
  }
}
