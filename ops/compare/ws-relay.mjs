// A chat relay on `ws`: rooms, and one to one by name. It checks, stores and acknowledges nothing.
//
// One JSON object per text frame. The first frame must be the name; what the relay answers is in the comment.
//   {"t":"name","name":"ann"}               {"t":"named"}
//   {"t":"join","room":"r"}                 {"t":"joined","room":"r"}
//   {"t":"room","room":"r","text":"…"}      to all others in the room: {"t":"room","room":"r","from":"ann","text":"…"}
//   {"t":"user","to":"bob","text":"…"}      to bob: {"t":"user","from":"ann","text":"…"}
//
// Prints the port it listens on (loopback), and ends with its standard input, so that it doesn't outlive who started it.
import { WebSocketServer } from 'ws';

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, backlog: 4096, perMessageDeflate: false });
const users = new Map();
const rooms = new Map();

/** Serialises once, whoever receives it. */
function frame(object) {
  return Buffer.from(JSON.stringify(object));
}

function send(socket, data) {
  if (socket.readyState === 1) socket.send(data, { binary: false });
}

function join(socket, room) {
  let members = rooms.get(room);
  if (!members) rooms.set(room, (members = new Set()));
  members.add(socket);
  socket.rooms.add(room);
  send(socket, frame({ t: 'joined', room }));
}

function leaveAll(socket) {
  if (users.get(socket.name) === socket) users.delete(socket.name);
  for (const room of socket.rooms) {
    const members = rooms.get(room);
    members.delete(socket);
    if (members.size === 0) rooms.delete(room);
  }
}

function obey(socket, { t, name, room, to, text }) {
  switch (t) {
    case 'name':
      socket.name = name;
      users.set(name, socket);
      return send(socket, frame({ t: 'named' }));
    case 'join':
      return join(socket, room);
    case 'room': {
      const data = frame({ t: 'room', room, from: socket.name, text });
      for (const member of rooms.get(room) ?? []) if (member !== socket) send(member, data);
      return;
    }
    case 'user': {
      const other = users.get(to);
      if (other) send(other, frame({ t: 'user', from: socket.name, text }));
      return;
    }
    default:
      socket.close(1008, 'unknown command');
  }
}

server.on('connection', (socket) => {
  socket.rooms = new Set();
  socket.on('message', (data) => {
    let command;
    try {
      command = JSON.parse(data);
    } catch {
      return socket.close(1007, 'not JSON');
    }
    obey(socket, command);
  });
  socket.on('close', () => leaveAll(socket));
  socket.on('error', () => socket.terminate());
});
server.on('listening', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
