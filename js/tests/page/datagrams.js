import { liveObjects } from "/dist/core.js";
import { QMUX, assert, echo, equal, failure, fails, isPending, same, test, until } from "./support.js";

test("datagrams come back", QMUX, async (stage) => {
  const transport = await stage.open();
  await echo(transport, 1, 10);
  assert(transport.datagrams.maxDatagramSize > 1000, `at most ${transport.datagrams.maxDatagramSize} bytes`);
  const writer = transport.datagrams.writable.getWriter();
  equal(transport.datagrams.writable.locked, true);
  const reader = transport.datagrams.readable.getReader();
  for (let size = 1; size <= 1000; size += 37) {
    const datagram = crypto.getRandomValues(new Uint8Array(size));
    await writer.write(datagram);
    equal([...(await reader.read()).value], [...datagram]);
  }
});

test("a datagram comes into a reader's own buffer, whole", QMUX, async (stage) => {
  const transport = await stage.open();
  const writer = transport.datagrams.createWritable().getWriter();
  const reader = transport.datagrams.readable.getReader({ mode: "byob" });
  for (const text of ["a", "datagram", "and another"]) {
    await writer.write(new TextEncoder().encode(text));
    const { value } = await reader.read(new Uint8Array(100));
    equal(new TextDecoder().decode(value), text);
  }
  await writer.write(new Uint8Array(20));
  const error = await failure(reader.read(new Uint8Array(new ArrayBuffer(100), 0, 19)));
  equal(error.name, "RangeError");
  same(await failure(reader.closed), error);
  // The connection still works.
  await echo(transport, 1, 10);
  transport.close({ closeCode: 3, reason: "enough" });
  equal(await transport.closed, { closeCode: 3, reason: "enough" });
  await until(() => liveObjects() === 0);
});

test("a datagram that is too long fails, and its writable with it", QMUX, async (stage) => {
  const transport = await stage.open();
  await echo(transport, 1, 10);
  const { datagrams } = transport;
  const writer = datagrams.createWritable().getWriter();
  await fails(writer.write(new Uint8Array(datagrams.maxDatagramSize + 1)), "RangeError");
  await fails(writer.closed, "RangeError");
  await fails(datagrams.createWritable().getWriter().write("text"), "TypeError");
  const other = datagrams.createWritable().getWriter();
  await other.write(new Uint8Array([1, 2, 3]));
  equal([...(await datagrams.readable.getReader().read()).value], [1, 2, 3]);
});

test("a datagram is waited for", QMUX, async (stage) => {
  const transport = await stage.open();
  const reader = transport.datagrams.readable.getReader();
  const waits = reader.read();
  await echo(transport, 1, 10);
  assert(await isPending(waits), "a datagram from nowhere");
  transport.close();
  equal((await waits).done, true);
});
