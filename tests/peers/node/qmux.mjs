// A peer on the QMux wire, with the published @moq/qmux over npm ws.
//   node qmux.mjs server --host H --port P [--cert F --key F] [options]
//   node qmux.mjs client --url ws://… | wss://… [options]
//   options: --window N (per stream)  --max-data N  --max-streams N (bidi and uni)  --max-record N
//            --max-datagram N  --idle MS  --app NAME (application protocol: qmux-02.NAME)
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { WebSocket, WebSocketServer } from 'ws';
import { run } from './driver.mjs';

// The package needs a browser's WebSocket and Promise.withResolvers, and Node 20 has neither.
globalThis.WebSocket = class extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { rejectUnauthorized: false });
  }
};
Promise.withResolvers ??= () => {
  const out = {};
  out.promise = new Promise((resolve, reject) => Object.assign(out, { resolve, reject }));
  return out;
};
const { default: Session, StreamError, selectSubprotocol } = await import('@moq/qmux');

// The limits of QMux are BigInt, because --max-data may be as large as 2^62-1.
function config(opts) {
  const out = {};
  const set = (option, ...names) => {
    if (opts[option] !== undefined) for (const name of names) out[name] = BigInt(opts[option]);
  };
  set('window', 'maxStreamDataBidiLocal', 'maxStreamDataBidiRemote', 'maxStreamDataUni');
  set('max-data', 'maxData');
  set('max-streams', 'maxStreamsBidi', 'maxStreamsUni');
  set('max-record', 'maxRecordSize');
  set('max-datagram', 'maxDatagramFrameSize');
  set('idle', 'maxIdleTimeout');
  return out;
}

const protocols = (opts) => (opts.app ? { protocols: [opts.app], versions: { [opts.app]: null } } : {});

function wrap(session) {
  const incoming = {
    bi: session.incomingBidirectionalStreams.getReader(),
    uni: session.incomingUnidirectionalStreams.getReader(),
  };
  const datagrams = { in: session.datagrams.readable.getReader(), out: session.datagrams.writable.getWriter() };
  for (const reader of [incoming.bi, incoming.uni, datagrams.in]) reader.closed.catch(() => {});
  const noSuch = (name, message) => Object.assign(new Error(message), { name });
  let end = null;

  // A graceful close fulfils the promise. Everything else rejects it, and then the code is only in
  // the text of the error.
  const closed = session.closed.then(
    ({ closeCode, reason }) => ({ code: closeCode, reason, graceful: true }),
    (error) => {
      const text = /^Connection closed: (\d+) ?(.*)$/s.exec(error.message);
      return { code: text ? Number(text[1]) : null, reason: text ? text[2] : error.message, graceful: false };
    },
  );
  closed.then((info) => {
    end = info;
  });

  return {
    dirs: ['bi', 'uni'],
    closed,
    async open(dir) {
      if (dir === 'uni') return { writable: await session.createUnidirectionalStream() };
      return session.createBidirectionalStream();
    },
    async accept(dir) {
      const { value, done } = await incoming[dir].read();
      if (done) throw noSuch('Closed', 'the connection has ended');
      return dir === 'uni' ? { readable: value } : value;
    },
    async close(closeCode, reason) {
      session.close({ closeCode, reason });
      await closed;
    },
    status: () => ({ protocol: session.protocol, maxDatagramSize: session.datagrams.maxDatagramSize, closed: end !== null }),
    async sendDatagram(bytes) {
      // The package silently drops datagrams before the peer's parameters arrive, and datagrams
      // above the peer's limit.
      for (let i = 0; i < 100 && session.datagrams.maxDatagramSize === 0; i++) await new Promise((r) => setTimeout(r, 20));
      const max = session.datagrams.maxDatagramSize;
      if (bytes.length > max) throw noSuch('TooLarge', `the peer takes ${max} bytes`);
      await datagrams.out.write(bytes);
      return { bytes: bytes.length, maxDatagramSize: max };
    },
    async readDatagram() {
      const { value, done } = await datagrams.in.read();
      if (done) throw noSuch('Closed', 'the connection has ended');
      return value;
    },
  };
}

await run({
  reason: (code) => new StreamError(Number(code)),
  codeOf: (error) => error?.streamErrorCode ?? undefined,
  async listen(opts, onConnection) {
    const server = opts.cert
      ? https.createServer({ cert: readFileSync(opts.cert), key: readFileSync(opts.key) })
      : http.createServer();
    const sockets = new WebSocketServer({
      server,
      handleProtocols: (offered) => selectSubprotocol([...offered], protocols(opts)) ?? false,
    });
    sockets.on('connection', (socket) => {
      // Without a common subprotocol, the package would use its legacy wire.
      if (socket.protocol === '') return socket.close(1002, 'no common subprotocol');
      socket.binaryType = 'arraybuffer';
      onConnection(wrap(Session.accept(socket, { config: config(opts) })));
    });
    await new Promise((resolve, reject) => server.once('error', reject).listen(Number(opts.port ?? 0), opts.host ?? '127.0.0.1', resolve));
    return { port: server.address().port };
  },
  async connect(opts) {
    const url = opts.url.replace(/^ws(s?):/, 'http$1:');
    const session = new Session(url, { config: config(opts), ...protocols(opts) });
    await session.ready;
    return wrap(session);
  },
});
