// The page for everybody: hostile text, keyboards, phones, dark rooms.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Browser, PHONE, Server, eventually } from "./helpers.mjs";

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

test("the server forbids inline script, and the page needs none", async (t) => {
  const answer = await fetch(`${server.url}/`);
  const policy = answer.headers.get("content-security-policy") ?? "";
  for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]) assert.ok(policy.includes(part), `the policy has ${part}`);
  // Would a violation be noticed at all? This one is made on purpose.
  const eve = await browser.person(t, server, "Eve", { room: "policy" });
  const noticed = eve.expect(/policy violated: script-src|Content Security Policy/);
  await eve.page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.ran = true";
    document.body.append(script);
  });
  await eventually(async () => assert.ok(noticed.seen > 0));
  assert.equal(await eve.page.evaluate(() => window.ran), undefined);
});

test("markup and addresses in names, messages and searches are text", async (t) => {
  const room = "hostile";
  const texts = [
    "<img src=x onerror=\"window.hacked = 1\">",
    "<script>window.hacked = 2</script>",
    "javascript:window.hacked=3",
    "<a href=\"javascript:window.hacked=4\">click</a>",
    "</span></p><style>body{display:none}</style>",
    "&lt;b&gt; &amp; {{7*7}} ${7*7}",
    "\u202Eright to left\u202C and back",
    "see https://example.org/a_(b)?q=1#x, (https://example.net/) and http://[",
  ];
  const eve = await browser.person(t, server, "<b onclick=hack()>Eve</b>", { room });
  for (const text of texts) await eve.say(text);
  await eve.sees(texts);
  const ann = await browser.person(t, server, "Ann", { room });
  await ann.sees(texts);
  await ann.row(texts[0]).hover();
  await ann.page.getByRole("button", { name: "Reply", exact: true }).click();
  await ann.say("about that");
  await ann.page.getByRole("button", { name: "Search this room" }).click();
  await ann.page.getByRole("searchbox").fill("onerror");
  await ann.page.locator("#results .result").first().waitFor();
  assert.equal(await ann.page.locator("#results .result .text").first().textContent(), texts[0]);
  for (const person of [eve, ann]) {
    assert.equal(await person.log.locator("img, script, style, b[onclick], iframe").count(), 0);
    assert.equal(await person.page.locator("#results img, #people-list b, .msg .name b").count(), 0);
    assert.equal(await person.page.evaluate(() => window.hacked), undefined);
    const links = await person.log.locator("a").evaluateAll((nodes) => nodes.map((node) => [node.href, node.rel, node.target]));
    assert.deepEqual(links, [["https://example.org/a_(b)?q=1#x", "noopener noreferrer", "_blank"], ["https://example.net/", "noopener noreferrer", "_blank"]]);
  }
  assert.equal(await ann.row(texts[1]).count(), 1);
  assert.ok((await ann.log.locator(".name").first().textContent()).includes("<b"), "the name is shown as it is written");
});

test("the page connects to its own server, and to no other", async (t) => {
  const answer = await fetch(`${server.url}/`);
  assert.match(answer.headers.get("content-security-policy"), /(^|; )connect-src 'self'(;|$)/);
  const ann = await browser.person(t, server, "Ann", { room: "own" });
  await ann.say("through a socket of the page's own"); // with a WebSocket of the browser's own, not one of Playwright's
  await ann.sees(["through a socket of the page's own"]);
  const other = await Server.start();
  t.after(() => other.close());
  const noticed = ann.expect(/policy violated: connect-src|Content Security Policy/);
  await ann.page.evaluate((url) => {
    try {
      new WebSocket(url);
    } catch { /* older browsers throw */ }
  }, `${other.url.replace("http", "ws")}/ws/lobby`);
  await eventually(async () => assert.ok(noticed.seen > 0));
});

