// What the protocol allows and a quiet server seldom does: other orders, refusals, gaps, holes.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Browser, Server, between, eventually } from "./helpers.mjs";

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

const mine = (frame) => frame.t === undefined && frame.user?.name === "Ann";

for (const first of ["ack", "message"]) {
  test(`a message is pending, then stored, and never there twice (${first} first)`, async (t) => {
    const ann = await browser.person(t, server, "Ann");
    const held = { ack: null, message: null };
    const link = await between(ann, {
      fromServer: (frame) => {
        const kind = frame.t === "ack" ? "ack" : mine(frame) ? "message" : null;
        if (!kind) return frame;
        held[kind] = frame;
        return null;
      },
    });
    await ann.visit(`pending-${first}`);
    await ann.say("is it there?");
    const row = ann.row("is it there?");
    await row.and(ann.page.locator('[data-state="pending"]')).getByText("Sending…").waitFor();
    await eventually(async () => assert.ok(held.ack && held.message));
    // Watches every state of the log between here and the end.
    await ann.log.evaluate((log) => {
      window.most = 0;
      new MutationObserver(() => { window.most = Math.max(window.most, log.querySelectorAll(".msg").length); }).observe(log, { childList: true, subtree: true });
    });
    link.send(held[first]);
    await row.and(ann.page.locator('[data-state="stored"]')).waitFor();
    assert.deepEqual(await ann.texts(), ["is it there?"]);
    link.send(held[first === "ack" ? "message" : "ack"]);
    await eventually(async () => assert.equal(await ann.page.evaluate(() => sessionStorage.getItem("roomcast.outbox")), "[]"));
    await server.post(`pending-${first}`, "bob", "after it");
    await ann.sees(["is it there?", "after it"]);
    assert.equal(await ann.page.evaluate(() => window.most), 2, "at no time a row too many");
  });
}

test("the same words from another tab of the same user are another message", async (t) => {
  const ann = await browser.person(t, server, "Ann");
  let hold = true;
  const held = [];
  const link = await between(ann, {
    fromPage: (frame) => {
      if (frame.t !== "send" || !hold) return frame;
      held.push(frame);
      return null;
    },
  });
  await ann.visit("twins");
  await ann.say("ok");
  await eventually(async () => assert.equal(held.length, 1));
  await server.post("twins", "Ann", "ok"); // as from another tab
  // It may be taken for ours until the ack says otherwise; then there are two.
  await ann.row("ok").first().waitFor();
  hold = false;
  await link.current.close({ code: 4001, reason: "test" });
  await ann.sees(["ok", "ok"]);
});

test("rate_limited waits and sends again, in order; unavailable sends again with the same nonce", async (t) => {
  const ann = await browser.person(t, server, "Ann");
  const refusals = [];
  const sends = [];
  await between(ann, {
    fromPage: (frame, link) => {
      if (frame.t !== "send") return frame;
      sends.push({ ...frame, at: Date.now() });
      const code = refusals.shift();
      if (!code) return frame;
      link.send({ t: "err", id: frame.id, code, message: "not now", ...(code === "rate_limited" && { retry_ms: 700 }) });
      return null;
    },
  });
  await ann.visit("limits");
  refusals.push("rate_limited", null, "unavailable");
  await ann.say("one");
  await ann.say("two");
  await ann.say("three");
  await ann.sees(["one", "two", "three"]);
  assert.deepEqual(sends.map((frame) => frame.content), ["one", "one", "two", "two", "three"]);
  assert.equal(sends[0].nonce, sends[1].nonce);
  assert.equal(sends[2].nonce, sends[3].nonce);
  assert.equal(new Set(sends.map((frame) => frame.nonce)).size, 3);
  assert.ok(sends[1].at - sends[0].at >= 690, "waits as long as it was told");
});

test("a refused message stays, with a reason, until it is sent again or discarded", async (t) => {
  const ann = await browser.person(t, server, "Ann");
  let code = "forbidden";
  const nonces = [];
  await between(ann, {
    fromPage: (frame, link) => {
      if (frame.t !== "send") return frame;
      nonces.push(frame.nonce);
      if (!code) return frame;
      link.send({ t: "err", id: frame.id, code, message: "no" });
      return null;
    },
  });
  await ann.visit("refused");
  await ann.say("please");
  const failed = ann.page.locator('[data-state="failed"]');
  await failed.getByText("Not sent. You aren't allowed to do that here.").waitFor();
  // Also after a reload: it isn't sent behind the user's back.
  await ann.reload();
  await failed.getByText("Not sent.").waitFor();
  assert.equal(nonces.length, 1);
  code = "nonce_conflict";
  await failed.getByRole("button", { name: "Retry" }).click();
  await failed.getByText("It was sent before with other words").waitFor();
  assert.equal(nonces.length, 2, "only what the user asked for was sent");
  assert.equal(nonces[1], nonces[0]);
  code = null;
  await failed.getByRole("button", { name: "Retry" }).click();
  await ann.sees(["please"]);
  assert.notEqual(nonces[2], nonces[0]);
  code = "bad_request";
  await ann.say("never mind");
  await failed.getByRole("button", { name: "Discard" }).click();
  await ann.sees(["please"]);
  assert.equal(await ann.page.evaluate(() => sessionStorage.getItem("roomcast.outbox")), "[]");
});

