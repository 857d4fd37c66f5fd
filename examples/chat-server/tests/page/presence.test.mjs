// Who is in a room: told by the server as it happens, and never asked for.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { AWAY, Browser, PHONE, Server, between, crowd, eventually } from "./helpers.mjs";

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

/** The requests that a person's pages make, but for what the page is made of. */
function requests(person) {
  const made = [];
  person.context.on("request", (request) => made.push(new URL(request.url()).pathname));
  return { members: () => made.filter((path) => path.includes("members")), made };
}

/** Keeps all that the head of the room and the list say, from the page's beginning. */
async function recorded(person) {
  await person.page.addInitScript(() => {
    window.claimed = [];
    window.arrived = [];
    addEventListener("DOMContentLoaded", () => {
      const online = document.getElementById("room-online");
      new MutationObserver(() => window.claimed.push(online.textContent)).observe(online, { childList: true, characterData: true, subtree: true });
      new MutationObserver((changes) => {
        for (const { addedNodes } of changes) for (const row of addedNodes) window.arrived.push([row.querySelector("bdi").textContent, row.classList.contains("came")]);
      }).observe(document.getElementById("people-list"), { childList: true });
    });
  });
}

test("who comes and goes is shown without asking", async (t) => {
  const room = "comings";
  const ann = await browser.person(t, server, "Ann");
  const asked = requests(ann);
  await recorded(ann);
  await ann.page.addInitScript(() => { window.setInterval = () => 0; }); // no rounds of any kind
  await ann.visit(room);
  await ann.meets("Ann");
  const bob = await browser.person(t, server, "Bob", { room });
  await ann.meets("Ann", "Bob");
  await bob.meets("Ann", "Bob");
  await eventually(async () => assert.match(await ann.page.locator(".room[aria-current]").textContent(), /2 online/));
  await bob.page.close();
  await ann.meets("Ann");
  // Who posts over HTTP isn't there.
  await server.post(room, "Cleo", "a letter");
  await ann.row("a letter").waitFor();
  assert.deepEqual(await ann.page.evaluate(() => window.claimed), ["1 online", "2 online", "1 online"], "nothing is claimed before it is known");
  // Who comes stands out for a moment; who was there does not.
  assert.deepEqual(await ann.page.evaluate(() => window.arrived), [["Ann", false], ["Bob", true]]);
  // Nothing of it is read out or written into the conversation.
  assert.equal(await ann.page.locator("#people-list").evaluate((list) => list.closest("[aria-live], [role=status], [role=log]")), null);
  assert.deepEqual(await ann.texts(), ["a letter"]);
  assert.ok(asked.made.includes("/api/rooms"), "requests are noticed");
  assert.deepEqual(asked.members(), []);
});

test("a user with two tabs is one person, and stays until the last one closes", async (t) => {
  const room = "tabs";
  const ann = await browser.person(t, server, "Ann", { room });
  const bob = await browser.person(t, server, "Bob", { room });
  await ann.meets("Ann", "Bob");
  const second = bob.watch(await bob.context.newPage());
  await second.goto(bob.page.url());
  await second.locator('body[data-link="open"]').waitFor();
  const connections = async () => (await server.ask("rooms?limit=1000", "reader")).rooms.find(({ id }) => id === room)?.online;
  await server.post(room, "reader", "so that the room is listed");
  await eventually(async () => assert.equal(await connections(), 3));
  await recorded(ann);
  await ann.reload();
  await ann.meets("Ann", "Bob");
  await bob.page.close();
  await eventually(async () => assert.equal(await connections(), 2));
  // Dan comes and goes after that: once his leaving is shown, Bob's would be too.
  const dan = await browser.person(t, server, "Dan", { room });
  await ann.meets("Ann", "Bob", "Dan");
  await dan.page.close();
  await ann.meets("Ann", "Bob");
  assert.deepEqual(await ann.page.evaluate(() => window.claimed), ["2 online", "3 online", "2 online"]);
  await second.close();
  await ann.meets("Ann");
});

test("rooms that aren't in front are kept up as well", async (t) => {
  const ann = await browser.person(t, server, "Ann", { room: "front-a" });
  await ann.visit("front-b");
  await ann.meets("Ann");
  await browser.person(t, server, "Bob", { room: "front-a" });
  const other = ann.page.locator("#joined-rooms").getByRole("link", { name: /front-a/ });
  await eventually(async () => assert.match(await other.textContent(), /2 online/));
  await other.click();
  await ann.meets("Ann", "Bob");
});

