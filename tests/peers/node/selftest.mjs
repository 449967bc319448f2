// Runs each package's client against the package's own server, only by means of the command
// protocol.
//   node selftest.mjs [jsws|qmux] [--cert F --key F]
// Prints its findings, and exits with code 1 if an expectation fails.
import { spawn, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const KIB = 1024;
const MIB = 1024 * KIB;
const peers = new Set();
let failures = 0;

class Peer {
  constructor(file, args) {
    this.name = `${file} ${args[0]}`;
    this.pending = new Map();
    this.events = [];
    this.watchers = [];
    this.nextId = 1;
    this.child = spawn(process.execPath, [fileURLToPath(new URL(file, import.meta.url)), ...args], {
      stdio: ['pipe', 'pipe', process.env.SELFTEST_LOGS ? 'inherit' : 'ignore'],
    });
    peers.add(this);
    createInterface({ input: this.child.stdout }).on('line', (line) => this.line(JSON.parse(line)));
    this.exit = new Promise((resolve) => this.child.on('exit', (code, signal) => resolve(code ?? signal)));
    this.exit.then(() => {
      peers.delete(this);
      for (const { reject } of this.pending.values()) reject(new Error(`${this.name} has exited`));
    });
  }

  line(message) {
    if (message.event) {
      this.events.push(message);
      for (const watcher of this.watchers.splice(0)) watcher();
      return;
    }
    const { resolve, reject } = this.pending.get(message.id);
    this.pending.delete(message.id);
    if (message.error) reject(Object.assign(new Error(message.error.message), message.error));
    else resolve(message.ok);
  }

  async event(name) {
    for (;;) {
      const found = this.events.find(({ event }) => event === name || event === 'failed');
      if (found) return found;
      await new Promise((resolve) => this.watchers.push(resolve));
    }
  }

  /** Returns the errors that would have ended this process: each message once, with its count. */
  uncaught() {
    const counts = {};
    for (const { event, kind, message } of this.events) {
      if (event === 'uncaught') counts[`${kind}: ${message}`] = (counts[`${kind}: ${message}`] ?? 0) + 1;
    }
    return counts;
  }

  call(cmd, args = {}) {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      this.child.stdin.write(JSON.stringify({ id, cmd, ...args }) + '\n');
    });
  }

  async end() {
    this.child.stdin.end();
    return this.exit;
  }
}

async function pair(kind, cert, options = {}) {
  const flags = Object.entries(options).flatMap(([key, value]) => [`--${key}`, String(value)]);
  const tls = kind === 'jsws' || options.tls ? ['--cert', cert.cert, '--key', cert.key] : [];
  const server = new Peer(`${kind}.mjs`, ['server', '--host', '127.0.0.1', '--port', '0', ...tls, ...flags]);
  const { port } = await server.event('listening');
  const scheme = tls.length ? 'wss' : 'ws';
  const client = new Peer(`${kind}.mjs`, ['client', '--url', `${scheme}://127.0.0.1:${port}`, ...flags]);
  const { event } = await client.event('connected');
  if (event !== 'connected') throw new Error('the client did not connect');
  await server.event('connection');
  return { client, server };
}

/** Returns the outcome of a promise as text, so that an unexpected outcome is printed and does
 *  not end this test. */
const outcome = (promise, ms = 5000) =>
  Promise.race([
    promise.then((ok) => JSON.stringify(ok), (e) => `error ${e.name}${e.code === undefined ? '' : ` code ${e.code}`}: ${e.message}`),
    new Promise((resolve) => setTimeout(resolve, ms, `nothing after ${ms} ms`).unref()),
  ]);