test("a message above the server's limit stays in the box, with a note, and doesn't cost the connection", async (t) => {
  const ann = await browser.person(t, server, "Ann");
  const link = await between(ann, {});
  await ann.visit("large");
  await ann.composer.fill("ä".repeat(40_000));
  const note = ann.page.locator("#draft-note", { hasText: /^Too long to send by about 7,\d\d\d characters\./ });
  await note.waitFor();
  await ann.composer.press("Enter");
  assert.equal(await ann.page.getByRole("button", { name: "Send" }).isDisabled(), true);
  assert.equal((await ann.composer.inputValue()).length, 40_000);
  // As many fewer as the note says are enough.
  const over = Number((await note.textContent()).match(/[\d,]+/)[0].replace(",", ""));
  await ann.say("ä".repeat(40_000 - over));
  await note.waitFor({ state: "hidden" });
  await ann.say("short");
  await ann.row("short").and(ann.page.locator('[data-state="stored"]')).waitFor();
  assert.deepEqual((await ann.texts()).map((text) => text.length), [40_000 - over, 5]);
  assert.equal(link.sent.filter((frame) => frame.t === "send").length, 2);
  assert.equal(link.opened, 1);
});

test("a message that waits while the server's limit sinks is stopped, and can be discarded", async (t) => {
  const ann = await browser.person(t, server, "Ann");
  const link = await between(ann, {
    fromServer: (frame, { opened }) => (frame.t === "hello" && opened > 1 ? { ...frame, limits: { ...frame.limits, message_bytes: 1000 } } : frame),
    fromPage: (frame, { opened }) => (frame.t === "send" && opened === 1 ? null : frame),
  });
  await ann.visit("sinking");
  await ann.say("x".repeat(2000));
  await ann.page.locator('[data-state="pending"]').waitFor();
  await link.current.close({ code: 4001, reason: "test" });
  const failed = ann.page.locator('[data-state="failed"]');
  await failed.getByText("Not sent. It is too long.").waitFor();
  await failed.getByRole("button", { name: "Discard" }).click();
  await ann.say("short");
  await ann.sees(["short"]);
});

test("a hole in the numbers is an error in the console, and is healed by the cursor", async (t) => {
  const room = "hole";
  const ann = await browser.person(t, server, "Ann");
  const complaint = ann.expect(/roomcast: hole jumped from entry 1 to 3/);
  let drop = null;
  const link = await between(ann, {
    fromServer: (frame) => {
      if (frame.t === undefined && frame.content === drop) {
        drop = null;
        return null;
      }
      return frame;
    },
  });
  await ann.visit(room);
  await server.post(room, "bob", "one");
  await ann.sees(["one"]);
  drop = "two";
  await server.post(room, "bob", "two", "three");
  await ann.sees(["one", "two", "three"]);
  assert.equal(complaint.seen, 1);
  assert.equal(link.opened, 1, "on the same connection");
  assert.match(link.sent.filter((frame) => frame.t === "join").at(-1).since, /:1$/);
});

test("messages that are no longer kept leave a marker where they were", async (t) => {
  const room = "retention";
  const ann = await browser.person(t, server, "Ann");
  let lose = false;
  const link = await between(ann, {
    fromServer: (frame) => {
      if (!lose) return frame;
      if (frame.t === "joined") return [{ ...frame, resume: "gap" }, { t: "gap", room_id: room, from: 2, to: 3, reason: "retention" }];
      return frame.seq === 2 || frame.seq === 3 ? null : frame;
    },
  });
  await ann.visit(room);
  await server.post(room, "bob", "kept");
  await ann.sees(["kept"]);
  lose = true;
  await server.post(room, "bob", "lost", "lost too");
  await link.current.close({ code: 4004, reason: "test" });
  await ann.log.getByText("Messages 2 to 3 are no longer kept").waitFor();
  await server.post(room, "bob", "later");
  await ann.sees(["kept", "later"]);
});

