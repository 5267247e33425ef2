// Much history, quickly: messages sent over one socket, many under way at once.

import { Visitor } from "./visitor.mjs";

/** As many unanswered requests as the server allows, less some. */
const UNDER_WAY = 900;

/** Makes an account over REST. Returns its access token. */
export async function register(server, username, password = "correct horse") {
  const post = async (path, body) => {
    const answer = await fetch(server.url + path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  await post("/api/auth/register", { username, password });
  return (await post("/api/auth/login", { username, password })).token;
}

/**
 * Sends messages that say `Line 1` to `Line COUNT`, some of them longer.
 * @param {object} command that answers with the conversation: `{ type: "group.create", name: "…" }`
 * @returns {Promise<string>} the conversation's id
 */
export async function fill(browser, server, token, command, count) {
  const visitor = await Visitor.come(browser, server);
  await visitor.page.goto(`${server.url}/web/icon.svg`);
  try {
    return await visitor.page.evaluate(send, { token, command, count, underWay: UNDER_WAY });
  } finally {
    await visitor.context.close();
  }
}

/** Runs in a page, because that has WebSockets. */
async function send({ token, command, count, underWay }) {
  const { MessageIds } = await import("/web/ids.js");
  const ids = new MessageIds(Date.now);
  const socket = new WebSocket(`ws://${location.host}/ws`, "chinwag.v1");
  const waiting = new Map();
  let next = 0;
  socket.onmessage = ({ data }) => {
    const { id, result, error } = JSON.parse(data);
    const { resolve, reject } = waiting.get(id) ?? {};
    waiting.delete(id);
    if (error) reject?.(new Error(JSON.stringify(error)));
    else resolve?.(result);
  };
  await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
  socket.onclose = () => {
    for (const { reject } of waiting.values()) reject(new Error("the socket was closed"));
  };
  const ask = (frame) => new Promise((resolve, reject) => {
    const id = `fill-${(next += 1)}`;
    waiting.set(id, { resolve, reject });
    socket.send(JSON.stringify({ id, ...frame }));
  });
  await ask({ type: "hello", protocol: 1, token });
  const { conversation } = await ask(command);
  const more = ["", "", " and a few words more", "", "\nwith a second line", "", " that is *longer* than the others, as some are: it goes on and on until it needs a second line in any window"];
  for (let from = 1; from <= count; from += underWay) {
    const sends = [];
    for (let at = from; at < Math.min(from + underWay, count + 1); at += 1) {
      sends.push(ask({ type: "send", conversation: conversation.id, message_id: ids.next(), content: `Line ${at}${more[at % more.length]}` }));
    }
    await Promise.all(sends);
  }
  socket.close();
  return conversation.id;
}
