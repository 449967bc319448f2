// The streams of the page: streams that it reads, streams that it writes, and one stream for
// commands. src/streams.rs is the server's side, and lists the commands.

/**
 * The bytes of one write. A write is small compared with a second's data, so that a curve with four
 * points a second is smooth.
 */
const CHUNK = new Uint8Array(8 * 1024);

/** Milliseconds between two checks of an upload's budget. */
const TICK = 20;

/**
 * How many seconds of data an upload may catch up after a delay. A page in the background needs
 * this, because it is woken only once a second.
 */
const MAX_DEBT = 1;

const encode = (text) => new TextEncoder().encode(text);

/** A loop that reaches this gate waits while the gate is closed. */
class Gate {
  #open = null;
  #passage = Promise.resolve();

  close() {
    this.#passage = new Promise((open) => (this.#open = open));
  }

  open() {
    this.#open?.();
    this.#open = null;
  }

  get passage() {
    return this.#passage;
  }
}

/** A stream from the server. Its reader is in the page. */
export class Download {
  direction = "down";
  stalled = false;
  #gate = new Gate();
  #moved = 0;
  #readable;
  #reader;

  constructor(name) {
    this.name = name;
  }

  async open(transport) {
    const { readable, writable } = await transport.createBidirectionalStream();
    this.#readable = readable;
    this.#reader = readable.getReader();
    const writer = writable.getWriter();
    await writer.write(encode("send\n"));
    await writer.close();
  }

  /** Reads to the end of the stream, and pauses while the stream is stalled. */
  async run() {
    for (;;) {
      await this.#gate.passage;
      const { done, value } = await this.#reader.read();
      if (done) return;
      this.#moved += value.byteLength;
    }
  }

  /**
   * Stops reading. No message tells the server to stop. The server stops when its credit runs out.
   */
  stall() {
    this.stalled = true;
    this.#gate.close();
  }

  resume() {
    this.stalled = false;
    this.#gate.open();
  }

  /**
   * Returns the bytes moved since the start, the bytes that the server may still send, and the
   * bytes that wait here to be read.
   */
  async measure() {
    const { credit, buffered } = await this.#readable.getStats();
    return { moved: this.#moved, credit, buffered };
  }

  /** Stops the stream. */
  async end() {
    this.#gate.open();
    await this.#reader.cancel();
  }
}

/** A stream to the server. Its reader is in the server. */
export class Upload {
  direction = "up";
  stalled = false;
  #number;
  #control;
  #readable;
  #writable;
  #writer;
  #ended = false;

  constructor(name, number, control) {
    this.name = name;
    this.#number = number;
    this.#control = control;
  }

  async open(transport) {
    const { readable, writable } = await transport.createBidirectionalStream();
    this.#readable = readable;
    this.#writable = writable;
    this.#writer = writable.getWriter();
    await this.#writer.write(encode(`receive ${this.#number}\n`));
  }

  /** Writes at the server's rate, as far as the stream's credit allows, until `end` is called. */
  async run() {
    const { rate } = this.#control;
    let budget = 0;
    let then = performance.now();
    while (!this.#ended) {
      await new Promise((wake) => setTimeout(wake, TICK));
      const now = performance.now();
      budget = Math.min(budget + (rate * (now - then)) / 1000, rate * MAX_DEBT);
      then = now;
      for (; budget >= CHUNK.byteLength && !this.#ended; budget -= CHUNK.byteLength) {
        await this.#writer.write(CHUNK);
      }
    }
  }

  /** Makes the server stop reading. */
  stall() {
    this.stalled = true;
    this.#control.say(`stall ${this.#number}`);
  }

  resume() {
    this.stalled = false;
    this.#control.say(`resume ${this.#number}`);
  }

  /**
   * Returns the bytes sent since the start, the bytes that the server still permits, and the bytes
   * that wait here to be sent.
   */
  async measure() {
    const { bytesSent, credit, buffered } = await this.#writable.getStats();
    return { moved: bytesSent, credit, buffered };
  }

  /** Ends the stream. */
  async end() {
    this.#ended = true;
    // A later stream may get the same number, and its reader must not start stalled.
    this.resume();
    await Promise.all([this.#writer.abort(), this.#readable.cancel()]);
  }
}

/** The stream that carries commands for the server's readers. */
export class Control {
  #writer;

  /** Opens the stream, and waits until the server has sent its rate. */
  static async open(transport) {
    // With this send order, commands are sent before the bytes of all other streams.
    const { readable, writable } = await transport.createBidirectionalStream({ sendOrder: 1 });
    const control = new Control();
    control.#writer = writable.getWriter();
    await control.#writer.write(encode("control\n"));
    control.rate = Number(await firstLine(readable));
    return control;
  }

  say(line) {
    // This fails only if the connection has ended, which `Session.ended` reports.
    this.#writer.write(encode(`${line}\n`)).catch(() => {});
  }
}

async function firstLine(readable) {
  const reader = readable.getReader();
  const decoder = new TextDecoder();
  let text = "";
  while (!text.includes("\n")) {
    const { done, value } = await reader.read();
    if (done) throw new Error("the server says nothing of itself");
    text += decoder.decode(value, { stream: true });
  }
  return text.slice(0, text.indexOf("\n"));
}
