// These tests send data in the same message as the end of the connection, or of the stream. Every
// kind of reader can read that data before the end is reported.

import { SCRIPTED, check, command, equal, fails, failure, test, turn } from "./support.js";

/** A number of bytes: more than a small buffer holds, and less than one read can return. */
const LENGTH = 10_000;

/** Opens a stream and sends a command on it. So the server knows the stream and can send on it. */
async function streamOf(transport) {
  const { readable } = await command(transport, "idle");
  return readable;
}

/**
 * Reads a stream to its end, and returns the number of bytes. If the stream fails, `length` bytes
 * must have come before the error.
 */
async function readsAll(reader, length = LENGTH) {
  let at = 0;
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      equal(at, length, "bytes before the error");
      throw error;
    });
    if (done) return at;
    at = check(0, at, value);
  }
}

async function failsLast(reader, length) {
  const error = await fails(readsAll(reader, length), "WebTransportError");
  equal([error.source, error.culprit], ["session", "peer"]);
  equal((await failure(reader.closed)).source, "session");
}

test("a read that waits gets the last bytes before the end", SCRIPTED, async (stage) => {
  for (const end of ["fail", "close"]) {
    const transport = await stage.open();
    const reader = (await streamOf(transport)).getReader();
    const all = failsLast(reader);
    await turn();
    await command(transport, `on 0 data ${LENGTH} ${end}`);
    await all;
    await transport.closed.catch(() => {});
  }
});

test("a read into a buffer that waits gets the last bytes before the end", SCRIPTED, async (stage) => {
  for (const size of [LENGTH * 2, LENGTH, 999]) {
    const transport = await stage.open();
    const readable = await streamOf(transport);
    const reader = readable.getReader({ mode: "byob" });
    const into = { read: () => reader.read(new Uint8Array(size)), closed: reader.closed };
    const all = failsLast(into);
    await turn();
    await command(transport, `on 0 data ${LENGTH} fail`);
    await all;
    equal((await readable.getStats()).bytesRead, LENGTH);
    await transport.closed.catch(() => {});
  }
});

test("a reader that comes late gets the last bytes before the end", SCRIPTED, async (stage) => {
  const transport = await stage.open();
  const readable = await streamOf(transport);
  await command(transport, `on 0 data ${LENGTH} fail`);
  await failure(transport.closed);
  await failsLast(readable.getReader());
});

test("a stream that ended with the connection has ended well", SCRIPTED, async (stage) => {
  const transport = await stage.open();
  const readers = [(await streamOf(transport)).getReader(), (await streamOf(transport)).getReader({ mode: "byob" })];
  const into = { read: () => readers[1].read(new Uint8Array(999)) };
  const all = [readsAll(readers[0]), readsAll(into)];
  await turn();
  await command(transport, `on 0 data ${LENGTH} fin on 1 data ${LENGTH} fin fail`);
  equal(await Promise.all(all), [LENGTH, LENGTH]);
  await Promise.all(readers.map((reader) => reader.closed));
  equal((await failure(transport.closed)).source, "session");
});

test("bytes for a read whose reader has gone are for the next one", SCRIPTED, async (stage) => {
  for (const [first, read] of [
    [undefined, (reader) => reader.read()],
    [{ mode: "byob" }, (reader) => reader.read(new Uint8Array(2 * LENGTH))],
  ]) {
    const transport = await stage.open();
    const readable = await streamOf(transport);
    const gone = readable.getReader(first);
    const read1 = failure(read(gone));
    await turn();
    gone.releaseLock();
    equal((await read1).name, "TypeError");
    await command(transport, `on 0 data ${LENGTH} fail`);
    await failure(transport.closed);
    await turn();
    await failsLast(readable.getReader());
  }
});

