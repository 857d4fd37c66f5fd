// What a room's members get for a message: as long as what roomcast sends. The input is {"content":"…"}.
export function envelope(room, seq, input) {
  return (
    `{"id":"0192f3a4-5b6c-7d8e-9f01-23456789abcd","room_id":"${room}","seq":${seq},` +
    `"user":{"id":"ann","name":"ann"},"created_at":"2026-01-02T03:04:05.678Z",${input.slice(1)}`
  );
}