test("after the server was killed, and started again, the list is right", async (t) => {
  const room = "killed-presence";
  const ann = await browser.person(t, server, "Ann", { room });
  const bob = await browser.person(t, server, "Bob", { room });
  const cleo = await browser.person(t, server, "Cleo", { room });
  await ann.meets("Ann", "Bob", "Cleo");
  for (const person of [ann, bob, cleo]) person.expect(AWAY);
  await server.down("SIGKILL");
  await ann.page.getByRole("complementary", { name: "People online" }).getByText("Not known while the connection is away").waitFor();
  assert.deepEqual(await ann.people(), []);
  assert.equal(await ann.online(), "");
  await cleo.page.close();
  await server.up();
  const dan = await browser.person(t, server, "Dan", { room });
  for (const person of [ann, bob, dan]) await person.meets("Ann", "Bob", "Dan");
  assert.equal(await ann.page.getByText("Not known while the connection is away").isVisible(), false);
});

test("a new join on the same connection brings the whole state, in place of what was known", async (t) => {
  const room = "hole-presence";
  const ann = await browser.person(t, server, "Ann");
  ann.expect(/roomcast: hole-presence jumped from entry 1 to 3/);
  let drop = null;
  const link = await between(ann, {
    fromServer: (frame) => {
      if (drop === null || frame.content !== drop) return frame;
      drop = null;
      return null;
    },
  });
  await ann.visit(room);
  await server.post(room, "bob", "one");
  await ann.meets("Ann");
  link.send({ t: "presence", room_id: room, online: 2, came: [{ id: "ghost", name: "Ghost" }], left: [] });
  await ann.meets("Ann", "Ghost");
  drop = "two";
  await server.post(room, "bob", "two", "three");
  await ann.meets("Ann");
  assert.equal(link.opened, 1, "on the same connection");
  assert.ok(link.sent.filter((frame) => frame.t === "join").every((frame) => frame.presence === true));
});

test("changes are applied in order; one without a state before it, or of a room that was left, is passed over", async (t) => {
  const room = "changes";
  const ann = await browser.person(t, server, "Ann");
  const link = await between(ann, { fromServer: (frame) => (frame.t === "presence" ? null : frame) });
  const tell = (state) => link.send({ t: "presence", room_id: room, ...state });
  const user = (id, name = id) => ({ id, name });
  await ann.visit(room);
  tell({ online: 7, came: [user("early")], left: [] });
  tell({ room_id: "elsewhere", online: 9, users: [user("far")], more: false });
  tell({ online: 3, users: [user("Ann"), user("b", "Bo"), user("c", "Cy")], more: false });
  await ann.meets("Ann", "Bo", "Cy");
  tell({ online: 3, came: [user("b", "Bo Junior"), user("d", "Aaron")], left: ["c"] });
  await ann.meets("Aaron", "Ann", "Bo Junior");
  tell({ online: 2, users: [user("Ann"), user("z", "Zoë")], more: false });
  await ann.meets("Ann", "Zoë");
  // Those who aren't named count.
  tell({ online: 5, came: [], left: [] });
  await ann.page.getByText("and 3 more", { exact: true }).waitFor();
  assert.equal(await ann.online(), "5 online");
  tell({ online: 2, came: [], left: [] });
  await ann.meets("Ann", "Zoë");
  assert.equal(await ann.page.locator("#people-more").isVisible(), false);
});

test("where it may not be seen who is there, the page says so, and all else works", async (t) => {
  const room = "veiled";
  await server.post(room, "bob", "before");
  const ann = await browser.person(t, server, "Ann");
  let veiled = true;
  const link = await between(ann, {
    fromPage: (frame, { send }) => {
      if (frame.t !== "join" || !frame.presence || !veiled) return frame;
      send({ t: "err", id: frame.id, code: "forbidden", message: "who is here is nobody's business" });
      return null;
    },
  });
  await ann.visit(room);
  const people = ann.page.getByRole("complementary", { name: "People online" });
  await people.getByText("You aren't allowed to see who is here").waitFor();
  await ann.say("hello");
  await ann.sees(["before", "hello"]);
  assert.deepEqual([await ann.people(), await ann.online()], [[], ""]);
  assert.doesNotMatch(await ann.page.locator(".room[aria-current]").textContent(), /online/);
  assert.deepEqual(link.sent.filter((frame) => frame.t === "join").map((frame) => frame.presence), [true, false]);
  await ann.picture("presence-refused");
  // It is asked for anew with each connection: by then it may be allowed.
  veiled = false;
  await link.current.close({ code: 4004, reason: "test" });
  await ann.meets("Ann");
  assert.equal(await people.getByText("You aren't allowed to see who is here").isVisible(), false);
  await ann.sees(["before", "hello"]);
});

