// The page of the roomcast example server: one module, no dependency, no build step.
//
//   1  Helpers              small things that know nothing of chat
//   2  Identity and address who we are, which room the address names
//   3  HTTP                 the list of rooms, search
//   4  Link                 the one WebSocket: requests, liveness, coming back
//   5  Rooms                cursors, entries, the window of messages that is loaded
//   6  Outbox               what was written and not yet acknowledged
//   7  View                 state to DOM, keyed, so that focus and scroll survive
//   8  Log                  the conversation
//   9  Composer
//  10  Panels and dialogs
//  11  Start
//
// Two rules hold everywhere. What a user wrote becomes a text node, never markup. And the server's log is the
// truth: the page shows what it was told in the order of `seq`, and keeps for itself only what has no seq yet.

// ---------------------------------------------------------------------------------------------------------------
// 1  Helpers

const $ = (id) => document.getElementById(id);

/** Builds an element. `props` are attributes, except `class`, `text` and `on` (event listeners). */
function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") node.textContent = value;
    else if (key === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Web storage may be switched off, full or forbidden: then the page works, and forgets. */
function stored(storage, key, fallback) {
  try {
    return JSON.parse(window[storage].getItem(`roomcast.${key}`)) ?? fallback;
  } catch {
    return fallback;
  }
}
function store(storage, key, value) {
  try {
    window[storage].setItem(`roomcast.${key}`, JSON.stringify(value));
  } catch { /* see `stored` */ }
}
function forget(storage, key) {
  try {
    window[storage].removeItem(`roomcast.${key}`);
  } catch { /* see `stored` */ }
}

/** A nonce has to be new for this user and room in all their tabs. `randomUUID` exists only on secure origins. */
function randomNonce() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const fullTime = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const shortDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const longDay = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const longDayYear = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

const dayKey = (date) => `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
function dayName(date) {
  const now = new Date();
  if (dayKey(date) === dayKey(now)) return "Today";
  if (dayKey(date) === dayKey(new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1))) return "Yesterday";
  return (date.getFullYear() === now.getFullYear() ? longDay : longDayYear).format(date);
}

const number = new Intl.NumberFormat();
const byName = new Intl.Collator(undefined, { numeric: true });
const plural = (count, one, many) => `${number.format(count)} ${count === 1 ? one : many}`;
const squeeze = (text, length) => {
  const flat = text.replace(/\s+/g, " ").trim();
  return flat.length > length ? `${flat.slice(0, length - 1)}…` : flat;
};

/** A colour for a name: the same for everybody, and a class, as the page's policy allows no inline style. */
function hue(text) {
  let hash = 2166136261;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619);
  return `hue-${(hash >>> 0) % 12}`;
}
const initial = (name) => [...name.trim()][0]?.toLocaleUpperCase() ?? "?";
const avatar = (user) => el("span", { class: `avatar ${hue(user.id)}`, "aria-hidden": "true", text: initial(user.name || user.id) });
const icon = (name) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
};

const LONGEST_ADDRESS = 2048;

/** The address without what belongs to the sentence around it. In one step, as a message can be one long run of dots. */
function addressIn(text) {
  // A closing bracket belongs to the sentence unless the address itself opened one.
  const sentence = `.,;:!?${text.includes("(") ? "" : ")"}${text.includes("[") ? "" : "]"}`;
  let end = text.length;
  while (end > 0 && sentence.includes(text[end - 1])) end -= 1;
  return text.slice(0, end);
}

/** Text as nodes: http(s) addresses become links, everything else stays text. */
function linked(text) {
  const parts = document.createDocumentFragment();
  let done = 0;
  for (const found of text.matchAll(/\bhttps?:\/\/[^\s<>"'`]+/gi)) {
    const address = addressIn(found[0]);
    if (address.length > LONGEST_ADDRESS) continue;
    let url;
    try {
      url = new URL(address);
    } catch {
      continue;
    }
    if (url.protocol !== "http:" && url.protocol !== "https:") continue;
    parts.append(text.slice(done, found.index));
    parts.append(el("a", { href: url.href, target: "_blank", rel: "noopener noreferrer", text: address }));
    done = found.index + address.length;
  }
  parts.append(text.slice(done));
  return parts;
}

/** Text as nodes, with the words that were searched for in <mark>. */
function marked(text, words) {
  const parts = document.createDocumentFragment();
  let done = 0;
  if (words.length) {
    // Whole words, as the server searches; they hold no character that means something in an expression.
    for (const found of text.matchAll(new RegExp(`(?<![\\p{L}\\p{N}])(?:${words.join("|")})(?![\\p{L}\\p{N}])`, "giu"))) {
      parts.append(text.slice(done, found.index), el("mark", { text: found[0] }));
      done = found.index + found[0].length;
    }
  }
  parts.append(text.slice(done));
  return parts;
}

/**
 * Makes the children of `parent` the given rows ({key, sig, make}), touching only what changed: a row is made anew
 * when its `sig` differs. Nodes that stay are never moved, so they keep focus.
 */
function reconcile(parent, rows) {
  const before = parent.rows ?? new Map();
  const after = new Map();
  for (const row of rows) {
    let have = before.get(row.key);
    if (have && have.sig !== row.sig) {
      const node = row.make();
      const focused = have.node.contains(document.activeElement) ? document.activeElement : null;
      have.node.replaceWith(node);
      if (focused) (node.querySelector(`[data-focus="${focused.dataset.focus}"]`) ?? node).focus({ preventScroll: true });
      have = { sig: row.sig, node };
    }
    after.set(row.key, have ?? { sig: row.sig, node: row.make() });
  }
  for (const [key, { node }] of before) if (!after.has(key)) node.remove();
  let at = parent.firstChild;
  for (const { node } of after.values()) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  parent.rows = after;
}

// ---------------------------------------------------------------------------------------------------------------
// 2  Identity and address
//
// This demonstration believes `?user=NAME`. A visitor without a name is given one by the server, and keeps it for
// the tab: the nonce of an unacknowledged message means something only for the user who sent it.

const identity = { asked: "", guest: false, id: null, name: null };

function readIdentity() {
  const url = new URL(location.href);
  const fromUrl = url.searchParams.get("user")?.trim();
  const chosen = fromUrl || stored("localStorage", "name", "");
  identity.asked = chosen || stored("sessionStorage", "guest", "");
  identity.guest = !chosen;
  if (chosen && fromUrl !== chosen) {
    url.searchParams.set("user", chosen);
    history.replaceState(null, "", url);
  }
}

/** Another name is another user: the page starts afresh, and keeps the old user's unsent messages for them. */
function changeName(name) {
  store("localStorage", "name", name);
  forget("sessionStorage", "guest");
  const url = new URL(location.href);
  url.searchParams.set("user", name);
  if (url.href === location.href) location.reload();
  else location.assign(url);
}

const validRoom = (id) => /^[A-Za-z0-9\-_.:@~]{1,128}$/.test(id);
const roomAddress = (id) => `#/room/${encodeURIComponent(id)}`;

