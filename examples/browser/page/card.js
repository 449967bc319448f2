// The card that shows one stream.

import { Sparkline } from "./charts.js";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Formats a number of bytes with about three digits. */
export function size(bytes) {
  if (bytes < MIB) return `${Math.round(bytes / KIB)} KiB`;
  return `${(bytes / MIB).toFixed(bytes < 100 * MIB ? 1 : 0)} MiB`;
}

/** Formats a rate in MiB a second, without the unit. */
export const speed = (rate) => (rate / MIB).toFixed(2);

/** Shows a number as `text`, and stores it as a whole number for programs. */
export function show(data, value, text) {
  data.value = Math.round(value);
  data.textContent = text;
}

class Bar {
  #track;
  #fill;
  #data;

  constructor(element, label, of) {
    element.querySelector("dt").textContent = label;
    this.#track = element.querySelector(".track");
    this.#track.ariaLabel = `${label} of ${of}`;
    this.#fill = element.querySelector(".fill");
    this.#data = element.querySelector("data");
  }

  set(bytes, most) {
    this.#track.ariaValueMax = most;
    this.#track.ariaValueNow = Math.min(bytes, most);
    this.#track.ariaValueText = size(bytes);
    this.#fill.style.setProperty("--share", Math.min(bytes / most, 1));
    show(this.#data, bytes, size(bytes));
  }
}

/** A card. It exists as long as its stream. */
export class Card {
  #stream;
  #state;
  #rate;
  #moved;
  #credit;
  #buffered;
  #sparkline;
  /** The largest value of `credit` or `buffered` so far, which is the window. */
  #most = 1;

  constructor(stream, toggle) {
    this.#stream = stream;
    const { name, direction } = stream;
    const fragment = document.getElementById("card").content.cloneNode(true);
    this.element = fragment.querySelector(".card");
    this.element.dataset.name = name;
    fragment.querySelector("h3").textContent = name;
    this.#state = fragment.querySelector(".state");
    this.#rate = fragment.querySelector(".rate data");
    this.#moved = fragment.querySelector(".moved data");
    this.#credit = new Bar(fragment.querySelector(".credit"), "Credit", name);
    const waits = direction === "down" ? "Unread" : "Unsent";
    this.#buffered = new Bar(fragment.querySelector(".buffered"), waits, name);
    this.#sparkline = new Sparkline(fragment.querySelector("canvas"));
    this.button = fragment.querySelector("button");
    // This label is the same in both states. `aria-pressed` says whether the stream is stalled.
    this.button.ariaLabel = `Stall ${name}, or resume it`;
    this.button.addEventListener("click", toggle);
  }

  /** Shows whether the stream is stalled, and since when. */
  tell(now) {
    const { stalled, since } = this.#stream;
    this.element.classList.toggle("stalled", stalled);
    this.button.ariaPressed = stalled;
    this.button.textContent = stalled ? "Resume" : "Stall";
    const seconds = stalled ? Math.floor((now - since) / 1000) : 0;
    this.#state.textContent = stalled ? `stalled ${seconds} s` : "";
  }

  /** Shows the measured values. */
  update({ moved, credit, buffered, rate }) {
    show(this.#rate, rate, speed(rate));
    show(this.#moved, moved, size(moved));
    this.#most = Math.max(this.#most, credit, buffered);
    this.#credit.set(credit, this.#most);
    this.#buffered.set(buffered, this.#most);
  }

  draw(times, marks, full) {
    const { rates, direction, stalled } = this.#stream;
    this.#sparkline.update({ times, rates, marks, full, hue: stalled ? "stall" : direction });
  }
}
