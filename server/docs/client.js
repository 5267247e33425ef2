// A chat client in 30 lines, for browsers, Node.js 22, Deno and Bun. All commands and events: /docs/asyncapi.yaml
export class Client {
  #replies = new Map();
  static async open(url, credentials, onEvent, onClose = () => {}) { // credentials: {token}, {ticket} or {guest}
    const client = new Client(), socket = (client.socket = new WebSocket(url, "chinwag.v1"));
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data), reply = client.#replies.get(frame.id);
      if (frame.event) return onEvent(frame);
      client.#replies.delete(frame.id);
      return frame.error ? reply?.reject(Object.assign(new Error(), frame.error)) : reply?.resolve(frame.result);
    };
    const closed = new Promise((resolve) => (socket.onclose = resolve)).then(({ code }) => {
      for (const { reject } of client.#replies.values()) reject(new Error(`the connection was closed (${code})`));
      onClose(code);
    });
    await Promise.race([new Promise((resolve) => (socket.onopen = resolve)), closed]);
    client.welcome = await client.ask("hello", { protocol: 1, client: "30-lines/1.0", ...credentials });
    return client;
  }
  ask(type, fields = {}, id = crypto.getRandomValues(new Uint32Array(4)).join("-")) { // resolves to the result
    if (this.socket.readyState !== WebSocket.OPEN) return Promise.reject(new Error("there is no connection"));
    this.socket.send(JSON.stringify({ id, type, ...fields }));
    return new Promise((resolve, reject) => this.#replies.set(id, { resolve, reject }));
  }
  send = (conversation, content, message_id = uuid7()) => this.ask("send", { conversation, content, message_id });
}
export function uuid7(time = Date.now().toString(16).padStart(12, "0"), chance = new Uint8Array(9)) { // RFC 9562
  const hex = [...crypto.getRandomValues(chance)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex.slice(0, 3)}-8${hex.slice(3, 6)}-${hex.slice(6)}`;
}
