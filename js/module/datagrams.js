import { errorOf } from "./error.js";
import { bytesOf } from "./options.js";

/** What goes out as datagrams: WebTransportDatagramsWritable. */
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

/** Both ways: WebTransportDatagramDuplexStream. */
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

  /** The first that was made. */
  get writable() {
    this.#writable ??= this.createWritable();
    return this.#writable;
  }

  /** Another; one that has failed, for a datagram that was too long, stays so. */
  createWritable() {
    return writableOf(this.#send);
  }

  /** In bytes; 0 where the peer takes none. */
  get maxDatagramSize() {
    return this.#maxDatagramSize();
  }
}
