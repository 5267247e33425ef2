// The form of /docs/client: the 30 lines of client.js at work.

import { Client } from "./client.js";

const SHOWN_MAX = 200;
const form = document.querySelector("form");
const log = document.querySelector("#log");
const status = document.querySelector("#status");
let client, room;

function show(name, text) {
  const line = document.createElement("li");
  const who = document.createElement("b");
  who.textContent = name;
  line.append(who, ` ${text}`);
  log.append(line);
  if (log.childElementCount > SHOWN_MAX) log.firstElementChild.remove();
}

async function post(path, body) {
  const response = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error), answer);
  return answer;
}

/** With a password: an account, made if there is none of this name. Without: a guest. */
async function credentials(username, password) {
  if (!password) return { guest: username };
  try {
    await post("/api/auth/register", { username, password });
  } catch (error) {
    if (error.code !== "already_exists") throw error;
  }
  return { token: (await post("/api/auth/login", { username, password })).token };
}

async function join(fields) {
  const url = `${location.protocol.replace("http", "ws")}//${location.host}/ws`;
  const onEvent = (event) => {
    if (event.event === "message" && event.conversation === room?.id) show(event.sender.name, event.content);
  };
  const onClose = (code) => {
    client = room = undefined;
    status.textContent = `The connection was closed (${code}).`;
  };
  const opened = await Client.open(url, await credentials(fields.get("name"), fields.get("password")), onEvent, onClose);
  try {
    // Guests can't make rooms; whoever can and finds it there already, listens.
    if (fields.get("password")) {
      await opened.ask("room.create", { name: fields.get("room") }).catch((error) => {
        if (error.code !== "already_exists") throw error;
      });
    }
    room = (await opened.ask("room.listen", { name: fields.get("room") })).conversation;
  } catch (error) {
    opened.socket.close();
    throw error;
  }
  client = opened;
  log.replaceChildren();
  status.textContent = `You are in ${room.name} as ${client.welcome.user.name}.`;
}

form.addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  const fields = new FormData(form);
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    if (!client || room.name !== fields.get("room")) {
      client?.socket.close();
      await join(fields);
    }
    if (fields.get("message")) {
      await client.send(room.id, fields.get("message"));
      show(client.welcome.user.name, fields.get("message"));
      form.elements.message.value = "";
    }
  } catch (error) {
    status.textContent = error.message;
  } finally {
    button.disabled = false;
  }
});
