import { BYTES, NOTHING_AHEAD, hasUnread } from "./streams.js";
import { errorOf } from "./error.js";

/** Whether a connection ended because an application closed it. */
export const isClean = (end) => "closeCode" in end || end.culprit === "local";

/**
 * The underlying source of incoming streams or datagrams. It still delivers everything that arrived
 * before the connection's end.
 */
class Arrivals {
  #connection;
  #controller;
  #accepting;
  #arrived = [];
  #end;
  #cancelled = false;

  /** `connection` is a promise of the core's connection. */
  constructor(connection) {
    this.#connection = connection;
  }

  start(controller) {
    this.#controller = controller;
  }

  async pull() {
    if (this.#arrived.length === 0 && this.#end === undefined) await this.#wait();
    this.#deliver();
  }

  cancel() {
    this.#cancelled = true;
    this.#arrived.splice(0).forEach(this.discard);
  }

  /** Takes the remaining arrivals after the connection has ended. */
  async drain(connection, end) {
    await this.#accepting;
    while (await this.#accept(connection));
    this.#end ??= end;
    // If there are arrivals, they are delivered first, and then the end.
    if (this.#arrived.length === 0) this.#deliver();
  }

  /**
   * Fails the readable with an error. A close by the page is an error here, too, because there
   * never was a connection.
   */
  fail(error) {
    this.#end = error;
    this.#cancelled = true;
    this.#controller.error(error);
  }

  async #wait() {
    let connection;
    try {
      connection = await this.#connection;
    } catch {
      // There is no connection. `fail` reports the error.
      return;
    }
    if (this.#end !== undefined) return;
    this.#accepting = this.#accept(connection);
    await this.#accepting;
  }

  /** Accepts one arrival, and returns whether there was one. */
  async #accept(connection) {
    try {
      const arrival = await this.accept(connection);
      if (this.#cancelled) this.discard(arrival);
      else this.#arrived.push(arrival);
      return true;
    } catch (fault) {
      this.#end ??= fault;
      return false;
    }
  }

  #deliver() {
    if (this.#cancelled) return;
    try {
      if (this.#arrived.length > 0) this.deliver(this.#controller, this.#arrived.shift());
    } catch (error) {
      // Only this readable fails, and the connection goes on. `cancel` makes `drain` discard later
      // arrivals.
      this.cancel();
      this.#controller.error(error);
      return;
    }
    if (this.#end === undefined || this.#arrived.length > 0) return;
    // If an arrival is still unread here, the read that asked for it was cancelled. The next read
    // gets the arrival, and the read after that gets the end.
    if (hasUnread(this.#controller)) return;
    this.#cancelled = true;
    if (isClean(this.#end)) {
      this.#controller.close();
      this.#controller.byobRequest?.respond(0);
    } else {
      this.#controller.error(errorOf(this.#end));
    }
  }
}

class IncomingStreams extends Arrivals {
  #wrap;

  constructor(connection, accept, wrap) {
    super(connection);
    this.accept = accept;
    this.#wrap = wrap;
  }

  deliver(controller, halves) {
    controller.enqueue(this.#wrap(halves));
  }

  discard(halves) {
    [halves].flat().forEach((half) => half.free());
  }
}

class IncomingDatagrams extends Arrivals {
  type = BYTES.type;

  async accept(connection) {
    for (;;) {
      const datagram = await connection.readDatagram();
      // A byte stream has no empty chunks, so an empty datagram is left out.
      if (datagram.byteLength > 0) return datagram;
    }
  }

  deliver(controller, datagram) {
    const request = controller.byobRequest;
    if (!request) {
      controller.enqueue(datagram);
      return;
    }
    const { buffer, byteOffset, byteLength } = request.view;
    // A datagram cannot be split. If it does not fit, `set` throws a RangeError.
    new Uint8Array(buffer, byteOffset, byteLength).set(datagram);
    request.respond(datagram.byteLength);
  }

  discard() {}
}

/** A readable stream, and its source for `drain` or `fail`. */
function readableOf(source) {
  return { source, readable: new ReadableStream(source, NOTHING_AHEAD) };
}

export const incomingStreams = (connection, accept, wrap) => readableOf(new IncomingStreams(connection, accept, wrap));
export const incomingDatagrams = (connection) => readableOf(new IncomingDatagrams(connection));
