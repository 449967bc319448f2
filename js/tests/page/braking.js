import { ALL, KIB, MIB, answer, assert, check, command, echo, equal, isPending, pattern, receive, test, textOf } from "./support.js";

/** Writes until the writer has to wait, and returns how many bytes it has been given. */
async function writeUntilBraked(writer, seed, atMost) {
  for (let at = 0; at < atMost; ) {
    const chunk = pattern(seed, at, 64 * KIB);
    writer.write(chunk).catch(() => {});
    at += chunk.length;
    // A chunk that is accepted at once makes room for the next chunk within a few microtasks.
    for (let tries = 0; tries < 20 && writer.desiredSize <= 0; tries += 1) await undefined;
    if (writer.desiredSize <= 0) return at;
  }
  throw new Error(`never braked within ${atMost} bytes`);
}

test("a writer is braked by a peer that does not read", ALL, async (stage) => {
  const transport = await stage.open({ sendBuffer: 256 * KIB });
  const { readable, writable, writer } = await command(transport, "hold 4");
  // The bytes that are written here fill the peer's window for this stream, and perhaps its
  // connection window and the socket's buffers.
  let given = 0;
  const writing = (async () => {
    for (; given < 64 * MIB; ) {
      await writer.ready;
      writer.write(pattern(4, given, 64 * KIB)).catch(() => {});
      given += 64 * KIB;
    }
  })();
  // Meanwhile the connection moves more bytes than these windows and buffers can hold.
  await echo(transport, 1, 16 * MIB);
  assert(await isPending(writing), "64 MiB went to nobody");
  assert(await isPending(writer.ready), "the writer is ready");
  equal(writer.desiredSize, 0);
  const stats = await writable.getStats();
  // The last chunk may exceed the buffer's limit, and one more chunk may be waiting.
  assert(stats.buffered <= (256 + 64) * KIB, `${stats.buffered} bytes are buffered`);
  assert(given - stats.bytesWritten + 7 <= 64 * KIB, `${given - stats.bytesWritten} bytes wait elsewhere`);
  assert(stats.bytesWritten - stats.bytesSent === stats.buffered, "bytes that are neither sent nor buffered");
  assert(stats.blocked > 0, "it was never blocked");
  const paused = given;
  await echo(transport, 2, 4 * MIB);
  equal(given, paused, "bytes written meanwhile");
  // The write continues when the peer reads again.
  equal(await answer(transport, "release"), "");
  await writing;
  await writer.close();
  equal(await textOf(readable), `end ${64 * MIB}`);
});

test("a reader that does not read brakes the peer", ALL, async (stage) => {
  const window = 128 * KIB;
  const transport = await stage.open({ streamReceiveWindow: window, maxStreamReceiveWindow: window });
  const { readable } = await command(transport, `source 6 ${16 * MIB}`);
  const reader = readable.getReader();
  await echo(transport, 1, 16 * MIB);
  let stats = await readable.getStats();
  assert(stats.bytesReceived <= window, `${stats.bytesReceived} bytes came`);
  equal([stats.bytesRead, stats.buffered, stats.credit], [0, window, 0]);
  // The peer's writes may have accepted more bytes, which are still in the peer's send buffer.
  const written = Number(await answer(transport, "written"));
  assert(written < 2 * MIB, `${written} bytes were written`);
  // A read grants the peer credit only for the bytes that were read.
  const { value } = await reader.read();
  let at = check(6, 0, value);
  await echo(transport, 2, 1 * MIB);
  stats = await readable.getStats();
  assert(stats.bytesReceived <= at + window, `${stats.bytesReceived} bytes came, and ${at} were read`);
  for (;;) {
    const { value: chunk, done } = await reader.read();
    if (done) break;
    at = check(6, at, chunk);
  }
  equal(at, 16 * MIB);
});

for (const browserApi of ["WebSocket", "WebSocketStream"]) {
  test(`a writer is braked by a network that stands still, over ${browserApi}`, ALL, async (stage) => {
    const sendBuffer = 64 * KIB;
    const transport = await stage.open({ browserApi, sendBuffer, maxIdleTimeout: Infinity, keepAliveInterval: Infinity });
    // The kernel's buffers cannot hold as many bytes as the credit of all these streams allows.
    const streams = await Promise.all(Array.from({ length: 60 }, (_, seed) => command(transport, `echo`).then((stream) => ({ ...stream, seed }))));
    await echo(transport, 1, 10);
    await stage.network("stand");
    const given = await Promise.all(streams.map(({ writer, seed }) => writeUntilBraked(writer, seed, 64 * MIB)));
    for (const { writable, writer } of streams) {
      const { buffered, bytesSent, bytesWritten } = await writable.getStats();
      equal(writer.desiredSize, 0);
      assert(buffered <= sendBuffer + 64 * KIB, `${buffered} bytes are buffered`);
      equal(bytesWritten - bytesSent, buffered);
    }
    await stage.network("run");
    await Promise.all(
      streams.map(async ({ readable, writer, seed }, at) => {
        const [bytes] = await Promise.all([receive(readable, seed), writer.close()]);
        equal(bytes, given[at]);
      }),
    );
  });
}