/** What the address names, for people. */
function nameInAddress() {
  const name = location.hash.replace(/^#\/(room\/)?/, "");
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** The room that the address names, "" for none, or null when it can't be a room. */
function roomOfAddress() {
  const found = /^#\/room\/([^/]*)\/?$/.exec(location.hash);
  if (!found) return location.hash.startsWith("#/") && location.hash.length > 2 ? null : "";
  try {
    const id = decodeURIComponent(found[1]);
    return validRoom(id) ? id : null;
  } catch {
    return null;
  }
}

// ---------------------------------------------------------------------------------------------------------------
// 3  HTTP

class ApiError extends Error {
  constructor(status, code, message, retryMs) {
    super(message || code);
    this.status = status;
    this.code = code;
    this.retryMs = retryMs;
  }
}

/** What `Retry-After` asks for, as seconds or as a date, in milliseconds; 0 if it asks for nothing. */
function retryAfter(answer) {
  const text = answer.headers.get("retry-after") ?? "0";
  const wait = /^\d+$/.test(text) ? 1000 * Number(text) : Date.parse(text) - Date.now();
  return wait > 0 ? wait : 0;
}

const API_MS = 10_000;

async function api(path, query = {}, method = "GET") {
  const url = new URL(`api/${path}`, location.href);
  url.hash = "";
  url.search = "";
  for (const [key, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(key, value);
  if (identity.asked) url.searchParams.set("user", identity.asked);
  const answer = await fetch(url, { method, headers: { accept: "application/json" }, cache: "no-store", signal: AbortSignal.timeout(API_MS) });
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new ApiError(answer.status, body?.error ?? "http", body?.message ?? `HTTP ${answer.status}`, retryAfter(answer));
  return body;
}

// Which rooms there are is asked over HTTP, as no frame tells it: now and then, and when something shows that it has
// changed. Who is in one's own rooms the server tells by itself (see `presence`).

const ROOMS_MS = 5000;
const ROOMS_PAGE = 200;
const directory = { rooms: [], pages: 1, more: false, asking: false, again: false };

/** Asks while somebody looks: once at a time, and once more if it was called meanwhile. */
async function refreshRooms() {
  directory.again = true;
  if (directory.asking) return;
  directory.asking = true;
  while (directory.again && link.state === "open" && document.visibilityState === "visible") {
    directory.again = false;
    await askRooms();
    schedule();
  }
  directory.asking = false;
}

async function askRooms() {
  const list = [];
  let more = true;
  try {
    for (let page = 0; more && page < directory.pages; page++) {
      const answer = await api("rooms", { after: list.at(-1)?.id, limit: ROOMS_PAGE });
      list.push(...answer.rooms);
      more = answer.rooms.length > 0 && (answer.more ?? answer.rooms.length === ROOMS_PAGE);
    }
  } catch {
    return; // what was known stands until the next round
  }
  Object.assign(directory, { rooms: list, more });
}

// ---------------------------------------------------------------------------------------------------------------
// 4  Link

const PING_MS = 20_000;
const PONG_MS = 10_000;
const HELLO_MS = 10_000;
const ANSWER_MS = 30_000;
const BACKOFF_MS = [500, 1000, 2000, 4000, 8000, 16_000, 30_000];

/** What a close code means for us: come back at once, after a delay, or not. Others: after a delay. */
const CLOSES = {
  1009: { stop: "The server refused a message as too large." },
  4000: { why: "The server is restarting." },
  4001: { now: true },
  4002: { why: "The server asked this page to slow down." },
  4003: { why: "The server can't store messages at the moment." },
  4004: { now: true },
  4500: { stop: "The server didn't understand this page. Reloading it may help." },
  4501: { stop: "Your sign-in has expired." },
  4502: { stop: "You aren't allowed to use this server." },
  4503: { stop: "You were removed by a moderator." },
  4505: { stop: "The server doesn't support what this page sent." },
};

const link = {
  ws: null,
  state: "idle", // idle, connecting, open, waiting, stopped
  everOpen: false,
  why: "",
  bye: null,
  attempts: 0,
  invited: 0, // times in a row that the server would let us in, after a connection that failed
  openedAt: 0,
  heardAt: 0,
  retryAt: 0,
  notBefore: 0, // the server asked us not to come before
  pausedUntil: 0, // the server asked us not to send before
  limits: { message_bytes: 65_536, rooms: 128 },
  requests: new Map(),
  nextId: 1,
  timers: {},
};

function connect() {
  clearTimeout(link.timers.retry);
  dropSocket();
  link.state = "connecting";
  link.bye = null;
  const url = new URL("ws", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  url.search = "";
  if (identity.asked) url.searchParams.set("user", identity.asked);
  const ws = new WebSocket(url, ["chat.v1.json"]);
  link.ws = ws;
  // A late event of an abandoned socket must not touch the one that took its place.
  ws.onmessage = (event) => link.ws === ws && received(event.data);
  ws.onclose = (event) => link.ws === ws && lost(event.code);
  link.timers.hello = setTimeout(() => link.ws === ws && lost(4004), HELLO_MS);
  schedule();
}

/** Closing is not waited for: over a dead connection it could take minutes. */
function dropSocket() {
  const ws = link.ws;
  link.ws = null;
  clearTimeout(link.timers.hello);
  clearTimeout(link.timers.pong);
  clearInterval(link.timers.ping);
  if (!ws) return;
  ws.onmessage = null;
  ws.onclose = null;
  try {
    ws.close();
  } catch { /* it was closed */ }
}

/** The connection is gone. Decides whether and when to come back. */
function lost(closeCode) {
  const wasOpen = link.state === "open";
  const bye = link.bye;
  const code = bye?.code ?? closeCode;
  const meaning = CLOSES[code] ?? {};
  dropSocket();
  const unanswered = [...link.requests.values()];
  link.requests.clear();
  for (const room of rooms.values()) awayFrom(room);
  for (const pending of unanswered) {
    clearTimeout(pending.timer);
    pending.done({ code: code === 1009 ? "too_large" : "lost" });
  }
  if (wasOpen && Date.now() - link.openedAt > 5000) link.attempts = 0;

  if (meaning.stop || bye?.reconnect === false) return stop(meaning.stop ?? `The server closed the connection (${bye.reason}).`);

  link.why = meaning.why ?? "";
  const backoff = BACKOFF_MS[Math.min(link.attempts, BACKOFF_MS.length - 1)] * (0.5 + Math.random() / 2);
  // "At once" is meant once: a server that closes each connection so would otherwise be called in a loop.
  const delay = bye?.after_ms ?? (meaning.now && link.attempts === 0 ? 0 : backoff);
  link.attempts += 1;
  waitFor(delay, Boolean(bye?.after_ms));
  if (!wasOpen && closeCode !== 4004) askWhy();
}

/** Comes back after the delay; not earlier, whatever happens, if the server asked for it. */
function waitFor(delay, asked) {
  clearTimeout(link.timers.retry);
  link.state = "waiting";
  link.retryAt = Date.now() + delay;
  link.notBefore = asked ? link.retryAt : 0;
  link.timers.retry = setTimeout(connect, delay);
  schedule();
}

/** A browser is not told why an upgrade was refused. The server says it over HTTP, where the answer can be read. */
async function askWhy() {
  const attempt = link.attempts;
  const refused = await api("entrance", {}, "POST").then(() => null, (error) => error);
  if (link.state !== "waiting" || link.attempts !== attempt) return;
  // "Come in", and yet we don't get in. A server that has only just come up says so too, but not time after time.
  link.invited = refused ? 0 : link.invited + 1;
  if (link.invited >= 3) link.why = "The server answers, but no WebSocket gets through. Something in between may not pass it on.";
  if (!refused) return schedule();
  if (!(refused instanceof ApiError)) return;
  const why = `${refused.message.replace(/\.$/, "")}.`;
  if ([400, 401, 403].includes(refused.status)) return stop(`The server refused the connection: ${why}`);
  if (![429, 503].includes(refused.status)) return;
  link.why = `The server can't take this connection now: ${why}`;
  waitFor(Math.max(refused.retryMs, link.retryAt - Date.now()), refused.retryMs > 0);
}

function stop(why) {
  clearTimeout(link.timers.retry);
  dropSocket();
  link.state = "stopped";
  link.why = why;
  schedule();
}

/** Something suggests that the network is back, or that somebody is looking: don't wait for a timer. */
function nudge() {
  if (link.state === "waiting" && Date.now() >= link.notBefore) connect();
  else if (link.state === "open") ping(PONG_MS / 2);
}

function ping(patience) {
  const sentAt = Date.now();
  request({ t: "ping" }, () => {}, null);
  clearTimeout(link.timers.pong);
  // Anything that arrives proves the connection, a pong that is queued behind a replay included.
  link.timers.pong = setTimeout(() => link.state === "open" && link.heardAt < sentAt && lost(4004), patience);
}

/** Sends a frame; `done(error, answer)` is called once, with {code: "lost"} when the connection goes away first. */
function request(frame, done, patience = ANSWER_MS) {
  const id = link.nextId++;
  const pending = { done, timer: 0 };
  if (patience !== null) {
    pending.timer = setTimeout(() => link.requests.delete(id) && done({ code: "timeout", message: "The server didn't answer." }), patience);
  }
  link.requests.set(id, pending);
  link.ws.send(JSON.stringify({ id, ...frame }));
}

function received(text) {
  let frame;
  try {
    frame = JSON.parse(text);
  } catch {
    return;
  }
  link.heardAt = Date.now();
  switch (frame.t) {
    case undefined:
    case "edit":
    case "delete":
      return entry(frame);
    case "hello":
      return hello(frame);
    case "gap":
      return gap(frame);
    case "presence":
      return presence(frame);
    case "bye":
      link.bye = frame;
      return;
    case "joined":
    case "left":
    case "ack":
    case "history":
    case "pong":
    case "err": {
      const pending = link.requests.get(frame.id);
      if (!pending) return;
      link.requests.delete(frame.id);
      clearTimeout(pending.timer);
      if (frame.t === "err") pending.done(frame, null);
      else pending.done(null, frame);
      return;
    }
    default: // A later version of the protocol may say more.
  }
}

function hello(frame) {
  clearTimeout(link.timers.hello);
  const first = !link.everOpen;
  link.state = "open";
  link.everOpen = true;
  link.why = "";
  link.invited = 0;
  link.openedAt = Date.now();
  link.pausedUntil = 0;
  Object.assign(link.limits, frame.limits);
  identity.id = frame.user.id;
  identity.name = frame.user.name || frame.user.id;
  if (!identity.asked) {
    identity.asked = frame.user.id;
    store("sessionStorage", "guest", identity.asked);
  }
  link.timers.ping = setInterval(() => ping(PONG_MS), PING_MS);
  if (first) restoreOutbox();
  for (const room of rooms.values()) Object.assign(room, { phase: "away", joinAfter: 0 });
  joinNext();
  schedule();
  refreshRooms();
}

// ---------------------------------------------------------------------------------------------------------------
// 5  Rooms
//
// A room keeps a cursor (epoch and seq of the last entry seen) and a window: a contiguous run of its messages. The
// window usually reaches the live end. While it does not (`live` is false: the user went far up, or jumped to a
// search result), new messages move the cursor and are fetched from history when the user comes down again.

const PAGE = 50;
const KEEP = 500; // messages in a window, and so in the DOM
const KNOWN = 2000; // messages remembered for quotes
const EMPTY_MS = 200; // how long a room whose replay doesn't begin is taken for one with messages

const rooms = new Map();
let frontId = null; // null: no room in front
let badAddress = null; // what the address names where that can't be a room
const front = () => rooms.get(frontId) ?? null;

function makeRoom(id) {
  return {
    id,
    phase: "away", // away, joining, live, refused
    refusal: "",
    joinAfter: 0,
    turn: 0, // number of the join that counts: the answer to an earlier one is ignored
    epoch: null,
    seq: null,
    head: 0,
    holes: { seq: null, times: 0 },
    entries: [],
    oldest: false, // the window begins with the room's first message
    live: true, // the window reaches the live end
    loading: null, // null, older, newer, around
    loadTurn: 0,
    loadError: null,
    tail: null, // live messages set aside while a window that is to meet them is being loaded
    known: new Map(),
    changes: new Map(), // newest edit or deletion by message, for history that was read before it happened
    nonces: new Map(), // message id to nonce, of own messages: the pending row becomes the real one
    queue: [],
    pausedUntil: 0,
    mark: stored("sessionStorage", "marks", {})[id] ?? null, // {epoch, seq}: read up to here
    unread: 0,
    missed: 0, // arrived below a window that isn't live
    newFrom: null, // where the "New" line stands
    people: null, // who is there: {users, online, came}; null while it isn't known
    unseen: false, // the server doesn't let us see who is there
    stick: true, // the view follows the newest message
    anchor: null,
    target: null,
    draft: stored("sessionStorage", "drafts", {})[id] ?? "",
    context: null, // {kind: "reply" | "edit", id, kept}: what the composer is about
  };
}

function openRoom(id) {
  let room = rooms.get(id);
  if (!room) {
    makeSpace();
    room = makeRoom(id);
    rooms.set(id, room);
    saveRooms();
  }
  joinNext();
  return room;
}

/** A connection may be in so many rooms: the one opened longest ago, with nothing to send, makes way. */
function makeSpace() {
  if (rooms.size < link.limits.rooms) return;
  const idle = [...rooms.values()].find((room) => room.id !== frontId && room.queue.length === 0);
  if (idle) leaveRoom(idle);
}

function leaveRoom(room) {
  if (room.phase === "live" || room.phase === "joining") request({ t: "leave", room_id: room.id }, joinNext);
  room.turn += 1;
  room.phase = "away";
  rooms.delete(room.id);
  saveRooms();
  saveOutbox();
}

const saveRooms = () => store("sessionStorage", "rooms", [...rooms.keys()]);

/**
 * Joins the next room that isn't joined: the one in front, then the others as they were opened. One at a time, as the
 * server counts joins like any frame, and a page that comes back with a hundred rooms is not to be taken for a flood.
 */
function joinNext() {
  clearTimeout(link.timers.join);
  if (link.state !== "open") return;
  const away = [...rooms.values()].filter((room) => room.phase === "away");
  if (!away.length || [...rooms.values()].some((room) => room.phase === "joining")) return;
  const due = (room) => Math.max(room.joinAfter, link.pausedUntil);
  const now = Date.now();
  const ready = away.filter((room) => due(room) <= now);
  if (!ready.length) link.timers.join = setTimeout(joinNext, Math.min(...away.map(due)) - now);
  else join(ready.find((room) => room === front()) ?? ready[0]);
}

function join(room) {
  const turn = ++room.turn;
  room.phase = "joining";
  const from = room.epoch !== null && room.seq !== null ? { since: `${room.epoch}:${room.seq}` } : { last: PAGE };
  request({ t: "join", room_id: room.id, presence: !room.unseen, ...from }, (error, answer) => {
    if (error?.code === "lost") return;
    if (room.turn === turn) {
      if (error) notJoined(room, error);
      else joined(room, answer);
    }
    joinNext();
  });
  schedule();
}

function notJoined(room, error) {
  room.phase = "away";
  if (error.code === "timeout") lost(4004);
  else if (error.code === "rate_limited") link.pausedUntil = Date.now() + (error.retry_ms ?? 1000);
  else if (error.code === "unavailable") room.joinAfter = Date.now() + (error.retry_ms ?? 2000);
  else if (error.code === "forbidden" && !room.unseen) room.unseen = true; // perhaps that alone: again without
  else {
    room.phase = "refused";
    room.unseen = false;
    room.refusal = refusal(error);
  }
  schedule();
}

function joined(room, answer) {
  room.phase = "live";
  room.head = answer.head;
  if (answer.resume === "fresh") {
    room.epoch = answer.epoch;
    // Where the replay of the last messages begins is known from its first entry. In an empty room it is known now.
    room.seq = answer.head === 0 ? 0 : null;
    if (answer.head === 0) room.oldest = true;
    if (room.mark?.epoch !== answer.epoch) room.mark = { epoch: answer.epoch, seq: answer.head };
    if (answer.head > 0) askWhetherEmpty(room);
  } else if (answer.resume === "gap") {
    room.nextEpoch = answer.epoch; // the gap frame that follows says whether it counts
  }
  pump(room);
  if (room === front()) refreshRooms();
  schedule();
}

/**
 * Nothing is replayed of a room whose messages retention has all removed, and no frame says so: if nothing comes for
 * a moment, history is asked, once.
 */
function askWhetherEmpty(room) {
  const { turn } = room;
  const open = () => room.turn === turn && room.seq === null && room.entries.length === 0;
  setTimeout(() => {
    if (!open()) return;
    load(room, "older", { before: room.head + 1 }, (messages) => {
      // Messages there are after all: they are on their way.
      if (!open() || messages.length) return;
      room.seq = room.head;
      room.oldest = true;
      settle(room);
    });
  }, EMPTY_MS);
}

function awayFrom(room) {
  room.turn += 1;
  room.loadTurn += 1;
  room.loading = null;
  room.tail = null;
  room.people = null;
  room.unseen = false;
  if (room.phase !== "refused") room.phase = "away";
}

/** Leaves and joins again with the cursor: what should not be needed, and must not go wrong when it is. */
function rejoin(room) {
  if (link.state !== "open") return;
  awayFrom(room);
  const turn = room.turn;
  room.phase = "joining";
  request({ t: "leave", room_id: room.id }, (error) => {
    if (room.turn !== turn || error?.code === "lost") return;
    room.phase = "away";
    joinNext();
  });
}

function gap(frame) {
  const room = rooms.get(frame.room_id);
  if (!room || room.phase !== "live") return;
  if (frame.reason === "epoch") {
    // Another log: nothing that is shown belongs to it. The window starts empty at its head, and fills from history.
    Object.assign(room, {
      epoch: room.nextEpoch ?? room.epoch, seq: room.head, entries: [], oldest: room.head === 0, live: true,
      loading: null, loadError: null, tail: null, unread: 0, missed: 0, newFrom: null, stick: true, anchor: null, target: null,
    });
    room.loadTurn += 1;
    room.known.clear();
    room.changes.clear();
    room.nonces.clear();
    room.mark = { epoch: room.epoch, seq: room.seq };
    room.queue = room.queue.filter((op) => op.state !== "acked");
    if (room.context) dropContext(room);
    saveOutbox();
    loadOlder(room);
  } else {
    room.seq = Math.max(room.seq ?? 0, frame.to);
    if (room.live) room.entries.push({ gap: true, from: frame.from, to: frame.to, seq: frame.to });
    settle(room);
  }
  schedule();
}

/**
 * Who is there: the whole state, which is first after each join, or how it differs from the one before. Each frame makes
 * a new `people`, by which it is seen that there is something to draw.
 */
function presence(frame) {
  const room = rooms.get(frame.room_id);
  if (!room || room.phase !== "live") return;
  const users = frame.users ? new Map() : room.people?.users;
  if (!users) return;
  const came = new Set();
  if (room === front()) for (const user of frame.came ?? []) if (!users.has(user.id)) came.add(user.id);
  for (const id of frame.left ?? []) users.delete(id);
  for (const user of frame.users ?? frame.came ?? []) users.set(user.id, user);
  room.people = { users, online: frame.online, came };
  schedule();
}

function entry(frame) {
  const room = rooms.get(frame.room_id);
  if (!room || room.phase !== "live" || !Number.isSafeInteger(frame.seq)) return;
  if (room.seq !== null && frame.seq <= room.seq) {
    console.error(`roomcast: ${room.id} repeated entry ${frame.seq} after ${room.seq}`);
    return;
  }
  if (room.seq !== null && frame.seq > room.seq + 1) {
    console.error(`roomcast: ${room.id} jumped from entry ${room.seq} to ${frame.seq}`);
    if (room.holes.seq !== room.seq) room.holes = { seq: room.seq, times: 0 };
    if (++room.holes.times <= 2) return rejoin(room);
    // Asking again brings the same hole: say what is missing, and go on.
    if (room.live) room.entries.push({ gap: true, from: room.seq + 1, to: frame.seq - 1, seq: frame.seq - 1 });
  }
  room.seq = frame.seq;
  if (frame.t) change(room, frame);
  else newMessage(room, frame);
  settle(room);
  schedule();
}

/** Remembers a message of the stream or of history; what is known to have happened to it later is applied. */
function learn(room, frame) {
  const message = {
    id: frame.id, seq: frame.seq, user: frame.user, content: frame.content, data: frame.data, reply_to: frame.reply_to,
    created_at: frame.created_at, edited_at: frame.edited_at, deleted: frame.deleted === true,
  };
  const later = room.changes.get(message.id);
  if (later && (later.t === "delete" || !message.edited_at || later.at >= message.edited_at)) alter(message, later);
  room.known.delete(message.id);
  room.known.set(message.id, message);
  if (room.known.size > KNOWN) room.known.delete(room.known.keys().next().value);
  return message;
}

function alter(message, change) {
  if (message.deleted) return;
  if (change.t === "delete") Object.assign(message, { deleted: true, content: undefined, data: undefined });
  // The edit of a message that was deleted afterwards is replayed without its content.
  else if (typeof change.content === "string") Object.assign(message, { content: change.content, edited_at: change.at });
}

function change(room, frame) {
  if (room.changes.get(frame.msg)?.t !== "delete") {
    room.changes.delete(frame.msg);
    room.changes.set(frame.msg, frame);
    if (room.changes.size > KEEP) room.changes.delete(room.changes.keys().next().value);
  }
  const inWindow = room.entries.find((message) => message.id === frame.msg);
  if (inWindow) alter(inWindow, frame);
  for (const message of new Set([room.known.get(frame.msg), ...(room.tail ?? [])])) {
    if (message && message !== inWindow && message.id === frame.msg) alter(message, frame);
  }
  if (frame.t === "delete" && room.context?.id === frame.msg) dropContext(room);
}

function newMessage(room, frame) {
  const message = learn(room, frame);
  const own = message.user.id === identity.id;
  if (own) claim(room, message);
  if (room.tail) room.tail.push(message);
  if (room.live) {
    room.entries.push(message);
    if (room.entries.length > KEEP) {
      if (room.stick || room !== front()) trimTop(room);
      else {
        // Somebody reads far up, and is not to be moved: the window ends here, and the rest waits in history.
        room.entries.pop();
        room.live = false;
        room.missed += 1;
      }
    }
  } else if (!own) room.missed += 1;

  if (own || message.deleted || (room.mark && room.mark.epoch === room.epoch && message.seq <= room.mark.seq)) return;
  if (room === front() && document.visibilityState === "visible") return;
  if (room.unread === 0) room.newFrom = room.mark?.seq ?? message.seq - 1;
  room.unread += 1;
}

/** The room in front, in a tab that is looked at, has been read. */
function markRead(room) {
  if (!room || room.epoch === null || room.seq === null || document.visibilityState !== "visible") return;
  room.unread = 0;
  if (room.mark?.epoch === room.epoch && room.mark.seq >= room.seq) return;
  room.mark = { epoch: room.epoch, seq: room.seq };
  const marks = stored("sessionStorage", "marks", {});
  marks[room.id] = room.mark;
  store("sessionStorage", "marks", marks);
}

function trimTop(room) {
  if (room.entries.length <= KEEP) return;
  room.entries.splice(0, room.entries.length - KEEP);
  room.oldest = false;
}
function trimBottom(room) {
  if (room.entries.length <= KEEP) return;
  room.entries.length = KEEP;
  room.live = false;
}

/** Asks for a page of history. `take(messages, more)` is called only while the window is still the one that asked. */
function load(room, kind, query, take) {
  if (room.phase !== "live" || room.loading) return;
  const turn = ++room.loadTurn;
  room.loading = kind;
  room.loadError = null;
  request({ t: "history", room_id: room.id, limit: PAGE, ...query }, (error, answer) => {
    if (room.loadTurn !== turn) return;
    if (error?.code === "rate_limited") {
      link.pausedUntil = Date.now() + (error.retry_ms ?? 1000);
      // Still "loading" until then, so that scrolling doesn't ask again.
      setTimeout(() => {
        if (room.loadTurn !== turn) return;
        room.loading = null;
        load(room, kind, query, take);
      }, error.retry_ms ?? 1000);
      return;
    }
    room.loading = null;
    const tail = room.tail ?? [];
    room.tail = null;
    if (error) room.loadError = error.code === "lost" ? null : kind;
    else take(answer.messages.map((message) => learn(room, message)), answer.more === true, tail);
    schedule();
  });
  schedule();
}

function loadOlder(room) {
  if (room.oldest) return;
  const first = room.entries[0]?.seq ?? (room.seq ?? 0) + 1;
  if (first <= 1) {
    room.oldest = true;
    return schedule();
  }
  load(room, "older", { before: first }, (messages, more) => {
    room.entries.unshift(...messages.filter((message) => message.seq < first));
    room.oldest = !more;
    trimBottom(room);
  });
}

function loadNewer(room) {
  if (room.live) return;
  const last = room.entries.at(-1)?.seq ?? 0;
  load(room, "newer", { after: last }, (messages, more, tail) => {
    room.entries.push(...messages.filter((message) => message.seq > last));
    if (!more) meet(room, tail);
    trimTop(room);
  });
  if (room.loading === "newer") room.tail ??= [];
}

/** Replaces the window by the messages around `seq`, and goes there. */
function loadAround(room, seq) {
  room.loadTurn += 1;
  room.loading = null;
  const after = Math.max(0, seq - PAGE / 2);
  load(room, "around", { after }, (messages, more, tail) => {
    room.entries = messages;
    room.oldest = after === 0;
    room.live = false;
    room.missed = 0;
    room.stick = false;
    if (!more) meet(room, tail);
  });
  if (room.loading === "around") room.tail = [];
}

/** The window reached the end of history: the live messages that came while it was read are put behind it. */
function meet(room, tail) {
  const last = room.entries.at(-1)?.seq ?? 0;
  room.entries.push(...tail.filter((message) => message.seq > last));
  room.live = true;
  room.missed = 0;
}

function goLatest(room) {
  if (!room.live && room.phase === "live") {
    room.loadTurn += 1;
    Object.assign(room, { loading: null, tail: null, entries: [], live: true, oldest: false, missed: 0, loadError: null });
    loadOlder(room);
  }
  room.stick = true;
  room.anchor = null;
  room.target = null;
  schedule();
}

function jumpTo(room, seq) {
  if (room.phase !== "live") return toast("Not connected at the moment: that message can't be fetched.");
  room.target = seq;
  room.stick = false;
  if (!room.entries.some((message) => message.seq === seq && !message.gap)) loadAround(room, seq);
  schedule();
}

// ---------------------------------------------------------------------------------------------------------------
// 6  Outbox
//
// Each room has a queue of what the user did and the server has not acknowledged: sends, edits and deletions. One
// at a time is under way, so that what was written first is stored first whatever fails in between. A send keeps its
// nonce through every repetition, and so is stored once. Sends are kept in the tab's storage until acknowledged.
//
// The message itself may arrive before its ack, and names no nonce. Until the ack tells, the first own message after
// the send with the same content is taken for it, and the pending row is hidden; were that wrong (the same user wrote
// the same in another tab), the ack names another id and puts it right.

const earlierOutbox = stored("sessionStorage", "outbox", []); // of this tab, before it was loaded again
let otherOutbox = earlierOutbox; // what isn't (known to be) this user's, and is kept for whose it is

const SAVED = ["kind", "nonce", "content", "reply_to", "msg", "at", "state", "error", "base"];

function saveOutbox() {
  const mine = [];
  for (const room of rooms.values()) {
    for (const op of room.queue) {
      if (op.state === "acked") continue;
      const kept = { user: identity.id, room: room.id };
      for (const key of SAVED) kept[key] = op[key];
      mine.push(kept);
    }
  }
  store("sessionStorage", "outbox", [...otherOutbox, ...mine]);
}

/** Called at the first hello, when it is known whose page this is. */
function restoreOutbox() {
  const written = [...rooms.values()].map((room) => [room, room.queue]);
  for (const [room] of written) room.queue = [];
  otherOutbox = [];
  for (const kept of earlierOutbox) {
    if (kept.user !== null && kept.user !== identity.id) {
      otherOutbox.push(kept);
      continue;
    }
    if (!validRoom(kept.room)) continue;
    const room = rooms.get(kept.room) ?? makeRoom(kept.room);
    rooms.set(room.id, room);
    const { user: _user, room: _room, ...op } = kept;
    room.queue.push({ ...op, state: op.state === "failed" ? "failed" : "queued", presumed: null });
  }
  for (const [room, queue] of written) room.queue.push(...queue);
  saveRooms();
  saveOutbox();
}

function enqueue(room, op) {
  const added = { nonce: randomNonce(), at: new Date().toISOString(), state: "queued", error: null, base: null, presumed: null, ...op };
  room.queue.push(added);
  saveOutbox();
  pump(room);
  schedule();
}

function frameOf(room, op) {
  const frame = { t: op.kind, room_id: room.id };
  if (op.kind === "send") Object.assign(frame, { nonce: op.nonce, content: op.content, ...(op.reply_to && { reply_to: op.reply_to }) });
  else Object.assign(frame, { msg: op.msg, ...(op.kind === "edit" && { content: op.content }) });
  return frame;
}

const jsonBytes = (value) => new TextEncoder().encode(JSON.stringify(value)).length;

/** By how many bytes it is above what the server takes in a frame. Sent nevertheless, it would cost the connection. */
function excess(room, op) {
  // JSON takes at most six bytes for each unit of the text: most need not be counted.
  if (6 * (op.content?.length ?? 0) + 1024 < link.limits.message_bytes) return 0;
  const id = 24;
  return Math.max(0, jsonBytes(frameOf(room, op)) + id - link.limits.message_bytes);
}

/** Sends the room's next operation, if it may be sent now. */
function pump(room) {
  if (link.state !== "open" || room.phase !== "live" || room.queue.some((op) => op.state === "sent")) return;
  const wait = Math.max(room.pausedUntil, link.pausedUntil) - Date.now();
  if (wait > 0) {
    clearTimeout(room.pumpTimer);
    room.pumpTimer = setTimeout(() => pump(room), wait);
    return;
  }
  const op = room.queue.find((waiting) => waiting.state === "queued");
  if (!op) return;
  // The composer lets none pass that is too long; but the server may have another limit since.
  if (excess(room, op) > 0) return failed(room, op, { code: "too_large" });
  if (op.base?.epoch !== room.epoch) op.base = { epoch: room.epoch, seq: room.seq ?? room.head };
  op.state = "sent";
  saveOutbox();
  request(frameOf(room, op), (error, ack) => {
    // Discarded by the user meanwhile, or the room was left.
    if (!room.queue.includes(op)) return;
    if (error) refused(room, op, error);
    else acknowledged(room, op, ack);
    pump(room);
    schedule();
  });
}

function acknowledged(room, op, ack) {
  op.state = "acked";
  op.seq = ack.seq;
  op.error = null;
  if (op.kind === "send") {
    if (op.presumed && op.presumed !== ack.msg) room.nonces.delete(op.presumed);
    op.presumed = null;
    op.id = ack.msg;
    room.nonces.set(ack.msg, op.nonce);
    if (room.nonces.size > KEEP) room.nonces.delete(room.nonces.keys().next().value);
  }
  saveOutbox();
  settle(room);
}

/** Drops what is acknowledged and has also come by in the stream: from now on the message stands for itself. */
function settle(room) {
  if (room.seq === null) return;
  const left = room.queue.filter((op) => op.state !== "acked" || op.seq > room.seq);
  if (left.length !== room.queue.length) room.queue = left;
}

function claim(room, message) {
  const op = room.queue.find((sent) => sent.kind === "send" && sent.state !== "acked" && sent.state !== "failed" && sent.base?.epoch === room.epoch &&
    !sent.presumed && message.seq > sent.base.seq && sent.content === message.content && (sent.reply_to ?? null) === (message.reply_to ?? null));
  if (!op) return;
  op.presumed = message.id;
  room.nonces.set(message.id, op.nonce);
}

function refused(room, op, error) {
  op.state = "queued";
  switch (error.code) {
    case "lost":
    case "timeout":
      return; // again, with the same nonce, as soon as there is a connection
    case "rate_limited":
      link.pausedUntil = Date.now() + (error.retry_ms ?? 1000);
      return;
    case "unavailable":
      op.tries = (op.tries ?? 0) + 1;
      room.pausedUntil = Date.now() + (error.retry_ms ?? BACKOFF_MS[Math.min(op.tries, 5)]);
      return;
    case "not_joined":
      room.phase = "away";
      room.joinAfter = Date.now() + 500;
      return joinNext();
    case "not_found":
      // Deleting what is gone: done already, by another tab or a moderator.
      if (op.kind === "delete") return discard(room, op);
  }
  failed(room, op, error);
}

function failed(room, op, error) {
  if (op.presumed) room.nonces.delete(op.presumed);
  Object.assign(op, { state: "failed", presumed: null, error: { code: error.code, message: refusal(error) } });
  saveOutbox();
  schedule();
  pump(room);
}

function retry(room, op) {
  // A conflict means that the server knows this nonce with other content.
  if (op.error?.code === "nonce_conflict") op.nonce = randomNonce();
  Object.assign(op, { state: "queued", error: null });
  saveOutbox();
  pump(room);
  schedule();
}

function discard(room, op) {
  room.queue = room.queue.filter((other) => other !== op);
  saveOutbox();
  schedule();
}

function refusal(error) {
  const texts = {
    bad_request: "The server didn't accept it",
    forbidden: "You aren't allowed to do that here",
    not_found: "What it refers to no longer exists",
    too_large: "It is too long",
    too_many_rooms: "You are in too many rooms; leave one first",
    nonce_conflict: "It was sent before with other words",
  };
  return texts[error.code] ?? (error.message || error.code);
}

// ---------------------------------------------------------------------------------------------------------------
// 7  View

let scheduled = false;

/** Draws soon, once for all that happened meanwhile. A hidden page gets no animation frames: it draws when shown. */
function schedule() {
  if (document.visibilityState === "visible") markRead(front());
  const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  const name = front() ? `#${front().id} · roomcast` : "roomcast";
  document.title = unread ? `(${unread}) ${name}` : name;
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    draw();
  });
}

function draw() {
  drawBanner();
  drawRooms();
  drawBar();
  drawLog();
  drawComposer();
  drawPeople();
}

const show = (node, visible) => {
  if (node.hidden === Boolean(visible)) node.hidden = !visible;
};
const say = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

let slowStart = false;

function drawBanner() {
  const { state } = link;
  const room = front();
  const catching = state === "open" && room && room.phase === "joining" && room.epoch !== null;
  const away = state === "waiting" || state === "stopped" || (state === "connecting" && (link.everOpen || slowStart || link.attempts > 0)) || catching;
  show($("banner"), away);
  $("banner").dataset.state = state;
  const unsent = [...rooms.values()].some((other) => other.queue.some((op) => op.state !== "acked" && op.state !== "failed"));
  const keeps = state !== "stopped" && unsent ? " Your messages wait here and will be sent." : "";
  let text = "";
  let act = "";
  if (state === "stopped") [text, act] = [link.why, "Connect again"];
  else if (state === "waiting") [text, act] = [(link.why || (link.everOpen ? "Connection lost." : "The server can't be reached.")) + keeps, "Try now"];
  else if (away) text = (link.everOpen ? "Reconnecting…" : "Connecting…") + keeps;
  say($("banner-text"), text);
  const seconds = Math.ceil((link.retryAt - Date.now()) / 1000);
  say($("banner-count"), state === "waiting" && seconds > 0 ? `Trying again in ${seconds} s` : "");
  say($("banner-act"), act);
  show($("banner-act"), act !== "");

  const me = identity.name ?? identity.asked;
  if (me) {
    say($("me-name"), me);
    say($("me-avatar"), initial(me));
    $("me-avatar").className = `avatar ${hue(identity.id ?? me)}`;
  }
  say($("me-state"), state === "open" ? (identity.guest ? "Guest" : "Connected") : state === "connecting" ? "Connecting…" : "Offline");
  $("me-state").dataset.state = state;
  document.body.dataset.link = state;
}

function drawRooms() {
  // Who is where isn't known while the connection is away; which rooms there are is. Of a room that we aren't in it is only
  // known whether the server that we are at has somebody there.
  const others = new Map(directory.rooms.map((room) => [room.id, link.state === "open" && room.online > 0]));
  const row = (id) => {
    const room = rooms.get(id);
    const here = id === frontId;
    const unread = room?.unread ?? 0;
    const online = room ? room.people && number.format(room.people.online) : others.get(id) ? "" : null;
    return {
      key: id,
      sig: [here, online, online === null, unread].join(),
      make: () => el("li", {}, el("a", { class: `room${unread ? " unread" : ""}`, href: roomAddress(id), "aria-current": here ? "page" : null, "data-focus": "room", title: id, on: { click: closeDrawer } },
        el("span", { class: "room-name", text: id }),
        unread ? el("span", { class: "badge", text: unread > 99 ? "99+" : String(unread) }, el("span", { class: "unseen", text: " unread" })) : null,
        online !== null ? el("span", { class: "online" }, online, el("span", { class: "unseen", text: online ? " online" : "somebody online" })) : null)),
    };
  };
  reconcile($("joined-rooms"), [...rooms.keys()].sort(byName.compare).map(row));
  const listed = [...others.keys()].filter((id) => !rooms.has(id) && validRoom(id)).sort(byName.compare);
  reconcile($("other-rooms"), listed.map(row));
  show($("other-title"), listed.length > 0);
  show($("rooms-more"), directory.more);
  const elsewhere = [...rooms.values()].reduce((sum, room) => sum + (room.id === frontId ? 0 : room.unread), 0);
  show($("drawer-badge"), elsewhere > 0);
  say($("drawer-badge"), elsewhere > 99 ? "99+" : String(elsewhere));
  $("drawer-open").setAttribute("aria-label", elsewhere ? `Rooms, ${elsewhere} unread` : "Rooms");
}

function drawBar() {
  const room = front();
  say($("room-title"), room ? room.id : "No room");
  $("room-title").classList.toggle("room-name", Boolean(room));
  say($("room-online"), room?.people ? `${number.format(room.people.online)} online` : "");
  for (const id of ["open-search", "open-people", "leave"]) $(id).disabled = !room;
}

let drawnPeople = null;

function drawPeople() {
  const room = front();
  if ($("people").hidden) return room?.people?.came.clear();
  const unknown = !room ? "" : link.state !== "open" ? "Not known while the connection is away" : room.unseen ? "You aren't allowed to see who is here" : "";
  say($("people-unknown"), unknown);
  show($("people-unknown"), unknown !== "");
  // A thousand may be listed, and much is drawn while nobody comes or goes.
  const people = room?.people ?? null;
  if (people === drawnPeople) return;
  drawnPeople = people;
  const users = [...(people?.users.values() ?? [])];
  // Where there are more than are listed, it may be us who are counted alone.
  if (people && people.online > users.length && !people.users.has(identity.id)) users.push({ id: identity.id, name: identity.name });
  users.sort((a, b) => byName.compare(a.name || a.id, b.name || b.id));
  reconcile($("people-list"), users.map((user) => ({
    key: user.id,
    sig: user.name,
    make: () => el("li", { class: people.came.has(user.id) ? "came" : null, on: { animationend: (event) => event.target.classList.remove("came") } },
      avatar(user), el("bdi", { text: user.name || user.id }), user.id === identity.id ? el("span", { class: "you", text: "you" }) : null),
  })));
  people?.came.clear(); // who has been seen coming
  const more = Math.max(0, (people?.online ?? 0) - users.length);
  say($("people-more"), more ? `and ${number.format(more)} more` : "");
  show($("people-more"), more > 0);
}

function toast(text) {
  const node = el("p", { class: "toast", text });
  $("toasts").append(node);
  setTimeout(() => node.remove(), 6000);
}

// ---------------------------------------------------------------------------------------------------------------
// 8  Log

const log = $("log");
const GROUP_MS = 5 * 60_000;
let drawnRoom; // the room object whose rows are in the log
let active = null; // key of the message that the keyboard is on
let hovered = null;
let flashKey = null;

function drawLog() {
  const room = front();
  const switched = drawnRoom !== room;
  if (switched) {
    // A room that is opened is not news: nothing of it is read out.
    log.setAttribute("aria-live", "off");
    log.replaceChildren();
    log.rows = new Map();
    drawnRoom = room;
    active = null;
    hovered = null;
  }
  const anchor = switched ? room?.anchor : visibleAnchor();
  log.setAttribute("aria-busy", String(Boolean(room?.loading)));
  const noRoom = () => (badAddress === null ? emptyRow("No room is open", "Choose one from the list, or start a new one.")
    : emptyRow(`“${squeeze(badAddress, 60)}” can't be the name of a room`, "A name has 1 to 128 characters: letters from a to z, digits and - _ . : @ ~", { text: "Find or create a room", act: openSwitcher }));
  reconcile(log, room ? logRows(room) : [noRoom()]);
  roving();

  if (room?.target != null) goToTarget(room);
  else if (switched && room?.newFrom != null && room.stick) {
    log.scrollTop = log.scrollHeight;
    const line = log.querySelector(".new-line");
    if (line && line.offsetTop < log.scrollTop) log.scrollTop = line.offsetTop - 12;
  } else if (room?.stick) log.scrollTop = log.scrollHeight;
  else if (anchor) restoreAnchor(anchor);

  show($("latest"), Boolean(room) && (!room.live || (!room.stick && farFromEnd())));
  say($("latest-text"), room?.missed ? `${plural(room.missed, "new message", "new messages")}` : "Latest messages");
  placeTools();
  if (switched) setTimeout(() => log.setAttribute("aria-live", "polite"), 100);
  if (room) loadIfNear(room);
}

const fromEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight;
const farFromEnd = () => fromEnd() > 160;

/** The first message in sight and where it stands, to put it there again when rows come or go above it. */
function visibleAnchor() {
  const top = log.getBoundingClientRect().top;
  for (const row of messageRows()) {
    const box = row.getBoundingClientRect();
    if (box.bottom > top) return { key: row.dataset.key, offset: box.top - top };
  }
  return null;
}
function restoreAnchor(anchor) {
  const row = log.rows.get(anchor.key)?.node;
  if (row) log.scrollTop += row.getBoundingClientRect().top - log.getBoundingClientRect().top - anchor.offset;
}

function goToTarget(room) {
  const message = room.entries.find((other) => other.seq === room.target && !other.gap);
  if (!message) {
    if (room.loading) return;
    room.target = null;
    return toast("That message is no longer kept.");
  }
  room.target = null;
  const key = keyOf(room, message);
  const row = log.rows.get(key).node;
  row.scrollIntoView({ block: "center" });
  room.stick = false;
  setActive(key);
  row.focus({ preventScroll: true });
  flashKey = key;
  row.classList.add("flash");
  setTimeout(() => {
    flashKey = null;
    log.querySelector(".flash")?.classList.remove("flash");
  }, 2500);
}

function loadIfNear(room) {
  if (room.loadError || room.loading) return;
  if (log.scrollTop < 600 && !room.oldest && (room.seq !== null || room.entries.length)) loadOlder(room);
  else if (!room.live && fromEnd() < 600) loadNewer(room);
}

const keyOf = (room, message) => `m:${room.nonces.get(message.id) ?? message.id}`;

function emptyRow(title, text, action) {
  return {
    key: "empty",
    sig: `${title}${text}${action?.text}`,
    make: () => el("div", { class: "empty edge", "data-key": "empty" }, icon("mark"), el("p", { class: "empty-title", text: title }), el("p", { text }),
      action ? el("button", { class: "primary", type: "button", "data-focus": "act", text: action.text, on: { click: action.act } }) : null),
  };
}

const edgeRow = (key, text, act) => ({
  key,
  sig: text,
  make: () => el("div", { class: "edge", "data-key": key }, el("span", { text }),
    act ? el("button", { class: "quiet", type: "button", "data-focus": "act", text: "Try again", on: { click: act } }) : null),
});

function logRows(room) {
  if (room.phase === "refused") {
    return [emptyRow("This room can't be entered", `${room.refusal}.`, { text: "Try again", act: () => {
      room.phase = "away";
      joinNext();
    } })];
  }
  const rows = [];
  const tryAgain = () => {
    room.loadError = null;
    if (room.seq === null) askWhetherEmpty(room);
    schedule();
  };
  const unsent = room.queue.filter((op) => op.kind === "send" && !op.presumed && !(op.id && room.entries.some((message) => message.id === op.id)));
  // The first entry of a log is a message: where another stands first, what came before it was removed.
  const first = room.entries[0] ?? { seq: room.seq + 1 };
  const removed = (first.gap ? first.from : first.seq) > 1;
  if (!room.entries.length && room.oldest && !unsent.length) {
    rows.push(emptyRow(`This is #${room.id}`, removed ? "What was said here before is no longer kept. Write the next message." : "Nobody has said anything here yet. Write the first message."));
  } else if (room.loadError === "older" || room.loadError === "around") rows.push(edgeRow("start", "Earlier messages couldn't be loaded.", tryAgain));
  else if (room.oldest) rows.push(edgeRow("start", removed ? "Earlier messages are no longer kept" : `This is where #${room.id} begins`));
  else if (room.phase === "live" || room.entries.length === 0) rows.push(edgeRow("start", room.phase === "live" || link.state !== "stopped" ? "Loading messages…" : ""));

  let previous = null;
  let day = null;
  let lineDrawn = room.newFrom === null;
  const addMessage = (view) => {
    const date = new Date(view.created_at);
    const key = dayKey(date);
    let head = !previous || previous.gap || previous.user.id !== view.user.id || Boolean(view.reply_to) || date - new Date(previous.created_at) > GROUP_MS;
    if (key !== day) {
      day = key;
      head = true;
      rows.push(dayRow(key, dayName(date)));
    }
    if (!lineDrawn && view.seq !== undefined && view.seq > room.newFrom && view.user.id !== identity.id) {
      lineDrawn = true;
      head = true;
      rows.push({ key: "new", sig: "", make: () => el("div", { class: "new-line", "data-key": "new", role: "separator", "aria-label": "New messages" }, el("span", { text: "New" })) });
    }
    rows.push(messageRow(room, view, head));
    previous = view;
  };
  for (const message of room.entries) {
    if (message.gap) {
      rows.push(edgeRow(`gap:${message.to}`, message.from === message.to ? "One message is no longer kept" : `Messages ${message.from} to ${message.to} are no longer kept`));
      previous = message;
      continue;
    }
    addMessage(withEdits(room, message));
  }
  if (!room.live) rows.push(room.loadError === "newer" ? edgeRow("end", "Later messages couldn't be loaded.", tryAgain) : edgeRow("end", "Loading messages…"));
  // Before the first hello it isn't known under which id the server knows this user.
  const user = { id: identity.id ?? identity.asked, name: identity.name ?? identity.asked };
  for (const op of unsent) addMessage({ op, nonce: op.nonce, id: op.id, user, content: op.content, reply_to: op.reply_to, created_at: op.at, state: op.state });
  return rows;
}

/** A message as the user wants it to be: with their edit or deletion that the server hasn't confirmed yet. */
function withEdits(room, message) {
  const op = room.queue.findLast((other) => other.msg === message.id);
  if (!op || message.deleted) return message;
  if (op.state === "failed") return { ...message, op };
  return op.kind === "edit" ? { ...message, op, content: op.content, edited_at: message.edited_at ?? op.at, state: "sent" } : { ...message, op, state: "sent" };
}

const dayRow = (key, name) => ({
  key: `day:${key}`,
  sig: name,
  make: () => el("div", { class: "day", "data-key": `day:${key}`, role: "separator", "aria-label": name }, el("span", { text: name })),
});

function preview(message) {
  if (!message) return "an earlier message";
  if (message.deleted) return "a deleted message";
  return squeeze(message.content ?? "data", 120);
}

function messageRow(room, view, head) {
  const key = view.id ? keyOf(room, view) : `m:${view.nonce}`;
  const own = view.user.id === identity.id || view.op?.kind === "send";
  const state = view.op?.state === "failed" ? "failed" : view.state === "queued" || view.state === "sent" ? "pending" : "stored";
  const target = view.reply_to ? room.known.get(view.reply_to) : null;
  const name = view.user.name || view.user.id || "";
  const content = view.deleted ? null : view.content;
  const doing = link.state !== "open" ? "Waiting for the connection" : { edit: "Saving…", delete: "Deleting…" }[view.op?.kind] ?? "Sending…";
  const sig = JSON.stringify([head, state, state === "pending" && doing, content, view.deleted, view.edited_at, view.op?.kind, view.op?.error?.message, view.reply_to && [target?.user.name, preview(target)], view.created_at, own, view.seq, name]);
  const make = () => {
    const date = new Date(view.created_at);
    const time = el("time", { datetime: view.created_at, title: fullTime.format(date), text: clock.format(date) });
    const body = el("div", { class: "body" });
    if (head) body.append(el("div", { class: "who" }, el("bdi", { class: `name ${hue(view.user.id)}`, text: name }), own ? el("span", { class: "you", text: "you" }) : null, time));
    if (view.reply_to) {
      const quote = el("button", { class: "quote", type: "button", tabindex: "-1", "data-focus": "quote", title: "Go to that message", disabled: !target },
        icon("reply"), el("span", { class: "quote-text", dir: "auto" }, target ? el("b", { text: `${target.user.name || target.user.id} ` }) : null, preview(target)));
      quote.addEventListener("click", () => target && jumpTo(room, target.seq));
      body.append(quote);
    }
    if (view.deleted) body.append(el("p", { class: "text gone" }, el("span", { class: "said", text: "This message was deleted" })));
    else {
      const said = el("span", { class: "said" });
      if (content !== undefined && content !== null) said.append(linked(content));
      else said.append(el("code", { text: squeeze(JSON.stringify(view.data ?? {}), 400) }));
      const text = el("p", { class: "text", dir: "auto" }, said);
      body.append(text);
      if (view.edited_at) text.append(" ", el("span", { class: "mark", text: "(edited)" }));
    }
    // In the line, not under it: most are gone in a blink, and nothing should move for them.
    if (state === "pending") body.querySelector(".text").append(" ", el("span", { class: "mark late", text: doing }));
    if (state === "failed") {
      const what = { send: "Not sent", edit: "The edit wasn't saved", delete: "Not deleted" }[view.op.kind];
      body.append(el("span", { class: "status" }, el("span", { text: `${what}. ${view.op.error?.message ?? ""}.` }),
        el("button", { class: "quiet", type: "button", "data-focus": "retry", text: "Retry", on: { click: () => retry(room, view.op) } }),
        el("button", { class: "quiet", type: "button", "data-focus": "discard", text: "Discard", on: { click: () => discard(room, view.op) } })));
    }
    const spoken = view.deleted ? "deleted message" : squeeze(content ?? "data", 200);
    return el("article", {
      class: `msg${head ? " head" : ""}${own ? " own" : ""} ${state}${key === flashKey ? " flash" : ""}`,
      "data-key": key, "data-state": state, "data-seq": view.seq, "data-id": view.id, tabindex: "-1",
      "aria-label": `${name}, ${clock.format(date)}: ${spoken}`,
    }, head ? avatar(view.user) : el("span", { class: "beside" }, el("time", { datetime: view.created_at, title: fullTime.format(date), "aria-hidden": "true", text: clock.format(date) })), body);
  };
  return { key, sig, make };
}

// One message of the log is a tab stop; arrows go from one to the next. The tools stand beside the log in the
// document, not in it, so that a screen reader isn't told of them as of a new message.

const messageRows = () => log.querySelectorAll(".msg");

function roving() {
  let row = active ? log.rows.get(active)?.node : null;
  if (!row) {
    active = null;
    row = [...messageRows()].at(-1);
  }
  for (const other of log.querySelectorAll('.msg[tabindex="0"]')) if (other !== row) other.tabIndex = -1;
  if (row && row.tabIndex !== 0) row.tabIndex = 0;
}

function setActive(key) {
  active = key;
  roving();
  placeTools();
}

function toolMessage() {
  const room = front();
  const focusInside = log.contains(document.activeElement) || $("tools").contains(document.activeElement);
  const key = $("tools").contains(document.activeElement) ? active : hovered ?? (focusInside ? active : null);
  const node = key ? log.rows.get(key)?.node : null;
  const message = node?.dataset.state === "stored" && room?.known.get(node.dataset.id);
  return message && !message.deleted ? { room, message, node, key } : null;
}

function placeTools() {
  const at = toolMessage();
  const tools = $("tools");
  show(tools, Boolean(at));
  if (!at) return;
  const own = at.message.user.id === identity.id;
  show($("tool-edit"), own && typeof at.message.content === "string");
  show($("tool-delete"), own);
  tools.dataset.for = at.key;
  const top = at.node.getBoundingClientRect().top - $("log-wrap").getBoundingClientRect().top;
  tools.style.top = `${Math.max(4, top - 12)}px`;
}

log.addEventListener("scroll", () => {
  const room = drawnRoom;
  if (!room || room !== front()) return;
  room.stick = room.live && fromEnd() < 48;
  room.anchor = visibleAnchor();
  show($("latest"), !room.live || (!room.stick && farFromEnd()));
  hovered = null;
  placeTools();
  loadIfNear(room);
}, { passive: true });

log.addEventListener("focusin", (event) => {
  const row = event.target.closest(".msg");
  if (row) setActive(row.dataset.key);
});
log.addEventListener("focusout", () => setTimeout(placeTools));
$("tools").addEventListener("focusout", () => setTimeout(placeTools));

$("log-wrap").addEventListener("pointermove", (event) => {
  if (event.pointerType === "touch" || $("tools").contains(event.target)) return;
  const key = event.target.closest?.(".msg")?.dataset.key ?? null;
  if (key === hovered) return;
  hovered = key;
  placeTools();
});
$("log-wrap").addEventListener("pointerleave", () => {
  hovered = null;
  placeTools();
});

log.addEventListener("keydown", (event) => {
  const row = event.target.closest(".msg");
  if (!row || event.target !== row || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = [...messageRows()];
  const at = all.indexOf(row);
  const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: all.length - 1 }[event.key];
  if (to !== undefined) {
    event.preventDefault();
    const next = all[Math.max(0, Math.min(all.length - 1, to))];
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
    return;
  }
  const room = front();
  const message = row.dataset.state === "stored" && room?.known.get(row.dataset.id);
  if (!message || message.deleted) return;
  const own = message.user.id === identity.id;
  if (event.key === "r") startContext(room, "reply", message);
  else if (event.key === "e" && own && typeof message.content === "string") startContext(room, "edit", message);
  else if (event.key === "Delete" && own) askDelete(room, message);
  else return;
  event.preventDefault();
});

for (const [id, act] of [
  ["tool-reply", ({ room, message }) => startContext(room, "reply", message)],
  ["tool-edit", ({ room, message }) => startContext(room, "edit", message)],
  ["tool-delete", ({ room, message }) => askDelete(room, message)],
]) {
  $(id).addEventListener("click", () => {
    const key = $("tools").dataset.for;
    const node = log.rows.get(key)?.node;
    const room = front();
    const message = node && room?.known.get(node.dataset.id);
    if (message) act({ room, message });
  });
}

$("latest").addEventListener("click", () => {
  const room = front();
  if (!room) return;
  goLatest(room);
  draft.focus();
});

// A composer that grows, or a keyboard that comes up, must not hide the newest message.
new ResizeObserver(() => {
  const room = front();
  if (room?.stick && drawnRoom === room) log.scrollTop = log.scrollHeight;
}).observe(log);

async function askDelete(room, message) {
  if (await confirm("Delete this message?", `“${preview(message)}” will be gone for everybody.`, "Delete")) {
    enqueue(room, { kind: "delete", msg: message.id });
  }
  draft.focus();
}

// ---------------------------------------------------------------------------------------------------------------
// 9  Composer

const draft = $("draft");
let composerRoom; // the room whose draft is in the field

function drawComposer() {
  const room = front();
  if (composerRoom !== room) {
    composerRoom = room;
    draft.value = room?.draft ?? "";
    fitDraft();
  }
  draft.disabled = !room || room.phase === "refused";
  draft.placeholder = room ? `Message #${room.id}` : "Choose a room first";
  const context = room?.context;
  show($("context"), Boolean(context));
  $("composer").classList.toggle("editing", context?.kind === "edit");
  if (context) {
    const message = room.known.get(context.id);
    $("context-icon").setAttribute("href", context.kind === "edit" ? "#i-edit" : "#i-reply");
    say($("context-title"), context.kind === "edit" ? "Editing your message" : `Replying to ${message?.user.name ?? "a message"}`);
    say($("context-preview"), preview(message));
    $("context-cancel").setAttribute("aria-label", context.kind === "edit" ? "Cancel editing" : "Cancel the reply");
  }
  $("send").setAttribute("aria-label", context?.kind === "edit" ? "Save the edit" : "Send");
  drawLength();
}

/** What would be sent if the user sent it now. */
function drafted(room) {
  const content = draft.value.trim();
  const context = room.context;
  if (context?.kind === "edit") return { kind: "edit", msg: context.id, content };
  return { kind: "send", nonce: randomNonce(), content, reply_to: context?.id ?? null };
}

/** Whether what is written can be sent, and if it is too long, by how much. True if it can. */
function drawLength() {
  const room = front();
  const content = draft.value.trim();
  const over = room && content ? excess(room, drafted(room)) : 0;
  const characters = over > 0 ? Math.ceil((over * content.length) / (jsonBytes(content) - 2)) : 0;
  say($("draft-note"), over > 0 ? `Too long to send by about ${plural(characters, "character", "characters")}. Shorten it, or send it in parts.` : "");
  const fits = !draft.disabled && content !== "" && over === 0;
  $("send").disabled = !fits;
  return fits;
}

function fitDraft() {
  draft.style.height = "auto";
  draft.style.height = `${draft.scrollHeight}px`;
}

/** Drafts outlive a reload; an edit that was begun does not, the draft that it displaced does. */
function keepDraft(room) {
  const text = room.context?.kind === "edit" ? room.context.kept : room.draft;
  const drafts = stored("sessionStorage", "drafts", {});
  if (text) drafts[room.id] = text;
  else delete drafts[room.id];
  store("sessionStorage", "drafts", drafts);
}

function setDraft(room, text) {
  room.draft = text;
  if (room === composerRoom) {
    draft.value = text;
    fitDraft();
  }
  keepDraft(room);
}

function startContext(room, kind, message) {
  if (room.context?.kind === "edit") dropContext(room);
  room.context = { kind, id: message.id, kept: room.draft };
  if (kind === "edit") setDraft(room, message.content ?? "");
  draw();
  draft.focus();
  draft.setSelectionRange(draft.value.length, draft.value.length);
}

function dropContext(room) {
  const { kind, kept } = room.context;
  room.context = null;
  if (kind === "edit") setDraft(room, kept);
  schedule();
}

function submit() {
  const room = front();
  if (!room || !drawLength()) return;
  const op = drafted(room);
  if (op.kind === "edit") {
    const message = room.known.get(op.msg);
    dropContext(room);
    if (message && message.content !== op.content) enqueue(room, op);
    return;
  }
  room.context = null;
  room.newFrom = null;
  setDraft(room, "");
  goLatest(room);
  enqueue(room, op);
}

/** The newest own message that can be edited, for ArrowUp. */
function lastOwn(room) {
  return room.entries.findLast((message) => !message.gap && !message.deleted && message.user.id === identity.id && typeof message.content === "string" &&
    !room.queue.some((op) => op.msg === message.id));
}

draft.addEventListener("input", () => {
  const room = composerRoom;
  if (room) {
    room.draft = draft.value;
    keepDraft(room);
  }
  fitDraft();
  drawLength();
});
draft.addEventListener("keydown", (event) => {
  const room = front();
  if (!room || event.isComposing || event.keyCode === 229) return;
  if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    submit();
  } else if (event.key === "ArrowUp" && draft.value === "" && !room.context && !event.shiftKey) {
    const message = lastOwn(room);
    if (!message) return;
    event.preventDefault();
    startContext(room, "edit", message);
  }
});
// Who comes back to the log from here begins at the newest message again.
draft.addEventListener("focus", () => setActive(null));
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
  draft.focus();
});
$("context-cancel").addEventListener("click", () => {
  if (front()?.context) dropContext(front());
  draft.focus();
});

