// What a room's members get for a message, as long as what roomcast sends.
const ID = "0192f3a4-5b6c-7d8e-9f01-23456789abcd";
const AT = "2026-01-02T03:04:05.678Z";
const NAMED = '{"room_id":"';

// The room that a message names, if its sender is in several, and the rest of it. The load program sends
// {"content":"…"} and {"room_id":"…","content":"…"}.
export function addressed(input, only) {
  if (!input.startsWith(NAMED)) return [only, input.slice(1)];
  const end = input.indexOf('"', NAMED.length);
  return [input.slice(NAMED.length, end), input.slice(end + 2)];
}

// As text, of what addressed() left.
export function envelope(room, seq, rest) {
  return (
    `{"id":"${ID}","room_id":"${room}","seq":${seq},"user":{"id":"ann","name":"ann"},"created_at":"${AT}",${rest}`
  );
}

// The same as an object.
export function message(room_id, seq, content) {
  return { id: ID, room_id, seq, user: { id: "ann", name: "ann" }, created_at: AT, content };
}

// Numbers the messages of each room.
export class Seqs {
  #of = new Map();

  next(room) {
    const seq = (this.#of.get(room) ?? 0) + 1;
    this.#of.set(room, seq);
    return seq;
  }
}
