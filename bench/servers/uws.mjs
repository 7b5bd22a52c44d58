// uWebSockets inside Bun: a topic that the C++ side publishes to.
import { claims } from "./token.mjs";

Bun.serve({
  port: Number(process.env.BENCH_PORT),
  hostname: "127.0.0.1",
  fetch(request, server) {
    if (!claims(request.url)) return new Response("unauthorized", { status: 401 });
    const sends = new URL(request.url).pathname === "/send";
    return server.upgrade(request, { data: { sends } }) ? undefined : new Response("", { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    sendPings: false,
    open(socket) {
      if (!socket.data.sends) socket.subscribe("room");
    },
    message(socket, message) {
      socket.publish("room", message);
    },
  },
});
