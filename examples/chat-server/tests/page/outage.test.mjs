// The server goes away, in every way, while people type. What they typed arrives once and in order.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { AWAY, Browser, Server, between, eventually } from "./helpers.mjs";

let server;
let browser;
before(async () => {
  server = await Server.start();
  browser = await Browser.start();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

const numbered = (who, count) => Array.from({ length: count }, (_, n) => `${who} ${n + 1}`);

/** Both tabs and the store hold what each has said, once, in the order in which they said it. */
async function complete(room, people, count) {
  await eventually(async () => {
    const [here, there] = await Promise.all(people.map((person) => person.texts()));
    assert.deepEqual(here, there);
    for (const { name } of people) assert.deepEqual(here.filter((text) => text.startsWith(name)), numbered(name, count));
    assert.equal(here.length, 2 * count);
    for (const person of people) assert.equal(await person.pending(), 0);
    assert.deepEqual((await server.messages(room)).map((message) => message.content), here);
  }, 40_000);
}

test("kill -9 and restart while both type: everything arrives once, in order", async (t) => {
  const room = "killed";
  const ann = await browser.person(t, server, "Ann", { room });
  const bob = await browser.person(t, server, "Bob", { room });
  for (const person of [ann, bob]) person.expect(AWAY);
  let said = 0;
  const both = async (times) => {
    for (let n = 0; n < times; n++) {
      said += 1;
      await Promise.all([ann, bob].map((person) => person.say(`${person.name} ${said}`)));
    }
  };
  for (let round = 0; round < 3; round++) {
    await both(3);
    // No waiting for acks: the last of these are under way when the server dies.
    await Promise.all([both(2), server.down("SIGKILL")]);
    await Promise.all([ann, bob].map((person) => person.banner.getByText("Connection lost").waitFor()));
    // Who is here isn't known now.
    assert.equal(await ann.page.locator("#room-online").textContent(), "");
    await ann.page.getByRole("complementary", { name: "People online" }).getByText("Not known while the connection is away").waitFor();
    assert.equal(await ann.page.locator("#people-list li, .room .online").count(), 0);
    await both(3);
    for (const person of [ann, bob]) {
      await person.row(`${person.name} ${said}`).and(person.page.locator('[data-state="pending"]')).waitFor();
      await person.banner.getByText("Your messages wait here").waitFor();
    }
    await ann.composer.fill("not finished");
    await server.up();
    await complete(room, [ann, bob], said);
    for (const person of [ann, bob]) await person.banner.waitFor({ state: "hidden" });
    await eventually(async () => assert.equal(await ann.page.locator("#room-online").textContent(), "2 online"));
    assert.equal(await ann.composer.inputValue(), "not finished");
  }
  await Promise.all([ann.reload(), bob.reload()]);
  await complete(room, [ann, bob], said);
});

test("a restart announced by the server (SIGTERM): the same, and the page says what goes on", async (t) => {
  const room = "drained";
  const ann = await browser.person(t, server, "Ann", { room });
  const bob = await browser.person(t, server, "Bob", { room });
  for (const person of [ann, bob]) person.expect(AWAY);
  let said = 0;
  const both = async (times) => {
    for (let n = 0; n < times; n++) {
      said += 1;
      await Promise.all([ann, bob].map((person) => person.say(`${person.name} ${said}`)));
    }
  };
  await both(2);
  const [[code]] = await Promise.all([server.down("SIGTERM"), both(4)]);
  assert.equal(code, 0, "the server drains and ends well");
  await Promise.all([ann, bob].map((person) => person.banner.waitFor()));
  await both(2);
  await server.up();
  await complete(room, [ann, bob], said);
  for (const person of [ann, bob]) await person.banner.waitFor({ state: "hidden" });
});

test("a goodbye is honoured: the page stays away for as long as it was asked to", async (t) => {
  const ann = await browser.person(t, server, "Ann");
  const link = await between(ann, {});
  await ann.visit("goodbye");
  const asked = 1500;
  const began = Date.now();
  link.send({ t: "bye", code: 4000, reason: "draining", reconnect: true, after_ms: asked });
  await link.current.close({ code: 4000, reason: "draining" });
  await ann.banner.getByText("The server is restarting").waitFor();
  await ann.page.evaluate(() => dispatchEvent(new Event("online")));
  await eventually(async () => assert.equal(link.opened, 2));
  assert.ok(Date.now() - began >= asked - 20, `came back after ${Date.now() - began} ms`);
  await ann.connected();
});

test("what isn't acknowledged survives a reload: kept in order, nothing lost, nothing doubled", async (t) => {
  const room = "reloaded";
  const bob = await browser.person(t, server, "Bob", { room });
  const ann = await browser.person(t, server, "Ann");
  ann.expect(AWAY);
  // First the server stores, but its answers don't arrive; then the page can't reach it at all.
  let mute = true;
  let closed = false;
  await between(ann, {
    fromServer: (frame) => (mute && (frame.t === "ack" || (frame.t === undefined && frame.user.name === "Ann")) ? null : frame),
    open: (page) => {
      if (closed) page.close({ code: 1013, reason: "later" });
      return !closed;
    },
  });
  await ann.visit(room);
  await ann.say("Ann 1");
  await ann.say("Ann 2");
  await ann.say("Ann 3");
  await bob.row("Ann 1").waitFor();
  await eventually(async () => assert.equal(await ann.pending(), 3));
  closed = true;
  await ann.page.reload();
  await eventually(async () => assert.equal(await ann.page.locator("body").getAttribute("data-link"), "waiting"));
  await ann.say("Ann 4");
  mute = false;
  closed = false;
  await ann.page.reload();
  for (const person of [ann, bob]) await person.sees(numbered("Ann", 4));
  await ann.reload();
  await ann.sees(numbered("Ann", 4));
  assert.deepEqual((await server.messages(room)).map((message) => message.content), numbered("Ann", 4));
  assert.equal(await ann.page.evaluate(() => sessionStorage.getItem("roomcast.outbox")), "[]");
});

test("a dead connection that nobody closed is noticed by its missing pong", async (t) => {
  const ann = await browser.person(t, server, "Ann");
  ann.expect(AWAY); // time runs so fast here that it also gives up connections that are being made
  await ann.page.clock.install();
  let dead = false;
  const link = await between(ann, { fromServer: (frame) => (dead ? null : frame), fromPage: (frame) => (dead ? null : frame) });
  await ann.visit("half-open");
  await ann.page.clock.runFor(21_000);
  await eventually(async () => assert.ok(link.sent.some((frame) => frame.t === "ping")));
  assert.equal(link.opened, 1);
  dead = true;
  await ann.say("into the void");
  await ann.page.clock.runFor(31_000);
  dead = false;
  await eventually(async () => {
    await ann.page.clock.runFor(1000);
    assert.ok(link.opened >= 2);
  });
  await eventually(async () => {
    await ann.page.clock.runFor(1000);
    assert.deepEqual(await ann.texts(), ["into the void"]);
    assert.equal(await ann.pending(), 0);
  });
});

test("codes that mean don't come back: the page says why, and stays away", async (t) => {
  const reasons = { 4501: "Your sign-in has expired.", 4502: "You aren't allowed", 4503: "You were removed", 4500: "didn't understand", 4505: "doesn't support" };
  for (const [code, text] of Object.entries(reasons)) {
    const ann = await browser.person(t, server, `Ann${code}`);
    const link = await between(ann, {});
    await ann.visit("closed");
    await link.current.close({ code: Number(code), reason: "test" });
    await ann.banner.getByText(text).waitFor();
    await ann.page.evaluate(() => dispatchEvent(new Event("online")));
    await ann.banner.getByRole("button", { name: "Connect again" }).waitFor();
    await pause(700); // a retry would come within half a second
    assert.equal(link.opened, 1);
    await ann.banner.getByRole("button", { name: "Connect again" }).click();
    await ann.connected();
    assert.equal(link.opened, 2);
    await ann.context.close();
  }
});

test("too slow, and no pong: back at once with the cursor, and nothing is missed", async (t) => {
  for (const code of [4001, 4004]) {
    const room = `back-${code}`;
    const ann = await browser.person(t, server, "Ann");
    let silent = false;
    const swallowed = [];
    const link = await between(ann, {
      fromServer: (frame) => {
        if (!silent) return frame;
        swallowed.push(frame.content);
        return null;
      },
    });
    await ann.visit(room);
    await server.post(room, "bob", "before");
    await ann.sees(["before"]);
    silent = true;
    await server.post(room, "bob", "missed 1", "missed 2");
    // The answers to the posts may be here before the frames.
    await eventually(async () => assert.ok(swallowed.includes("missed 1") && swallowed.includes("missed 2")));
    silent = false;
    await link.current.close({ code, reason: "test" });
    await ann.sees(["before", "missed 1", "missed 2"]);
    const joins = link.sent.filter((frame) => frame.t === "join");
    assert.equal(joins.length, 2);
    assert.equal(joins[0].last, 50);
    assert.match(joins[1].since, /^[^:]+.*:1$/);
    await ann.context.close();
  }
});