async function check(title, job) {
  const start = performance.now();
  const found = await outcome(job(), 120000);
  const ok = !/^(error|nothing)/.test(found);
  if (!ok) failures++;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${title} (${Math.round(performance.now() - start)} ms) ${found}`);
}

function expect(actual, wanted, what) {
  if (actual !== wanted) throw new Error(`${what}: ${actual}, wanted ${wanted}`);
}

async function expectCode(promise, code, what) {
  const error = await promise.then(() => ({ message: 'no error' }), (e) => e);
  if (error.code !== code) throw new Error(`${what}: ${error.name} ${error.message} code ${error.code}, wanted ${code}`);
}

/** Opens a stream at `from`, sends a text on it, and accepts it at `to`. */
async function opened(from, to, dir = 'bi') {
  const accepting = to.call('accept', { dir });
  const { stream: a } = await from.call('open', { dir });
  await from.call('writeText', { stream: a, text: 'hi' });
  const { stream: b } = await accepting;
  return [a, b];
}

async function withPair(kind, cert, options, job) {
  const { client, server } = await pair(kind, cert, options);
  try {
    return await job(client, server);
  } finally {
    const exits = [await client.end(), await server.end()];
    if (exits.some((code) => code !== 0)) console.log(`   ! exit codes ${exits}`);
    for (const peer of [client, server]) {
      for (const [what, times] of Object.entries(peer.uncaught())) console.log(`   ! ${peer.name} would have died ${times} times: ${what}`);
    }
  }
}

async function bulk(client, server, bytes) {
  await server.call('echo');
  const { stream } = await client.call('open', { dir: 'bi' });
  const read = client.call('read', { stream, seed: 7 });
  await client.call('write', { stream, bytes, seed: 7 });
  await client.call('finish', { stream });
  const got = await read;
  expect(got.bytes, bytes, 'bytes');
  expect(got.patternOk, true, 'pattern');
  return { bytes: got.bytes };
}

async function common(kind, cert) {
  await check(`${kind}: 64 MiB echo, window 1 MiB`, () =>
    withPair(kind, cert, { window: MIB, ...(kind === 'qmux' ? { 'max-data': 2 * MIB } : {}) }, (c, s) => bulk(c, s, 64 * MIB)));

  await check(`${kind}: 200 streams at once, 1000 in turn, both ways`, () =>
    withPair(kind, cert, kind === 'qmux' ? { 'max-streams': 200 } : {}, async (c, s) => {
      await s.call('echo');
      await c.call('echo');
      const many = await c.call('manyEcho', { streams: 200, bytes: 10000, concurrent: 200 });
      const fromServer = await s.call('manyEcho', { streams: 200, bytes: 10000, concurrent: 50 });
      const turns = await c.call('sequential', { streams: 1000, bytes: 100 });
      const left = [(await c.call('status')).streams, (await s.call('status')).streams];
      return { many: many.bytes, fromServer: fromServer.bytes, turns: turns.bytes, left };
    }));

  const directions = [['client', 'server'], ['server', 'client']];
  for (const [from, to] of directions) {
    for (const side of ['opener', 'acceptor']) {
      await check(`${kind}: ${from} opens, ${side} resets with 4242 and stops with 77`, () =>
        withPair(kind, cert, {}, async (client, server) => {
          const ends = { client, server };
          const [a, b] = await opened(ends[from], ends[to]);
          const actor = side === 'opener' ? [ends[from], a, ends[to], b] : [ends[to], b, ends[from], a];
          const [me, mine, other, theirs] = actor;
          const writeError = other.call('waitWriteError', { stream: theirs });
          await me.call('stop', { stream: mine, code: 77 });
          expect((await writeError).code, 77, 'stop code');
          const reset = await me.call('reset', { stream: mine, code: 4242 });
          expect(reset.sent, true, 'reset sent');
          await expectCode(other.call('read', { stream: theirs }), 4242, 'read after reset');
          return 'codes intact';
        }));
    }
  }

  // Which codes arrive unchanged: the largest varint, and codes of about 32 and about 53 bits.
  for (const code of [0xffffffff, 0x100000000 + 5, Number.MAX_SAFE_INTEGER, '4611686018427387903']) {
    await withPair(kind, cert, {}, async (c, s) => {
      const [a, b] = await opened(c, s);
      const write = s.call('waitWriteError', { stream: b });
      await c.call('stop', { stream: a, code });
      await c.call('reset', { stream: a, code });
      console.log(`     ${kind}: code ${code}: stop arrives as ${await outcome(write)}, reset as ${await outcome(s.call('read', { stream: b }))}`);
    });
  }

  // A writer waits for credit. Is a reset by this writer sent, and does a request to stop reach
  // this writer?
  await withPair(kind, cert, { window: 64 * KIB }, async (c, s) => {
    const [a, b] = await opened(c, s);
    const stuck = c.call('write', { stream: a, bytes: MIB, seed: 0, chunk: MIB });
    stuck.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 200));
    console.log(`     ${kind}: reset while a write waits for credit: ${await outcome(c.call('reset', { stream: a, code: 5 }))}`);
    const [a2, b2] = await opened(c, s);
    const stuck2 = outcome(c.call('write', { stream: a2, bytes: MIB, seed: 0, chunk: MIB }));
    await new Promise((resolve) => setTimeout(resolve, 200));
    await s.call('stop', { stream: b2, code: 6 });
    console.log(`     ${kind}: stop while the peer's write waits for credit: ${await stuck2}`);
    // Once there is credit, is the reset sent?
    await s.call('read', { stream: b, max: 32 * KIB });
    console.log(`     ${kind}:   and once there is credit, the peer's read: ${await outcome(s.call('read', { stream: b }), 1500)}`);
  });

  // An end requests a stop while data is in flight to it. First the opener requests the stop, then
  // the acceptor.
  for (const side of ['opener', 'acceptor']) {
    await withPair(kind, cert, {}, async (c, s) => {
      const [a, b] = await opened(c, s);
      const [stopper, at, writer, from] = side === 'opener' ? [c, a, s, b] : [s, b, c, a];
      const writing = outcome(writer.call('write', { stream: from, bytes: 8 * MIB, seed: 0 }));
      await stopper.call('read', { stream: at, max: 100000 });
      await stopper.call('stop', { stream: at, code: 9 });
      console.log(`     ${kind}: ${side} stops in mid-stream: the writer gets ${await writing}`);
      const after = await Promise.all([c, s].map((peer) => outcome(peer.call('closed'), 500)));
      console.log(`     ${kind}:   connection afterwards: ${after.join(' | ')}`);
    });
  }

  // A stop or a reset is the very first action on a stream.
  for (const act of ['stop', 'reset', 'cancel']) {
    await withPair(kind, cert, {}, async (c, s) => {
      const accepting = s.call('accept', { dir: 'bi' });
      const { stream } = await c.call('open', { dir: 'bi' });
      await c.call(act, { stream, code: 31 });
      const seen = await outcome(accepting, 800);
      let found = '';
      if (seen.startsWith('{')) {
        const handle = JSON.parse(seen).stream;
        found = ` write ${await outcome(s.call('waitWriteError', { stream: handle }), 500)}, read ${await outcome(s.call('read', { stream: handle }), 500)}`;
      }
      const left = [(await c.call('status')).streams, (await s.call('status')).streams];
      console.log(`     ${kind}: ${act} before any data: accept ${seen}${found}; live streams ${left}`);
    });
  }

  // Either end closes the connection while streams are open.
  const code = kind === 'jsws' ? 3042 : 42;
  for (const [from, to] of directions) {
    await check(`${kind}: ${from} closes with ${code}`, () =>
      withPair(kind, cert, {}, async (client, server) => {
        const ends = { client, server };
        const [, b] = await opened(ends[from], ends[to]);
        const reading = outcome(ends[to].call('read', { stream: b }));
        const closed = ends[to].call('closed');
        await ends[from].call('close', { code, reason: 'enough' });
        const there = await closed;
        expect(there.code, code, 'close code');
        expect(there.reason, 'enough', 'close reason');
        return { there, here: await ends[from].call('closed'), openRead: await reading };
      }));
  }
  // The process of one end exits.
  await withPair(kind, cert, {}, async (c, s) => {
    const closed = s.call('closed');
    await c.call('exit');
    console.log(`     ${kind}: the client's process ends: server sees ${await outcome(closed)}`);
  });
  for (const bad of kind === 'jsws' ? [42, 1006, 5000] : ['4611686018427387903']) {
    await withPair(kind, cert, {}, async (c, s) => {
      const closed = s.call('closed');
      const closing = await outcome(c.call('close', { code: bad, reason: 'odd' }), 1500);
      console.log(`     ${kind}: close with ${bad}: ${closing}; peer ${await outcome(closed, 800)}`);
    });
  }
}

