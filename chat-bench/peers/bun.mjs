// Bun's own server with its publish and subscribe, which is uWebSockets inside, as in its documentation.
import { Seqs, addressed, envelope } from "./envelope.mjs";

const seqs = new Seqs();
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    const rooms = new URL(request.url).pathname.slice("/ws/".length).split(",");
    return server.upgrade(request, { data: { rooms } }) ? undefined : new Response("no upgrade", { status: 400 });
  },
  websocket: {
    open(socket) {
      for (const room of socket.data.rooms) socket.subscribe(room);
    },
    message(socket, text) {
      const [room, rest] = addressed(text, socket.data.rooms[0]);
      server.publish(room, envelope(room, seqs.next(room), rest));
    },
  },
});
console.log(server.port);
