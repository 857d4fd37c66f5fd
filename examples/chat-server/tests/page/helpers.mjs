// What the page's tests share: the server as a child process, the browser, and what a user sees of a page.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { chromium } from "playwright-core";

const PATIENCE_MS = 15_000;

/** Tries `check` until it stops throwing: for conditions that span pages or the server. */
export async function eventually(check, patience = PATIENCE_MS) {
  const deadline = Date.now() + patience;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await pause(40);
    }
  }
}

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

/** The chat server under test. It keeps its port and its store through stops and starts. */
export class Server {
  static async start({ args = [] } = {}) {
    assert.ok(process.env.CHAT_SERVER, "set CHAT_SERVER to the path of the built chat-server");
    const server = new Server();
    server.args = args;
    server.contexts = [];
    server.port = await freePort();
    server.folder = mkdtempSync(join(tmpdir(), "chat-page-"));
    // A file, or a database of its own on the MongoDB server that is named.
    const mongodb = process.env.CHAT_PAGE_MONGODB;
    server.store = mongodb ? `${mongodb}/page_${randomUUID()}` : `sqlite:${join(server.folder, "chat.db")}`;
    server.url = `http://127.0.0.1:${server.port}`;
    await server.up();
    return server;
  }

  async up() {
    this.said = "";
    this.child = spawn(process.env.CHAT_SERVER, ["--listen", `127.0.0.1:${this.port}`, "--store", this.store, ...this.args], { stdio: ["ignore", "pipe", "pipe"] });
    this.exit = once(this.child, "exit");
    let out = "";
    this.child.stderr.on("data", (text) => { this.said = (this.said + text).slice(-4000); });
    await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`the server did not say that it is ready\n${out}\n${this.said}`)), PATIENCE_MS);
      this.child.stdout.on("data", (text) => {
        out += text;
        if (out.includes(`127.0.0.1:${this.port}`)) resolve(clearTimeout(late));
      });
      this.child.once("exit", (code) => reject(new Error(`the server ended with ${code} at its start\n${out}\n${this.said}`)));
      this.child.once("error", reject);
    });
  }

  /** Ends the server; resolves to [code, signal]. */
  async down(signal) {
    this.child.kill(signal);
    const late = setTimeout(() => this.child.kill("SIGKILL"), PATIENCE_MS);
    const ended = await this.exit;
    clearTimeout(late);
    return ended;
  }

  /** Pages go first: one that outlives its server rightly reports that it can't reach it. */
  async close() {
    await Promise.all(this.contexts.map((context) => context.close()));
    if (this.child.exitCode === null && this.child.signalCode === null) await this.down("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Asks over HTTP; waits where the server says that it is too much, and not for ever. */
  async ask(path, user, init) {
    const url = `${this.url}/api/${path}${path.includes("?") ? "&" : "?"}user=${encodeURIComponent(user)}`;
    const deadline = Date.now() + 4 * PATIENCE_MS;
    for (;;) {
      const answer = await fetch(url, init);
      const body = await answer.json();
      if (answer.status !== 429) {
        assert.ok(answer.ok, `${path}: ${answer.status} ${JSON.stringify(body)}`);
        return body;
      }
      assert.ok(Date.now() < deadline, `${path} is refused again and again: ${JSON.stringify(body)}`);
      await pause(1000 * Number(answer.headers.get("retry-after") ?? 0.2));
    }
  }

  /** Posts, one after the other. */
  async post(room, user, ...contents) {
    let last;
    for (const content of contents) {
      const body = JSON.stringify(typeof content === "string" ? { content } : content);
      last = await this.ask(`rooms/${encodeURIComponent(room)}/messages`, user, { method: "POST", headers: { "content-type": "application/json" }, body });
    }
    return last;
  }

  /** Posts `count` messages "NAME 1", "NAME 2", … with as many users as keep each below its rate. */
  async fill(room, name, count, from = 1) {
    for (let n = from; n < from + count; n++) await this.post(room, `filler-${Math.floor(n / 30)}`, `${name} ${n}`);
  }

  async messages(room) {
    return (await this.ask(`rooms/${encodeURIComponent(room)}/messages?limit=200`, "reader")).messages;
  }
}

function chromiumPath() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    for (const folder of (process.env.PATH ?? "").split(delimiter)) {
      if (folder && existsSync(join(folder, name))) return join(folder, name);
    }
  }
  throw new Error("no Chromium found: set CHROMIUM to its path");
}

// As root there is no sandbox; the rest keeps the browser from calling its maker.
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export class Browser {
  static async start() {
    const browser = new Browser();
    browser.chromium = await chromium.launch({ executablePath: chromiumPath(), headless: true, args: FLAGS });
    return browser;
  }

  /** A person with a browser of their own. Their pages fail the test on any error that it didn't announce. */
  async person(t, server, name, options = {}) {
    const { room, ...rest } = options;
    const context = await this.chromium.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB", timezoneId: "UTC", ...rest });
    server.contexts.push(context);
    context.setDefaultTimeout(PATIENCE_MS);
    await context.addInitScript(() => addEventListener("securitypolicyviolation", (event) => console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI}`)));
    const person = new Person(server, name, context);
    person.page = person.watch(await context.newPage());
    t.after(async () => {
      await context.close();
      assert.deepEqual(person.errors, [], `${name}'s page had errors`);
    });
    if (room) await person.visit(room);
    return person;
  }

  async close() {
    await this.chromium.close();
  }
}

