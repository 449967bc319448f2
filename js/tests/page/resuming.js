import { MIB, ONE, QMUX, assert, command, echo, equal, failure, isPending, receive, send, test, until } from "./support.js";

const APIS = ["WebSocket", "WebSocketStream"];

const RESUMABLE = { resumeTimeout: 60_000 };

/** Returns the next event of this name. */
const next = (target, name) => new Promise((resolve) => target.addEventListener(name, resolve, { once: true }));

/** Loses the connection's WebSocket, and waits until the connection goes on. */
async function lose(stage, transport) {
  const resumed = next(transport, "resumed");
  await stage.network("lose");
  return resumed;
}

test("a transfer outlives the loss of its WebSocket", ONE, async (stage) => {
  const transport = await stage.open(RESUMABLE);
  const streams = [1, 2, 3, 4];
  const echoes = Promise.all(streams.map((seed) => echo(transport, seed, 4 * MIB)));
  const losses = 6;
  for (let i = 1; i <= losses; i += 1) {
    await until(async () => (await transport.getStats()).bytesReceived > 2 * i * MIB);
    await lose(stage, transport);
  }
  await echoes;
  const { session } = await transport.getStats();
  equal(session.resumptions, losses, "resumptions");
  transport.close({ closeCode: 4, reason: "done" });
  equal(await stage.ended(), "4 done");
});

test("a page that only receives outlives the loss of its WebSocket", ONE, async (stage) => {
  const transport = await stage.open(RESUMABLE);
  const { readable } = await command(transport, `source 5 ${16 * MIB}`);
  const all = receive(readable, 5);
  for (const part of [2, 4, 6, 8]) {
    await until(async () => (await transport.getStats()).bytesReceived > part * MIB);
    await lose(stage, transport);
  }
  equal(await all, 16 * MIB);
});

for (const browserApi of APIS) {
  // The test sends nothing at the moment of the loss. If it did, Chromium 156 would crash with
  // WebSocketStream.
  test(`streams outlive the loss of their WebSocket, by ${browserApi}`, ONE, async (stage) => {
    const transport = await stage.open({ ...RESUMABLE, browserApi });
    const streams = await Promise.all([1, 2, 3].map(() => command(transport, "echo")));
    const readers = streams.map(({ readable }) => readable.getReader({ mode: "byob" }));
    for (let at = 0; at < 4; at += 1) {
      await Promise.all(
        streams.map(async ({ writer }, i) => {
          await writer.write(Uint8Array.of(10 * i + at));
          const { value } = await readers[i].read(new Uint8Array(9));
          equal(Array.from(value), [10 * i + at]);
        }),
      );
      await lose(stage, transport);
    }
    await Promise.all(streams.map(({ writer }) => writer.close()));
    for (const reader of readers) equal((await reader.read(new Uint8Array(9))).done, true);
    equal((await transport.getStats()).session.resumptions, 4);
  });

  test(`a connection says when it is suspended, by ${browserApi}`, ONE, async (stage) => {
    const transport = stage.connect({ ...RESUMABLE, browserApi });
    equal(transport.sessionState, "connecting");
    await transport.ready;
    equal(transport.sessionState, "live");
    const [suspended, resumed] = ["suspended", "resumed"].map((name) => next(transport, name));
    await stage.network("cut");
    await suspended;
    assert(["suspended", "resuming"].includes(transport.sessionState), transport.sessionState);
    const echoed = echo(transport, 1, 1000);
    assert(await isPending(resumed), "resumed without a network");
    await stage.network("run");
    const { gap, resentMessages, resentBytes } = (await resumed).detail;
    equal(transport.sessionState, "live");
    await echoed;
    assert(gap > 0 && resentMessages >= 0 && resentBytes >= resentMessages, "the detail");
    const { session } = await transport.getStats();
    equal([session.resumptions, session.longestGap], [1, gap]);
    transport.close();
    await transport.closed;
    equal(transport.sessionState, "ended");
  });
}

