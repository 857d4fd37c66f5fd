// ws on Node, as in its README: "Server broadcast". Compression is off there by default.
import { WebSocketServer, WebSocket } from "ws";
import { envelope } from "./envelope.mjs";

const rooms = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
server.on("listening", () => console.log(server.address().port));
server.on("connection", (socket, request) => {
  const name = request.url.slice("/ws/".length);
  if (!rooms.has(name)) rooms.set(name, { members: new Set(), seq: 0 });
  const room = rooms.get(name);
  room.members.add(socket);
  socket.on("error", () => {});
  socket.on("close", () => room.members.delete(socket));
  socket.on("message", (data) => {
    const text = envelope(name, ++room.seq, data.toString());
    // Encoded once, for all of them.
    const bytes = Buffer.from(text);
    for (const member of room.members) {
      if (member.readyState === WebSocket.OPEN) member.send(bytes, { binary: false });
    }
  });
});
