// Servers that were started with settings of their own: retention, origins, few connections.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Browser, Server, between, eventually } from "./helpers.mjs";

let browser;
before(async () => { browser = await Browser.start(); });
after(async () => { await browser?.close(); });

async function start(t, ...args) {
  const server = await Server.start({ args });
  t.after(() => server.close());
  return server;
}

test("a room that retention has emptied says so, and goes on", async (t) => {
  const server = await start(t, "--retention", "1s");
  const room = "emptied";
  await server.post(room, "bob", "soon gone", "this too");
  await eventually(async () => assert.deepEqual(await server.messages(room), []));
  const ann = await browser.person(t, server, "Ann", { room });
  await ann.log.getByText("What was said here before is no longer kept.").waitFor();
  await server.post(room, "bob", "live");
  await ann.row("live").waitFor();
  await ann.say("and mine");
  await ann.sees(["live", "and mine"]);
  await ann.log.getByText("Earlier messages are no longer kept").waitFor();
  assert.equal(await ann.log.getByText("Loading").count(), 0);
});

test("asking whether a room is empty doesn't hurry one whose messages are only late", async (t) => {
  const server = await start(t);
  await server.post("late", "bob", "one", "two");
  const ann = await browser.person(t, server, "Ann");
  const held = [];
  let holding = true;
  const link = await between(ann, {
    fromServer: (frame) => {
      if (!holding || frame.t !== undefined) return frame;
      held.push(frame);
      return null;
    },
  });
  await ann.page.goto(`${server.url}/?user=Ann#/room/late`);
  await eventually(async () => assert.ok(link.sent.some((frame) => frame.t === "history")));
  await ann.log.getByText("Loading messages…").waitFor();
  holding = false;
  for (const frame of held) link.send(frame);
  await ann.sees(["one", "two"]);
  assert.equal(link.sent.filter((frame) => frame.t === "history").length, 1);
});
