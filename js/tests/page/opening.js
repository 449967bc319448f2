import { WebSocketTransport, WebSocketTransportError } from "/dist/wsmux.js";
import { ALL, ONE, QMUX, assert, echo, equal, failure, fails, same, test } from "./support.js";

test("a connection becomes ready, and says what it is", ALL, async (stage) => {
  const transport = stage.connect();
  equal(transport.reliability, "pending");
  equal(await transport.ready, undefined);
  equal(transport.reliability, "reliable-only");
  equal(transport.protocol, "");
  equal(transport.congestionControl, "default");
  equal(WebSocketTransport.supportsReliableOnly, true);
  await echo(transport, 1, 10);
});

test("a stream can be asked for before the connection is ready", ALL, async (stage) => {
  await echo(stage.connect(), 1, 10);
});

test("an application protocol is agreed on", QMUX, async (stage) => {
  equal((await stage.open({ protocol: "chat" })).protocol, "chat");
  equal((await stage.open({ protocols: ["other", "chat"] })).protocol, "chat");
});

test("an application protocol is agreed on by its name alone", ONE, async (stage) => {
  const bareProtocols = ["com.example.other", "com.example.bare"];
  equal((await stage.open({ bareProtocols })).protocol, "com.example.bare");
});

test("where nobody listens, ready and closed are rejected", ALL, async (stage) => {
  await stage.network("cut");
  const transport = stage.connect();
  const error = await fails(transport.ready, "WebTransportError");
  for (const itsClass of [WebSocketTransportError, WebTransportError, DOMException]) {
    assert(error instanceof itsClass, `no ${itsClass.name}`);
  }
  equal([error.source, error.culprit], ["session", "network"]);
  same(await failure(transport.closed), error);
  await fails(transport.createBidirectionalStream(), "InvalidStateError");
  same(await failure(transport.incomingBidirectionalStreams.getReader().read()), error);
});

test("a server that does not answer in time is a timeout", ALL, async (stage) => {
  await stage.network("stand");
  const transport = stage.connect({ connectTimeout: 100, handshakeTimeout: 100 });
  const error = await fails(transport.ready, "WebTransportError");
  equal([error.source, error.culprit], ["session", "timeout"]);
  same(await failure(transport.closed), error);
});

test("closed before it is ready, it never becomes ready", ALL, async (stage) => {
  const transport = stage.connect();
  const stream = transport.createBidirectionalStream();
  transport.close({ closeCode: 3, reason: "changed my mind" });
  for (const promise of [transport.ready, transport.closed, stream]) {
    const error = await fails(promise, "WebTransportError");
    equal([error.source, error.culprit], ["session", "local"]);
  }
});

test("wrong arguments are TypeErrors", ONE, async (stage) => {
  const wrong = [
    { wire: "quic" },
    { protocol: "two words" },
    { protocols: [""] },
    { protocols: 7 },
    { bareProtocols: 7 },
    { bareProtocols: ["two words"] },
    { protocols: "chat" },
    { protocols: null },
    { streamReceiveWindow: -1 },
    { streamReceiveWindow: "1" },
    { sendBuffer: 1.5 },
    { maxIdleTimeout: NaN },
    { closeTimeout: Infinity },
    { keepAliveInterval: -1 },
    { browserApi: "EventSource" },
    "options",
  ];
  for (const options of wrong) await fails(() => new WebSocketTransport(stage.url, options), "TypeError");
  await fails(() => new WebSocketTransport(), "TypeError");
  for (const url of ["ws://", "ftp://localhost/", `${stage.url}#part`]) {
    await fails(() => new WebSocketTransport(url), "SyntaxError");
  }

  const transport = await stage.open();
  for (const info of [{ closeCode: -1 }, { closeCode: "0" }, { closeCode: 2 ** 53 }, { closeCode: NaN }, 7]) {
    await fails(() => transport.close(info), "TypeError");
  }
  for (const sendOrder of [2 ** 31, 0.5, "1", NaN]) {
    await fails(transport.createBidirectionalStream({ sendOrder }), "TypeError");
    await fails(transport.createUnidirectionalStream({ sendOrder }), "TypeError");
  }
  await fails(transport.createBidirectionalStream("options"), "TypeError");
  const writable = await transport.createUnidirectionalStream();
  await fails(() => (writable.sendOrder = 2 ** 31), "TypeError");
  equal(writable.sendOrder, 0);
  for (const options of [{ source: "peer" }, { streamErrorCode: -1 }, { streamErrorCode: 2 ** 53 }]) {
    await fails(() => new WebSocketTransportError("", options), "TypeError");
  }
  // The failed attempts did not affect the connection.
  await echo(transport, 1, 10);
});

test("what a WebSocket cannot do is a NotSupportedError", ONE, async (stage) => {
  const hash = { algorithm: "sha-256", value: new Uint8Array(32) };
  for (const options of [{ requireUnreliable: true }, { serverCertificateHashes: [hash] }]) {
    await fails(() => new WebSocketTransport(stage.url, options), "NotSupportedError");
  }
});

test("what the wire does not have is a NotSupportedError", ["wsmux-js-ws"], async (stage) => {
  const transport = await stage.open();
  await fails(transport.createUnidirectionalStream(), "NotSupportedError");
  equal(transport.datagrams.maxDatagramSize, 0);
  const writer = transport.datagrams.writable.getWriter();
  await fails(writer.write(new Uint8Array(1)), "NotSupportedError");
  await echo(transport, 1, 10);
});
