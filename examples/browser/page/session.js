// One connection, from its opening to its end, and the streams that are open on it.

import { WebSocketTransport } from "./wsmux/wsmux.js";
import { Control, Download, Upload } from "./streams.js";

/** Streams have names, so that people can refer to them. */
const RIVERS = {
  down: [
    ..."Rhine Nile Volga Indus Loire Tagus Oder Elbe Po Ebro Seine Danube".split(" "),
    ..."Mekong Congo Niger Yukon Ob Lena Amur Ganges Tiber Thames Severn Shannon".split(" "),
    ..."Vistula Don Ural Tigris Orinoco Murray Fraser Hudson".split(" "),
  ],
  up: "Inn Main Aare Reuss Isar Lech Saale Spree".split(" "),
};

/** The settings that differ from the library's defaults. */
const CONFIG = {
  // Windows do not grow, so that the cards can be compared.
  windowGrowthBudget: 0,
  // The streams outlive the loss of a socket. But a person who watches the page should soon learn
  // that a server is gone.
  resumeTimeout: 10_000,
  maxIdleTimeout: 10_000,
};

/** A rate is the mean of this many samples, because timers are too uneven for a single sample. */
const SMOOTH = 4;

/** A rate in the page's summary sentence is the mean of this many samples. */
const STEADY = 8;

export class Session {
  /** The open streams, downloads first. */
  streams = [];
  #transport;
  #control;
  #wanted;
  #left = false;
  #changing = Promise.resolve();

  /** Connects, and waits until the server has sent its rate. */
  static async open(wire) {
    const session = new Session();
    session.#transport = new WebSocketTransport("streams", { wire, ...CONFIG });
    await session.#transport.ready;
    try {
      session.#control = await Control.open(session.#transport);
    } catch (error) {
      session.close();
      throw error;
    }
    return session;
  }

  /** The number of bytes that a stream moves in a second when nothing blocks it. */
  get rate() {
    return this.#control.rate;
  }

  /** Whether the connection waits for a new socket. */
  get suspended() {
    return ["suspended", "resuming"].includes(this.#transport.sessionState);
  }

  /**
   * Calls `lost` when the socket is lost, and `back` when there is another socket, with the
   * milliseconds in between.
   */
  watch(lost, back) {
    this.#transport.addEventListener("suspended", lost);
    this.#transport.addEventListener("resumed", ({ detail }) => back(detail.gap));
  }

  /** Makes the server cut all sockets, as a failing network does. */
  cut() {
    // The answer may be lost with the socket.
    fetch("cut", { method: "POST" }).catch(() => {});
  }

  /** Waits for the end of the connection, and returns a description of it. */
  async ended() {
    try {
      const { closeCode, reason } = await this.#transport.closed;
      const how = this.#left ? "You closed the connection" : "The server closed the connection";
      return [how, `code ${closeCode}, ${reason || "no reason"}`];
    } catch (error) {
      return ["The connection is lost", error.message];
    }
  }

  close() {
    this.#left = true;
    this.#transport.close({ closeCode: 0, reason: "the page leaves" });
  }

  /**
   * Opens streams, or ends the latest ones, until the number of open streams in each direction is
   * what `wanted` says. Calls `changed` after each step.
   */
  keep(wanted, changed) {
    this.#wanted = wanted;
    this.#changing = this.#changing.then(() => this.#change(changed)).catch(() => {
      // This fails only if the connection has ended, which `ended` reports.
    });
    return this.#changing;
  }

  async #change(changed) {
    for (const direction of ["down", "up"]) {
      const open = () => this.streams.filter((stream) => stream.direction === direction);
      while (open().length > this.#wanted[direction]) {
        const stream = open().at(-1);
        this.streams.splice(this.streams.indexOf(stream), 1);
        stream.end().catch(() => {});
        changed();
      }
      while (open().length < this.#wanted[direction]) {
        const stream = this.#stream(direction, open().length);
        await stream.open(this.#transport);
        const place = direction === "down" ? open().length : this.streams.length;
        this.streams.splice(place, 0, Object.assign(stream, { trail: [], rates: [], last: null }));
        stream.run().catch(() => {});
        changed();
      }
    }
  }

  #stream(direction, number) {
    const name = RIVERS[direction][number];
    return direction === "down" ? new Download(name) : new Upload(name, number, this.#control);
  }

  /** Measures each stream, and keeps its last `most` rates. */
  async sample(now, most) {
    await Promise.all(
      this.streams.map(async (stream) => {
        const measured = await stream.measure().catch(() => null);
        if (!measured) return;
        stream.trail.push({ time: now, moved: measured.moved });
        if (stream.trail.length > STEADY + 1) stream.trail.shift();
        const rate = meanRate(stream.trail.slice(-SMOOTH - 1));
        stream.rates.push(rate);
        if (stream.rates.length > most) stream.rates.shift();
        stream.last = { ...measured, rate };
      }),
    );
  }

  /** Returns the streams that were not stalled during the last samples, with their mean rates. */
  steady() {
    return this.streams
      .filter(({ stalled, since, trail }) => {
        return !stalled && trail.length > STEADY && !(trail[0].time <= since);
      })
      .map((stream) => ({ stream, rate: meanRate(stream.trail) }));
  }
}

/** Returns the mean rate from the first of these samples to the last, in bytes a second. */
function meanRate(trail) {
  const [from, to] = [trail[0], trail.at(-1)];
  return to.time > from.time ? ((to.moved - from.moved) * 1000) / (to.time - from.time) : 0;
}

/** Stalls or resumes a stream's reader. Returns `false` if it is in that state already. */
export function stall(stream, stalled, now) {
  if (stream.stalled === stalled) return false;
  stream.since = now;
  if (stalled) stream.stall();
  else stream.resume();
  return true;
}
