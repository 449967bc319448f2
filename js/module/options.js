import { checkCode } from "./error.js";

const WIRES = ["qmux", "js-ws"];
const BROWSER_APIS = ["WebSocket", "WebSocketStream"];

/** An HTTP token (RFC 9110 §5.6.2), which is the syntax of a subprotocol's name. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const isTime = (value) => Number.isFinite(value) && value >= 0;

/** Each setting, with its permitted values and their description. */
const SETTINGS = {
  streamReceiveWindow: [isCount, "a number of bytes"],
  maxStreamReceiveWindow: [isCount, "a number of bytes"],
  windowGrowthBudget: [isCount, "a number of bytes"],
  maxConcurrentBidirectionalStreams: [isCount, "a number of streams"],
  maxConcurrentUnidirectionalStreams: [isCount, "a number of streams"],
  maxWaitingStreams: [isCount, "a number of streams"],
  cancelledStreamsPerSecond: [(value) => isCount(value) || value === Infinity, "a number of streams, or Infinity"],
  maxLocalStreams: [isCount, "a number of streams"],
  sendBuffer: [isCount, "a number of bytes"],
  sendWindow: [isCount, "a number of bytes"],
  maxMessageSent: [isCount, "a number of bytes"],
  maxRecordSize: [isCount, "a number of bytes"],
  maxIdleTimeout: [(value) => isTime(value) || value === Infinity, "a number of milliseconds, or Infinity"],
  keepAliveInterval: [(value) => isTime(value) || value === Infinity, "a number of milliseconds, or Infinity"],
  writeStallTimeout: [(value) => isTime(value) || value === Infinity, "a number of milliseconds, or Infinity"],
  connectTimeout: [isTime, "a number of milliseconds"],
  handshakeTimeout: [isTime, "a number of milliseconds"],
  closeTimeout: [isTime, "a number of milliseconds"],
  resumeTimeout: [(value) => isTime(value) || value === Infinity, "a number of milliseconds, or Infinity"],
  replayBudget: [isCount, "a number of bytes"],
  datagramReceiveBufferSize: [isCount, "a number of bytes"],
  datagramSendBufferSize: [isCount, "a number of bytes"],
};

function dictionary(value, name) {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object") throw new TypeError(`${name}: not an object`);
  return value;
}

/** Checks the URL, and returns the absolute URL to connect to. */
export function parseUrl(url) {
  let parsed;
  try {
    parsed = new URL(String(url), globalThis.location?.href);
  } catch {
    throw new DOMException(`${String(url)} is no URL`, "SyntaxError");
  }
  // WebSocket's constructor accepts `http` and `https`, too.
  if (parsed.protocol === "http:") parsed.protocol = "ws:";
  if (parsed.protocol === "https:") parsed.protocol = "wss:";
  if (!["ws:", "wss:"].includes(parsed.protocol) || parsed.hash !== "") {
    throw new DOMException(`${parsed} is no WebSocket's URL`, "SyntaxError");
  }
  return parsed.href;
}

/** Checks the names of application protocols, and returns them as an array. */
function parseNames(names, what) {
  if (typeof names !== "object" || !(Symbol.iterator in Object(names))) throw new TypeError(`${what}: not a sequence`);
  const array = Array.from(names);
  for (const name of array) {
    if (typeof name !== "string" || !TOKEN.test(name)) throw new TypeError(`protocol: ${String(name)} is no token`);
  }
  return array;
}

/** Checks the options of a connection, and returns them as settings for the core. */
export function parseOptions(options) {
  options = dictionary(options, "options");
  const { wire = "qmux", protocol, protocols = protocol === undefined ? [] : [protocol] } = options;
  if (!WIRES.includes(wire)) throw new TypeError(`wire: ${String(wire)} is not one of ${WIRES}`);
  const { bareProtocols = [] } = options;
  const names = parseNames(protocols, "protocols");
  const bareNames = parseNames(bareProtocols, "bareProtocols");
  // WebTransport programs may request these two options, but a WebSocket cannot provide them.
  if (options.requireUnreliable) throw new DOMException("a WebSocket is reliable", "NotSupportedError");
  if (options.serverCertificateHashes?.length) {
    throw new DOMException("a WebSocket's certificate is the browser's to judge", "NotSupportedError");
  }
  const { browserApi } = options;
  if (browserApi !== undefined) {
    if (!BROWSER_APIS.includes(browserApi)) throw new TypeError(`browserApi: ${String(browserApi)} is not one of ${BROWSER_APIS}`);
    if (!(browserApi in globalThis)) throw new DOMException(`this browser has no ${browserApi}`, "NotSupportedError");
  }
  const settings = { wire, protocols: names, bareProtocols: bareNames, browserApi };
  for (const [name, [isValid, what]] of Object.entries(SETTINGS)) {
    const value = options[name];
    if (value === undefined) continue;
    if (!isValid(value)) throw new TypeError(`${name}: ${String(value)} is not ${what}`);
    settings[name] = value;
  }
  return settings;
}

/** Checks the code and reason of a close, and fills in the defaults. */
export function parseCloseInfo(info) {
  const { closeCode = 0, reason = "" } = dictionary(info, "closeInfo");
  checkCode(closeCode, "closeCode");
  return { closeCode, reason: String(reason) };
}

export function parseSendOrder(sendOrder) {
  if (!Number.isInteger(sendOrder) || sendOrder !== (sendOrder | 0)) {
    throw new TypeError(`sendOrder: ${String(sendOrder)} is not an integer of 32 bits`);
  }
  return sendOrder;
}

/** Parses the options for opening a stream. */
export function parseStreamOptions(options) {
  const { sendOrder = 0, waitUntilAvailable = false } = dictionary(options, "options");
  return { sendOrder: parseSendOrder(sendOrder), waitUntilAvailable: Boolean(waitUntilAvailable) };
}

/** The bytes of a chunk, without a copy. */
export function bytesOf(chunk) {
  if (chunk instanceof Uint8Array) return chunk;
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk);
  if (typeof SharedArrayBuffer !== "undefined" && chunk instanceof SharedArrayBuffer) return new Uint8Array(chunk);
  throw new TypeError("a chunk is an ArrayBuffer or a view of one");
}
