import { WebSocketTransport } from "/dist/wsmux.js";

export const KIB = 1024;
export const MIB = 1024 * KIB;

export const ALL = ["wsmux", "wsmux-js-ws", "qmux"];
export const QMUX = ["wsmux", "qmux"];
export const ONE = ["wsmux"];
/** The server whose messages are described by the first lines of the streams. */
export const SCRIPTED = ["scripted"];

// ---- assertions -------------------------------------------------------------------------------

export function assert(holds, what) {
  if (!holds) throw new Error(what);
}

export function equal(found, wanted, what = "value") {
  const [a, b] = [found, wanted].map((value) => JSON.stringify(value));
  if (a !== b || typeof found !== typeof wanted) throw new Error(`${what}: ${a}, where ${b} was wanted`);
}

/** Checks that two values are the same object. `equal` compares only their JSON. */
export function same(found, wanted, what = "value") {
  if (found !== wanted) throw new Error(`${what}: ${found} is not the ${wanted} that was wanted`);
}

/** Returns the error with which a promise, or a function, fails. */
export async function failure(attempt, what = "it") {
  try {
    await (typeof attempt === "function" ? attempt() : attempt);
  } catch (error) {
    return error;
  }
  throw new Error(`${what} did not fail`);
}

export async function fails(attempt, name, what) {
  const error = await failure(attempt, what);
  equal(error.name, name, `name of ${error}`);
  return error;
}

/** Returns whether the promise is pending now, without waiting for it. */
export async function isPending(promise) {
  const pending = Symbol();
  return (await Promise.race([promise, Promise.resolve(pending)])) === pending;
}

/** Lets the page's other tasks run. */
export function turn() {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = () => resolve(port1.close());
    port2.postMessage(0);
  });
}

/** Waits until a condition holds. A test that waits for ever is ended by its runner. */
export async function until(holds) {
  while (!(await holds())) await turn();
}

// ---- bytes ------------------------------------------------------------------------------------

/** The pattern repeats after this many bytes. */
const PERIOD = 65536;
const tables = new Map();

function tableOf(seed) {
  let table = tables.get(seed);
  if (!table) {
    table = Uint8Array.from({ length: 2 * PERIOD }, (_, at) => at * 31 + (at >> 8) + seed);
    tables.set(seed, table);
  }
  return table;
}

/** Returns the bytes from `at` of the stream with this seed, at most one period of them. */
export function pattern(seed, at, length) {
  const from = at % PERIOD;
  return tableOf(seed).subarray(from, from + Math.min(length, PERIOD));
}

/** Checks a chunk that begins at byte `at`, and returns where it ends. */
export function check(seed, at, chunk) {
  const table = tableOf(seed);
  for (let i = 0, from = at % PERIOD; i < chunk.length; i += 1, from += 1) {
    if (from >= PERIOD) from -= PERIOD;
    if (chunk[i] !== table[from]) throw new Error(`wrong byte at ${at + i}`);
  }
  return at + chunk.length;
}

export async function send(writer, seed, bytes) {
  for (let at = 0; at < bytes; ) {
    const chunk = pattern(seed, at, bytes - at);
    await writer.ready;
    writer.write(chunk).catch(() => {});
    at += chunk.length;
  }
}

/** Reads to the end, checks the bytes, and returns their number. */
export async function receive(readable, seed) {
  let at = 0;
  for await (const chunk of readable) at = check(seed, at, chunk);
  return at;
}

export async function textOf(readable) {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of readable) text += decoder.decode(chunk, { stream: true });
  return text;
}

// ---- commands for the server ------------------------------------------------------------------

/** Opens a stream on which the server follows a command. */
export async function command(transport, line, options) {
  const stream = await transport.createBidirectionalStream(options);
  const writer = stream.writable.getWriter();
  await writer.write(new TextEncoder().encode(`${line}\n`));
  return { ...stream, readable: stream.readable, writable: stream.writable, writer };
}

/** Returns the server's whole answer to a command. */
export async function answer(transport, line) {
  const { readable, writer } = await command(transport, line);
  const [text] = await Promise.all([textOf(readable), writer.close()]);
  return text;
}

export async function echo(transport, seed, bytes) {
  const { readable, writer } = await command(transport, "echo");
  const sending = send(writer, seed, bytes).then(() => writer.close());
  const [back] = await Promise.all([receive(readable, seed), sending]);
  equal(back, bytes, "bytes that came back");
}

/** The server and the network of a test, and the connections that the test has made. */
export class Stage {
  #transports = [];

  constructor({ url, wire, peer }) {
    Object.assign(this, { url, wire, peer });
  }

  /** Creates a connection that is not ready yet. */
  connect(options) {
    const transport = new WebSocketTransport(this.url, { wire: this.wire, ...options });
    this.#transports.push(transport);
    return transport;
  }

  async open(options) {
    const transport = this.connect(options);
    await transport.ready;
    return transport;
  }

  /**
   * Controls the network: `lose` ends its connections. `cut` also ends each new connection at once.
   * `stand` pauses all connections. `run` ends a `cut` or `stand`.
   */
  async network(does) {
    const { ok } = await fetch(`/network/${does}`, { method: "POST" });
    assert(ok, `the network did not ${does}`);
  }

  /**
   * Lets the runner control the browser. `hide` and `show` hide and show the page. `freeze` freezes
   * the page, ends its connections, and thaws the page.
   */
  browser(does) {
    return new Promise((resolve) => ask(does, resolve));
  }

  /** Returns how the next connection ended at the server. */
  async ended() {
    const response = await fetch("/ended", { method: "POST" });
    return response.text();
  }

  end() {
    for (const transport of this.#transports) transport.close();
  }
}

const tests = new Map();

/** Defines a test. Its name is a sentence that must hold against each of `peers`. */
export function test(name, peers, body) {
  if (tests.has(name)) throw new Error(`${name}: twice`);
  tests.set(name, { peers, body });
}

export function list() {
  return Array.from(tests, ([name, { peers }]) => [name, peers]);
}

/** Waits until all earlier rejections have been reported. They are reported in order. */
function afterRejections() {
  return new Promise((resolve) => {
    const own = Promise.reject(new Error("nobody's"));
    addEventListener("unhandledrejection", ({ promise }) => promise === own && resolve());
  });
}

async function run(name, options) {
  const unheard = [];
  addEventListener("unhandledrejection", ({ reason }) => unheard.push(reason));
  const stage = new Stage(options);
  try {
    await tests.get(name).body(stage);
  } finally {
    stage.end();
  }
  // The end of the test may cause rejections as well.
  await turn();
  await afterRejections();
  // The last rejection is the one that `afterRejections` has caused.
  unheard.pop();
  if (unheard.length > 0) throw new Error(`rejected, and nobody heard: ${unheard.map((reason) => reason?.stack ?? reason).join("; ")}`);
}

/** A promise of the test's next report to the runner: a request, or the result of the test. */
let told;
let tell;
let finish;

function expectNews() {
  told = new Promise((resolve) => (tell = resolve));
}

function ask(wanted, resolve) {
  finish = resolve;
  tell({ wanted });
}

/** Starts a test. */
export function start(name, options) {
  expectNews();
  run(name, options).then(
    () => tell("passed"),
    (error) => tell(error?.stack ?? String(error)),
  );
}

/** Waits for the end of the test, or for a request to the runner. */
export function news() {
  return told;
}

/** Tells the test that the runner has fulfilled the request. */
export function done() {
  expectNews();
  finish();
}
