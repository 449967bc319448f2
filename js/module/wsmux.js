// The API of WebTransport (https://www.w3.org/TR/webtransport/) over one WebSocket.

export { init } from "./wasm.js";
export { WebSocketTransportError } from "./error.js";
export { WebSocketTransport } from "./transport.js";
export {
  WebSocketTransportBidirectionalStream,
  WebSocketTransportReceiveStream,
  WebSocketTransportSendStream,
} from "./streams.js";