test("another epoch: the room starts again from history", async (t) => {
  const room = "epoch";
  await server.post(room, "bob", "in the log");
  const ann = await browser.person(t, server, "Ann");
  const link = await between(ann, {
    // The first log is one that the server no longer has.
    fromServer: (frame, { opened }) => {
      if (opened > 1) return frame;
      if (frame.t === "joined") return { ...frame, epoch: "of-another-time" };
      return frame.seq === 1 ? { ...frame, content: "of the lost log" } : frame;
    },
  });
  await ann.visit(room);
  await ann.sees(["of the lost log"]);
  await link.current.close({ code: 4004, reason: "test" });
  await ann.sees(["in the log"]);
  assert.equal(link.sent.filter((frame) => frame.t === "join").at(-1).since, "of-another-time:1");
  await ann.say("and on");
  await ann.sees(["in the log", "and on"]);
  await ann.reload();
  await ann.sees(["in the log", "and on"]);
});

test("frames of a later version, and fields nobody knows, are passed over", async (t) => {
  const ann = await browser.person(t, server, "Ann");
  const link = await between(ann, { fromServer: (frame) => ({ ...frame, later: { any: 1 } }) });
  await ann.visit("later");
  link.send({ t: "typing", room_id: "later", user: { id: "bob" } });
  link.send({ t: "err", code: "bad_request", message: "of nothing that was asked" });
  await ann.say("still here");
  await ann.sees(["still here"]);
  assert.equal(link.opened, 1);
});

test("a room that can't be entered says so", async (t) => {
  const ann = await browser.person(t, server, "Ann");
  let closed = true;
  await between(ann, {
    fromPage: (frame, link) => {
      if (frame.t !== "join" || frame.room_id !== "private" || !closed) return frame;
      link.send({ t: "err", id: frame.id, code: "forbidden", message: "members only" });
      return null;
    },
  });
  await ann.visit("private");
  await ann.log.getByText("This room can't be entered").waitFor();
  assert.equal(await ann.composer.isDisabled(), true);
  closed = false;
  await ann.log.getByRole("button", { name: "Try again" }).click();
  await ann.say("in");
  await ann.sees(["in"]);
});

test("live messages that come while the window is being led back to the end are neither lost nor doubled", async (t) => {
  const room = "meeting";
  await server.post(room, "bob", "a needle");
  await server.fill(room, "line", 140);
  const ann = await browser.person(t, server, "Ann");
  let held = null;
  let holding = false;
  const link = await between(ann, {
    fromServer: (frame) => {
      // The answer that reaches the end was read before what follows it, and arrives after that.
      if (!holding || frame.t !== "history" || frame.more) return frame;
      held = frame;
      return null;
    },
  });
  await ann.visit(room);
  await ann.page.getByRole("button", { name: "Search this room" }).click();
  await ann.page.getByRole("searchbox").fill("needle");
  await ann.page.getByRole("button", { name: /a needle/ }).click();
  await ann.row("a needle").waitFor();
  holding = true;
  await eventually(async () => {
    await ann.log.evaluate((log) => { log.scrollTop = log.scrollHeight; });
    assert.ok(held);
  });
  await server.post(room, "bob", "just now", "and now");
  await ann.page.getByRole("button", { name: "2 new messages" }).waitFor();
  holding = false;
  link.send(held);
  await ann.row("and now").waitFor();
  await ann.sees(["a needle", ...Array.from({ length: 140 }, (_, n) => `line ${n + 1}`), "just now", "and now"]);
});

test("a page with many rooms comes back to all of them, within the server's rate", async (t) => {
  const names = Array.from({ length: 90 }, (_, n) => `many-${n}`);
  const ann = await browser.person(t, server, "Ann");
  await ann.page.addInitScript((rooms) => sessionStorage.getItem("roomcast.rooms") ?? sessionStorage.setItem("roomcast.rooms", JSON.stringify(rooms)), names);
  const joined = new Set();
  const link = await between(ann, {
    fromServer: (frame) => {
      if (frame.t === "joined") joined.add(frame.room_id);
      return frame;
    },
  });
  await ann.visit("many-50");
  assert.equal(link.sent.find((frame) => frame.t === "join").room_id, "many-50", "the room in front is first");
  await eventually(async () => assert.equal(joined.size, 90), 30_000);
  assert.equal(link.opened, 1);
  await server.post("many-89", "bob", "here too");
  await ann.page.getByRole("link", { name: /many-89\s*1 unread/ }).waitFor();
});

test("a name that the server doesn't take is said so, and isn't tried for ever", async (t) => {
  const ann = await browser.person(t, server, "x".repeat(400));
  ann.expect(/WebSocket connection to .* failed|status of 400/);
  let opened = 0;
  ann.page.on("websocket", () => { opened += 1; });
  await ann.page.goto(`${server.url}/?user=${ann.name}#/room/lobby`);
  await ann.banner.getByText("The server refused the connection").waitFor();
  await ann.banner.getByRole("button", { name: "Connect again" }).waitFor();
  await pause(1500); // a retry would come within half a second
  assert.equal(opened, 1);
});
