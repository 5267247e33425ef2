// A chat relay on socket.io, over WebSocket only: rooms, and one to one by name. It checks, stores and acknowledges nothing.
//
// The handshake's `auth` is {"name":"ann"}. Events, with what the relay emits:
//   join(room), acknowledged                –
//   room(room, text)                        to all others in the room: room(room, 'ann', text)
//   user(to, text)                          to that user: user('ann', text)
//
// Prints the port it listens on (loopback), and ends with its standard input, so that it doesn't outlive who started it.
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer();
const io = new Server(http, { transports: ['websocket'], serveClient: false, perMessageDeflate: false });

// As socket.io's page on memory advises: don't keep the request of each connection.
io.engine.on('connection', (raw) => {
  raw.request = null;
});

io.on('connection', (socket) => {
  const { name } = socket.handshake.auth;
  socket.join(`user:${name}`);
  socket.on('join', (room, done) => {
    socket.join(`room:${room}`);
    done();
  });
  socket.on('room', (room, text) => socket.to(`room:${room}`).emit('room', room, name, text));
  socket.on('user', (to, text) => io.to(`user:${to}`).emit('user', name, text));
});

http.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => console.log(http.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
