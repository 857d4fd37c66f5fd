// The page as a picture: a lively conversation on a desk and on a phone, in the light and in the dark.
// The files go to the folder named by SCREENSHOTS; without it the same steps are a test of a busy room.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { AWAY, Browser, PHONE, Server, eventually } from "./helpers.mjs";

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

test("a lively conversation, in pictures", async (t) => {
  const room = "launch";
  const say = (user, content) => server.post(room, user, content);
  await server.post("lobby", "Tomás", "Welcome, everybody");
  await server.post("design", "Ines", "New icons are in");
  await server.post("support", "Noor", "Inbox is empty");
  await server.post("random", "Noor", "Who ate the last biscuit?");
  await say("Ines", "Morning! The kiosk build is on the test machines. Could somebody try it on a bad connection?");
  await say("Tomás", "I'll take the train home with it, there are three tunnels on the way 🚆");
  await say("Noor", "That's the best test lab we have");
  await say("Ines", "Things to look at:\n· does the unsent text survive a reload?\n· is the order the same on both phones?");
  await say("Noor", "What happens if the server restarts while I'm typing?");
  const ann = await browser.person(t, server, "Maya", { room, viewport: { width: 1280, height: 900 }, deviceScaleFactor: 2 });
  const ines = await browser.person(t, server, "Ines", { room });
  const others = await Promise.all(["Tomás", "Noor"].map((name) => browser.person(t, server, name, { room })));
  for (const other of ["design", "lobby"]) {
    await ann.visit(other);
  }
  await ann.visit(room);
  await ann.row("What happens if the server restarts while I'm typing?").hover();
  await ann.page.getByRole("button", { name: "Reply", exact: true }).click();
  await ann.say("Tried it just now: the banner appears, I keep writing, and when it's back everything arrives once, in order.");
  await ann.row("Tried it just now: the banner appears, I keep writing, and when it's back everything arrives once, in order.").and(ann.page.locator('[data-state="stored"]')).waitFor();
  await others[0].say("Confirmed from tunnell two");
  await others[0].row("Confirmed from tunnell two").and(others[0].page.locator('[data-state="stored"]')).waitFor();
  await others[0].composer.press("ArrowUp");
  await others[0].say("Confirmed from tunnel two. Notes: https://example.org/field-notes");
  await others[1].say("Then I have no questions left");
  await ines.say("Lovely. Shipping it at noon ✨");
  await server.post("design", "Ines", "And dark mode is done", "Have a look");
  await ann.row("Lovely. Shipping it at noon ✨").waitFor();
  await ann.row("Confirmed from tunnel two. Notes: https://example.org/field-notes").waitFor();
  await ann.page.locator("#joined-rooms .unread").waitFor();
  await eventually(async () => assert.equal(await ann.page.locator("#people-list li").count(), 4));
  await ann.composer.fill("I'll write the release n");
  await ann.page.mouse.move(900, 8);
  await ann.picture("desktop-light");
  await ann.page.emulateMedia({ colorScheme: "dark" });
  await ann.picture("desktop-dark");
  await ann.page.getByRole("button", { name: "Search this room" }).click();
  await ann.page.getByRole("searchbox").fill("tunnel");
  await ann.page.locator("#results mark").first().waitFor();
  await ann.picture("search-dark");
  await ann.page.emulateMedia({ colorScheme: "light" });
  await ann.picture("search-light");
  await ann.page.keyboard.press("Control+k");
  await ann.page.keyboard.type("de");
  await ann.page.getByRole("option", { name: /#design/ }).waitFor();
  await ann.picture("switcher-light");
  await ann.page.keyboard.press("Escape");
  await ann.page.getByRole("button", { name: "People online" }).click();
  const phone = await browser.person(t, server, "Maya", { room, ...PHONE });
  await phone.row("Lovely. Shipping it at noon ✨").waitFor();
  await phone.picture("phone-light");
  await phone.page.emulateMedia({ colorScheme: "dark" });
  await phone.picture("phone-dark");

  // And while the server is away.
  for (const person of [ann, ines, phone, ...others]) person.expect(AWAY);
  await server.down("SIGKILL");
  await ann.banner.getByText("Connection lost").waitFor();
  await ann.say("The server just went down, and I'm still writing");
  await ann.composer.fill("This one isn't even fini");
  await ann.banner.getByText("Your messages wait here").waitFor();
  await ann.row("The server just went down, and I'm still writing").getByText("Waiting for the connection").evaluate((node) => Promise.all(node.getAnimations().map((animation) => animation.finished)));
  await ann.picture("outage-light");
  await server.up();
  await ines.row("The server just went down, and I'm still writing").waitFor();
});
