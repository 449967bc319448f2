import { WebSocketTransportError } from "/dist/wsmux.js";
import { ALL, KIB, MIB, ONE, QMUX, answer, assert, command, echo, equal, failure, fails, isPending, receive, send, test, textOf, until } from "./support.js";

test("close gives the peer code and reason", ALL, async (stage) => {
  const infos = [
    [{ closeCode: 7, reason: "enough, già" }, "7 enough, già"],
    [{ closeCode: 3141 }, "3141 "],
    [{}, "0 "],
    [undefined, "0 "],
  ];
  for (const [info, told] of infos) {
    const transport = await stage.open();
    await echo(transport, 1, 10);
    transport.close(info);
    // Only the first call takes effect.
    transport.close({ closeCode: 8, reason: "again" });
    equal(await transport.closed, { closeCode: 0, reason: "", ...info });
    equal(await stage.ended(), told);
  }
});

test("the peer's close comes with code and reason", ALL, async (stage) => {
  const transport = await stage.open();
  const { readable, writer } = await command(transport, "close 9 farewell");
  equal(await transport.closed, { closeCode: 9, reason: "farewell" });
  for (const promise of [readable.getReader().closed, writer.closed]) {
    const error = await fails(promise, "WebTransportError");
    equal([error.source, error.streamErrorCode, error.culprit], ["session", null, "peer"]);
  }
  // After the close, no more streams or datagrams arrive, but that is not an error.
  for (const incoming of [transport.incomingBidirectionalStreams, transport.incomingUnidirectionalStreams, transport.datagrams.readable]) {
    equal((await incoming.getReader().read()).done, true);
  }
});

test("after close everything fails, and waits no more", ALL, async (stage) => {
  const transport = await stage.open({ sendBuffer: 1 });
  const incoming = transport.incomingBidirectionalStreams.getReader();
  const accepts = incoming.read();
  const braked = await command(transport, "hold 1");
  const writes = send(braked.writer, 1, 32 * MIB);
  const idle = await command(transport, "echo");
  const reads = idle.readable.getReader().read();
  await echo(transport, 1, 10);
  transport.close({ closeCode: 1, reason: "now" });
  for (const promise of [writes, braked.writer.closed, idle.writer.closed, reads]) {
    const error = await fails(promise, "WebTransportError");
    equal([error.source, error.culprit], ["session", "local"]);
  }
  equal((await accepts).done, true);
  await fails(transport.createBidirectionalStream(), "InvalidStateError");
  equal(await transport.closed, { closeCode: 1, reason: "now" });
});

test("what came before the end is still read", ALL, async (stage) => {
  const transport = await stage.open();
  const { readable } = await command(transport, `source 3 ${200 * KIB}`);
  const { readable: cutShort } = await command(transport, `source 4 ${64 * MIB}`);
  await command(transport, "open-bi 5 1000");
  await until(async () => (await readable.getStats()).bytesReceived === 200 * KIB);
  await until(async () => (await cutShort.getStats()).bytesReceived >= 100 * KIB);
  await until(async () => (await transport.getStats()).streamsAccepted === 1);
  await answer(transport, "written");
  transport.close();
  await transport.closed;
  equal(await receive(readable, 3), 200 * KIB);
  const { bytesReceived } = await cutShort.getStats();
  const reader = cutShort.getReader();
  const error = await failure(async () => {
    while (!(await reader.read()).done);
  });
  equal(error.source, "session");
  equal((await cutShort.getStats()).bytesRead, bytesReceived);
  const incoming = transport.incomingBidirectionalStreams.getReader();
  const { value: stream } = await incoming.read();
  equal((await stream.readable.getReader().read()).value.length, 1000);
  equal((await incoming.read()).done, true);
});

test("a connection that shuts down lets its streams end", ALL, async (stage) => {
  const transport = await stage.open();
  const { readable, writer } = await command(transport, "echo");
  await transport.shutdown();
  await transport.draining;
  await fails(transport.createBidirectionalStream(), "InvalidStateError");
  await send(writer, 3, MIB);
  const [bytes] = await Promise.all([receive(readable, 3), writer.close()]);
  equal(bytes, MIB);
  equal(await transport.closed, { closeCode: 0, reason: "" });
  equal(await stage.ended(), "0 ");
});

test("a server that shuts down announces it and lets streams end", ONE, async (stage) => {
  const transport = await stage.open();
  const { readable, writer } = await command(transport, "echo");
  assert(await isPending(transport.draining), "pending before the server shuts down");
  await answer(transport, "drain");
  await transport.draining;
  await fails(transport.createBidirectionalStream(), "InvalidStateError");
  await send(writer, 3, MIB);
  const [bytes] = await Promise.all([receive(readable, 3), writer.close()]);
  equal(bytes, MIB);
  equal(await transport.closed, { closeCode: 0, reason: "" });
});

test("a server that dies is told at once", ALL, async (stage) => {
  const transport = await stage.open();
  const incoming = transport.incomingBidirectionalStreams.getReader().read();
  const { readable, writer } = await command(transport, "echo");
  await send(writer, 1, MIB);
  await stage.network("cut");
  const error = await fails(transport.closed, "WebTransportError");
  assert(error instanceof WebSocketTransportError, "its class");
  equal([error.source, error.culprit], ["session", "network"]);
  for (const promise of [writer.closed, textOf(readable), incoming]) {
    equal((await fails(promise, "WebTransportError")).source, "session");
  }
  await fails(transport.createBidirectionalStream(), "InvalidStateError");
});

test("a server that falls silent is told within the idle timeout", QMUX, async (stage) => {
  const transport = await stage.open({ maxIdleTimeout: 1500 });
  await echo(transport, 1, 10);
  await stage.network("stand");
  const before = performance.now();
  const error = await fails(transport.closed, "WebTransportError");
  equal([error.source, error.culprit], ["session", "timeout"]);
  assert(performance.now() - before >= 500, "before its time");
});