// ---------------------------------------------------------------------------------------------------------------
// 10  Panels and dialogs

const phone = matchMedia("(max-width: 719px)");
const wide = matchMedia("(min-width: 1100px)");

function openDrawer() {
  document.body.classList.add("drawer");
  $("drawer-open").setAttribute("aria-expanded", "true");
  $("main").inert = true;
  show($("scrim"), true);
  $("drawer-close").focus();
}
function closeDrawer() {
  if (!document.body.classList.contains("drawer")) return false;
  document.body.classList.remove("drawer");
  $("drawer-open").setAttribute("aria-expanded", "false");
  $("main").inert = false;
  show($("scrim"), false);
  $("drawer-open").focus();
  return true;
}
$("drawer-open").addEventListener("click", openDrawer);
$("drawer-close").addEventListener("click", closeDrawer);
$("scrim").addEventListener("click", closeDrawer);
phone.addEventListener("change", closeDrawer);

let panel = null; // null, "people" or "search"

function setPanel(name) {
  panel = name;
  for (const id of ["people", "search"]) {
    show($(id), id === panel);
    $(`open-${id}`).setAttribute("aria-expanded", String(id === panel));
  }
  document.body.dataset.panel = panel ?? "";
  if (panel === "search") {
    $("search-input").focus();
    $("search-input").select();
  }
  schedule();
}
function closePanel() {
  const was = panel;
  if (!was) return;
  setPanel(null);
  $(`open-${was}`).focus();
}
for (const id of ["people", "search"]) {
  $(`open-${id}`).addEventListener("click", () => (panel === id ? closePanel() : setPanel(id)));
  $(`${id}-close`).addEventListener("click", closePanel);
}