test("bytes below a reset's reliable size are read before it", SCRIPTED, async (stage) => {
  for (const waits of [true, false]) {
    const transport = await stage.open();
    const readable = await streamOf(transport);
    const reader = readable.getReader();
    const readsOn = () => fails(readsAll(reader, 600), "WebTransportError");
    const early = waits && readsOn();
    await turn();
    await command(transport, "on 0 data 1000 reset-at 600");
    await turn();
    while ((await readable.getStats()).bytesReceived < 1000) await turn();
    const error = await (early || readsOn());
    equal([error.source, error.streamErrorCode], ["stream", 7]);
    equal((await failure(reader.closed)).streamErrorCode, 7);
  }
});

test("a reader that does not read learns of a reset", SCRIPTED, async (stage) => {
  const transport = await stage.open();
  const reader = (await streamOf(transport)).getReader();
  await command(transport, "on 0 data 1000 reset-at 0");
  equal((await failure(reader.closed)).streamErrorCode, 7);
});

test("a reader that has read all and reads no more learns of the end", SCRIPTED, async (stage) => {
  const transport = await stage.open();
  const reader = (await streamOf(transport)).getReader();
  const last = reader.read();
  await turn();
  await command(transport, "on 0 data 100 fail");
  equal((await last).value.length, 100);
  equal((await failure(reader.closed)).source, "session");
});

test("streams that came with the end are still handed out", SCRIPTED, async (stage) => {
  for (const waits of [true, false]) {
    const transport = await stage.open();
    const readers = [transport.incomingBidirectionalStreams, transport.incomingUnidirectionalStreams].map((incoming) => incoming.getReader());
    const early = waits && readers.map((reader) => reader.read());
    await turn();
    await command(transport, `bi 0 data ${LENGTH} bi 1 data ${LENGTH} uni 0 data ${LENGTH} uni 1 data ${LENGTH} fin fail`);
    if (!waits) await failure(transport.closed);
    for (const [at, reader] of readers.entries()) {
      for (const number of [0, 1]) {
        const { value } = await (number === 0 && early ? early[at] : reader.read());
        const readable = value.readable ?? value;
        if (at === 1 && number === 1) equal(await readsAll(readable.getReader()), LENGTH);
        else await failsLast(readable.getReader());
      }
      equal((await failure(reader.read())).source, "session");
    }
    await failure(transport.closed);
  }
});

test("a stream for a read whose reader has gone is for the next one", SCRIPTED, async (stage) => {
  const transport = await stage.open();
  const incoming = transport.incomingUnidirectionalStreams;
  const gone = incoming.getReader();
  const read = failure(gone.read());
  await turn();
  gone.releaseLock();
  await read;
  await command(transport, `uni 0 data ${LENGTH} fail`);
  await failure(transport.closed);
  await turn();
  const reader = incoming.getReader();
  await failsLast((await reader.read()).value.getReader());
  equal((await failure(reader.read())).source, "session");
});

test("datagrams that came with the end are still read", SCRIPTED, async (stage) => {
  for (const mode of [undefined, { mode: "byob" }]) {
    const transport = await stage.open();
    const reader = transport.datagrams.readable.getReader(mode);
    const read = () => (mode ? reader.read(new Uint8Array(1000)) : reader.read());
    const first = read();
    await turn();
    await command(transport, "datagram 10 datagram 20 fail");
    equal((await first).value.length, 10);
    equal((await read()).value.length, 20);
    equal((await failure(read())).source, "session");
    await failure(transport.closed);
  }
});

test("a datagram for a read whose reader has gone is for the next one", SCRIPTED, async (stage) => {
  const transport = await stage.open();
  const { readable } = transport.datagrams;
  const gone = readable.getReader();
  const read = failure(gone.read());
  await turn();
  gone.releaseLock();
  await read;
  await command(transport, "datagram 10 fail");
  await failure(transport.closed);
  await turn();
  const reader = readable.getReader();
  equal((await reader.read()).value.length, 10);
  equal((await failure(reader.read())).source, "session");
});