test("what looks like an address costs no more than other text", async (t) => {
  const room = "addresses";
  const dots = `https://example.org/${".,;:!?".repeat(10_000)}x`;
  const brackets = `https://example.org/${")]".repeat(30_000)}`;
  const long = `https://example.org/${"a".repeat(2100)}`;
  await server.post(room, "Eve", ...Array.from({ length: 4 }, () => dots), ...Array.from({ length: 4 }, () => brackets), long, "and https://example.org/).,]!");
  const ann = await browser.person(t, server, "Ann");
  await ann.page.addInitScript(() => {
    window.longest = 0;
    new PerformanceObserver((list) => { for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration); }).observe({ type: "longtask" });
  });
  await ann.visit(room);
  await ann.row(long).waitFor();
  // Reading each of the first eight to its end for each of its characters took many seconds.
  const longest = await ann.page.evaluate(() => new Promise((resolve) => setTimeout(() => resolve(window.longest), 100)));
  assert.ok(longest < 3000, `the page stood still for ${longest} ms`);
  const links = await ann.log.locator("a").evaluateAll((nodes) => nodes.map((node) => node.textContent));
  assert.deepEqual(links, [...Array.from({ length: 4 }, () => "https://example.org/"), "https://example.org/"], "one that is too long to be meant is text");
});

test("a whole session with the keyboard alone", async (t) => {
  const room = "keys";
  await server.post(room, "bob", "good morning", "coffee?");
  const ann = await browser.person(t, server, "Ann", { room });
  const { page } = ann;
  const keys = page.keyboard;
  const focus = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent ?? "");

  const fromTheTop = () => page.evaluate(() => {
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
  });

  // The skip link is the first stop, can be seen, and leads to the composer.
  await fromTheTop();
  await keys.press("Tab");
  assert.equal(await focus(), "Skip to the conversation");
  await eventually(async () => assert.ok(await page.locator("#skip").evaluate((node) => node.getBoundingClientRect().top >= 0)));
  await keys.press("Enter");
  assert.equal(await focus(), "Message");

  await keys.type("line one");
  await keys.press("Shift+Enter");
  await keys.type("line two");
  await keys.press("Enter");
  await ann.sees(["good morning", "coffee?", "line one\nline two"]);

  // Up into the log, to another's message, and to its tools.
  await keys.press("Shift+Tab");
  assert.match(await focus(), /Ann, .*: line one line two/);
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, "solid", "the focus can be seen");
  await keys.press("ArrowUp");
  assert.match(await focus(), /bob, .*: coffee\?/);
  await keys.press("Home");
  assert.match(await focus(), /: good morning/);
  await keys.press("ArrowDown");
  await keys.press("Tab");
  assert.equal(await focus(), "Reply");
  await keys.press("Enter");
  assert.equal(await focus(), "Message");
  await keys.type("yes please");
  await keys.press("Enter");
  await ann.sees(["good morning", "coffee?", "line one\nline two", "yes please"]);
  assert.equal(await ann.row("yes please").locator(".quote").count(), 1);

  // Edit and delete without a pointer.
  await keys.press("ArrowUp");
  await keys.press("End");
  await keys.type("!");
  await keys.press("Enter");
  await ann.sees(["good morning", "coffee?", "line one\nline two", "yes please!"]);
  await keys.press("Shift+Tab");
  await keys.press("Delete");
  await page.getByRole("alertdialog").waitFor();
  assert.equal(await focus(), "Cancel", "the harmless answer is the one that is ready");
  await keys.press("Tab");
  await keys.press("Enter");
  await ann.sees(["good morning", "coffee?", "line one\nline two", "This message was deleted"]);

  // Rooms by Ctrl+K, search by its field, Escape out of everything.
  await keys.press("Control+k");
  assert.equal(await focus(), "Room name");
  await keys.type("tea");
  await page.getByRole("option", { name: "Create #tea" }).waitFor();
  await keys.press("Enter");
  await page.getByRole("heading", { level: 1, name: "tea" }).waitFor();
  await ann.settled();
  assert.equal(await focus(), "Message");
  await keys.press("Control+k");
  await keys.type("keys");
  await keys.press("ArrowDown");
  await keys.press("ArrowUp");
  await keys.press("Enter");
  await page.getByRole("heading", { level: 1, name: "keys" }).waitFor();
  await keys.press("Control+k");
  await keys.type("coffee");
  await keys.press("ArrowUp"); // the last option: search for it
  await keys.press("Enter");
  await page.getByRole("complementary", { name: "Search" }).getByText("1 message").waitFor();
  assert.equal(await focus(), "Search messages in this room");
  await keys.press("Tab");
  assert.match(await focus(), /coffee\?/);
  await keys.press("Enter");
  await ann.row("coffee?").and(page.locator(":focus")).waitFor();
  await keys.press("Escape");
  await page.getByRole("complementary", { name: "Search" }).waitFor({ state: "hidden" });
  await keys.press("Control+k");
  await keys.press("Escape");
  await page.locator("#switcher").waitFor({ state: "hidden" });

  // Every stop of the tab order has a name, and the order comes round without a trap.
  const names = [];
  await fromTheTop();
  for (let n = 0; n < 40; n++) {
    await keys.press("Tab");
    const name = (await focus()).trim();
    if (await page.evaluate(() => document.activeElement === document.body)) break;
    if (names.length && name === names[0]) break;
    assert.ok(name, `stop ${n} has a name`);
    names.push(name);
  }
  assert.ok(names.length < 40, "the order comes round");
  for (const name of ["Skip to the conversation", "Search this room", "People online", "Leave this room", "Message", "Change name"]) {
    assert.ok(names.includes(name), `${name} can be reached: ${names.join(", ")}`);
  }
});