// Search

const search = { turn: 0, room: null, query: "", results: [], more: false, timer: 0 };

function clearSearch() {
  search.turn += 1;
  Object.assign(search, { room: null, query: "", results: [], more: false });
  $("search-input").value = "";
  say($("search-state"), "");
  drawResults();
}

async function runSearch(more = false) {
  const room = front();
  const query = $("search-input").value.trim();
  const turn = ++search.turn;
  if (!room) return;
  if (!query) return clearSearch();
  say($("search-state"), "Searching…");
  try {
    const before = more ? search.results.at(-1)?.seq : undefined;
    // A room where nobody has spoken isn't in the store, and to ask for it would be an error.
    const answer = room.seq === 0 ? { messages: [], more: false } : await api(`rooms/${encodeURIComponent(room.id)}/search`, { q: query, before, limit: 30 });
    if (search.turn !== turn) return;
    Object.assign(search, { room, query, results: more ? [...search.results, ...answer.messages] : answer.messages, more: answer.more === true });
    const count = search.results.length;
    say($("search-state"), count === 0 ? "No message has these words. Whole words are searched, not parts of them." : `${search.more ? "The newest " : ""}${plural(count, "message", "messages")}`);
  } catch (error) {
    if (search.turn !== turn) return;
    Object.assign(search, { room, query, results: more ? search.results : [] });
    say($("search-state"), error instanceof ApiError ? `The search didn't work: ${error.message}.` : "The server can't be reached. Press Enter to search again.");
  }
  drawResults();
}

