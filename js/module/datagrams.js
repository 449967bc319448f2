import { errorOf } from "./error.js";
import { bytesOf } from "./options.js";

/** Makes a writable for outgoing datagrams (WebTransportDatagramsWritable). */
function writableOf(send) {
  const sink = {
    async write(chunk) {
      const bytes = bytesOf(chunk);
      try {
        await send(bytes);
      } catch (fault) {
        throw errorOf(fault);
      }
    },
  };
  return new WritableStream(sink, { highWaterMark: 1 });
}

/** The datagrams of both directions (WebTransportDatagramDuplexStream). */
export class WebSocketTransportDatagrams {
  #readable;
  #writable;
  #send;
  #maxDatagramSize;

  constructor(readable, send, maxDatagramSize) {
    this.#readable = readable;
    this.#send = send;
    this.#maxDatagramSize = maxDatagramSize;
  }

  get readable() {
    return this.#readable;
  }

  /** The first writable, which is made on first use. */
  get writable() {
    this.#writable ??= this.createWritable();
    return this.#writable;
  }

  /**
   * Makes a new writable. A datagram that is too long makes its writable fail for good, so a new
   * writable is needed after such a datagram.
   */
  createWritable() {
    return writableOf(this.#send);
  }

  /** The size of the largest datagram in bytes; 0 if the peer accepts none. */
  get maxDatagramSize() {
    return this.#maxDatagramSize();
  }
}
