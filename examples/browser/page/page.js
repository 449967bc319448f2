// The page's user interface: the settings, the cards, the totals, and the loss of the connection.

import { Card, show, speed } from "./card.js";
import { Layers, SPAN } from "./charts.js";
import { Session, stall } from "./session.js";

/** Milliseconds between samples. At this rate changes show at once, and numbers stay readable. */
const SAMPLE = 250;

/** Samples per drawing if the user prefers reduced motion. */
const CALM = 4;

/**
 * Below this fraction of its full rate, a stream counts as blocked. Between this fraction and the
 * full rate, the scheduler may merely have served the stream unevenly.
 */
const FULL = 0.85;

/** A blocked stream that reaches this fraction of its full rate no longer counts as blocked. */
const FULL_AGAIN = 0.95;
let full = true;

const find = (id) => document.getElementById(id);
const settings = find("settings").elements;
const layers = new Layers(find("layers"));
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * The open connection, if there is one. Code that has waited and then finds another connection here
 * must not continue.
 */
let session = null;
let attempt = 0;
/** The cards of this connection's streams. */
let cards = new Map();
let times = [];
let marks = [];
let samples = 0;

// The settings are part of the address, so that the address can be shared.
const query = new URLSearchParams(location.search);
for (const name of ["wire", "down", "up"]) {
  if (!query.has(name)) continue;
  const before = settings[name].value;
  settings[name].value = query.get(name);
  const valid = name === "wire" ? settings[name].value : settings[name].checkValidity();
  if (!valid) settings[name].value = before;
}

const counts = () => ({ down: Number(settings.down.value), up: Number(settings.up.value) });

function remember() {
  const { wire, down, up } = settings;
  history.replaceState(null, "", `?wire=${wire.value}&down=${down.value}&up=${up.value}`);
}

function enter(state) {
  document.body.dataset.state = state;
  find("disconnect").disabled = state !== "open";
  find("cut").disabled = state !== "open";
  find("lost").hidden = state !== "lost";
  for (const card of cards.values()) card.button.disabled = state !== "open";
  tellActions();
}

async function connect() {
  const mine = ++attempt;
  session?.close();
  session = null;
  [cards, times, marks] = [new Map(), [], []];
  document.body.dataset.resumptions = 0;
  find("down").replaceChildren();
  find("up").replaceChildren();
  enter("connecting");
  say("Connecting", "");
  try {
    const opened = await Session.open(settings.wire.value);
    if (mine !== attempt) return opened.close();
    session = opened;
  } catch (error) {
    if (mine === attempt) lose("There is no connection", error.message);
    return;
  }
  enter("open");
  const mark = (text) => {
    marks.push({ time: performance.now(), text });
    tellVerdict();
  };
  session.watch(
    () => mine === attempt && mark("socket lost"),
    (gap) => {
      if (mine !== attempt) return;
      document.body.dataset.resumptions++;
      mark(`back after ${Math.ceil(gap)} ms`);
    },
  );
  session.keep(counts(), arrange);
  measure(session);
  const [how, why] = await session.ended();
  if (mine === attempt) lose(how, why);
}

function lose(how, why) {
  attempt++;
  session = null;
  const focused = document.activeElement;
  enter("lost");
  find("how").textContent = how;
  find("why").textContent = why;
  say("Nothing moves", cards.size ? "The cards show the state when the connection ended." : "");
  // If the focused button is now disabled, it loses the focus. So focus another button.
  if (focused?.disabled) find("reconnect").focus();
}

/** Gives each stream its card, and removes the cards of ended streams. */
function arrange() {
  if (!session) return;
  for (const [stream, card] of cards) {
    if (session.streams.includes(stream)) continue;
    card.element.remove();
    cards.delete(stream);
  }
  for (const stream of session.streams) {
    if (cards.has(stream)) continue;
    const card = new Card(stream, () => stallThese([stream], !stream.stalled));
    cards.set(stream, card);
    find(stream.direction).append(card.element);
    card.tell(performance.now());
  }
  find("no-up").hidden = settings.up.value > 0;
  tellVerdict();
}

