// The command loop shared by every peer: one JSON object per stdin line, one answer per stdout line.
//   in   {"id":1,"cmd":"open","dir":"bi"}        out  {"id":1,"ok":{"stream":1}}
//                                                     {"id":1,"error":{"name":…,"message":…,"code":…}}
//   out  {"event":"listening","port":N} | {"event":"connected"} | {"event":"connection","conn":K}
//        {"event":"uncaught",…} (would have ended the process) | {"event":"failed",…} (then exit code 1)
// Commands run concurrently, except that commands that write to the same stream keep their order.
// The commands are the keys of `commands` below. On a server each command may name a connection in
// `conn`; the default is the newest. At the end of stdin, or on `exit`, the process exits abruptly
// and sends no close frame, so call `close` first if the peer should receive one.
//
// A peer file supplies an adapter with the functions below, and does not know this protocol:
//   listen(opts, onConnection) -> { port }     connect(opts) -> Conn
//   reason(code) -> what the package expects as the reason of an abort or a cancel
//   codeOf(error) -> the stream code that the peer sent, or undefined
//   Conn: open(dir), accept(dir) -> { id?, readable?, writable?, cancel? }
//         close(code, reason), closed: Promise<{ code, reason, by }>, status()
//         sendDatagram?(bytes), readDatagram?()
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import process from 'node:process';

// stdout belongs to the protocol, so anything that a package prints goes to stderr.
for (const level of ['log', 'info', 'debug']) console[level] = console.error;

const say = (object) => process.stdout.write(JSON.stringify(object) + '\n');
const ignore = () => {};

function fail(name, message) {
  throw Object.assign(new Error(message), { name });
}

/** Converts a code. Codes go up to 2^62-1; those that a JSON number cannot hold are decimal
 *  strings. */
function toCode(value) {
  if (value === undefined) return 0;
  return typeof value === 'string' ? BigInt(value) : value;
}

const jsonCode = (code) =>
  typeof code === 'bigint' ? (code <= Number.MAX_SAFE_INTEGER ? Number(code) : String(code)) : code;

// ---- the byte pattern -------------------------------------------------------------------------

// The pattern, byte i = (i * 31 + (i >> 8) * 17 + seed) & 0xff, repeats every 65536 bytes. So a
// table of two periods contains every run of up to one period. A writer copies runs from the table,
// and a check compares with runs of the table.
const PERIOD = 65536;
const tables = new Map();

function patternTable(seed) {
  let table = tables.get(seed);
  if (table === undefined) {
    table = Buffer.alloc(2 * PERIOD);
    for (let i = 0; i < table.length; i++) table[i] = (i * 31 + (i >> 8) * 17 + seed) & 0xff;
    if (tables.size >= 32) tables.clear();
    tables.set(seed, table);
  }
  return table;
}

/** Calls `visit(run, at)` for the runs that make up `length` pattern bytes from `offset`. */
function patternRuns(seed, offset, length, visit) {
  const table = patternTable(seed & 0xff);
  for (let at = 0; at < length; at += PERIOD) {
    const from = (offset + at) % PERIOD;
    if (visit(table.subarray(from, from + Math.min(PERIOD, length - at)), at) === false) return;
  }
}

function pattern(seed, offset, length) {
  const out = Buffer.allocUnsafeSlow(length);
  patternRuns(seed, offset, length, (run, at) => void run.copy(out, at));
  return out;
}

/** Returns the first offset in `bytes` that differs from the pattern, or -1. */
function mismatch(bytes, seed, offset) {
  let bad = -1;
  patternRuns(seed, offset, bytes.length, (run, at) => {
    const part = bytes.subarray(at, at + run.length);
    if (run.equals(part)) return true;
    bad = at + part.findIndex((byte, i) => byte !== run[i]);
    return false;
  });
  return bad;
}

// ---- streams ----------------------------------------------------------------------------------

class Stream {
  constructor({ readable, writable, id, cancel }) {
    this.id = id;
    this.cancelBoth = cancel;
    this.written = 0;
    this.received = 0;
    this.stopped = false;
    this.finished = false;
    this.busy = Promise.resolve();
    this.reader = readable?.getReader();
    this.writer = writable?.getWriter();
    // These promises may reject without a handler, which must not end the process.
    this.reader?.closed.catch(ignore);
    this.writer?.ready.catch(ignore);
    this.writeEnd = new Promise((resolve) => {
      this.writeEnded = resolve;
    });
    this.writer?.closed.then(
      () => this.writeEnded({ finished: true }),
      (error) => this.writeEnded({ error }),
    );
  }

