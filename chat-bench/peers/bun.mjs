// Bun's own server with its publish and subscribe, which is uWebSockets inside, as in its documentation.
import { envelope } from "./envelope.mjs";

const seqs = new Map();
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    const room = new URL(request.url).pathname.slice("/ws/".length);
    return server.upgrade(request, { data: { room } }) ? undefined : new Response("no upgrade", { status: 400 });
  },
  websocket: {
    open(socket) {
      socket.subscribe(socket.data.room);
    },
    message(socket, text) {
      const { room } = socket.data;
      const seq = (seqs.get(room) ?? 0) + 1;
      seqs.set(room, seq);
      server.publish(room, envelope(room, seq, text));
    },
  },
});
console.log(server.port);
