import { ALL, KIB, MIB, QMUX, answer, assert, command, equal, pattern, receive, send, test, textOf } from "./support.js";

test("bidirectional streams come in", ALL, async (stage) => {
  const transport = await stage.open();
  const incoming = transport.incomingBidirectionalStreams.getReader();
  for (const seed of [1, 2, 3]) {
    const opening = answer(transport, `open-bi ${seed} ${100 * KIB}`);
    const { value: stream } = await incoming.read();
    equal(await receive(stream.readable, seed), 100 * KIB);
    const writer = stream.writable.getWriter();
    await send(writer, seed, 2 * MIB);
    await writer.close();
    await opening;
    equal(await answer(transport, "news"), `end ${2 * MIB}`);
  }
});

test("unidirectional streams come in", QMUX, async (stage) => {
  const transport = await stage.open();
  const incoming = transport.incomingUnidirectionalStreams.getReader();
  for (const seed of [1, 2, 3]) {
    const opening = answer(transport, `open-uni ${seed} ${2 * MIB}`);
    const { value: readable } = await incoming.read();
    assert(readable instanceof ReadableStream, "its class");
    equal(await receive(readable, seed), 2 * MIB);
    await opening;
  }
});

test("unidirectional streams go out, and come back as others", QMUX, async (stage) => {
  const transport = await stage.open();
  const seeds = [0, 1, 2, 3, 4];
  const sent = seeds.map(async (seed) => {
    const writable = await transport.createUnidirectionalStream();
    const writer = writable.getWriter();
    await send(writer, seed, MIB);
    await writer.close();
  });
  let left = seeds.length;
  for await (const readable of transport.incomingUnidirectionalStreams) {
    const reader = readable.getReader();
    const { value } = await reader.read();
    // The first byte of the stream is the seed.
    const seed = value[0];
    let at = value.length;
    for (;;) {
      const { value: chunk, done } = await reader.read();
      if (done) break;
      equal([...chunk.subarray(0, 4)], [...pattern(seed, at, Math.min(4, chunk.length))], "bytes");
      at += chunk.length;
    }
    equal(at, MIB);
    left -= 1;
    if (left === 0) break;
  }
  await Promise.all(sent);
});

test("streams wait until somebody asks for them", ALL, async (stage) => {
  const transport = await stage.open();
  // Nobody reads the answers to these commands, but the server executes each of them.
  const opened = ["one", "two"].map((_, seed) => command(transport, `open-bi ${seed} 5`));
  await Promise.all(opened);
  const found = [];
  const reader = transport.incomingBidirectionalStreams.getReader();
  for (let count = 0; count < 2; count += 1) {
    const { value } = await reader.read();
    found.push((await textOf(value.readable)).length);
    await value.writable.close();
  }
  equal(found.length, 2);
});