function drawResults() {
  const { room, query, results } = search;
  const words = query.match(/[\p{L}\p{N}]+/gu) ?? [];
  reconcile($("results"), results.map((message) => ({
    key: message.id,
    sig: `${query} ${message.content}`,
    make: () => {
      const date = new Date(message.created_at);
      return el("li", {}, el("button", { class: "result", type: "button", "data-focus": "result", on: { click: () => {
        if (!wide.matches) setPanel(null);
        jumpTo(room, message.seq);
      } } },
      el("span", { class: "who" }, el("bdi", { class: `name ${hue(message.user.id)}`, text: message.user.name || message.user.id }), el("time", { datetime: message.created_at, text: `${shortDay.format(date)}, ${clock.format(date)}` })),
      el("span", { class: "text", dir: "auto" }, marked(squeeze(message.content ?? "", 300), words))));
    },
  })));
  show($("search-more"), search.more);
}

$("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(search.timer);
  runSearch();
});
$("search-input").addEventListener("input", () => {
  clearTimeout(search.timer);
  search.timer = setTimeout(runSearch, 250);
});
$("search-more").addEventListener("click", () => runSearch(true));

// The room switcher: finds a room, makes one, or hands the words on to the search.

const switcher = { options: [], at: 0 };
const roomName = (text) => text.trim().replace(/^#/, "").replace(/\s+/g, "-");

function openSwitcher() {
  if ($("switcher").open) return;
  closeDrawer();
  $("switcher-input").value = "";
  switcher.at = 0;
  drawSwitcher();
  $("switcher").showModal();
  $("switcher-input").focus();
}

function drawSwitcher() {
  const typed = $("switcher-input").value;
  const id = roomName(typed);
  const all = [...new Set([...rooms.keys(), ...directory.rooms.map((room) => room.id)])];
  const rank = (name) => (name === id ? 0 : name.toLowerCase().startsWith(id.toLowerCase()) ? 1 : 2);
  const found = all.filter((name) => name.toLowerCase().includes(id.toLowerCase())).sort((a, b) => rank(a) - rank(b) || a.localeCompare(b)).slice(0, 30);
  switcher.options = found.map((name) => ({ key: name, text: `#${name}`, note: rooms.has(name) ? "" : "join", act: () => go(name) }));
  if (id && !all.includes(id)) {
    // Where not all rooms are listed, it may exist.
    if (!validRoom(id)) switcher.options.push({ key: " bad", text: "Not a possible name for a room", note: "", act: null });
    else if (directory.more) switcher.options.push({ key: " create", text: `Go to #${id}`, note: "", act: () => go(id) });
    else switcher.options.push({ key: " create", text: `Create #${id}`, note: "new", act: () => go(id) });
  }
  if (typed.trim() && front()) {
    switcher.options.push({ key: " search", text: `Search #${frontId} for “${squeeze(typed, 40)}”`, note: "", act: () => {
      setPanel("search");
      $("search-input").value = typed.trim();
      runSearch();
    } });
  }
  switcher.at = Math.max(0, Math.min(switcher.at, switcher.options.length - 1));
  reconcile($("switcher-list"), switcher.options.map((option, index) => ({
    key: option.key,
    sig: `${option.text} ${option.note} ${index} ${index === switcher.at}`,
    make: () => el("li", { id: `option-${index}`, role: "option", "aria-selected": String(index === switcher.at), "aria-disabled": option.act ? null : "true", on: { click: () => choose(index) } },
      el("span", { class: "option-text", text: option.text }), option.note ? el("span", { class: "note", text: option.note }) : null),
  })));
  const input = $("switcher-input");
  if (switcher.options.length) input.setAttribute("aria-activedescendant", `option-${switcher.at}`);
  else input.removeAttribute("aria-activedescendant");
  $(`option-${switcher.at}`)?.scrollIntoView({ block: "nearest" });
}

function choose(index) {
  const option = switcher.options[index];
  if (!option?.act) return;
  $("switcher").close();
  draft.focus();
  option.act();
}

$("switcher-input").addEventListener("input", () => {
  switcher.at = 0;
  drawSwitcher();
});
$("switcher-input").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || event.isComposing) return;
  event.preventDefault();
  switcher.at = (switcher.at + step + switcher.options.length) % Math.max(1, switcher.options.length);
  drawSwitcher();
});
$("switcher-form").addEventListener("submit", (event) => {
  event.preventDefault();
  choose(switcher.at);
});
$("open-switcher").addEventListener("click", openSwitcher);

