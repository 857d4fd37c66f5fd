// What people do: talk, edit, delete, answer, look back, search, go from room to room.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
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

test("two people talk, and both see everything in one order", async (t) => {
  const room = "talk";
  const ann = await browser.person(t, server, "Ann", { room });
  const bob = await browser.person(t, server, "Bob", { room });
  const expected = [];
  for (let n = 1; n <= 5; n++) {
    await ann.say(`ann says ${n}`);
    expected.push(`ann says ${n}`);
    await bob.sees(expected);
    await bob.say(`bob says ${n}`);
    expected.push(`bob says ${n}`);
    await ann.sees(expected);
  }
  // Both at once: whatever the order is, it is the same for both, and nobody's own order changes.
  await Promise.all([
    (async () => { for (let n = 6; n <= 14; n++) await ann.say(`ann says ${n}`); })(),
    (async () => { for (let n = 6; n <= 14; n++) await bob.say(`bob says ${n}`); })(),
  ]);
  await eventually(async () => {
    const [here, there] = [await ann.texts(), await bob.texts()];
    assert.equal(here.length, 28);
    assert.deepEqual(here, there);
    for (const who of ["ann", "bob"]) {
      assert.deepEqual(here.filter((text) => text.startsWith(who)), Array.from({ length: 14 }, (_, n) => `${who} says ${n + 1}`));
    }
    assert.equal(await ann.pending(), 0);
  });
  // Who said what, and that consecutive messages of one person stand under one name.
  assert.equal(await bob.row("ann says 1").locator(".name").textContent(), "Ann");
  assert.equal(await bob.row("bob says 1").locator(".you").count(), 1);
  assert.equal(await ann.row("bob says 1").locator(".you").count(), 0);
});

