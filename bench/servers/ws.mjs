// `ws` on Node: the broadcast loop of its own documentation.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { claims } from "./token.mjs";

const { WebSocketServer, WebSocket } = createRequire(`${process.env.BENCH_NODE_MODULES}/`)("ws");
const server = createServer();
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, clientTracking: false });
const room = new Set();

server.on("upgrade", (request, socket, head) => {
  if (!claims(request.url)) return socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
  sockets.handleUpgrade(request, socket, head, (client) => {
    if (!request.url.startsWith("/send")) room.add(client);
    client.on("close", () => room.delete(client));
    client.on("message", (data, isBinary) => {
      for (const other of room) {
        if (other.readyState === WebSocket.OPEN) other.send(data, { binary: isBinary });
      }
    });
  });
});
server.listen({ port: Number(process.env.BENCH_PORT), host: "127.0.0.1", backlog: 4096 });