/** Stalls or resumes streams, and marks the moment. */
function stallThese(streams, stalled) {
  const now = performance.now();
  const changed = streams.filter((stream) => stall(stream, stalled, now));
  if (changed.length === 0) return;
  const what = changed.length === 1 ? changed[0].name : `${changed.length}`;
  marks.push({ time: now, text: `${what} ${stalled ? "stalled" : "resumed"}` });
  changed.forEach((stream) => cards.get(stream)?.tell(now));
  tellVerdict();
}

async function measure(measured) {
  while (session === measured) {
    const now = performance.now();
    await measured.sample(now, SPAN / SAMPLE + 1);
    if (session !== measured) return;
    times.push(now);
    if (times.length > SPAN / SAMPLE + 1) times.shift();
    marks = marks.filter(({ time }) => time > now - SPAN);
    tell(now);
    if (samples++ % (calm.matches ? CALM : 1) === 0) draw();
    await new Promise((wake) => setTimeout(wake, SAMPLE - (performance.now() - now)));
  }
}

function tell(now) {
  let total = 0;
  for (const [stream, card] of cards) {
    card.tell(now);
    if (!stream.last) continue;
    card.update(stream.last);
    total += stream.last.rate;
  }
  show(find("total").querySelector("data"), total, speed(total));
  tellVerdict();
}

/** Shows a sentence that sums up the page, with the figure that supports it. */
function tellVerdict() {
  if (!session) return;
  if (session.suspended) return say("The socket is lost, and the streams wait", "The page dials again.");
  const { streams, rate } = session;
  const still = streams.filter((stream) => stream.stalled);
  const free = streams.length - still.length;
  const steady = session.steady();
  const flowing = steady.filter((one) => one.rate > 0).length;
  const [data, of] = find("flowing").children;
  show(data, flowing, `${flowing}`);
  of.textContent = `of ${streams.length}`;
  tellActions();

  const whose = still.length === 1 ? `${still[0].name} stands` : `${still.length} stand`;
  const slowest = steady.toSorted((a, b) => a.rate - b.rate)[0];
  if (!slowest) {
    // Either nothing is known of the other streams yet, or there are no other streams.
    say(still.length ? `${whose} still` : "The streams begin", "");
    return;
  }
  const share = Math.min(slowest.rate / rate, 1);
  const others = free === 1 ? "the other one" : `the other ${free}`;
  // A screen reader announces each change. With two thresholds, the text does not change back and
  // forth.
  full = share >= (full ? FULL : FULL_AGAIN);
  const how = full ? "at full rate" : "at less than their rate";
  const verdict = still.length
    ? `${whose} still, ${others} ${free === 1 ? "flows" : "flow"} ${how}`
    : `All ${streams.length} streams flow ${how}`;
  const percent = `${Math.round(share * 100)} % of its rate`;
  say(verdict, `The slowest that is not stalled: ${slowest.stream.name}, at ${percent}.`, share);
}

function say(verdict, evidence, share) {
  // A screen reader announces each assignment, so assign the text only if it differs.
  if (find("verdict").textContent !== verdict) find("verdict").textContent = verdict;
  find("evidence").textContent = evidence;
  find("evidence").dataset.share = share ?? "";
}

function tellActions() {
  const streams = session?.streams ?? [];
  find("stall-all").disabled = streams.filter((stream) => !stream.stalled).length < 2;
  find("resume-all").disabled = !streams.some((stream) => stream.stalled);
}

function draw() {
  const { streams, rate } = session;
  for (const card of cards.values()) card.draw(times, marks, rate);
  const full = rate * streams.length;
  const label = `${speed(full)} MiB/s`;
  layers.update({ times, streams, marks, full, label });
}

find("stall-all").addEventListener("click", () => {
  const [one, ...others] = session.streams.filter((stream) => !stream.stalled);
  stallThese(others, true);
  cards.get(one).element.scrollIntoView({ block: "nearest" });
});
find("resume-all").addEventListener("click", () => stallThese(session.streams, false));
find("cut").addEventListener("click", () => session.cut());
find("disconnect").addEventListener("click", () => session.close());
find("reconnect").addEventListener("click", connect);
find("settings").addEventListener("submit", (event) => event.preventDefault());
find("settings").addEventListener("change", ({ target }) => {
  if (!target.checkValidity()) return target.reportValidity();
  remember();
  if (target.name === "wire") connect();
  else session?.keep(counts(), arrange);
});

connect();