  need(side) {
    return this[side] ?? fail('WrongDirection', `the stream has no ${side}`);
  }

  /** Writes one chunk. A write that waits for credit never settles after STOP_SENDING in qmux (the
   *  stream is "erroring" until that write ends), but `ready` rejects at once. So watch both. */
  async put(chunk) {
    const writer = this.need('writer');
    // Without this check, Node would report an internal assertion.
    if (this.finished) fail('Finished', 'the writable was finished here');
    const write = writer.write(chunk);
    write.catch(ignore);
    const ready = writer.ready;
    ready.catch((error) => this.writeEnded({ error }));
    await Promise.race([write, ready.then(() => write)]);
    this.written += chunk.length;
  }

  /** Runs writing commands one after another, because the offset of each in the pattern depends on
   *  the previous ones. */
  inTurn(job) {
    const run = this.busy.then(job);
    this.busy = run.catch(ignore);
    return run;
  }

  async writePattern(bytes, seed, chunkSize = PERIOD) {
    if (!(chunkSize > 0)) fail('BadCommand', 'chunk must be positive');
    for (let left = bytes; left > 0;) {
      const size = Math.min(chunkSize, left);
      await this.put(pattern(seed, this.written, size));
      left -= size;
    }
    return { bytes };
  }

  /** Reads to the end, or until at least `max` bytes have arrived. */
  async read({ max = Infinity, seed, text = false } = {}, onChunk = ignore) {
    const reader = this.need('reader');
    const hash = createHash('sha256');
    const kept = [];
    let bytes = 0;
    let badAt = -1;
    let end = false;
    while (bytes < max) {
      const { value, done } = await reader.read();
      if (done) {
        if (this.stopped) fail('Stopped', 'the readable was cancelled here');
        end = true;
        break;
      }
      // js-ws may enqueue an empty plain array when a stream is destroyed.
      if (value.length === 0) continue;
      const chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      if (seed !== undefined && badAt < 0) {
        const bad = mismatch(chunk, seed, this.received);
        if (bad >= 0) badAt = this.received + bad;
      }
      hash.update(chunk);
      if (text) kept.push(chunk);
      bytes += chunk.length;
      this.received += chunk.length;
      await onChunk(chunk);
    }
    const out = { bytes, sha256: hash.digest('hex'), patternOk: seed === undefined ? null : badAt < 0, end };
    if (badAt >= 0) out.badAt = badAt;
    if (text) out.text = Buffer.concat(kept).toString('utf8');
    return out;
  }

  async finish() {
    this.finished = true;
    await this.need('writer').close();
    return {};
  }

  /** Both packages delay an abort while a write waits for credit (a rule of WritableStream):
   *  `sent: false` reports that this happened. */
  async reset(reason) {
    const abort = this.need('writer').abort(reason);
    const late = new Promise((resolve) => setTimeout(resolve, 1000, false).unref());
    const sent = await Promise.race([abort.then(() => true), late]);
    abort.catch(ignore);
    return { sent };
  }

  async stop(reason) {
    this.stopped = true;
    await this.need('reader').cancel(reason);
    return {};
  }
}

// ---- commands ---------------------------------------------------------------------------------

class Driver {
  constructor(adapter, role) {
    this.adapter = adapter;
    this.role = role;
    this.conns = [];
    this.streams = new Map();
    this.echoing = false;
    this.nextStream = 1;
    this.firstConn = new Promise((resolve) => {
      this.haveConn = resolve;
    });
  }

  addConn(conn) {
    this.conns.push(conn);
    conn.closed.catch(ignore);
    if (this.echoing) this.startEcho(conn);
    this.haveConn(conn);
    return this.conns.length - 1;
  }

  /** Returns the connection that a command names, or the newest one. If there is no
   *  connection yet, waits for the first one. */
  async conn(command) {
    if (command.conn !== undefined) return this.conns[command.conn] ?? fail('NoConnection', `no connection ${command.conn}`);
    return this.conns.at(-1) ?? (await this.firstConn);
  }

