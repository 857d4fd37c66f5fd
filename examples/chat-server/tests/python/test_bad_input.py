"""Bad input of every kind, each with its stated answer, while two ordinary clients chat undisturbed."""

import asyncio
import base64
import json
import os
import random
import struct
import time
import unittest

from server import V1, TestCase, receive, receive_until, send
from stores import OnMongo

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 0x1, 0x2, 0x8, 0x9, 0xA, 0x0
LIMIT = 65536
NO_MESSAGE = "01920000-0000-7000-8000-000000000000"
HANDSHAKE = 10  # seconds that a request's head may take


def frame(opcode, payload=b"", final=True, masked=True, reserved=0, length=None):
    """A WebSocket frame of a client; every rule can be broken."""
    count = len(payload) if length is None else length
    mask_bit = 0x80 if masked else 0
    head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
    if count < 126:
        head += bytes([mask_bit | count])
    elif count < 1 << 16:
        head += struct.pack(">BH", mask_bit | 126, count)
    else:
        head += struct.pack(">BQ", mask_bit | 127, count)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(payload))


def text(value):
    return frame(TEXT, value if isinstance(value, bytes) else value.encode())


def handshake(path, port, protocol=V1, leave_out=(), **change):
    """A request for a WebSocket; header names are written with _ for -."""
    headers = {
        "Host": f"127.0.0.1:{port}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    if protocol:
        headers["Sec-WebSocket-Protocol"] = protocol
    headers.update({name.replace("_", "-"): value for name, value in change.items()})
    lines = [f"{name}: {value}" for name, value in headers.items() if name not in leave_out]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


async def read_response(reader):
    """Status and body of an HTTP answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split()[1])
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    return status, fields, body


async def read_frame(reader):
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack(">H", await reader.readexactly(2))
    elif length == 127:
        (length,) = struct.unpack(">Q", await reader.readexactly(8))
    return first & 0xF, await reader.readexactly(length)


# ---- Requests of chat.v1.json in a room of their own: the answer is one `err` with this code and id, and the connection lives.
# "$own" and "$other" stand for messages in the room, by the client itself and by somebody else.


def v1_cases():
    def bad(name, value, id=1, code="bad_request"):
        return (name, value, code, id)

    def typed(t, field, value, **more):
        return bad(f"{t}: {field} is {json.dumps(value)[:30]}", {"t": t, "id": 1, **more, field: value})

    deep = "[" * 5000 + "]" * 5000
    cases = [
        bad("broken JSON: half an object", '{"t":"ping","id":1', None),
        bad("broken JSON: a word", "hello", None),
        bad("broken JSON: two objects", '{"t":"ping"}{"t":"ping"}', None),
        bad("broken JSON: a comma too many", '{"t":"ping",}', None),
        bad("broken JSON: single quotes", "{'t':'ping'}", None),
        bad("broken JSON: NaN", '{"t":"history","limit":NaN}', None),
        bad("broken JSON: a control character in a string", '{"t":"send","content":"a\x01b"}', None),
        bad("broken JSON: half a surrogate pair", '{"t":"send","content":"\\ud800"}', None),
        bad("an empty frame", "", None),
        bad("only white space", "  \n", None),
        bad("null", "null", None),
        bad("true", "true", None),
        bad("a number", "12", None),
        bad("a string", '"ping"', None),
        bad("an empty array", "[]", None),
        bad("an object without t", {"id": 1}),
        bad("nested arrays", deep, None),
        bad("nested data", '{"t":"send","id":1,"content":"x","data":{"a":' + deep + "}}"),
        bad("nested objects", '{"a":' * 3000 + "1" + "}" * 3000, None),
        bad("id is a float", '{"t":"ping","id":1.5}', None),
        bad("id is 1e400", '{"t":"ping","id":1e400}', None),
        bad("id is an object", {"t": "ping", "id": {}}, None),
        bad("id is an array", {"t": "ping", "id": [1]}, None),
        bad("id is a boolean", {"t": "ping", "id": True}, None),
        bad("id has 65 characters", {"t": "ping", "id": "x" * 65}, None),
        typed("send", "nonce", "n" * 65, content="x"),
        typed("send", "nonce", "", content="x"),
        typed("send", "content", ""),
        typed("send", "content", None),
        bad("send without content and data", {"t": "send", "id": 1}),
        typed("send", "reply_to", "no id", content="x"),
        ("send: reply_to names nothing", {"t": "send", "id": 1, "content": "x", "reply_to": NO_MESSAGE}, "not_found", 1),
        ("send: another room", {"t": "send", "id": 1, "content": "x", "room_id": "elsewhere"}, "not_joined", 1),
        ("send: the nonce has other content", {"t": "send", "id": 1, "nonce": "used", "content": "x"}, "nonce_conflict", 1),
        ("the id is a word", {"t": "send", "id": "my id", "content": "x", "room_id": "elsewhere"}, "not_joined", "my id"),
        ("the id is negative", {"t": "send", "id": -7, "content": "x", "room_id": "elsewhere"}, "not_joined", -7),
        ("there is no id", {"t": "send", "content": "x", "room_id": "elsewhere"}, "not_joined", None),
        bad("edit without msg", {"t": "edit", "id": 1, "content": "x"}),
        bad("edit without content", {"t": "edit", "id": 1, "msg": NO_MESSAGE}),
        bad("edit: empty content", {"t": "edit", "id": 1, "msg": "$own", "content": ""}),
        typed("edit", "msg", "no id", content="x"),
        ("edit: no such message", {"t": "edit", "id": 1, "msg": NO_MESSAGE, "content": "x"}, "not_found", 1),
        ("edit: somebody else's", {"t": "edit", "id": 1, "msg": "$other", "content": "x"}, "forbidden", 1),
        ("edit: another room", {"t": "edit", "id": 1, "msg": "$own", "content": "x", "room_id": "elsewhere"}, "not_joined", 1),
        bad("delete without msg", {"t": "delete", "id": 1}),
        typed("delete", "msg", "no id"),
        ("delete: no such message", {"t": "delete", "id": 1, "msg": NO_MESSAGE}, "not_found", 1),
        ("delete: somebody else's", {"t": "delete", "id": 1, "msg": "$other"}, "forbidden", 1),
        ("delete: another room", {"t": "delete", "id": 1, "msg": "$own", "room_id": "elsewhere"}, "not_joined", 1),
        ("leave: another room", {"t": "leave", "id": 1, "room_id": "elsewhere"}, "not_joined", 1),
        ("history: another room", {"t": "history", "id": 1, "room_id": "elsewhere"}, "not_joined", 1),
        bad("history: both ends", {"t": "history", "id": 1, "before": 5, "after": 1}),
        bad("join without room_id", {"t": "join", "id": 1}),
        bad("join: both since and last", {"t": "join", "id": 1, "room_id": "r", "since": "e1:1", "last": 1}),
    ]
    for value in (0, 201, -1, 1.5, "5", 2**64, True, []):
        cases.append(typed("history", "limit", value))
    for field in ("before", "after"):
        for value in (-1, 1.5, "5", 2**64, {}):
            cases.append(typed("history", field, value))
    for value in (5, True, [], {}):
        cases.append(typed("send", "content", value))
        cases.append(typed("edit", "content", value, msg=NO_MESSAGE))
    for value in (5, True, [], {}):
        cases.append(typed("send", "nonce", value, content="x"))
        cases.append(typed("send", "reply_to", value, content="x"))
    for value in (5, "text", True, [], [1]):
        cases.append(typed("send", "data", value, content="x"))
    for t in ("edit", "delete"):
        for value in (5, None, []):
            cases.append(typed(t, "msg", value, content="x"))
    for t in ("send", "join", "leave", "history"):
        for value in (5, [], {}, "", "a b", "a/b", "x" * 129):
            cases.append(typed(t, "room_id", value, content="x"))
    for value in ("..", ".", "é", "a\u0000"):
        cases.append(typed("join", "room_id", value))
    for value in (5, "", ":", "e1", "e1:", ":1", "e1:-1", "e1:+1", "e1:x", "e1:9007199254740992", "e 1:1", "e" * 33 + ":1"):
        cases.append(typed("join", "since", value, room_id="r"))
    for value in (201, -1, 1.5, "5", 2**64, []):
        cases.append(typed("join", "last", value, room_id="r"))
    for value in (5, None, [], {}):
        cases.append(typed("ping", "t", value))
    return cases


# What looks bad and is ignored: no answer but what the request asks for.
IGNORED = [
    ("an unknown t", {"t": "typing", "id": 1}),
    ("an unknown t with odd fields", {"t": "later", "id": {}, "room_id": 5, "content": []}),
    ("an unknown t in capitals", {"t": "SEND", "id": 1, "content": "x"}),
    ("an unknown empty t", {"t": "", "id": 1}),
]

# ---- Bytes behind the handshake: the answer is this close code. `bye` comes before it where the protocol has a word for it.
REASONS = {1009: "too_large", 4500: "bad_request", 4505: "unsupported"}
INVALID_UTF8 = [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe2\x82"]

WIRE = [
    ("unmasked", frame(TEXT, b'{"t":"ping"}', masked=False), 1002),
    ("unmasked ping", frame(PING, masked=False), 1002),
    ("first reserved bit", frame(TEXT, b"x", reserved=4), 1002),
    ("second reserved bit", frame(TEXT, b"x", reserved=2), 1002),
    ("third reserved bit", frame(TEXT, b"x", reserved=1), 1002),
    *((f"reserved opcode {opcode}", frame(opcode, b"x"), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    ("fragmented ping", frame(PING, b"x", final=False), 1002),
    ("fragmented pong", frame(PONG, b"x", final=False), 1002),
    ("fragmented close", frame(CLOSE, b"\x03\xe8", final=False), 1002),
    ("ping of 126 bytes", frame(PING, b"x" * 126), 1002),
    ("close of 126 bytes", frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    ("continuation of nothing", frame(CONTINUATION, b"x"), 1002),
    ("text within text", frame(TEXT, b"{", final=False) + frame(TEXT, b"}"), 1002),
    ("binary within text", frame(TEXT, b"{", final=False) + frame(BINARY, b"}"), 1002),
    ("half a close code", frame(CLOSE, b"\x03"), 1002),
    *((f"close code {code}", frame(CLOSE, struct.pack(">H", code)), 1002) for code in (0, 999, 1004, 1005, 1006, 1015)),
    ("a registered close code", frame(CLOSE, struct.pack(">H", 1014)), 1014),
    ("close reason not UTF-8", frame(CLOSE, b"\x03\xe8\xff"), 1007),
    *((f"not UTF-8: {data.hex()}", text(data), 1007) for data in INVALID_UTF8),
    ("not UTF-8 in JSON", text(b'{"t":"ping","id":"\xff"}'), 1007),
    ("not UTF-8 over two fragments", frame(TEXT, b"\xc3", final=False) + frame(CONTINUATION, b"("), 1007),
    ("binary", frame(BINARY, b"x"), 4505),
    ("empty binary", frame(BINARY), 4505),
    ("binary with JSON", frame(BINARY, b'{"t":"ping"}'), 4505),
    ("one byte too many", text("x" * (LIMIT + 1)), 1009),
    ("a MiB of text", text("x" * (1 << 20)), 1009),
    ("only announced: 2^62 bytes", frame(TEXT, length=1 << 62), 1009),
    ("too large in fragments", frame(TEXT, b"x" * 40_000, final=False) + frame(CONTINUATION, b"x" * 40_000), 1009),
]

# For plain connections: what goes wrong is a close code.
PLAIN = [
    ("broken JSON", "{", 4500),
    ("a word", "hi", 4500),
    ("an empty frame", "", 4500),
    ("null", "null", 4500),
    ("a number", "5", 4500),
    ("a string", '"hi"', 4500),
    ("an empty array", "[]", 4500),
    ("an array of an object", '[{"content":"hi"}]', 4500),
    ("an object without content", "{}", 4500),
    ("content is null", '{"content":null}', 4500),
    ("content is a number", '{"content":5}', 4500),
    ("content is an array", '{"content":["hi"]}', 4500),
    ("content is an object", '{"content":{}}', 4500),
    ("content is empty", '{"content":""}', 4500),
    ("nested", '{"content":' + "[" * 5000 + "]" * 5000 + "}", 4500),
    ("half a surrogate pair", '{"content":"\\udc00"}', 4500),
]

# ---- HTTP: (name, request, status, error). A status without error is HTTP's own, with any body.


def http_cases(port):
    def get(name, path, status, error, method="GET", body=b"", **headers):
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close"]
        lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return (name, "\r\n".join([*lines, "", ""]).encode() + body, status, error)

    def post(name, body, status, error, kind="application/json", room="lobby"):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = f"/api/rooms/{room}/messages?user=eve"
        return get(f"POST: {name}", path, status, error, "POST", body, **({"Content_Type": kind} if kind else {}))

    def ws(name, status, error, path="/ws/lobby?user=eve", **change):
        return (f"handshake: {name}", handshake(path, port, **change), status, error)

    messages = "/api/rooms/talk/messages"
    long = "x" * 129
    return [
        get("no upgrade", "/ws/lobby", 400, "bad_request"),
        get("no upgrade and no room", "/ws", 400, "bad_request"),
        get("POST to the WebSocket", "/ws/lobby", 405, "bad_request", "POST"),
        get("members of an unknown room", "/api/rooms/none/members", 404, "unknown_room"),
        ("no host", b"GET /healthz HTTP/1.1\r\n\r\n", 400, "bad_request"),
        ("two hosts", b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400, "bad_request"),
        ("a foreign name", f"GET /healthz HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n".encode(), 403, "forbidden"),
        get("DELETE of a room", "/api/rooms", 405, "bad_request", "DELETE"),
        get("PATCH of messages", messages, 405, "bad_request", "PATCH"),
        get("an unknown method", "/healthz", 405, "bad_request", "BREW"),
        get("an unknown path", "/nothing", 404, "not_found"),
        get("a path above the root", "/../../etc/passwd", 404, "not_found"),
        get("an unknown room", "/api/rooms/none/messages", 404, "unknown_room"),
        get("limit 0", f"{messages}?limit=0", 400, "bad_request"),
        get("limit 201", f"{messages}?limit=201", 400, "bad_request"),
        get("limit -1", f"{messages}?limit=-1", 400, "bad_request"),
        get("limit 1e9", f"{messages}?limit=1e9", 400, "bad_request"),
        get("limit 2^64", f"{messages}?limit={2**64}", 400, "bad_request"),
        get("before is a word", f"{messages}?before=x", 400, "bad_request"),
        get("both ends", f"{messages}?before=3&after=1", 400, "bad_request"),
        get("a search for nothing", "/api/rooms/talk/search?q=", 400, "bad_request"),
        get("a search for signs", "/api/rooms/talk/search?q=%22%2A%28", 400, "bad_request"),
        get("a search without q", "/api/rooms/talk/search", 400, "bad_request"),
        get("a long search", f"/api/rooms/talk/search?q={'x' * 1025}", 400, "bad_request"),
        get("a search in an unknown room", "/api/rooms/none/search?q=x", 404, "unknown_room"),
        get("rooms: limit 0", "/api/rooms?limit=0", 400, "bad_request"),
        get("rooms: limit 1001", "/api/rooms?limit=1001", 400, "bad_request"),
        get("a room id with a space", "/api/rooms/a%20b/messages", 400, "bad_request"),
        get("a room id with a slash", "/api/rooms/a%2Fb/messages", 400, "bad_request"),
        get("a room id that is too long", f"/api/rooms/{long}/messages", 400, "bad_request"),
        get("a user name that is too long", f"{messages}?user={long}", 400, "bad_request"),
        get("a user name with a control character", f"{messages}?user=%01", 400, "bad_request"),
        post("no content type", {"content": "x"}, 415, "bad_request", kind=None),
        post("text/plain", {"content": "x"}, 415, "bad_request", kind="text/plain"),
        post("a form", b"content=x", 415, "bad_request", kind="application/x-www-form-urlencoded"),
        post("no JSON", b"{", 400, "bad_request"),
        post("not UTF-8", b'{"content":"\xff"}', 400, "bad_request"),
        post("a string", "x", 400, "bad_request"),
        post("an empty array", [], 400, "bad_request"),
        post("no content", {}, 400, "bad_request"),
        post("an unknown field", {"content": "x", "contents": "y"}, 400, "bad_request"),
        post("a room in the body", {"content": "x", "room_id": "lobby"}, 400, "bad_request"),
        post("data is a list", {"content": "x", "data": [1]}, 400, "bad_request"),
        post("reply_to is no id", {"content": "x", "reply_to": "zz"}, 400, "bad_request"),
        post("reply_to names nothing", {"content": "x", "reply_to": NO_MESSAGE}, 404, "not_found"),
        post("content is null", {"content": None}, 400, "bad_request"),
        post("content is a number", {"content": 5}, 400, "bad_request"),
        post("content is empty", {"content": ""}, 400, "bad_request"),
        post("an empty nonce", {"content": "x", "nonce": ""}, 400, "bad_request"),
        post("a nonce that is too long", {"content": "x", "nonce": "n" * 65}, 400, "bad_request"),
        post("a nonce that is a number", {"content": "x", "nonce": 5}, 400, "bad_request"),
        post("content one byte too long", {"content": "x" * (LIMIT + 1)}, 413, "too_large"),
        post("a body of a MiB", {"content": "x" * (1 << 20)}, 413, "too_large"),
        post("nested", b'{"content":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "bad_request"),
        post("a bad room id", {"content": "x"}, 400, "bad_request", room="a%20b"),
        ws("no key", 400, "bad_request", leave_out=["Sec-WebSocket-Key"]),
        ws("a short key", 400, "bad_request", Sec_WebSocket_Key="c2hvcnQ="),
        ws("a key that isn't base64", 400, "bad_request", Sec_WebSocket_Key="!" * 22 + "=="),
        ws("no version", 426, "bad_request", leave_out=["Sec-WebSocket-Version"]),
        ws("version 8", 426, "bad_request", Sec_WebSocket_Version="8"),
        ws("no Upgrade", 400, "bad_request", leave_out=["Upgrade"]),
        ws("no Connection", 400, "bad_request", leave_out=["Connection"]),
        ws("upgrade to h2c", 400, "bad_request", Upgrade="h2c"),
        ws("no host", 400, "bad_request", leave_out=["Host"]),
        ws("an empty origin", 403, "bad_origin", Origin=""),
        ws("another origin", 403, "bad_origin", Origin="https://evil.example"),
        ws("another port", 403, "bad_origin", Origin=f"http://127.0.0.1:{port + 1}"),
        ws("origin null", 403, "bad_origin", Origin="null"),
        ws("plain without a room", 400, "bad_request", "/ws?user=eve", protocol=None),
        ws("an unknown protocol without a room", 400, "bad_request", "/ws?user=eve", protocol="chat.v9.json"),
        *(
            ws(f"the query {query[:20]}", 400, "bad_request", f"/ws/lobby?user=eve&{query}")
            for query in (
                "last=201",
                "last=-1",
                "last=+1",
                "last=x",
                "last=",
                f"last={2**64}",
                "since=",
                "since=e1",
                "since=e1:-1",
                "since=e1:x",
                "since=e1:9007199254740992",
                f"since={'e' * 33}:1",
                "since=e1:1&last=1",
                "last=1&last=2",
            )
        ),
        *(
            ws(f"the room id {room[:20]}", 400, "bad_request", f"/ws/{room}?user=eve")
            for room in ("a%20b", "a%2Fb", "a%00", "%C3%A9", "a%23b", "%2E%2E", "a+b", long)
        ),
        ws("more path", 404, "not_found", "/ws/lobby/more?user=eve"),
        ws("a user name that is too long", 400, "bad_request", f"/ws/lobby?user={long}"),
        ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, None),
        ("no HTTP version", b"GET /healthz\r\n\r\n", 400, None),
        ("a bad header name", b"GET /healthz HTTP/1.1\r\nHost: x\r\nbad name: x\r\n\r\n", 400, None),
        ("two lengths", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, None),
        ("a huge header", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n", 431, None),
        ("thousands of headers", b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 5000 + b"\r\n", 431, None),
    ]


class Mismatch(Exception):
    pass


def expect(got, wanted):
    if got != wanted:
        raise Mismatch(f"got {got!r}, not {wanted!r}")


class BadInput(TestCase):
    def setUp(self):
        self.server = self.new_server("--rate", "off")
        self.addCleanup(self.server.close)
        self.server.start()

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.server.port, limit=1 << 20)

    # ---- How each kind of case is run.

    async def run_v1(self, number, value, code, id):
        room, user = f"v1-{number}", f"user{number}"
        _, ack = await self.server.http("POST", f"/api/rooms/{room}/messages?user=other", {"content": "theirs"})
        async with self.server.v1(room, user) as socket:
            await receive(socket)
            await send(socket, t="send", id="own", nonce="used", content="mine")
            own = (await receive_until(socket, lambda frame: frame.get("t") == "ack"))[-1]
            if isinstance(value, dict):
                value = json.dumps(value)
            await socket.send(value.replace("$own", own["msg"]).replace("$other", ack["msg"]))
            frames = []
            if code is not None:
                frames = await receive_until(socket, lambda frame: frame.get("t") == "err", 5)
            # The connection lives, and nothing else is said.
            await send(socket, t="send", id="last", content="still here")
            await send(socket, t="history", id="after")
            frames += await receive_until(socket, lambda frame: frame.get("t") == "history", 5)
            said = [f for f in frames if f.get("t") not in (None, "ack", "history")]
            if code is None:
                expect(said, [])
            else:
                expect([(f["t"], f["code"], f.get("id")) for f in said], [("err", code, id)])
                expect(isinstance(said[0]["message"], str), True)
            async with asyncio.timeout(5):
                while [m["content"] for m in frames[-1]["messages"]] != ["theirs", "mine", "still here"]:
                    # The send may be stored a moment after the history was read; nothing else may.
                    expect([m["content"] for m in frames[-1]["messages"]], ["theirs", "mine"])
                    await send(socket, t="history", id="after")
                    frames += await receive_until(socket, lambda frame: frame.get("t") == "history", 5)

    async def run_wire(self, number, data, code, protocol):
        reader, writer = await self.connect()
        try:
            async with asyncio.timeout(15):
                writer.write(handshake(f"/ws/wire?user=wire{number}", self.server.port, protocol))
                expect((await read_response(reader))[0], 101)
                writer.write(data)
                texts = []
                while True:
                    opcode, payload = await read_frame(reader)
                    if opcode == CLOSE:
                        break
                    texts.append(json.loads(payload))
                expect(struct.unpack(">H", payload[:2])[0], code)
                reason = REASONS.get(code)
                if reason:
                    expect(payload[2:].decode(), reason)
                if reason and protocol:
                    bye = {"t": "bye", "code": code, "reason": reason, "reconnect": False}
                    expect(texts[-1], bye)
                if not protocol:
                    expect(texts, [])
                # And then the end.
                writer.write(frame(CLOSE, payload[:2]))
                expect(await reader.read(), b"")
        finally:
            writer.close()

    async def run_http(self, request, status, error):
        reader, writer = await self.connect()
        try:
            async with asyncio.timeout(15):
                writer.write(request)
                got, fields, body = await read_response(reader)
                expect(got, status)
                if error:
                    expect(fields.get("content-type"), "application/json")
                    answer = json.loads(body)
                    expect((set(answer), answer["error"]), ({"error", "message"}, error))
        finally:
            writer.close()

    async def run_cut_off(self, pieces):
        """A head that never ends: the server hangs up after about ten seconds."""
        reader, writer = await self.connect()
        start = time.monotonic()

        async def trickle():
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.25)

        task = asyncio.create_task(trickle())
        try:
            async with asyncio.timeout(HANDSHAKE + 5):
                try:
                    while await reader.read(4096):
                        pass
                except ConnectionError:
                    pass
            took = time.monotonic() - start
            expect(HANDSHAKE - 2 <= took <= HANDSHAKE + 4, True)
        finally:
            task.cancel()
            writer.close()

    async def run_abandoned(self, data):
        """A client that is gone in the middle of something. There is nobody to answer."""
        reader, writer = await self.connect()
        writer.write(handshake("/ws/wire?user=abandoned", self.server.port))
        expect((await read_response(reader))[0], 101)
        writer.write(data)
        await writer.drain()
        writer.transport.abort()

    async def run_ten_in_a_row(self):
        async with self.server.v1("ten", "ten") as socket:
            await receive(socket)
            for _ in range(9):
                await socket.send("nonsense")
            await send(socket, t="ping", id=1)
            frames = await receive_until(socket, lambda frame: frame["t"] == "pong")
            expect([f.get("code") for f in frames], ["bad_request"] * 9 + [None])
            for _ in range(10):
                await socket.send("nonsense")
            frames = await receive_until(socket, lambda frame: frame["t"] == "bye")
            expect([f["code"] for f in frames], ["bad_request"] * 10 + [4500])
            await asyncio.wait_for(socket.wait_closed(), 5)
            expect((socket.close_code, socket.close_reason), (4500, "bad_request"))

    async def run_rooms(self):
        async with self.server.v1(None, "roomy") as socket:
            await receive(socket)
            await send(socket, t="send", id=1, content="x")
            expect((await receive(socket))["code"], "not_joined")
            for n in range(128):
                await send(socket, t="join", id=n, room_id=f"many-{n}")
                expect((await receive(socket))["t"], "joined")
            await send(socket, t="join", id="more", room_id="many-128")
            answer = await receive(socket)
            expect((answer["t"], answer["code"], answer["id"]), ("err", "too_many_rooms", "more"))
            await send(socket, t="send", id="which", content="x")
            expect((await receive(socket))["code"], "bad_request")
            await send(socket, t="leave", id=1, room_id="many-0")
            expect((await receive(socket))["t"], "left")
            await send(socket, t="join", id="more", room_id="many-128")
            expect((await receive(socket))["t"], "joined")

    async def run_user_limit(self):
        sockets = [await self.server.plain("crowd", "crowd") for _ in range(64)]
        try:
            await self.run_http(handshake("/ws/crowd?user=crowd", self.server.port), 429, "rate_limited")
        finally:
            await asyncio.gather(*(socket.close() for socket in sockets))

    async def run_gap(self, room, cursor):
        """A cursor of another log: a gap frame, and nothing is replayed. In a room of its own, since these run at once."""
        await self.server.http("POST", f"/api/rooms/{room}/messages?user=other", {"content": "x"})
        async with self.server.v1(room, "gap", f"&since={cursor}") as socket:
            hello = await receive(socket)
            expect(hello["rooms"][0]["resume"], "gap")
            expect(await receive(socket), {"t": "gap", "room_id": room, "reason": "epoch"})
            await send(socket, t="ping", id=1)
            expect((await receive(socket))["t"], "pong")

    def cases(self):
        for n, (name, value, code, id) in enumerate(v1_cases()):
            yield f"v1: {name}", self.run_v1(n, value, code, id)
        for n, (name, value) in enumerate(IGNORED):
            yield f"v1: {name}", self.run_v1(f"ignored-{n}", value, None, None)
        for n, (name, data, code) in enumerate(WIRE):
            yield f"wire: {name}", self.run_wire(n, data, code, V1)
            yield f"wire, plain: {name}", self.run_wire(f"plain{n}", data, code, None)
        for n, (name, value, code) in enumerate(PLAIN):
            yield f"plain: {name}", self.run_wire(f"p{n}", text(value), code, None)
        for name, request, status, error in http_cases(self.server.port):
            yield f"http: {name}", self.run_http(request, status, error)
        request = handshake("/ws/lobby?user=slow", self.server.port)
        for name, pieces in [
            ("nothing at all", []),
            ("half a handshake", [request[: len(request) // 2]]),
            ("all but the last byte", [request[:-1]]),
            ("a handshake byte by byte", [request[n : n + 1] for n in range(len(request))]),
        ]:
            yield f"cut off: {name}", self.run_cut_off(pieces)
        for name, data in [
            ("half a header", b"\x81"),
            ("half a frame", text('{"t":"send","content":"x"}')[:12]),
            ("half a message", frame(TEXT, b'{"t":', final=False)),
            ("after a frame", text('{"t":"send","content":"x"}')),
        ]:
            yield f"abandoned: {name}", self.run_abandoned(data)
        yield "ten bad frames in a row", self.run_ten_in_a_row()
        yield "too many rooms, and none", self.run_rooms()
        yield "too many connections of one user", self.run_user_limit()
        for n, cursor in enumerate(("other:1", "other:9007199254740991")):
            yield f"a cursor of another log: {cursor}", self.run_gap(f"gap{n}", cursor)

    # ---- The two who must not notice.

    async def chat(self, name, stop):
        """Speaks every 50 ms; returns what it sent and what it saw."""
        sent, seen, longest = [], [], 0.0
        async with self.server.v1("talk", name) as socket:
            await receive(socket)
            self.joined.release()
            await self.both.wait()
            while True:
                content = f"{name} {len(sent)} {random.random()}"
                start = time.monotonic()
                await send(socket, t="send", id=len(sent), content=content)
                frames = await receive_until(socket, lambda f: f.get("t") == "ack" and f["id"] == len(sent), 15)
                longest = max(longest, time.monotonic() - start)
                sent.append((frames[-1]["seq"], content))
                seen += frames
                if stop.is_set():
                    break
                await asyncio.sleep(0.05)
            self.finished.release()
            await self.judged.wait()
            total = self.total
            messages = [f for f in seen if "t" not in f]
            while len(messages) < total:
                seen.append(await receive(socket))
                messages = [f for f in seen if "t" not in f]
            self.odd += [f for f in seen if f.get("t") not in (None, "ack")]
            self.counted.release()
            await self.over.wait()
        return sent, messages, longest

    async def test_every_bad_input_gets_its_answer_and_nobody_else_notices(self):
        self.joined, self.finished, self.counted = (asyncio.Semaphore(0) for _ in range(3))
        self.both, self.judged, self.over, stop = (asyncio.Event() for _ in range(4))
        self.total, self.odd = 0, []
        talks = [asyncio.create_task(self.chat(name, stop)) for name in ("ann", "ben")]

        async def both(semaphore):
            for _ in talks:
                waiting = asyncio.create_task(semaphore.acquire())
                await asyncio.wait([waiting, *talks], return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done():
                    waiting.cancel()
                    await asyncio.gather(*(talk for talk in talks if talk.done()))
                    self.fail("an ordinary client left")

        self.addCleanup(lambda: [talk.cancel() for talk in talks])
        await both(self.joined)
        self.both.set()

        at_once = asyncio.Semaphore(24)
        failures, count = [], 0

        async def attempt(name, case):
            # Those that wait for the server to hang up wait together.
            patient = name.startswith("cut off")
            try:
                if patient:
                    await case
                else:
                    async with at_once:
                        await case
            except Exception as error:
                failures.append(f"{name}: {type(error).__name__}: {error}")

        async with asyncio.TaskGroup() as group:
            for name, case in self.cases():
                count += 1
                group.create_task(attempt(name, case))

        stop.set()
        await both(self.finished)
        _, page = await self.server.http("GET", "/api/rooms/talk/messages?limit=1")
        self.total = page["messages"][-1]["seq"]
        self.judged.set()
        await both(self.counted)
        status, health = await self.server.http("GET", "/healthz")
        self.assertEqual((status, health), (200, {"status": "ok"}))
        connections = None
        for _ in range(100):
            connections = await self.server.metric("roomcast_connections")
            if connections == 2:
                break
            await asyncio.sleep(0.05)
        self.over.set()
        talked = await asyncio.gather(*talks)

        self.assertEqual(failures, [], "\n" + "\n".join(failures))
        self.assertGreaterEqual(count, 100)
        self.assertEqual(connections, 2)
        self.assertEqual(self.odd, [])
        everything = sorted(sent for talk in talked for sent in talk[0])
        self.assertEqual([seq for seq, _ in everything], list(range(1, self.total + 1)))
        for _, messages, longest in talked:
            self.assertEqual([(m["seq"], m["content"]) for m in messages], everything)
            self.assertLess(longest, 10)
        self.assertEqual(await asyncio.to_thread(self.server.terminate), 0)
        print(f"{count} bad inputs; {self.total} messages of others meanwhile")


class BadInputOnMongo(OnMongo, BadInput):
    pass


class TooFast(TestCase):
    async def test_frames_that_ask_for_nothing_are_counted_too(self):
        floods = [
            ("pings", b"", frame(PING)),
            ("pongs", b"", frame(PONG)),
            ("a message that never ends", frame(TEXT, final=False), frame(CONTINUATION, final=False)),
        ]
        # Their own rate is there even where messages are counted by nobody.
        with self.new_server("--rate", "off") as server:
            for name, first, one in floods:
                for protocol in (V1, None):
                    with self.subTest(flood=name, protocol=protocol):
                        self.assertEqual(await self.flood(server, protocol, first, one * 5000), 4002)
                # A few are what keeps a connection alive.
                with self.subTest(few=name):
                    code = await self.flood(server, None, first, one * 500 + frame(CONTINUATION, b"x") + text("no JSON"))
                    self.assertEqual(code, 4500 if first else 1002)

    @staticmethod
    async def flood(server, protocol, first, rest):
        """The code that the server closes with."""
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            async with asyncio.timeout(15):
                writer.write(handshake("/ws/r?user=flood", server.port, protocol))
                expect((await read_response(reader))[0], 101)
                writer.write(first + rest)
                while True:
                    opcode, payload = await read_frame(reader)
                    if opcode == CLOSE:
                        return struct.unpack(">H", payload[:2])[0]
        finally:
            writer.close()

    async def test_rates_are_told_and_then_enforced(self):
        with self.new_server("--rate", "5:10") as server:
            async with server.v1("r", "v1") as socket:
                await receive(socket)
                for n in range(20):
                    await send(socket, t="ping", id=n)
                frames = [await receive(socket) for _ in range(20)]
                self.assertEqual([f["t"] for f in frames[:10]], ["pong"] * 10)
                refused = frames[-1]
                self.assertEqual((refused["t"], refused["id"], refused["code"]), ("err", 19, "rate_limited"))
                self.assertGreater(refused["retry_ms"], 0)
                for _ in range(200):
                    await send(socket, t="ping")
                bye = (await receive_until(socket, lambda frame: frame["t"] == "bye"))[-1]
                self.assertEqual((bye["code"], bye["reason"], bye["reconnect"]), (4002, "rate_limited", True))
                self.assertGreater(bye["after_ms"], 0)
                await asyncio.wait_for(socket.wait_closed(), 5)
                self.assertEqual(socket.close_code, 4002)
            async with server.plain("r", "plain") as socket:
                for n in range(20):
                    await socket.send('{"content":"x"}')
                await asyncio.wait_for(self.drain(socket), 5)
                self.assertEqual((socket.close_code, socket.close_reason), (4002, "rate_limited"))

    @staticmethod
    async def drain(socket):
        try:
            async for _ in socket:
                pass
        except Exception:
            pass
        await socket.wait_closed()


if __name__ == "__main__":
    unittest.main()
