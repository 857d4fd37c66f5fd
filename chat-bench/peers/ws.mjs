// ws on Node, as in its README: "Server broadcast". Compression is off there by default.
import { WebSocketServer, WebSocket } from "ws";
import { Seqs, addressed, envelope } from "./envelope.mjs";

const rooms = new Map();
const seqs = new Seqs();
const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
server.on("listening", () => console.log(server.address().port));
server.on("connection", (socket, request) => {
  const names = request.url.slice("/ws/".length).split(",");
  for (const name of names) {
    if (!rooms.has(name)) rooms.set(name, new Set());
    rooms.get(name).add(socket);
  }
  socket.on("error", () => {});
  socket.on("close", () => names.forEach((name) => rooms.get(name).delete(socket)));
  socket.on("message", (data) => {
    const [name, rest] = addressed(data.toString(), names[0]);
    // Encoded once, for all of them.
    const bytes = Buffer.from(envelope(name, seqs.next(name), rest));
    for (const member of rooms.get(name)) {
      if (member.readyState === WebSocket.OPEN) member.send(bytes, { binary: false });
    }
  });
});