// Names and confirmation

$("open-name").addEventListener("click", () => {
  closeDrawer();
  $("name-input").value = identity.guest ? "" : identity.name ?? identity.asked;
  $("name-dialog").showModal();
  $("name-input").focus();
  $("name-input").select();
});
$("name-cancel").addEventListener("click", () => $("name-dialog").close());
$("name-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name-input").value.trim();
  $("name-dialog").close();
  if (name && name !== identity.name) changeName(name);
});

let answerConfirm = null;
function confirm(title, text, yes) {
  say($("confirm-title"), title);
  say($("confirm-text"), text);
  say($("confirm-yes"), yes);
  $("confirm").showModal();
  $("confirm-no").focus();
  return new Promise((resolve) => {
    answerConfirm = resolve;
  });
}
$("confirm-yes").addEventListener("click", () => {
  answerConfirm?.(true);
  $("confirm").close();
});
$("confirm-no").addEventListener("click", () => $("confirm").close());
$("confirm").addEventListener("close", () => answerConfirm?.(false));
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}

$("rooms-more").addEventListener("click", () => {
  directory.pages += 1;
  refreshRooms();
});

// Rooms, from anywhere

function go(id) {
  if (roomOfAddress() === id) return arrive();
  location.hash = roomAddress(id);
}

