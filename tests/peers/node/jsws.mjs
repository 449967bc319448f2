// A peer on the js-ws wire, with the published @matrixai/ws.
//   node jsws.mjs server --host H --port P --cert F --key F [--window N] [--keepalive MS] [--timeout MS]
//   node jsws.mjs client --url wss://HOST:PORT [same options]
// On either side [--verify true] verifies the other end's certificate: against the roots in [--ca F], or with a
// verifyCallback that accepts only the certificate in [--accept F]. A client presents the certificate of
// [--cert F --key F], if given. A server with [--header "name: value"] refuses requests without this header.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import { run } from './driver.mjs';

const { WebSocketServer, WebSocketClient, events, errors } = (await import('@matrixai/ws')).default;
// The logger is a dependency of @matrixai/ws and not of this package, so it is resolved from
// @matrixai/ws.
const fromWs = createRequire(createRequire(import.meta.url).resolve('@matrixai/ws'));
const { default: Logger, LogLevel, StreamHandler } = fromWs('@matrixai/logger');

const logger = new Logger('jsws', LogLevel.WARN, [new StreamHandler()]);

// The package converts abort/cancel reasons to codes, and codes to errors, with these two
// callbacks.
class StreamCode extends Error {
  constructor(code) {
    super(`stream ended with code ${code}`);
    this.name = 'StreamCode';
    this.code = code;
  }
}
const codes = {
  reasonToCode: (_type, reason) => (reason instanceof StreamCode ? reason.code : 0),
  codeToReason: (_type, code) => new StreamCode(code),
};

function config(opts) {
  const out = { verifyPeer: opts.verify === 'true' };
  for (const file of ['cert', 'key', 'ca']) if (opts[file]) out[file] = readFileSync(opts[file], 'utf8');
  if (opts.accept) {
    const accepted = new X509Certificate(readFileSync(opts.accept)).raw;
    out.verifyCallback = async ([shown]) => {
      if (!shown || !accepted.equals(shown)) throw new Error('not the accepted certificate');
    };
  }
  if (opts.window) out.streamBufferSize = Number(opts.window);
  if (opts.keepalive) out.keepAliveIntervalTime = Number(opts.keepalive);
  if (opts.timeout) out.keepAliveTimeoutTime = Number(opts.timeout);
  return out;
}

/** The package cannot check headers, but it accepts an https server, which sees each upgrade before
 *  the package does. */
function serverWithHeader(opts, { cert, key }) {
  const [name, value] = opts.header.split(': ');
  const server = createServer({ cert, key });
  const emit = server.emit.bind(server);
  server.emit = (event, ...args) => {
    const [request, socket] = args;
    if (event !== 'upgrade' || request.headers[name] === value) return emit(event, ...args);
    const body = 'this header is refused';
    socket.end(`HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    return true;
  };
  return server;
}

function wrap(connection) {
  const arrived = []; // streams that nobody has accepted yet
  const waiting = []; // accepts that wait for a stream
  const seen = new Set();
  let ended;
  const arrive = (stream) => {
    if (stream.initiated !== 'peer' || seen.has(stream.streamId)) return;
    seen.add(stream.streamId);
    const waiter = waiting.shift();
    if (waiter) waiter.resolve(stream);
    else arrived.push(stream);
  };
  connection.addEventListener(events.EventWebSocketConnectionStream.name, (event) => arrive(event.detail));
  // Streams may have arrived before this listener was set, because a client is constructed only
  // after its connection is open.
  for (const stream of connection.streamMap.values()) arrive(stream);

  const closed = new Promise((resolve) => {
    connection.addEventListener(events.EventWebSocketConnectionClose.name, (event) => {
      ended = event.detail;
      for (const { reject } of waiting.splice(0)) reject(ended);
      const by = ended instanceof errors.ErrorWebSocketConnectionPeer ? 'peer' : 'local';
      resolve({ code: ended.data?.errorCode ?? null, reason: ended.data?.reason ?? ended.message, by, name: ended.name });
    });
  });

  const raw = (stream) => ({
    id: Number(stream.streamId),
    readable: stream.readable,
    writable: stream.writable,
    cancel: (reason) => stream.cancel(reason),
  });
  const biOnly = (dir) => {
    if (dir !== 'bi') throw Object.assign(new Error('js-ws has only bidirectional streams'), { name: 'Unsupported' });
  };

  return {
    dirs: ['bi'],
    closed,
    async open(dir) {
      biOnly(dir);
      return raw(await connection.newStream());
    },
    async accept(dir) {
      biOnly(dir);
      const stream = arrived.shift();
      if (stream) return raw(stream);
      if (ended) throw ended;
      return raw(await new Promise((resolve, reject) => waiting.push({ resolve, reject })));
    },
    // `errorCode` is a WebSocket close code: 3000 to 4999, or a code from 1000 to 1014 that may be
    // sent.
    close: (errorCode, reason) => connection.stop({ errorCode: errorCode || 1000, reason, force: true }),
    status: () => ({ streams: connection.streamMap.size, closed: connection.closed }),
  };
}

await run({
  reason: (code) => new StreamCode(code),
  codeOf: (error) => (error instanceof StreamCode ? error.code : undefined),
  async listen(opts, onConnection) {
    const { cert, key, ca, verifyPeer, verifyCallback, ...rest } = config(opts);
    const server = opts.header
      ? new WebSocketServer({ config: rest, server: serverWithHeader(opts, { cert, key }), ...codes, logger })
      : new WebSocketServer({ config: { ...rest, cert, key, ca, verifyPeer, verifyCallback }, ...codes, logger });
    server.addEventListener(events.EventWebSocketServerConnection.name, (event) => onConnection(wrap(event.detail)));
    await server.start({ host: opts.host ?? '127.0.0.1', port: Number(opts.port ?? 0) });
    return { port: server.port };
  },
  async connect(opts) {
    const url = new URL(opts.url);
    const client = await WebSocketClient.createWebSocketClient({
      host: url.hostname,
      port: Number(url.port || 443),
      config: config(opts),
      ...codes,
      logger,
    });
    return wrap(client.connection);
  },
});
