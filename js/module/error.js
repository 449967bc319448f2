const SOURCES = ["stream", "session"];

/**
 * The base class. If the page has the class WebTransportError, the base class has the prototype of
 * WebTransportError. It does not call the constructor of WebTransportError, because browsers differ
 * in the constructor's parameters, and some browsers do not accept a source.
 */
function Base(message) {
  return Reflect.construct(DOMException, [message, "WebTransportError"], new.target);
}
Base.prototype = (globalThis.WebTransportError ?? DOMException).prototype;

/**
 * Works like WebTransportError, which not every browser has, and has one more property: `culprit`.
 */
export class WebSocketTransportError extends Base {
  #source;
  #streamErrorCode;
  #culprit;

  constructor(message = "", options = {}) {
    super(message);
    const { source = "stream", streamErrorCode = null, culprit = null } = options ?? {};
    if (!SOURCES.includes(source)) throw new TypeError(`source: ${String(source)} is not one of ${SOURCES}`);
    if (streamErrorCode !== null) checkCode(streamErrorCode, "streamErrorCode");
    this.#source = source;
    this.#streamErrorCode = streamErrorCode;
    this.#culprit = culprit;
  }

  get source() {
    return this.#source;
  }

  get streamErrorCode() {
    return this.#streamErrorCode;
  }

  get culprit() {
    return this.#culprit;
  }
}

/** Throws an error unless the code is an integer that JavaScript and the wire can represent. */
export function checkCode(code, name) {
  if (!Number.isSafeInteger(code) || code < 0) {
    throw new TypeError(`${name}: ${String(code)} is not an integer of 0 to 2^53 - 1`);
  }
}

/**
 * The code to send for the reason of an `abort` or `cancel`. A reason has a code if it is an error
 * of this module or the browser's own WebTransportError. For any other reason, the code is 0.
 */
export function codeOf(reason) {
  const code = reason instanceof Error ? reason.streamErrorCode : undefined;
  return Number.isSafeInteger(code) && code >= 0 ? code : 0;
}

/** The error for a fault of the core. Anything else that the core threw is returned unchanged. */
export function errorOf(fault) {
  switch (fault?.kind) {
    case "stream":
      return new WebSocketTransportError(fault.message, { source: "stream", streamErrorCode: fault.code });
    case "session":
      return new WebSocketTransportError(fault.message, { source: "session", culprit: fault.culprit });
    case "quota":
      return new DOMException(fault.message, "QuotaExceededError");
    case "unsupported":
      return new DOMException(fault.message, "NotSupportedError");
    case "closed":
      return new DOMException(fault.message, "InvalidStateError");
    case "range":
      return new RangeError(fault.message);
    default:
      return fault;
  }
}
