// Socket.IO on Node, as in its documentation of rooms. The clients come by WebSocket at once, and it isn't compressed; what its page
// "Performance tuning" says about memory is done, and bufferutil is installed where it builds.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { Seqs, message } from "./envelope.mjs";

const seqs = new Seqs();
const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });
io.on("connection", (socket) => {
  const rooms = socket.handshake.query.rooms.split(",");
  socket.conn.request = null;
  socket.join(rooms);
  socket.on("message", ({ room_id = rooms[0], content }) => {
    io.to(room_id).emit("message", message(room_id, seqs.next(room_id), content));
  });
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
