// The workloads of examples/perf on @matrixai/ws: its own client and its own server, in one process, over wss.
//   openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
//     -keyout key.pem -out cert.pem
//   node bench.mjs cert.pem key.pem
// The results show the cost of Node and of this package. A program that uses both cannot be faster.
// Each result is a JSON object on a line of its own.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { WebSocketServer, WebSocketClient, events } = (await import('@matrixai/ws')).default;
const fromWs = createRequire(createRequire(import.meta.url).resolve('@matrixai/ws'));
const { default: Logger, LogLevel, StreamHandler } = fromWs('@matrixai/logger');

const [certFile, keyFile] = process.argv.slice(2);
const logger = new Logger('bench', LogLevel.WARN, [new StreamHandler()]);
const codes = { reasonToCode: () => 0, codeToReason: (_type, code) => new Error(`code ${code}`) };
const MIB = 1024 * 1024;
const SMALL = 64;

async function readAll(readable) {
  let length = 0;
  for await (const chunk of readable) length += chunk.length;
  return length;
}

// The first byte of a stream is a command.
async function serve({ readable, writable }) {
  const writer = writable.getWriter();
  const reader = readable.getReader();
  const first = (await reader.read()).value;
  const rest = async function* () {
    if (first.length > 1) yield first.subarray(1);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  };
  switch (String.fromCharCode(first[0])) {
    case 'c': {
      const count = Buffer.alloc(8);
      count.writeBigUInt64BE(BigInt(await readAll(rest())));
      await writer.write(count);
      break;
    }
    case 'e':
      for await (const chunk of rest()) await writer.write(chunk);
      break;
    case 'a':
      await writer.write(new Uint8Array(await readAll(rest())));
      break;
  }
  await writer.close();
}

async function bulk(connection, bytes) {
  const stream = await connection.newStream();
  const writer = stream.writable.getWriter();
  await writer.write(Buffer.from('c'));
  const start = performance.now();
  const chunk = new Uint8Array(64 * 1024);
  for (let sent = 0; sent < bytes; sent += chunk.length) await writer.write(chunk);
  await writer.close();
  const chunks = [];
  for await (const piece of stream.readable) chunks.push(piece);
  const count = Number(Buffer.concat(chunks).readBigUInt64BE());
  if (count !== bytes) throw new Error(`${bytes} bytes were sent and ${count} arrived`);
  return bytes / MIB / ((performance.now() - start) / 1000);
}

async function call(connection) {
  const stream = await connection.newStream();
  const writer = stream.writable.getWriter();
  const request = new Uint8Array(SMALL + 1);
  request[0] = 'a'.charCodeAt(0);
  await writer.write(request);
  await writer.close();
  const length = await readAll(stream.readable);
  if (length !== SMALL) throw new Error(`an answer of ${length} bytes`);
}

async function rpc(connection, calls, atOnce) {
  const times = [];
  const start = performance.now();
  let left = calls;
  const worker = async () => {
    while (left-- > 0) {
      const begun = performance.now();
      await call(connection);
      times.push((performance.now() - begun) * 1000);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return { ops_s: calls / ((performance.now() - start) / 1000), ...percentiles(times) };
}

async function pingpong(connection, rounds) {
  const stream = await connection.newStream();
  const writer = stream.writable.getWriter();
  const reader = stream.readable.getReader();
  await writer.write(Buffer.from('e'));
  const times = [];
  const start = performance.now();
  for (let round = 0; round < rounds; round++) {
    const begun = performance.now();
    await writer.write(new Uint8Array(SMALL));
    for (let got = 0; got < SMALL; ) got += (await reader.read()).value.length;
    times.push((performance.now() - begun) * 1000);
  }
  return { rounds_s: rounds / ((performance.now() - start) / 1000), ...percentiles(times) };
}

function percentiles(times) {
  times.sort((a, b) => a - b);
  const at = (part) => times[Math.floor((times.length - 1) * part)];
  return { p50_us: at(0.5), p99_us: at(0.99) };
}

const tls = { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
const config = { verifyPeer: false };
const server = new WebSocketServer({ config: { ...config, ...tls }, ...codes, logger });
server.addEventListener(events.EventWebSocketServerConnection.name, ({ detail: connection }) => {
  connection.addEventListener(events.EventWebSocketConnectionStream.name, ({ detail: stream }) => {
    if (stream.initiated === 'peer') serve(stream).catch((error) => console.error(error));
  });
});
await server.start({ host: '127.0.0.1', port: 0 });

const workloads = {
  bulk1: async (connection) => ({ mib_s: await bulk(connection, 256 * MIB) }),
  rpc64: (connection) => rpc(connection, 10_000, 64),
  rpc1: (connection) => rpc(connection, 2_000, 1),
  pingpong: (connection) => pingpong(connection, 10_000),
};
for (const [workload, run] of Object.entries(workloads)) {
  const client = await WebSocketClient.createWebSocketClient({
    host: '127.0.0.1',
    port: server.port,
    config,
    ...codes,
    logger,
  });
  const metrics = await run(client.connection);
  console.log(JSON.stringify({ backend: 'js-ws under Node', workload, metrics }));
  await client.destroy({ force: true });
}
await server.stop({ force: true });
process.exit(0);