async function jsws(cert) {
  await check('jsws: 1 MiB echo, window 1024 bytes', () => withPair('jsws', cert, { window: 1024 }, (c, s) => bulk(c, s, MIB)));
  await common('jsws', cert);
}

async function qmux(cert) {
  await check('qmux: 64 MiB echo over wss, default windows', () => withPair('qmux', cert, { tls: 1 }, (c, s) => bulk(c, s, 64 * MIB)));
  await check('qmux: 1 MiB echo, window 1024 bytes', () => withPair('qmux', cert, { window: 1024 }, (c, s) => bulk(c, s, MIB)));
  await check('qmux: initial_max_data, windows 2^62-1 at both ends', () =>
    withPair('qmux', cert, { 'max-data': (1n << 62n) - 1n, window: (1n << 62n) - 1n, 'max-streams': 1n << 60n }, (c, s) => bulk(c, s, 8 * MIB)));
  await check('qmux: 1000 streams at once through a limit of 100', () =>
    withPair('qmux', cert, {}, async (c, s) => {
      await s.call('echo');
      return c.call('manyEcho', { streams: 1000, bytes: 1000, concurrent: 1000 });
    }));
  await check('qmux: application protocol', () =>
    withPair('qmux', cert, { app: 'wsmux-test' }, async (c) => (await c.call('status')).protocol));
  await check('qmux: uni streams and datagrams', () =>
    withPair('qmux', cert, {}, async (c, s) => {
      await s.call('echo');
      const { stream } = await c.call('open', { dir: 'uni' });
      await c.call('write', { stream, bytes: 100000, seed: 3 });
      await c.call('finish', { stream });
      const back = await c.call('accept', { dir: 'uni' });
      const got = await c.call('read', { stream: back.stream, seed: 3 });
      expect(got.patternOk && got.bytes, 100000, 'uni echo');
      const sent = await c.call('datagram', { text: 'ping' });
      expect((await s.call('readDatagram')).text, 'ping', 'datagram');
      const large = await outcome(c.call('datagram', { text: 'x'.repeat(20000) }));
      return { maxDatagramSize: sent.maxDatagramSize, large };
    }));
  await common('qmux', cert);
}

const argv = process.argv.slice(2);
const given = (name) => (argv.includes(name) ? argv[argv.indexOf(name) + 1] : undefined);
const folder = mkdtempSync(join(tmpdir(), 'peers-'));
const cert = { cert: given('--cert') ?? join(folder, 'cert.pem'), key: given('--key') ?? join(folder, 'key.pem') };
if (!given('--cert')) {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', cert.key, '-out', cert.cert], { stdio: 'ignore' });
}
try {
  for (const [name, job] of Object.entries({ jsws, qmux })) {
    if (argv[0] === undefined || argv[0].startsWith('--') || argv[0] === name) await job(cert);
  }
} finally {
  for (const peer of peers) peer.child.kill();
  rmSync(folder, { recursive: true, force: true });
}
console.log(failures === 0 ? 'all expectations met' : `${failures} FAILED`);
process.exitCode = failures === 0 ? 0 : 1;