test("what assistive technology is told", async (t) => {
  const ann = await browser.person(t, server, "Ann", { room: "told" });
  const log = ann.log;
  await eventually(async () => assert.equal(await log.getAttribute("aria-live"), "polite"));
  assert.equal(await ann.banner.getAttribute("role"), "status");
  const unnamed = await ann.page.evaluate(() => [...document.querySelectorAll("button, input, textarea, a[href]")]
    .filter((node) => !(node.getAttribute("aria-label") || node.textContent.trim() || node.id === "banner-act" || node.id === "confirm-yes")).map((node) => node.outerHTML));
  assert.deepEqual(unnamed, []);
  assert.deepEqual(await ann.page.evaluate(() => {
    const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
    const named = [...document.querySelectorAll("[aria-controls], [aria-labelledby], [aria-describedby]")]
      .flatMap((node) => ["aria-controls", "aria-labelledby", "aria-describedby"].flatMap((key) => (node.getAttribute(key) ?? "").split(" ")).filter(Boolean));
    return { twice: ids.filter((id, n) => ids.indexOf(id) !== n), missing: named.filter((id) => !ids.includes(id)) };
  }), { twice: [], missing: [] });
});

const overflow = (page) => page.evaluate(() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth);

for (const width of [390, 320]) {
  test(`on a phone ${width} px wide: nothing sticks out, and the rooms are a drawer`, async (t) => {
    const [room, other] = [`phone-${width}`, `other-${width}`];
    await server.post(room, "Bob", "hello from the desk", `a very long word: ${"x".repeat(300)}`, `https://example.org/${"path/".repeat(40)}`);
    await server.post(other, "Bob", "hello elsewhere");
    const ann = await browser.person(t, server, "Ann", { room: other, ...PHONE, viewport: { width, height: 700 } });
    const { page } = ann;
    await ann.visit(room);
    await ann.row("hello from the desk").waitFor();
    assert.ok(await overflow(page) <= 0, "no horizontal overflow");
    assert.ok(await ann.log.evaluate((log) => log.scrollWidth <= log.clientWidth));

    const drawer = page.getByRole("navigation", { name: "Rooms" });
    await drawer.waitFor({ state: "hidden" });
    await page.getByRole("button", { name: /^Rooms/ }).click();
    await drawer.waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Close the list of rooms");
    await eventually(async () => assert.ok(await drawer.evaluate((node) => node.getBoundingClientRect().left === 0)));
    assert.ok(await overflow(page) <= 0);
    if (width === 390) await ann.picture("phone-drawer");
    await page.keyboard.press("Escape");
    await drawer.waitFor({ state: "hidden" });
    assert.match(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), /^Rooms/);
    await page.getByRole("button", { name: /^Rooms/ }).click();
    await page.touchscreen.tap(width - 6, 400); // beside the drawer
    await drawer.waitFor({ state: "hidden" });
    await page.getByRole("button", { name: /^Rooms/ }).click();
    await drawer.getByRole("link", { name: new RegExp(other) }).tap();
    await drawer.waitFor({ state: "hidden" });
    await page.getByRole("heading", { level: 1, name: other }).waitFor();

    // What is unread elsewhere can be seen without opening the drawer.
    await server.post(room, "Bob", "psst");
    await page.getByRole("button", { name: "Rooms, 1 unread" }).waitFor();
    await ann.say("from the phone");
    await ann.row("from the phone").and(page.locator('[data-state="stored"]')).waitFor();

    // A tap on a message brings its tools; panels lie over the conversation and can be closed.
    await ann.row("from the phone").tap();
    await page.getByRole("button", { name: "Edit", exact: true }).tap();
    await ann.say("from the phone, edited");
    await ann.row("from the phone, edited").waitFor();
    await page.getByRole("button", { name: "Search this room" }).tap();
    await page.getByRole("searchbox").fill("hello");
    await page.locator("#results .result").first().waitFor();
    assert.ok(await overflow(page) <= 0);
    await page.getByRole("button", { name: "Close search" }).tap();
    await page.getByRole("complementary", { name: "Search" }).waitFor({ state: "hidden" });
    const controls = await page.locator(".bar button:visible, .composer button:visible").all();
    assert.ok(controls.length >= 5);
    for (const control of controls) {
      const box = await control.boundingBox();
      assert.ok(box.width >= 32 && box.height >= 32, "large enough for a finger");
    }
  });
}