  stream(command) {
    return this.streams.get(command.stream) ?? fail('NoStream', `no stream ${command.stream}`);
  }

  register(raw) {
    const handle = this.nextStream++;
    this.streams.set(handle, new Stream(raw));
    // The id on the wire, if the package reveals it (qmux does not).
    return raw.id === undefined ? { stream: handle } : { stream: handle, wireId: raw.id };
  }

  startEcho(conn) {
    if (conn.echoing) return;
    conn.echoing = true;
    for (const dir of conn.dirs) {
      (async () => {
        for (;;) {
          const stream = new Stream(await conn.accept(dir));
          const job = dir === 'bi' ? this.echoBi(stream) : this.echoUni(conn, stream);
          job.catch((error) => console.error(`echo ended: ${error?.name}: ${error?.message}`));
        }
      })().catch(ignore); // The connection has ended.
    }
  }

  async echoBi(stream) {
    const { reader, writer } = stream;
    const passOn = (error) => this.adapter.reason(this.adapter.codeOf(error) ?? 0);
    // If one half ends, the other half has to end as well, even while the copy loop waits for that
    // other half.
    reader.closed.catch((error) => writer.abort(passOn(error)).catch(ignore));
    stream.writeEnd.then(({ error }) => error && !stream.readDone && stream.stop(passOn(error)).catch(ignore));
    await stream.read({}, (chunk) => stream.put(chunk));
    stream.readDone = true;
    await stream.finish();
  }

  async echoUni(conn, stream) {
    const chunks = [];
    await stream.read({}, (chunk) => void chunks.push(chunk));
    const back = new Stream(await conn.open('uni'));
    for (const chunk of chunks) await back.put(chunk);
    await back.finish();
  }

  async oneEcho(conn, index, bytes) {
    const stream = new Stream(await conn.open('bi'));
    const send = stream.writePattern(bytes, index).then(() => stream.finish());
    const [got] = await Promise.all([stream.read({ seed: index }), send]);
    if (got.bytes !== bytes || !got.patternOk) {
      fail('EchoMismatch', `stream ${index}: ${got.bytes} of ${bytes} bytes, pattern ${got.patternOk ? 'ok' : `bad at ${got.badAt}`}`);
    }
  }

  async echoes(conn, { streams, bytes }, concurrent) {
    let next = 0;
    const worker = async () => {
      while (next < streams) await this.oneEcho(conn, next++, bytes);
    };
    await Promise.all(Array.from({ length: Math.min(concurrent, streams) }, worker));
    return { streams, bytes: streams * bytes };
  }
}

const commands = {
  async open(driver, command) {
    return driver.register(await (await driver.conn(command)).open(command.dir ?? 'bi'));
  },
  async accept(driver, command) {
    return driver.register(await (await driver.conn(command)).accept(command.dir ?? 'bi'));
  },
  write(driver, command) {
    const stream = driver.stream(command);
    return stream.inTurn(() => stream.writePattern(command.bytes, command.seed ?? 0, command.chunk));
  },
  writeText(driver, command) {
    const stream = driver.stream(command);
    const chunk = Buffer.from(command.text, 'utf8');
    return stream.inTurn(() => stream.put(chunk).then(() => ({ bytes: chunk.length })));
  },
  finish(driver, command) {
    const stream = driver.stream(command);
    return stream.inTurn(() => stream.finish());
  },
  reset: (driver, command) => driver.stream(command).reset(driver.adapter.reason(toCode(command.code))),
  stop: (driver, command) => driver.stream(command).stop(driver.adapter.reason(toCode(command.code))),
  // Cancels both halves at once. js-ws has its own call for this, which works even while a write
  // waits.
  async cancel(driver, command) {
    const stream = driver.stream(command);
    const reason = driver.adapter.reason(toCode(command.code));
    stream.stopped = true;
    if (stream.cancelBoth) stream.cancelBoth(reason);
    else await Promise.all([stream.reset(reason), stream.stop(reason)]);
    return {};
  },
  read: (driver, command) => driver.stream(command).read(command),
  async waitWriteError(driver, command) {
    const stream = driver.stream(command);
    stream.need('writer');
    const { finished, error } = await stream.writeEnd;
    if (finished) fail('Finished', 'the writable ended cleanly');
    const code = driver.adapter.codeOf(error);
    if (code === undefined) throw error;
    return { code: jsonCode(code) };
  },
  async echo(driver, command) {
    // A server without `conn` echoes on every connection, including later ones.
    if (command.conn !== undefined) driver.startEcho(await driver.conn(command));
    else {
      driver.echoing = true;
      for (const conn of driver.conns) driver.startEcho(conn);
    }
    return {};
  },
  async manyEcho(driver, command) {
    return driver.echoes(await driver.conn(command), command, command.concurrent ?? command.streams);
  },
  async sequential(driver, command) {
    return driver.echoes(await driver.conn(command), command, 1);
  },
  async status(driver, command) {
    const conn = command.conn === undefined ? driver.conns.at(-1) : await driver.conn(command);
    return { ...conn?.status(), connections: driver.conns.length, alive: true, rss: process.memoryUsage().rss };
  },
  async datagram(driver, command) {
    const conn = await driver.conn(command);
    if (!conn.sendDatagram) fail('Unsupported', 'no datagrams on this wire');
    return conn.sendDatagram(Buffer.from(command.text, 'utf8'));
  },
  async readDatagram(driver, command) {
    const conn = await driver.conn(command);
    if (!conn.readDatagram) fail('Unsupported', 'no datagrams on this wire');
    const bytes = Buffer.from(await conn.readDatagram());
    return { bytes: bytes.length, text: bytes.toString('utf8') };
  },
  async close(driver, command) {
    await (await driver.conn(command)).close(toCode(command.code), command.reason ?? '');
    return {};
  },
  async closed(driver, command) {
    return (await driver.conn(command)).closed;
  },
};

