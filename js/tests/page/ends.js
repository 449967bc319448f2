import { WebSocketTransportError } from "/dist/wsmux.js";
import { ALL, KIB, QMUX, answer, assert, check, command, echo, equal, failure, fails, isPending, same, send, test, turn, until } from "./support.js";

const because = (streamErrorCode) => new WebSocketTransportError("because", { streamErrorCode });

function isFromPeer(error, code) {
  equal([error.name, error.source, error.streamErrorCode], ["WebTransportError", "stream", code]);
  assert(error instanceof WebSocketTransportError, "its class");
}

test("abort gives the peer its code", ALL, async (stage) => {
  const transport = await stage.open();
  for (const [reason, code] of [[because(42), 42], [because(0), 0], [because(70_000), 70_000], ["a word", 0], [undefined, 0]]) {
    const { writer } = await command(transport, "listen 1");
    await send(writer, 1, 1000);
    // The server knows of the stream by now.
    await echo(transport, 1, 1);
    await writer.abort(reason);
    same(await failure(writer.closed), reason);
    equal(await answer(transport, "news"), `reset ${code}`);
  }
});

test("a one-way stream is aborted with its code", QMUX, async (stage) => {
  const transport = await stage.open();
  const writable = await transport.createUnidirectionalStream();
  await writable.getWriter().write(new Uint8Array(10));
  const error = because(5);
  const other = await transport.createUnidirectionalStream();
  const writer = other.getWriter();
  await writer.abort(error);
  same(await failure(writer.closed), error);
  await echo(transport, 1, 10);
});

test("abort does not wait for a write that waits", ALL, async (stage) => {
  const transport = await stage.open({ sendBuffer: 1 });
  const { writable, writer } = await command(transport, "hold 1");
  const writes = send(writer, 1, 8 * 1024 * KIB);
  await until(async () => {
    const { buffered, credit } = await writable.getStats();
    return buffered > 0 && credit === 0 && writer.desiredSize === 0;
  });
  await writer.abort(because(9));
  equal((await failure(writes)).streamErrorCode, 9);
  await echo(transport, 1, 10);
});

test("abort does not wait for a close that waits", ALL, async (stage) => {
  const transport = await stage.open({ sendBuffer: 16 * 1024 * KIB });
  const { writer } = await command(transport, "hold 1");
  await send(writer, 1, 12 * 1024 * KIB);
  const closing = writer.close();
  await echo(transport, 1, 10);
  assert(await isPending(closing), "12 MiB were sent to nobody");
  const aborted = writer.abort(because(9));
  await failure(closing, "close");
  await aborted.catch(() => {});
  await echo(transport, 1, 10);
});

test("cancel gives the peer its code", ALL, async (stage) => {
  const transport = await stage.open();
  for (const [reason, code] of [[because(43), 43], [undefined, 0]]) {
    const { readable } = await command(transport, `source 1 ${64 * 1024 * KIB}`);
    const reader = readable.getReader();
    check(1, 0, (await reader.read()).value);
    await reader.cancel(reason);
    equal(await reader.read(), { done: true });
    equal(await answer(transport, "news"), `stopped ${code}`);
  }
});

test("cancel does not wait for a read that waits", ALL, async (stage) => {
  const transport = await stage.open();
  for (const mode of [undefined, "byob"]) {
    const { readable } = await command(transport, "echo");
    const reader = readable.getReader({ mode });
    const waits = reader.read(new Uint8Array(10));
    await turn();
    assert(await isPending(waits), "a read of nothing");
    await reader.cancel(because(1));
    equal((await waits).done, true);
  }
  await echo(transport, 1, 10);
});

test("the peer's reset comes with its code", ALL, async (stage) => {
  const transport = await stage.open();
  for (const mode of [undefined, "byob"]) {
    const { readable } = await command(transport, "reset 77");
    const reader = readable.getReader({ mode });
    const error = await failure(async () => {
      while (!(await reader.read(new Uint8Array(10))).done);
    });
    isFromPeer(error, 77);
    same(await failure(reader.closed), error);
  }
});

test("the peer's reset comes although nobody reads", ALL, async (stage) => {
  const transport = await stage.open();
  const { readable } = await command(transport, "reset 78");
  isFromPeer(await failure(readable.getReader().closed), 78);
});

test("the peer's stop comes with its code, also to a writer that waits", ALL, async (stage) => {
  const transport = await stage.open();
  const idle = await command(transport, "stop 79");
  isFromPeer(await failure(idle.writer.closed), 79);
  isFromPeer(await failure(idle.writer.ready), 79);
  isFromPeer(await failure(idle.writer.write(new Uint8Array(1))), 79);

  const { writer } = await command(transport, "stop 80");
  const writes = failure(async () => {
    for (;;) {
      await writer.ready;
      await writer.write(new Uint8Array(64 * KIB));
    }
  });
  isFromPeer(await writes, 80);
});

test("the end of one half is not the other's", ALL, async (stage) => {
  const transport = await stage.open();
  const { readable, writer } = await command(transport, "listen 2");
  // This cancels only the server's sending half. The server can still read from ours.
  await readable.cancel();
  await send(writer, 2, 300 * KIB);
  await writer.close();
  equal(await answer(transport, "news"), `end ${300 * KIB}`);
  await fails(writer.write(new Uint8Array(1)), "TypeError");
});