test("a connection that is suspended can be closed at once", ONE, async (stage) => {
  const transport = await stage.open({ ...RESUMABLE, closeTimeout: 60_000 });
  const suspended = next(transport, "suspended");
  await stage.network("cut");
  await suspended;
  transport.close({ closeCode: 1, reason: "enough" });
  equal(await transport.closed, { closeCode: 1, reason: "enough" });
});

test("a connection that is suspended for too long ends", ONE, async (stage) => {
  const transport = await stage.open({ resumeTimeout: 300 });
  await stage.network("cut");
  const error = await failure(transport.closed);
  equal([error.source, error.culprit], ["session", "network"]);
});

test("without the option a connection ends with its WebSocket", QMUX, async (stage) => {
  const transport = await stage.open();
  equal(transport.sessionState, "fixed");
  await stage.network("lose");
  equal((await failure(transport.closed)).culprit, "network");
});

test("a server that cannot resume is served as before", ["qmux"], async (stage) => {
  const transport = await stage.open(RESUMABLE);
  equal(transport.sessionState, "fixed");
  await echo(transport, 1, MIB);
  await stage.network("lose");
  equal((await failure(transport.closed)).culprit, "network");
  equal((await transport.getStats()).session.resumptions, 0);
});

/**
 * Cuts the network, and returns once the connection waits before it dials again. The timer of this
 * wait never fires, so only an event can end the wait.
 */
async function waitWithoutTimer(stage, transport) {
  const [{ setTimeout }, { random }] = [globalThis, Math];
  // With this random number, the first pause is 250 ms, to the millisecond.
  Math.random = () => 1 - Number.EPSILON;
  const waits = new Promise((resolve) => {
    globalThis.setTimeout = (task, time, ...rest) => {
      if (time < 200 || time > 300) return setTimeout(task, time, ...rest);
      resolve();
      return 0;
    };
  });
  await stage.network("cut");
  await waits;
  Object.assign(globalThis, { setTimeout });
  Math.random = random;
  equal(transport.sessionState, "suspended");
}

const SIGNS = {
  online: () => dispatchEvent(new Event("online")),
  pageshow: () => dispatchEvent(new Event("pageshow")),
  visibilitychange: () => document.dispatchEvent(new Event("visibilitychange", { bubbles: true })),
  resume: () => document.dispatchEvent(new Event("resume")),
};

test("a sign that the network is back ends the wait", ONE, async (stage) => {
  for (const sign of Object.values(SIGNS)) {
    const transport = await stage.open(RESUMABLE);
    await waitWithoutTimer(stage, transport);
    await stage.network("run");
    const resumed = next(transport, "resumed");
    sign();
    await resumed;
    await echo(transport, 1, 1000);
    transport.close();
  }
});

test("a page that was frozen goes on when it is thawed", ONE, async (stage) => {
  const transport = await stage.open(RESUMABLE);
  const { readable, writer } = await command(transport, "echo");
  const all = receive(readable, 3);
  const sent = send(writer, 3, 8 * MIB).then(() => writer.close());
  const resumed = next(transport, "resumed");
  const thawed = next(document, "resume");
  await stage.browser("freeze");
  await thawed;
  await resumed;
  await sent;
  equal(await all, 8 * MIB);
});

// The page stays hidden, so `visibilitychange` does not end the wait.
test("thawing ends the wait", ONE, async (stage) => {
  const transport = await stage.open(RESUMABLE);
  await stage.browser("hide");
  await waitWithoutTimer(stage, transport);
  await stage.network("run");
  const resumed = next(transport, "resumed");
  await stage.browser("freeze");
  await resumed;
  equal(document.visibilityState, "hidden");
  await echo(transport, 1, 1000);
  await stage.browser("show");
});

test("a hidden page resumes its connection", ONE, async (stage) => {
  const transport = await stage.open(RESUMABLE);
  await stage.browser("hide");
  equal(document.visibilityState, "hidden");
  const echoes = Promise.all([1, 2].map((seed) => echo(transport, seed, MIB)));
  for (let i = 0; i < 3; i += 1) await lose(stage, transport);
  await echoes;
  equal(document.visibilityState, "hidden");
  equal((await transport.getStats()).session.resumptions, 3);
  await stage.browser("show");
});
