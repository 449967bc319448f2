// An HTTP/2 server of Node's that makes a stream of bytes of each extended CONNECT (RFC 8441), and leads it to a TCP
// port of this machine: `node http2.mjs PORT`. It says in lines of JSON on which port it listens, and how each HTTP/2
// stream has ended. Without packages.

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