/** The contrast of an element's text with what is behind it, as WCAG 2 reckons it; any CSS colour. */
const contrast = (locator) => locator.first().evaluate((node) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  let behind = node;
  while (behind && rgba(getComputedStyle(behind).backgroundColor)[3] < 255) behind = behind.parentElement;
  const light = (color) => rgba(color).slice(0, 3).map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, n) => sum + part * [0.2126, 0.7152, 0.0722][n], 0);
  const [a, b] = [light(getComputedStyle(node).color), light(getComputedStyle(behind).backgroundColor)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
});

for (const colorScheme of ["light", "dark"]) {
  test(`everything can be read in the ${colorScheme}`, async (t) => {
    const room = `read-${colorScheme}`;
    await server.post(room, "Bob", "some words", "and https://example.org/");
    for (const user of ["Cleo", "Dan", "Eli", "Fay", "Gus", "Hana", "Ivo", "Jun", "Kim", "Lea", "Mo", "Nia"]) await server.post(room, user, `from ${user}`);
    const ann = await browser.person(t, server, "Ann", { room, colorScheme });
    await ann.say("mine");
    await ann.row("mine").and(ann.page.locator('[data-state="stored"]')).waitFor();
    const back = await ann.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const brightness = back.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3;
    assert.ok(colorScheme === "dark" ? brightness < 60 : brightness > 200, `the page is ${colorScheme}: ${back}`);
    await ann.page.mouse.move(700, 8);
    for (const what of [".said", ".said a", ".who time", "#room-online", ".you", ".room[aria-current]", ".room:not([aria-current])", "#me-state", ".help", ".day span", ".edge span", "#people-list bdi", ".rooms h2", ".find span"]) {
      const found = ann.page.locator(`${what}:visible`);
      await found.first().waitFor();
      const ratio = await contrast(found);
      assert.ok(ratio >= 4.5, `${what} has a contrast of ${ratio.toFixed(2)}`);
    }
    const names = await ann.log.locator(".name, .avatar").all();
    assert.ok(names.length >= 26);
    for (const name of names) {
      const ratio = await contrast(name);
      assert.ok(ratio >= 4.5, `${await name.textContent()} has a contrast of ${ratio.toFixed(2)}`);
    }
  });
}

test("who wants less motion gets none", async (t) => {
  const measure = async (reducedMotion) => {
    const ann = await browser.person(t, server, "Ann", { room: "still", reducedMotion });
    return ann.page.evaluate(() => Math.max(...[...document.querySelectorAll("*")].flatMap((node) => {
      const style = getComputedStyle(node);
      return `${style.animationDuration},${style.transitionDuration}`.split(",").map((part) => parseFloat(part) * (part.trim().endsWith("ms") ? 1 : 1000));
    })));
  };
  assert.ok((await measure("no-preference")) > 100, "there is motion to be stilled");
  const longest = await measure("reduce");
  assert.ok(longest <= 1, `${longest} ms`);
});