test("names are text", async (t) => {
  const room = "names";
  const names = ["<b onclick=hack()>Bo</b>", "<img src=x onerror=\"window.hacked = 1\">", "\u202Ereversed", "W".repeat(64), "مرحبا", "&lt;i&gt;"];
  for (const size of [{}, PHONE]) {
    const ann = await browser.person(t, server, "Ann", { room, ...size });
    const sockets = await crowd(t, server, room, names);
    if (size === PHONE) await ann.page.getByRole("button", { name: "People online" }).tap();
    await eventually(async () => assert.deepEqual((await ann.people()).sort(), ["Ann", ...names].sort()));
    assert.equal(await ann.page.locator("#people-list :is(b, img, i)").count(), 0);
    assert.equal(await ann.page.evaluate(() => window.hacked), undefined);
    assert.ok(await ann.page.locator("#people-list").evaluate((list) => list.scrollWidth <= list.clientWidth), "nothing sticks out");
    sockets.forEach((socket) => socket.destroy());
    await ann.context.close();
  }
});

test("a room of more people than are listed stays usable, and says how many there are", async (t) => {
  const room = "crowded";
  const name = (n) => `guest ${String(n).padStart(4, "0")}`;
  const sockets = await crowd(t, server, room, Array.from({ length: 1100 }, (_, n) => name(n)));
  const ann = await browser.person(t, server, "Ann", { room });
  await eventually(async () => assert.equal(await ann.online(), "1,101 online"));
  // The server lists a thousand; who looks is always among them.
  const more = async () => Number((await ann.page.locator("#people-more").textContent()).match(/^and ([\d,]+) more$/)[1].replace(",", ""));
  const listed = await ann.people();
  assert.ok(listed.length === 1000 || listed.length === 1001, `${listed.length} are listed`);
  assert.equal(listed.length + await more(), 1101);
  assert.equal(listed[0], "Ann");
  assert.equal(await ann.page.locator("#people-list .you").count(), 1);
  assert.deepEqual(listed.slice(1), listed.slice(1).sort(), "in the order of their names");
  await ann.picture("crowd-light");

  // Talk doesn't draw the list anew, and neither does one who comes.
  await ann.page.evaluate(() => {
    window.drawn = 0;
    new MutationObserver((changes) => { window.drawn += changes.length; }).observe(document.getElementById("people-list"), { childList: true, subtree: true });
  });
  for (let n = 0; n < 5; n++) await ann.say(`talk ${n}`);
  await ann.sees(Array.from({ length: 5 }, (_, n) => `talk ${n}`));
  const bob = await browser.person(t, server, "Bob", { room });
  await eventually(async () => assert.equal(await ann.online(), "1,102 online"));
  await bob.sees(Array.from({ length: 5 }, (_, n) => `talk ${n}`));
  assert.ok(await ann.page.evaluate(() => window.drawn) <= 2);
  await bob.page.close();

  const phone = await browser.person(t, server, "Cleo", { room, ...PHONE });
  await phone.page.getByRole("button", { name: "People online" }).tap();
  await phone.page.getByText(/^and 1\d\d more$/).waitFor();
  await phone.picture("crowd-phone-light");
  await phone.page.emulateMedia({ colorScheme: "dark" });
  await phone.picture("crowd-phone-dark");
  await phone.page.close();

  for (const socket of sockets.slice(0, 600)) socket.destroy();
  await eventually(async () => assert.equal(await ann.online(), "501 online"));
  await eventually(async () => assert.equal((await ann.people()).length, 501), 30_000);
  assert.equal(await ann.page.locator("#people-more").isVisible(), false);
  for (const socket of sockets) socket.destroy();
  await ann.meets("Ann");
});