test("reloading the page shows the same conversation and the same draft", async (t) => {
  const room = "reload";
  const ann = await browser.person(t, server, "Ann", { room });
  await ann.say("one");
  await ann.say("two\nwith a second line".replace("\n", " / "));
  await ann.sees(["one", "two / with a second line"]);
  await ann.composer.fill("half a thou");
  await ann.reload();
  await ann.sees(["one", "two / with a second line"]);
  assert.equal(await ann.composer.inputValue(), "half a thou");
  assert.match(ann.page.url(), /\?user=Ann#\/room\/reload$/);
});

test("a person without a name is a guest for the tab, and may take a name", async (t) => {
  const guest = await browser.person(t, server, "guest");
  await guest.page.goto(`${server.url}/`);
  await guest.connected();
  await guest.page.waitForURL(/#\/room\/lobby$/);
  const first = await guest.page.locator("#me-name").textContent();
  await guest.say("said as a guest");
  await guest.row("said as a guest").and(guest.page.locator('[data-state="stored"]')).waitFor();
  await guest.reload();
  assert.equal(await guest.page.locator("#me-name").textContent(), first);
  assert.equal(await guest.row("said as a guest").locator(".you").count(), 1);

  await guest.page.getByRole("button", { name: "Change name" }).click();
  await guest.page.getByRole("textbox", { name: "Your name" }).fill("Grace");
  await guest.page.getByRole("button", { name: "Use this name" }).click();
  await guest.page.waitForURL(/\?user=Grace/);
  await guest.connected();
  assert.equal(await guest.page.locator("#me-name").textContent(), "Grace");
  // Another tab of the same browser knows the name.
  const other = guest.watch(await guest.context.newPage());
  await other.goto(`${server.url}/#/room/lobby`);
  await other.locator('body[data-link="open"]').waitFor();
  assert.equal(await other.locator("#me-name").textContent(), "Grace");
  assert.match(other.url(), /\?user=Grace#/);
});

test("an edit and a deletion are seen by the other, and after a reload", async (t) => {
  const room = "edits";
  const ann = await browser.person(t, server, "Ann", { room });
  const bob = await browser.person(t, server, "Bob", { room });
  await ann.say("the first wrods");
  await ann.say("a thing to regret");
  await bob.sees(["the first wrods", "a thing to regret"]);

  await ann.row("the first wrods").hover();
  await ann.page.getByRole("button", { name: "Edit", exact: true }).click();
  assert.equal(await ann.composer.inputValue(), "the first wrods");
  await ann.say("the first words");
  await bob.sees(["the first words", "a thing to regret"]);
  await ann.sees(["the first words", "a thing to regret"]);
  await bob.row("the first words").getByText("(edited)").waitFor();

  await ann.row("a thing to regret").hover();
  await ann.page.getByRole("button", { name: "Delete", exact: true }).click();
  const dialog = ann.page.getByRole("alertdialog");
  await dialog.getByText("a thing to regret").waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  assert.deepEqual(await ann.texts(), ["the first words", "a thing to regret"]);
  await ann.row("a thing to regret").hover();
  await ann.page.getByRole("button", { name: "Delete", exact: true }).click();
  await dialog.getByRole("button", { name: "Delete" }).click();
  for (const person of [ann, bob]) await person.sees(["the first words", "This message was deleted"]);
  await bob.reload();
  await bob.sees(["the first words", "This message was deleted"]);
  await bob.row("the first words").getByText("(edited)").waitFor();

  // Others' messages can be answered, not changed.
  await bob.row("the first words").hover();
  await bob.page.getByRole("button", { name: "Reply", exact: true }).waitFor();
  assert.equal(await bob.page.getByRole("button", { name: "Edit", exact: true }).isVisible(), false);
  assert.equal(await bob.page.getByRole("button", { name: "Delete", exact: true }).isVisible(), false);
});

test("ArrowUp in an empty composer edits the last own message, Escape gives the draft back", async (t) => {
  const room = "arrow-up";
  const ann = await browser.person(t, server, "Ann", { room });
  await ann.say("mine");
  await ann.sees(["mine"]);
  await server.post(room, "bob", "not mine");
  await ann.sees(["mine", "not mine"]);
  await ann.composer.press("ArrowUp");
  await ann.page.getByText("Editing your message").waitFor();
  assert.equal(await ann.composer.inputValue(), "mine");
  await ann.composer.press("Escape");
  assert.equal(await ann.composer.inputValue(), "");
  await ann.page.getByText("Editing your message").waitFor({ state: "hidden" });
  await ann.composer.press("ArrowUp");
  await ann.say("mine, improved");
  await ann.sees(["mine, improved", "not mine"]);
  // With something written, the key moves the caret.
  await ann.composer.fill("text");
  await ann.composer.press("ArrowUp");
  assert.equal(await ann.composer.inputValue(), "text");
});

test("a reply quotes what it answers, and the quote leads there", async (t) => {
  const room = "replies";
  await server.post(room, "bob", "shall we?");
  const ann = await browser.person(t, server, "Ann", { room });
  const bob = await browser.person(t, server, "Bob", { room });
  await ann.row("shall we?").hover();
  await ann.page.getByRole("button", { name: "Reply", exact: true }).click();
  await ann.page.getByText("Replying to").waitFor();
  await ann.say("we shall");
  await bob.sees(["shall we?", "we shall"]);
  for (const person of [ann, bob]) assert.match(await person.row("we shall").locator(".quote").textContent(), /bob shall we\?/i);
  await bob.row("we shall").locator(".quote").click();
  await bob.page.locator(".msg:focus", { hasText: "shall we?" }).waitFor();
  const [, reply] = await server.messages(room);
  assert.ok(reply.reply_to);
});

test("earlier messages come on scrolling up, and what is read stays in its place", async (t) => {
  const room = "history";
  await server.fill(room, "line", 300);
  const ann = await browser.person(t, server, "Ann", { room });
  await ann.row("line 300").waitFor();
  assert.ok((await ann.texts()).length < 300, "not everything is loaded at once");
  const top = () => ann.log.evaluate((log) => {
    const edge = log.getBoundingClientRect().top;
    const row = [...log.querySelectorAll(".msg")].find((other) => other.getBoundingClientRect().bottom > edge);
    return { id: row.dataset.id, offset: row.getBoundingClientRect().top - edge };
  });
  // Slowly enough to see a page arrive: to the top of what is there, which loads what is before.
  for (let round = 0; round < 12 && !(await ann.row("line 1").count()); round++) {
    const rows = await ann.log.locator(".msg").count();
    // The scroll and the reading of the place are one step, before any answer can come.
    const seen = await ann.log.evaluate((log) => {
      log.scrollTop = 0;
      const edge = log.getBoundingClientRect().top;
      const row = [...log.querySelectorAll(".msg")].find((other) => other.getBoundingClientRect().bottom > edge);
      return { id: row.dataset.id, offset: row.getBoundingClientRect().top - edge };
    });
    await eventually(async () => assert.ok(await ann.log.locator(".msg").count() > rows || await ann.row("line 1").count() > 0));
    const moved = await ann.log.evaluate((log, id) => log.querySelector(`[data-id="${id}"]`).getBoundingClientRect().top - log.getBoundingClientRect().top, seen.id);
    assert.ok(Math.abs(moved - seen.offset) < 4, `the place moved by ${moved - seen.offset} px`);
  }
  await eventually(async () => assert.deepEqual(await ann.texts(), Array.from({ length: 300 }, (_, n) => `line ${n + 1}`)));
  await ann.log.getByText("This is where #history begins").waitFor();

  // A message that arrives doesn't pull the reader down.
  await ann.log.evaluate((log) => { log.scrollTop = 0; });
  const place = await top();
  await server.post(room, "bob", "meanwhile");
  await ann.row("meanwhile").waitFor();
  assert.deepEqual(await top(), place);
  await ann.page.getByRole("button", { name: "Latest messages" }).click();
  await eventually(async () => assert.ok(await ann.log.evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight) < 4));
});

test("the page holds no more than some hundred messages, and finds its way back to the newest", async (t) => {
  const room = "long";
  await server.fill(room, "long", 720);
  const ann = await browser.person(t, server, "Ann", { room });
  await ann.row("long 720").waitFor();
  // Watches every state of the log between here and the end.
  await ann.log.evaluate((log) => {
    window.most = 0;
    new MutationObserver(() => { window.most = Math.max(window.most, log.querySelectorAll(".msg").length); }).observe(log, { childList: true });
  });
  await eventually(async () => {
    await ann.log.evaluate((log) => { log.scrollTop = 0; });
    assert.equal(await ann.row("long 1").count(), 1);
  });
  assert.equal(await ann.row("long 720").count(), 0, "the far end was let go");
  await server.post(room, "bob", "far below");
  await ann.page.getByRole("button", { name: "1 new message" }).waitFor();
  // Down again by scrolling: nothing is missing and nothing twice on the way.
  await eventually(async () => {
    await ann.log.evaluate((log) => { log.scrollTop = log.scrollHeight; });
    assert.equal(await ann.row("far below").count(), 1);
    assert.equal(await ann.page.locator("#latest").isVisible(), false, "at the end");
  });
  const texts = await ann.texts();
  assert.ok(texts.length <= 500);
  const first = Number(texts[0].slice(5));
  assert.deepEqual(texts, [...Array.from({ length: 721 - first }, (_, n) => `long ${first + n}`), "far below"]);
  await server.post(room, "bob", "and live again");
  await ann.row("and live again").waitFor();

  // And at once, from far up, by the button.
  await eventually(async () => {
    await ann.log.evaluate((log) => { log.scrollTop = 0; });
    assert.equal(await ann.row("long 1").count(), 1);
  });
  await ann.page.getByRole("button", { name: "Latest messages" }).click();
  await ann.row("and live again").waitFor();
  await eventually(async () => assert.ok(await ann.row("and live again").evaluate((row) => row.getBoundingClientRect().bottom <= innerHeight)));
  const most = await ann.page.evaluate(() => window.most);
  assert.ok(most > 400 && most <= 500, `${most} messages in the page`);
});

test("rooms: creating, deep links, switching, leaving, and what is unread", async (t) => {
  const ann = await browser.person(t, server, "Ann", { room: "harbour" });
  const bob = await browser.person(t, server, "Bob", { room: "harbour" });
  await ann.page.getByRole("button", { name: "Find or create a room" }).click();
  const dialog = ann.page.getByRole("dialog", { name: "Find or create a room" });
  await dialog.getByRole("combobox", { name: "Room name" }).fill("bad/name");
  await dialog.getByRole("option", { name: "Not a possible name for a room" }).waitFor();
  await dialog.getByRole("combobox", { name: "Room name" }).fill("light house:2");
  await dialog.getByRole("option", { name: "Create #light-house:2" }).click();
  await ann.page.waitForURL(/#\/room\/light-house%3A2$/);
  await ann.page.getByRole("heading", { level: 1, name: "light-house:2" }).waitFor();
  await ann.settled();
  await ann.say("anybody here?");
  await ann.sees(["anybody here?"]);

  // Bob finds it in his list, and that somebody is in it.
  const entry = bob.page.getByRole("navigation", { name: "Rooms" }).getByRole("link", { name: /light-house:2/ });
  await entry.waitFor();
  await eventually(async () => assert.match(await entry.textContent(), /somebody online/));
  await entry.click();
  await bob.sees(["anybody here?"]);
  await bob.say("me");
  await ann.sees(["anybody here?", "me"]);

  // Ann looks elsewhere: what is said here is counted, in the list and in the title.
  const rooms = ann.page.getByRole("navigation", { name: "Rooms" });
  await rooms.getByRole("link", { name: /harbour/ }).click();
  await ann.page.getByRole("heading", { level: 1, name: "harbour" }).waitFor();
  await bob.say("are you still there?");
  await bob.say("hello?");
  await rooms.getByRole("link", { name: /light-house:2\s*2 unread/ }).waitFor();
  await eventually(async () => assert.equal(await ann.page.title(), "(2) #harbour · roomcast"));
  // It is still counted after a reload.
  await ann.reload();
  await rooms.getByRole("link", { name: /light-house:2\s*2 unread/ }).waitFor();
  await rooms.getByRole("link", { name: /light-house:2/ }).click();
  await ann.sees(["anybody here?", "me", "are you still there?", "hello?"]);
  await ann.log.getByRole("separator", { name: "New messages" }).waitFor();
  await eventually(async () => assert.equal(await ann.page.title(), "#light-house:2 · roomcast"));
  await rooms.getByText("unread").first().waitFor({ state: "detached" });
  // Back is the browser's.
  await ann.page.goBack();
  await ann.page.getByRole("heading", { level: 1, name: "harbour" }).waitFor();

  // A deep link in a new browser.
  const cleo = await browser.person(t, server, "Cleo");
  await cleo.page.goto(`${server.url}/?user=Cleo#/room/light-house%3A2`);
  await cleo.connected();
  await cleo.sees(["anybody here?", "me", "are you still there?", "hello?"]);
  await cleo.page.goto(`${server.url}/?user=Cleo#/room/not%20a%20room`);
  await cleo.log.getByText("“not a room” can't be the name of a room").waitFor();
  await cleo.page.getByRole("heading", { level: 1, name: "No room", exact: true }).waitFor();
  assert.equal(await cleo.banner.isVisible(), false);
  // The same in a page that begins there; and it leads on.
  const dan = await browser.person(t, server, "Dan");
  await dan.page.goto(`${server.url}/?user=Dan#/room/caf%C3%A9`);
  await dan.connected();
  await dan.log.getByText("“café” can't be the name of a room").waitFor();
  assert.equal(await dan.composer.isDisabled(), true);
  await dan.log.getByRole("button", { name: "Find or create a room" }).click();
  await dan.page.getByRole("combobox", { name: "Room name" }).fill("harbour");
  await dan.page.getByRole("option", { name: "#harbour" }).click();
  await dan.page.getByRole("heading", { level: 1, name: "harbour" }).waitFor();

  // Leaving: no longer in the list of one's rooms, and nothing is counted.
  await ann.page.goForward();
  await ann.page.getByRole("heading", { level: 1, name: "light-house:2" }).waitFor();
  await ann.page.getByRole("button", { name: "Leave this room" }).click();
  await ann.page.getByRole("heading", { level: 1, name: "harbour" }).waitFor();
  await ann.page.locator("#other-rooms").getByRole("link", { name: /light-house:2/ }).waitFor();
  assert.equal(await ann.page.locator("#joined-rooms").getByRole("link", { name: /light-house:2/ }).count(), 0);
});

test("a question over HTTP that is never answered is given up, and asked again", async (t) => {
  await server.post("listed-late", "bob", "here");
  const ann = await browser.person(t, server, "Ann");
  ann.expect(/Failed to load resource/);
  let asked = 0;
  await ann.page.route(/\/api\/rooms\?/, async (route) => {
    asked += 1;
    if (asked > 1) await route.continue();
  });
  await ann.visit("unanswered");
  await eventually(async () => assert.equal(asked, 1));
  const listed = ann.page.locator("#other-rooms").getByRole("link", { name: /listed-late/ });
  assert.equal(await listed.count(), 0);
  await listed.waitFor({ timeout: 30_000 });
});

test("search finds old messages and jumps to them", async (t) => {
  const room = "search";
  await server.fill(room, "hay", 40);
  await server.post(room, "bob", "a needle, early");
  await server.fill(room, "hay", 260, 41);
  await server.post(room, "bob", "a late needle");
  const ann = await browser.person(t, server, "Ann", { room });
  await ann.row("a late needle").waitFor();
  await ann.page.getByRole("button", { name: "Search this room" }).click();
  await ann.page.getByRole("searchbox", { name: "Search messages in this room" }).fill("needle");
  const panel = ann.page.getByRole("complementary", { name: "Search" });
  await panel.getByText("2 messages").waitFor();
  assert.deepEqual(await panel.locator(".result .text").allTextContents(), ["a late needle", "a needle, early"]);
  assert.equal(await panel.locator("mark").first().textContent(), "needle");
  assert.equal(await ann.row("a needle, early").count(), 0);
  await panel.getByRole("button", { name: /a needle, early/ }).click();
  const found = ann.row("a needle, early");
  await found.and(ann.page.locator(":focus")).waitFor();
  assert.ok(await found.evaluate((row) => {
    const [box, log] = [row.getBoundingClientRect(), row.closest("#log").getBoundingClientRect()];
    return box.top >= log.top && box.bottom <= log.bottom;
  }), "the message is in sight");
  assert.ok((await ann.texts()).includes("hay 40") && (await ann.texts()).includes("hay 41"), "with what is around it");
  await ann.page.getByRole("button", { name: "Latest messages" }).click();
  await ann.row("a late needle").waitFor();
  await panel.getByRole("searchbox").fill("nothing-of-this-kind");
  await panel.getByText("No message has these words.").waitFor();
  await panel.getByText("Finds messages that have all the words, each as a whole.").waitFor();
  await panel.getByRole("searchbox").fill("need");
  await panel.getByText("No message has these words. Whole words are searched, not parts of them.").waitFor();
  await panel.getByRole("searchbox").press("Escape");
  await panel.waitFor({ state: "hidden" });

  // A room in which nobody has spoken has nothing to find, which is no error.
  await ann.visit("search-silence");
  await ann.page.getByRole("button", { name: "Search this room" }).click();
  await panel.getByRole("searchbox").fill("needle");
  await panel.getByText("No message has these words.").waitFor();
});