/** Brings the room of the address to the front. */
function arrive() {
  const id = roomOfAddress();
  if (id === "") return location.replace(roomAddress(frontId ?? "lobby"));
  const before = front();
  badAddress = id === null ? nameInAddress() : null;
  if (before && before.id !== id) before.newFrom = null;
  frontId = id;
  if (id !== null) {
    const room = openRoom(id);
    if (before !== room) {
      if (room.stick) room.anchor = null;
      clearSearch();
    }
  }
  hovered = null;
  schedule();
  refreshRooms();
  if (!phone.matches && before?.id !== id) draft.focus({ preventScroll: true });
}

$("leave").addEventListener("click", async () => {
  const room = front();
  if (!room) return;
  if (room.queue.some((op) => op.state !== "acked") && !(await confirm("Leave this room?", "Messages that weren't sent yet will be discarded.", "Leave"))) return;
  room.queue = [];
  leaveRoom(room);
  frontId = null;
  const next = rooms.keys().next().value;
  if (next) go(next);
  else {
    history.pushState(null, "", location.pathname + location.search + "#/");
    clearSearch();
    schedule();
    refreshRooms();
  }
});

// ---------------------------------------------------------------------------------------------------------------
// 11  Start

$("banner-act").addEventListener("click", () => {
  link.attempts = 0;
  connect();
});
$("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address's hash names the room
  draft.focus();
});
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
    event.preventDefault();
    openSwitcher();
    return;
  }
  if (event.key !== "Escape" || event.isComposing || document.querySelector("dialog[open]")) return;
  const room = front();
  if (closeDrawer()) return;
  if (room?.context && document.activeElement === draft) return dropContext(room);
  if (panel === "search" || (panel && (!wide.matches || $(panel).contains(document.activeElement)))) return closePanel();
  if (room?.context) return dropContext(room);
  if (log.contains(document.activeElement) || $("tools").contains(document.activeElement)) draft.focus();
});
addEventListener("hashchange", arrive);
addEventListener("online", nudge);
addEventListener("pageshow", (event) => event.persisted && nudge());
document.addEventListener("visibilitychange", () => {
  const room = front();
  if (document.visibilityState === "visible") {
    nudge();
    refreshRooms();
  } else if (room) room.newFrom = null;
  schedule();
});
setInterval(refreshRooms, ROOMS_MS);
setInterval(() => link.state === "waiting" && drawBanner(), 1000);
setTimeout(() => {
  slowStart = true;
  schedule();
}, 800);
// "Today" becomes "Yesterday" without a message having come.
setInterval(schedule, 60_000);

if (/Mac|iPhone|iPad/.test(navigator.platform)) say($("switch-key"), "⌘ K");
readIdentity();
for (const id of stored("sessionStorage", "rooms", [])) if (validRoom(id)) rooms.set(id, makeRoom(id));
setPanel(wide.matches ? "people" : null);
arrive();
connect();
