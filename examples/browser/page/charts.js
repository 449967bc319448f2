// Curves on canvases. Each update redraws the whole curve, in the style sheet's colours.

/** Milliseconds from the left edge of a curve to its right. */
export const SPAN = 40_000;

const scheme = matchMedia("(prefers-color-scheme: dark)");
const styles = getComputedStyle(document.documentElement);
let colours = new Map();
scheme.addEventListener("change", () => (colours = new Map()));

/** A colour of the style sheet, by the name of its variable. */
function colour(name) {
  if (!colours.has(name)) colours.set(name, styles.getPropertyValue(`--${name}`).trim());
  return colours.get(name);
}

/** A canvas that stays as sharp as its screen when its size changes. */
class Surface {
  constructor(canvas) {
    this.context = canvas.getContext("2d");
    new ResizeObserver(([{ contentRect }]) => {
      this.width = contentRect.width;
      this.height = contentRect.height;
      canvas.width = Math.round(this.width * devicePixelRatio);
      canvas.height = Math.round(this.height * devicePixelRatio);
      this.redraw?.();
    }).observe(canvas);
  }

  /** Empties the canvas, and returns its context, whose unit is the CSS pixel. */
  clear() {
    this.context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    this.context.clearRect(0, 0, this.width, this.height);
    return this.context;
  }

  draw(redraw) {
    this.redraw = redraw;
    if (this.width) redraw();
  }
}

/** Returns a function that converts a time to its position between the left edge and the right. */
const placeOf = (times, width) => {
  const now = times.at(-1);
  return (time) => width - ((now - time) / SPAN) * width;
};

function verticals(context, marks, x, height) {
  context.strokeStyle = colour("soft");
  context.globalAlpha = 0.45;
  context.lineWidth = 1;
  context.beginPath();
  for (const { time } of marks) {
    const at = Math.round(x(time)) + 0.5;
    context.moveTo(at, 0);
    context.lineTo(at, height);
  }
  context.stroke();
  context.globalAlpha = 1;
}

function dashed(context, y, width) {
  context.save();
  context.strokeStyle = colour("soft");
  context.globalAlpha = 0.5;
  context.setLineDash([2, 4]);
  context.beginPath();
  context.moveTo(0, Math.round(y) + 0.5);
  context.lineTo(width, Math.round(y) + 0.5);
  context.stroke();
  context.restore();
}

/** Writes text that is readable on any background. */
function written(context, text, x, y, name) {
  context.strokeStyle = colour("panel");
  context.lineWidth = 4;
  context.lineJoin = "round";
  context.strokeText(text, x, y);
  context.fillStyle = colour(name);
  context.fillText(text, x, y);
}

/**
 * The throughput of one stream. The last of the `rates` belongs to the last of the `times`. There
 * may be fewer `rates` than `times`.
 */
export class Sparkline extends Surface {
  /** The full rate is at two thirds of the height; a stream that catches up may exceed it. */
  update({ times, rates, marks, full, hue }) {
    this.draw(() => {
      const context = this.clear();
      const x = placeOf(times, this.width);
      const y = (rate) => this.height - 1 - Math.min(rate / (full * 1.5), 1) * (this.height - 2);
      const first = times.length - rates.length;
      verticals(context, marks, x, this.height);
      dashed(context, y(full), this.width);
      context.beginPath();
      rates.forEach((rate, i) => context.lineTo(x(times[first + i]), y(rate)));
      context.strokeStyle = colour(hue);
      context.lineWidth = 1.5;
      context.lineJoin = "round";
      context.stroke();
      context.lineTo(this.width, this.height);
      context.lineTo(x(times[first]), this.height);
      context.fillStyle = colour(hue);
      context.globalAlpha = 0.14;
      context.fill();
      context.globalAlpha = 1;
    });
  }
}

/** The throughput of all streams, with a layer for each. */
export class Layers extends Surface {
  update({ times, streams, marks, full, label }) {
    this.draw(() => {
      const context = this.clear();
      const x = placeOf(times, this.width);
      const top = 18;
      const scale = (this.height - top) / (full * 1.12);
      let below = times.map(() => 0);
      streams.forEach(({ rates, direction }, layer) => {
        const first = times.length - rates.length;
        const above = below.map((sum, i) => sum + (rates[i - first] ?? 0));
        this.#layer(context, times, below, above, (sum) => this.height - sum * scale, x);
        context.globalAlpha = layer % 2 ? 0.62 : 0.8;
        context.fillStyle = colour(direction);
        context.fill();
        context.globalAlpha = 1;
        context.strokeStyle = colour("panel");
        context.lineWidth = 0.75;
        context.stroke();
        below = above;
      });
      this.#axis(context, this.height - full * scale, label);
      verticals(context, marks, x, this.height);
      this.#labels(context, marks, x);
    });
  }

  #layer(context, times, below, above, y, x) {
    context.beginPath();
    times.forEach((time, i) => context.lineTo(x(time), Math.max(y(above[i]), 0)));
    for (let i = times.length - 1; i >= 0; i--) {
      context.lineTo(x(times[i]), Math.max(y(below[i]), 0));
    }
    context.closePath();
  }

  #axis(context, y, label) {
    dashed(context, y, this.width);
    context.font = "12px " + getComputedStyle(document.body).fontFamily;
    context.textBaseline = "bottom";
    written(context, label, 0, y - 3, "soft");
  }

  /** A mark's label is to its left, where later marks do not cover it. */
  #labels(context, marks, x) {
    let free = this.width;
    for (const { time, text } of marks.toReversed()) {
      const right = x(time) - 5;
      const left = right - context.measureText(text).width;
      if (right > free || left < 70) continue;
      written(context, text, left, 13, "ink");
      free = left - 8;
    }
  }
}
