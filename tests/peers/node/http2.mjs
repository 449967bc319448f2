// A Node HTTP/2 server that turns each extended CONNECT (RFC 8441) into a byte stream, and forwards
// it to a local TCP port: `node http2.mjs PORT`. It prints lines of JSON with the port that it
// listens on, and with how each HTTP/2 stream ended. It uses no packages.

import http2 from "node:http2";
import net from "node:net";

const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

const server = http2.createServer({ settings: { enableConnectProtocol: true } });
server.on("stream", (stream, headers) => {
  let aborted = false;
  stream.on("aborted", () => (aborted = true));
  stream.on("error", () => {});
  stream.on("close", () => say({ event: "closed", code: stream.rstCode, aborted }));
  if (headers[":path"] !== "/mux") {
    stream.respond({ ":status": 403 });
    stream.end("not here\n");
    stream.resume();
    return;
  }
  stream.respond({ ":status": 200, "sec-websocket-protocol": "qmux-02" });
  const tcp = net.connect({ port: Number(process.argv[2]), allowHalfOpen: true });
  tcp.on("error", () => stream.close(http2.constants.NGHTTP2_CANCEL));
  stream.pipe(tcp).pipe(stream);
});
server.listen(0, "127.0.0.1", () => say({ event: "listening", port: server.address().port }));