export const PHONE = { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

/** What Chromium logs by itself while the server is away. */
export const AWAY = /WebSocket connection to .* failed|Failed to load resource: net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING|SOCKET_NOT_CONNECTED)|Failed to load resource: the server responded with a status of 503/;

export class Person {
  constructor(server, name, context) {
    Object.assign(this, { server, name, context, errors: [], expected: [] });
  }

  watch(page) {
    const note = (text) => {
      const known = this.expected.find((expected) => expected.pattern.test(text));
      if (known) known.seen += 1;
      else this.errors.push(text);
    };
    page.on("pageerror", (error) => note(`uncaught: ${error.stack ?? error}`));
    page.on("console", (message) => (message.type() === "error" || message.type() === "warning") && note(message.text()));
    page.on("crash", () => note("the page crashed"));
    return page;
  }

  /** Announces an error; the result's `seen` counts how often it came. */
  expect(pattern) {
    const expected = { pattern, seen: 0 };
    this.expected.push(expected);
    return expected;
  }

  async visit(room) {
    await this.page.goto(`${this.server.url}/?user=${encodeURIComponent(this.name)}#/room/${encodeURIComponent(room)}`);
    await this.connected();
    // From another room of the same page: what is in the log until then is of that one.
    await eventually(async () => assert.equal(await this.page.locator("#room-title").textContent(), room));
    await this.settled();
  }

  /** The connection stands, the server has said who we are. */
  async connected() {
    await this.page.locator('body[data-link="open"]').waitFor();
  }

  /** The room in front has shown what there is. */
  async settled() {
    await this.page.locator("#log .msg, #log .empty").first().waitFor();
  }

  get log() {
    return this.page.getByRole("log", { name: "Messages" });
  }
  get composer() {
    return this.page.getByRole("textbox", { name: "Message", exact: true });
  }
  get banner() {
    return this.page.locator("#banner");
  }

  row(text) {
    const exactly = new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`);
    return this.log.getByRole("article").filter({ has: this.page.locator(".said", { hasText: exactly }) });
  }

  /** What is to be read in the log, from top to bottom. */
  async texts() {
    return this.log.locator(".said").allTextContents();
  }

  async pending() {
    return this.log.locator('[data-state="pending"]').count();
  }

  async sees(expected, patience) {
    await eventually(async () => {
      assert.deepEqual(await this.texts(), expected);
      assert.equal(await this.pending(), 0);
    }, patience);
  }

  /** Who is listed as online, from top to bottom. */
  async people() {
    return this.page.locator("#people-list bdi").allTextContents();
  }

  /** What the head of the room says of their number. */
  async online() {
    return this.page.locator("#room-online").textContent();
  }

  async meets(...names) {
    await eventually(async () => {
      assert.deepEqual(await this.people(), names);
      assert.equal(await this.online(), `${names.length} online`);
    });
  }

  async say(text) {
    await this.composer.fill(text);
    await this.composer.press("Enter");
  }

  async reload() {
    await this.page.reload();
    await this.connected();
    await this.settled();
  }

  async picture(name) {
    if (!process.env.SCREENSHOTS) return;
    mkdirSync(process.env.SCREENSHOTS, { recursive: true });
    await this.page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`) });
  }
}

/** Connections of people without a browser, one for each name, in the order of the names. They say nothing. */
export async function crowd(t, server, room, names) {
  const sockets = [];
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  const enter = async (name) => {
    const socket = connect(server.port, "127.0.0.1");
    sockets.push(socket);
    socket.write(`GET /ws/${room}?user=${encodeURIComponent(name)} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${"A".repeat(22)}==\r\n\r\n`);
    const [answer] = await once(socket, "data");
    assert.match(String(answer), /^HTTP\/1.1 101 /);
    socket.on("error", () => {}).resume();
    // Who is silent is asked whether they are there; a pong now and then says so unasked.
    const alive = setInterval(() => socket.write(Buffer.from([0x8a, 0x80, 0, 0, 0, 0])), 10_000);
    socket.on("close", () => clearInterval(alive));
  };
  for (let at = 0; at < names.length; at += 50) await Promise.all(names.slice(at, at + 50).map(enter));
  return sockets;
}

/**
 * Stands between a person's page and the server. `fromServer` and `fromPage` get each frame, parsed, and return
 * what is to be passed on: a frame, several, or nothing. `send` gives the page a frame of our own.
 */
export async function between(person, { fromServer = (frame) => frame, fromPage = (frame) => frame, open = () => true } = {}) {
  const link = { current: null, opened: 0, sent: [] };
  const pass = (to, result) => {
    for (const frame of [result ?? []].flat()) to.send(JSON.stringify(frame));
  };
  await person.page.routeWebSocket(/\/ws(\?|$)/, (page) => {
    link.opened += 1;
    link.current = page;
    if (!open(page, link.opened)) return;
    const server = page.connectToServer();
    page.onMessage((text) => {
      const frame = JSON.parse(text);
      link.sent.push(frame);
      pass(server, fromPage(frame, link));
    });
    server.onMessage((text) => pass(page, fromServer(JSON.parse(text), link)));
  });
  link.send = (frame) => link.current.send(JSON.stringify(frame));
  return link;
}
