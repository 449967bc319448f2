import { liveObjects } from "/dist/core.js";
import { ALL, KIB, answer, assert, command, echo, equal, failure, receive, send, test, textOf, until } from "./support.js";

test("what has ended holds nothing, without a garbage collector", ALL, async (stage) => {
  equal(typeof FinalizationRegistry, "undefined");
  const transport = await stage.open();
  equal(liveObjects(), 1);
  const ends = [
    // The receiving half is read to its end, and the sending half is closed.
    async ({ readable, writer }) => {
      await Promise.all([textOf(readable), writer.close()]);
    },
    async ({ readable, writer }) => {
      await Promise.all([readable.cancel(), writer.abort()]);
    },
    // The halves are freed while a read and a write are in progress.
    async ({ readable, writer }) => {
      const reader = readable.getReader();
      const reads = reader.read();
      writer.write(new Uint8Array(100 * KIB)).catch(() => {});
      await Promise.all([reader.cancel(), writer.abort()]);
      await reads;
    },
  ];
  for (let round = 0; round < 30; round += 1) {
    for (const end of ends) await end(await command(transport, "echo"));
    const stopped = await command(transport, "stop 1");
    await Promise.all([textOf(stopped.readable), failure(stopped.writer.closed)]);
    const reset = await command(transport, "reset 1");
    await Promise.all([failure(textOf(reset.readable)), reset.writer.close()]);
    const opening = answer(transport, "open-bi 1 10");
    const reader = transport.incomingBidirectionalStreams.getReader();
    const { value: stream } = await reader.read();
    reader.releaseLock();
    await Promise.all([textOf(stream.readable), stream.writable.close(), opening]);
  }
  await until(() => liveObjects() === 1);
  // The engine has forgotten the streams too.
  await until(async () => (await transport.getStats()).streamsLive === 0);

  const open = await Promise.all([command(transport, "echo"), command(transport, "hold 1")]);
  equal(liveObjects(), 5);
  transport.close();
  await transport.closed;
  await until(() => liveObjects() === 0);
  equal(open.length, 2);
});

test("what is given up holds nothing, whatever the network does", ALL, async (stage) => {
  const transport = await stage.open({ sendBuffer: 1 });
  const { readable, writable, writer } = await command(transport, "hold 1");
  const reader = readable.getReader();
  const reads = reader.read();
  const writes = failure(send(writer, 1, 8 * 1024 * KIB));
  await until(async () => (await writable.getStats()).credit === 0 && writer.desiredSize === 0);
  await stage.network("stand");
  equal(liveObjects(), 3);
  await Promise.all([reader.cancel(), writer.abort()]);
  await Promise.all([reads, writes]);
  await until(() => liveObjects() === 1);
});

test("a connection that failed or was refused holds nothing", ALL, async (stage) => {
  await stage.network("cut");
  for (let round = 0; round < 3; round += 1) await failure(stage.connect().ready);
  const transport = stage.connect();
  transport.close();
  await failure(transport.closed);
  await until(() => liveObjects() === 0);
});

test("the statistics say what streams did, also after their end", ALL, async (stage) => {
  const transport = await stage.open();
  const { readable, writable, writer } = await command(transport, "echo");
  await send(writer, 1, 100 * KIB);
  await Promise.all([receive(readable, 1), writer.close()]);
  const sent = await writable.getStats();
  const received = await readable.getStats();
  // The bytes of the command and of its newline are counted too.
  equal([sent.bytesWritten, sent.bytesSent, sent.buffered], [100 * KIB + 5, 100 * KIB + 5, 0]);
  equal([received.bytesReceived, received.bytesRead, received.buffered], [100 * KIB, 100 * KIB, 0]);
  equal(Object.keys(sent), ["bytesWritten", "bytesSent", "buffered", "credit", "blocked"]);
  equal(Object.keys(received), ["bytesReceived", "bytesRead", "buffered", "credit", "window"]);

  // The engine forgets the stream when its end is read.
  const last = await command(transport, "reset 1");
  await failure(textOf(last.readable));
  // The server expects this seed; with another one it would stop the stream.
  await send(last.writer, 0, 100 * KIB);
  await last.writer.close();
  const { bytesSent, buffered } = await last.writable.getStats();
  equal([bytesSent, buffered], [100 * KIB + 8, 0]);

  await echo(transport, 1, 10);
  const stats = await transport.getStats();
  assert(stats.bytesSent > 100 * KIB && stats.bytesReceived > 100 * KIB, "bytes of the connection");
  equal([stats.streamsOpened, stats.streamsAccepted, stats.buffered], [3, 0, 0]);
  equal(stats.datagrams, { droppedIncoming: 0, expiredOutgoing: 0 });
  assert(stats.smoothedRtt === null || stats.smoothedRtt > 0, `a round trip of ${stats.smoothedRtt} ms`);
  transport.close();
  await transport.closed;
  equal((await transport.getStats()).streamsOpened, 3);
});
