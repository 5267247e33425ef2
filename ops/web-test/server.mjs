// A chinwag process with a data directory of its own, and a cable to it that can be cut.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BIN = process.env.CHINWAG_BIN ?? join(ROOT, "target/debug/chinwag");
/** Settings of whoever runs the tests are none of the server's. */
const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("CHINWAG_")));
/** Whatever is awaited comes within this time, also on a busy machine. */
export const PATIENCE_MS = Number(process.env.PATIENCE_MS ?? 60_000);
/** What the program says by its exit when its address is taken. */
const ADDRESS_TAKEN = 4;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** One server, which can be killed and started again at the same address. */
export class Server {
  data = mkdtempSync(join(tmpdir(), "chinwag-web-"));
  address = "127.0.0.1:0";
  log = "";
  /** More settings, as variables. */
  settings = {};

  get url() {
    return `http://${this.address}`;
  }

  async start() {
    const ports = join(this.data, "ports.json");
    rmSync(ports, { force: true });
    const off = ["--messenger", "off", "--presence", "off", "--ops", "127.0.0.1:0", "--unlimited"];
    const args = ["serve", "--data", this.data, "--http", this.address, ...off];
    const env = { ...ENVIRONMENT, CHINWAG_DRAIN_WINDOW: "2s", ...this.settings };
    let gone;
    const run = () => {
      gone = undefined;
      this.process = spawn(BIN, args, { cwd: this.data, env });
      for (const stream of [this.process.stdout, this.process.stderr]) stream.on("data", (text) => (this.log += text));
      this.exited = new Promise((resolve) => this.process.once("exit", resolve));
      void this.exited.then((code) => (gone = code ?? "killed"));
    };
    run();
    for (const until = Date.now() + PATIENCE_MS; ; await sleep(20)) {
      const failed = gone !== undefined && gone !== ADDRESS_TAKEN;
      if (failed || Date.now() > until) throw new Error(`the server doesn't start:\n${this.log}`);
      // A connection may have the port of the one before, for a moment: it is of those that the kernel gives to anyone.
      if (gone === ADDRESS_TAKEN) run();
      try {
        this.address = JSON.parse(readFileSync(ports, "utf8")).http[0];
        await fetch(`${this.url}/health`);
        return;
      } catch {
        // Not yet.
      }
    }
  }

  /** Ends it as a power cut would. */
  async kill() {
    this.process.kill("SIGKILL");
    await this.exited;
  }

  /** Ends it as an operator would. */
  async drain() {
    this.process.kill("SIGTERM");
    await this.exited;
  }

  /** Fills the data directory with the demonstration, before the first start. Returns the password of its users. */
  seed() {
    const { stdout, stderr } = spawnSync(BIN, ["seed", "--data", this.data], { env: ENVIRONMENT, encoding: "utf8" });
    const password = /password (\S+)/.exec(stdout)?.[1];
    if (!password) throw new Error(`no password: ${stdout}${stderr}`);
    return password;
  }

  async stop() {
    await this.kill();
    rmSync(this.data, { recursive: true, force: true });
  }
}

/** A cable between browsers and a server, for networks that fail: the server and its other visitors notice nothing. */
export class Cable {
  #server;
  #listener;
  #sockets = new Set();
  #whole = true;

  /** @param {Server} server */
  static async to(server) {
    const cable = new Cable();
    cable.#server = server;
    cable.#listener = createServer((near) => cable.#connect(near));
    await new Promise((resolve) => cable.#listener.listen(0, "127.0.0.1", resolve));
    return cable;
  }

  get url() {
    return `http://127.0.0.1:${this.#listener.address().port}`;
  }

  /** Whatever goes through it breaks off, and nobody gets through any more. */
  cut() {
    this.#whole = false;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  mend() {
    this.#whole = true;
  }

  async remove() {
    this.cut();
    await new Promise((resolve) => this.#listener.close(resolve));
  }

  #connect(near) {
    if (!this.#whole) {
      near.resetAndDestroy();
      return;
    }
    const [host, port] = this.#server.address.split(":");
    const far = connect(Number(port), host);
    for (const [socket, other] of [[near, far], [far, near]]) {
      this.#sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  }
}
