import { errorOf } from "./error.js";
import { bytesOf } from "./options.js";

/** Outgoing datagrams: WebTransportDatagramsWritable. */
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

/** Both directions: WebTransportDatagramDuplexStream. */
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

  /** The first writable. */
  get writable() {
    this.#writable ??= this.createWritable();
    return this.#writable;
  }

  /** Another writable. One that has failed, because a datagram was too long, stays failed. */
  createWritable() {
    return writableOf(this.#send);
  }

  /** In bytes; 0 if the peer accepts none. */
  get maxDatagramSize() {
    return this.#maxDatagramSize();
  }
}
