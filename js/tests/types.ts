// Shows what a TypeScript program may do with the package, and what the compiler rejects. This file
// is compiled and never run.
import {
  type Culprit,
  WebSocketTransport,
  WebSocketTransportError,
  type WebSocketTransportSendStream,
  init,
} from "../dist/wsmux.js";

export async function may(): Promise<void> {
  await init(new URL("core_bg.wasm", "https://example.com"));
  const transport = new WebSocketTransport(new URL("wss://example.com"), {
    wire: "js-ws",
    protocols: ["a", "b"],
    maxIdleTimeout: Infinity,
  });
  await transport.ready;
  const { readable, writable } = await transport.createBidirectionalStream({ sendOrder: 1, waitUntilAvailable: true });
  writable.sendOrder = 4;
  const writer = writable.getWriter();
  await writer.write(new Uint8Array(1));
  await writer.write(new ArrayBuffer(1));
  const reader = readable.getReader({ mode: "byob" });
  const { value } = await reader.read(new Uint8Array(10));
  const credit: number = (await writable.getStats()).credit + (await readable.getStats()).credit;
  const oneWay: WebSocketTransportSendStream = await transport.createUnidirectionalStream();
  for await (const stream of transport.incomingUnidirectionalStreams) {
    await stream.cancel(new WebSocketTransportError("no", { streamErrorCode: 3 }));
  }
  await transport.datagrams.createWritable().getWriter().write(new Uint8Array(1));
  transport.addEventListener("resumed", ({ detail: { gap, resentBytes } }) => console.log(gap, resentBytes));
  const { closeCode, reason } = await transport.closed;
  const told: [number, string, number | undefined, number, boolean] = [
    closeCode,
    reason,
    value?.byteLength,
    credit,
    oneWay.locked,
  ];
  console.log(told);
}

export function mayNot(transport: WebSocketTransport, error: WebSocketTransportError): Culprit | null {
  // @ts-expect-error: a URL is required.
  new WebSocketTransport();
  // @ts-expect-error: there is no such wire.
  new WebSocketTransport("/", { wire: "quic" });
  // @ts-expect-error: the value is not a number.
  void transport.createBidirectionalStream({ sendOrder: "1" });
  // @ts-expect-error: the property is read-only.
  transport.ready = Promise.resolve();
  return error.culprit;
}
