// Socket.IO on Node: one room, `io.to(room).emit`, WebSocket transport only.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { claims } from "./token.mjs";

const { Server } = createRequire(`${process.env.BENCH_NODE_MODULES}/`)("socket.io");
const server = createServer();
const io = new Server(server, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });

io.use((socket, next) => next(claims(socket.request.url) ? undefined : new Error("unauthorized")));
io.on("connection", (socket) => {
  if (!socket.request.url.includes("role=send")) socket.join("room");
  socket.on("m", (text) => io.to("room").emit("m", text));
});
server.listen({ port: Number(process.env.BENCH_PORT), host: "127.0.0.1", backlog: 4096 });