// ---- the process ------------------------------------------------------------------------------

function parseArgs(argv) {
  const [role, ...rest] = argv;
  const opts = {};
  for (let i = 0; i < rest.length; i += 2) {
    if (!rest[i].startsWith('--') || rest[i + 1] === undefined) fail('Usage', `bad option ${rest[i]}`);
    opts[rest[i].slice(2)] = rest[i + 1];
  }
  if (role !== 'server' && role !== 'client') fail('Usage', 'first argument: server or client');
  return { role, opts };
}

function answerError(id, adapter, error) {
  const code = adapter.codeOf(error);
  const out = { name: error?.name ?? 'Error', message: String(error?.message ?? error) };
  if (code !== undefined) out.code = jsonCode(code);
  say({ id, error: out });
}

export async function run(adapter) {
  // Both kinds of errors would end a Node process. The driver reports them and continues; a test
  // asserts that they never happen.
  const uncaught = (kind) => (error) => {
    console.error(`${kind}:`, error);
    say({ event: 'uncaught', kind, name: error?.name, message: String(error?.message ?? error) });
  };
  process.on('uncaughtException', uncaught('uncaughtException'));
  process.on('unhandledRejection', uncaught('unhandledRejection'));

  const { role, opts } = parseArgs(process.argv.slice(2));
  const driver = new Driver(adapter, role);
  try {
    if (role === 'server') {
      const { port } = await adapter.listen(opts, (conn) => say({ event: 'connection', conn: driver.addConn(conn) }));
      say({ event: 'listening', port });
    } else {
      driver.addConn(await adapter.connect(opts));
      say({ event: 'connected' });
    }
  } catch (error) {
    // The cause of the package's error often says more than the error itself.
    const causes = [];
    for (let cause = error?.cause; cause && causes.length < 8; cause = cause.cause) causes.push(String(cause.message ?? cause));
    say({ event: 'failed', name: error?.name, message: String(error?.message ?? error), causes });
    process.exit(1);
  }

  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    if (line.trim() === '') return;
    let command;
    try {
      command = JSON.parse(line);
    } catch (error) {
      return say({ id: null, error: { name: 'BadCommand', message: error.message } });
    }
    const { id, cmd } = command;
    // This is abrupt on purpose: no close frame is sent, and the peer sees the transport end.
    if (cmd === 'exit') return say({ id, ok: {} }), process.exit(0);
    // This does not wait for the command, because commands run concurrently.
    Promise.resolve()
      .then(() => (Object.hasOwn(commands, cmd) ? commands[cmd](driver, command) : fail('BadCommand', `unknown command ${cmd}`)))
      .then((ok) => say({ id, ok }), (error) => answerError(id, adapter, error));
  });
  lines.on('close', () => process.exit(0));
}
