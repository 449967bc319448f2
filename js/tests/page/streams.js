import {
  ALL, KIB, MIB, QMUX, assert, check, command, echo, equal, failure, fails, isPending, pattern, receive, send, test, textOf, turn,
} from "./support.js";

test("64 MiB come back on one stream", ALL, async (stage) => {
  await echo(await stage.open(), 1, 64 * MIB);
});

test("64 MiB come back on 50 streams", ALL, async (stage) => {
  const transport = await stage.open();
  const seeds = Array.from({ length: 50 }, (_, seed) => seed);
  await Promise.all(seeds.map((seed) => echo(transport, seed, (64 * MIB) / 50 | 0)));
});

test("each of the browser's interfaces will do", ALL, async (stage) => {
  for (const browserApi of ["WebSocket", "WebSocketStream"]) {
    const transport = await stage.open({ browserApi });
    await Promise.all([1, 2, 3].map((seed) => echo(transport, seed, 2 * MIB)));
  }
});

test("a stream that is not read leaves the connection to nine others", ALL, async (stage) => {
  const transport = await stage.open();
  const stalled = await command(transport, `source 7 ${8 * MIB}`);
  const others = Array.from({ length: 9 }, (_, seed) => echo(transport, seed, (32 * MIB) / 9 | 0));
  await Promise.all(others);
  const { bytesRead, bytesReceived } = await stalled.readable.getStats();
  equal(bytesRead, 0);
  assert(bytesReceived < 8 * MIB, `${bytesReceived} bytes came`);
  equal(await receive(stalled.readable, 7), 8 * MIB);
});

test("a reader brings its own buffer", ALL, async (stage) => {
  const transport = await stage.open();
  const bytes = 300 * KIB + 1;
  const { readable } = await command(transport, `source 5 ${bytes}`);
  const reader = readable.getReader({ mode: "byob" });
  let at = 0;
  let buffer = new ArrayBuffer(10_000);
  for (;;) {
    // The first bytes of the buffer are not overwritten.
    const { value, done } = await reader.read(new Uint8Array(buffer, 100, 9_000));
    equal(value.byteOffset, 100);
    if (done) break;
    assert(value.byteLength > 0, "an empty view");
    at = check(5, at, value);
    buffer = value.buffer;
    equal(buffer.byteLength, 10_000);
  }
  equal(at, bytes);
});

test("a read that wants so many bytes gets them", ALL, async (stage) => {
  const transport = await stage.open();
  const { readable } = await command(transport, `source 5 ${100 * KIB}`);
  const reader = readable.getReader({ mode: "byob" });
  const { value } = await reader.read(new Uint8Array(100 * KIB), { min: 100 * KIB });
  equal(check(5, 0, value), 100 * KIB);
  equal((await reader.read(new Uint8Array(1))).done, true);
});

test("no byte is lost to a reader that lets go while it waits", ALL, async (stage) => {
  const transport = await stage.open();
  const { readable, writer } = await command(transport, "echo");
  const first = readable.getReader();
  const waits = first.read();
  await turn();
  first.releaseLock();
  await fails(waits, "TypeError");
  await send(writer, 9, 1000);
  const [bytes] = await Promise.all([receive(readable, 9), writer.close()]);
  equal(bytes, 1000);
});

test("the end comes to a reader that took over from one that waited", ALL, async (stage) => {
  const transport = await stage.open();
  const { readable, writer } = await command(transport, "echo");
  const first = readable.getReader();
  const waits = first.read();
  await turn();
  first.releaseLock();
  await fails(waits, "TypeError");
  const reads = readable.getReader({ mode: "byob" }).read(new Uint8Array(10));
  await turn();
  await writer.close();
  const { value, done } = await reads;
  equal([value.byteLength, value.buffer.byteLength, done], [0, 10, true]);
});

test("a chunk may be changed once it was given away", ALL, async (stage) => {
  const transport = await stage.open({ sendBuffer: 1 });
  const { readable, writer } = await command(transport, "echo");
  const chunk = new Uint8Array(MIB);
  for (let at = 0; at < MIB; at += 64 * KIB) chunk.set(pattern(3, at, 64 * KIB), at);
  const written = writer.write(chunk);
  chunk.fill(0);
  const [bytes] = await Promise.all([receive(readable, 3), written.then(() => writer.close())]);
  equal(bytes, MIB);
});

test("every view is a chunk, and nothing else is", ALL, async (stage) => {
  const transport = await stage.open();
  const { readable, writer } = await command(transport, "echo");
  const { buffer } = new TextEncoder().encode("abcdefgh");
  const chunks = [buffer, new DataView(buffer, 1, 2), new Uint16Array(buffer, 2, 1), new Uint8Array(0)];
  for (const chunk of chunks) await writer.write(chunk);
  const [text] = await Promise.all([textOf(readable), writer.close()]);
  equal(text, "abcdefghbccd");
  for (const chunk of ["text", [1, 2], 7, null, undefined]) {
    const { writable } = await transport.createBidirectionalStream();
    await fails(writable.getWriter().write(chunk), "TypeError");
  }
});

test("at the peer's limit opening fails, or waits", QMUX, async (stage) => {
  const transport = await stage.open();
  const open = [];
  const full = await failure(async () => {
    for (;;) open.push(await command(transport, "echo"));
  });
  equal(full.name, "QuotaExceededError");
  equal(open.length, 100);
  const waits = transport.createBidirectionalStream({ waitUntilAvailable: true });
  await turn();
  assert(await isPending(waits), "it did not wait");
  await Promise.all(open.splice(0, 60).map(({ readable, writer }) => Promise.all([textOf(readable), writer.close()])));
  const stream = await waits;
  await stream.writable.abort();
});

test("a stream of a higher sendOrder goes first", ALL, async (stage) => {
  const transport = await stage.open();
  const low = await command(transport, "hold 1", { sendOrder: -5 });
  const high = await command(transport, "hold 2");
  equal([low.writable.sendOrder, high.writable.sendOrder], [-5, 0]);
  high.writable.sendOrder = 5;
  // By now the commands have been sent, and the credit has arrived.
  await echo(transport, 1, 10);
  const before = await low.writable.getStats();
  const credit = (await high.writable.getStats()).credit;
  const bytes = Math.min(credit, 400 * KIB);
  // If the network cannot accept all bytes at once, the stream with the higher `sendOrder` sends
  // first.
  const chunk = new Uint8Array(bytes);
  const sent = [low, high].map(({ writer }) => writer.write(chunk));
  for (;;) {
    const [a, b] = await Promise.all([low, high].map(({ writable }) => writable.getStats()));
    assert(a.bytesSent === before.bytesSent || b.buffered === 0, `low sent ${a.bytesSent - before.bytesSent}, high holds ${b.buffered}`);
    if (a.buffered === 0 && b.buffered === 0) break;
    await turn();
  }
  await Promise.all(sent);
});
