"""What ordinary clients do: plain and chat.v1.json connections, the HTTP API, and a restart in between."""

import asyncio
import json
import unittest

from websockets.exceptions import ConnectionClosed

from server import TestCase, receive, receive_until, send
from stores import OnMongo


class PlainClients(TestCase):
    def setUp(self):
        self.server = self.new_server()
        self.addCleanup(self.server.close)
        self.server.start()

    async def test_a_client_takes_three_lines(self):
        async with self.server.plain("lobby", "ann") as socket:
            await socket.send('{"content":"hi"}')
            message = json.loads(await asyncio.wait_for(socket.recv(), 5))
        self.assertEqual(set(message), {"id", "room_id", "seq", "user", "content", "created_at"})
        self.assertEqual((message["room_id"], message["seq"], message["content"]), ("lobby", 1, "hi"))
        self.assertEqual(message["user"], {"id": "ann", "name": "ann"})
        self.assertRegex(message["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    async def test_two_clients_see_the_same_messages_in_the_same_order(self):
        async with self.server.plain("lobby", "ann") as ann, self.server.plain("lobby", "ben") as ben:
            for n in range(10):
                await ann.send(json.dumps({"content": f"ann {n}"}))
                await ben.send(json.dumps({"content": f"ben {n}"}))
            seen = [[await receive(socket) for _ in range(20)] for socket in (ann, ben)]
        self.assertEqual(seen[0], seen[1])
        self.assertEqual([message["seq"] for message in seen[0]], list(range(1, 21)))
        for name in ("ann", "ben"):
            own = [message["content"] for message in seen[0] if message["user"]["id"] == name]
            self.assertEqual(own, [f"{name} {n}" for n in range(10)])

    async def test_last_gives_the_newest_and_then_the_live_ones(self):
        async with self.server.plain("lobby", "ann") as ann:
            for n in range(1, 6):
                await ann.send(json.dumps({"content": str(n)}))
                await receive(ann)
            async with self.server.plain("lobby", "ben", "&last=2") as ben:
                self.assertEqual([(await receive(ben))["seq"] for _ in range(2)], [4, 5])
                await ann.send('{"content":"6"}')
                self.assertEqual((await receive(ben))["content"], "6")

    async def test_edits_and_deletions_are_not_shown_again_in_plain(self):
        async with self.server.plain("lobby", "ann") as plain, self.server.v1("lobby", "ben") as v1:
            await receive(v1)
            await send(v1, t="send", id=1, content="first")
            ack = (await receive_until(v1, lambda frame: frame.get("t") == "ack"))[-1]
            await send(v1, t="edit", id=2, msg=ack["msg"], content="changed")
            await receive_until(v1, lambda frame: frame.get("t") == "ack" and frame["id"] == 2)
            await send(v1, t="delete", id=3, msg=ack["msg"])
            await receive_until(v1, lambda frame: frame.get("t") == "ack" and frame["id"] == 3)
            await send(v1, t="send", id=4, content="second")
            seen = [await receive(plain) for _ in range(2)]
        self.assertEqual([(message["seq"], message["content"]) for message in seen], [(1, "first"), (4, "second")])
        status, page = await self.server.http("GET", "/api/rooms/lobby/messages?limit=2")
        self.assertEqual(status, 200)
        tombstone = page["messages"][0]
        self.assertEqual(set(tombstone), {"id", "room_id", "seq", "user", "created_at", "deleted"})
        status, found = await self.server.http("GET", "/api/rooms/lobby/search?q=changed")
        self.assertEqual((status, found["messages"]), (200, []))


class HttpApi(TestCase):
    def setUp(self):
        self.server = self.new_server()
        self.addCleanup(self.server.close)
        self.server.start()

    async def ask(self, path):
        status, answer = await self.server.http("GET", path)
        self.assertEqual(status, 200, answer)
        return answer

    async def test_messages_come_in_pages(self):
        for n in range(1, 8):
            await self.server.http("POST", "/api/rooms/lobby/messages?user=ann", {"content": f"word{n}"})

        async def page(query):
            answer = await self.ask(f"/api/rooms/lobby/messages?{query}")
            return [message["seq"] for message in answer["messages"]], answer["more"]

        self.assertEqual(await page(""), ([1, 2, 3, 4, 5, 6, 7], False))
        self.assertEqual(await page("limit=3"), ([5, 6, 7], True))
        self.assertEqual(await page("before=4&limit=2"), ([2, 3], True))
        self.assertEqual(await page("before=3&limit=2"), ([1, 2], False))
        self.assertEqual(await page("after=2&limit=3"), ([3, 4, 5], True))
        self.assertEqual(await page("after=4&limit=3"), ([5, 6, 7], False))
        self.assertEqual(await page("after=7"), ([], False))
        self.assertEqual(await page("before=1"), ([], False))
        found = await self.ask("/api/rooms/lobby/search?q=word3")
        self.assertEqual([message["seq"] for message in found["messages"]], [3])

    async def test_a_post_is_acknowledged_broadcast_and_repeatable(self):
        async with self.server.plain("lobby", "ben") as ben:
            body = {"content": "hi", "nonce": "n-1"}
            status, ack = await self.server.http("POST", "/api/rooms/lobby/messages?user=ann", body)
            message = await receive(ben)
            self.assertEqual(status, 201)
            expected = {"t": "ack", "room_id": "lobby", "msg": message["id"], "seq": 1, "dup": False}
            self.assertEqual(ack, expected)
            status, again = await self.server.http("POST", "/api/rooms/lobby/messages?user=ann", body)
            self.assertEqual((status, again), (201, {**expected, "dup": True}))
            body["content"] = "something else"
            status, error = await self.server.http("POST", "/api/rooms/lobby/messages?user=ann", body)
            self.assertEqual((status, error["error"]), (409, "nonce_conflict"))
            # The same nonce of another user is another message, and the next one that is broadcast.
            await self.server.http("POST", "/api/rooms/lobby/messages?user=cem", body)
            self.assertEqual((await receive(ben))["seq"], 2)

    async def test_a_post_has_what_a_frame_has(self):
        path = "/api/rooms/lobby/messages?user=ann"
        async with self.server.v1("lobby", "ben") as ben:
            await receive(ben)
            _, first = await self.server.http("POST", path, {"content": "hi"})
            body = {"data": {"colour": "red"}, "reply_to": first["msg"], "content": None}
            status, _ = await self.server.http("POST", path, body, **{"Content-Type": "Application/JSON; charset=utf-8"})
            self.assertEqual(status, 201)
            answer = (await receive_until(ben, lambda frame: frame.get("seq") == 2))[-1]
            self.assertEqual((answer["data"], answer["reply_to"]), ({"colour": "red"}, first["msg"]))
            self.assertNotIn("content", answer)
        status, error = await self.server.http("POST", path, {"content": "x", "colour": "red"})
        self.assertEqual((status, error["error"]), (400, "bad_request"))
        self.assertIn("colour", error["message"])

    async def test_a_websocket_is_opened_with_get_alone(self):
        for method in ("HEAD", "POST", "PUT", "OPTIONS"):
            for path in ("/ws", "/ws/lobby"):
                status, fields, _ = await asyncio.to_thread(self.server._request, method, path, None, {})
                self.assertEqual((status, fields["Allow"]), (405, "GET"), f"{method} {path}")

    async def test_rooms_members_health_and_metrics(self):
        async with self.server.plain("b", "ann") as ann, self.server.plain("b", "ben"), self.server.plain("a", "ben"):
            await ann.send('{"content":"hi"}')
            await receive(ann)
            rooms = [{"id": "a", "head": 0, "online": 1}, {"id": "b", "head": 1, "online": 2}]
            self.assertEqual(await self.ask("/api/rooms"), {"rooms": rooms, "more": False})
            self.assertEqual(await self.ask("/api/rooms?limit=1"), {"rooms": rooms[:1], "more": True})
            self.assertEqual(await self.ask("/api/rooms?after=a&limit=1"), {"rooms": rooms[1:], "more": False})
            users = [{"id": "ann", "name": "ann"}, {"id": "ben", "name": "ben"}]
            self.assertEqual(await self.ask("/api/rooms/b/members"), {"online": 2, "users": users, "more": False})
            self.assertEqual(await self.server.metric("roomcast_connections"), 3)
            self.assertEqual(await self.server.metric("roomcast_entries_committed_total"), 1)
        self.assertEqual(await self.ask("/healthz"), {"status": "ok"})

    async def test_errors_have_a_json_body(self):
        cases = [
            ("GET", "/nothing", 404, "not_found"),
            ("GET", "/api/rooms/none/messages", 404, "unknown_room"),
            ("GET", "/api/rooms/none/search?q=a", 404, "unknown_room"),
            ("DELETE", "/api/rooms", 405, "bad_request"),
            ("PUT", "/api/rooms/a/messages", 405, "bad_request"),
            ("GET", "/api/rooms?limit=0", 400, "bad_request"),
            ("GET", "/api/rooms/a/messages?before=1&after=1", 400, "bad_request"),
        ]
        for method, path, status, error in cases:
            with self.subTest(method=method, path=path):
                got, body = await self.server.http(method, path)
                self.assertEqual((got, set(body), body["error"]), (status, {"error", "message"}, error))


class Restart(TestCase):
    async def test_nothing_is_lost_over_an_orderly_restart(self):
        with self.new_server() as server:
            ann, ben = await server.v1("lobby", "ann"), await server.v1("lobby", "ben")
            plain = await server.plain("lobby", "cem")
            epoch = (await receive(ann))["rooms"][0]["epoch"]
            await receive(ben)
            for n in range(1, 11):
                await send(ann, t="send", id=n, nonce=f"n-{n}", content=f"message {n}")
            # Ben has seen only four of them.
            seen = [await receive(ben) for _ in range(4)]
            await receive_until(ann, lambda frame: frame.get("t") == "ack" and frame["id"] == 10)

            server.send_signal(15)
            byes = [await receive_until(socket, lambda frame: frame.get("t") == "bye") for socket in (ann, ben)]
            for bye in (frames[-1] for frames in byes):
                delay = bye.pop("after_ms")
                self.assertGreaterEqual(delay, 0)
                self.assertEqual(bye, {"t": "bye", "code": 4000, "reason": "draining", "reconnect": True})
            for socket in (ann, ben, plain):
                with self.assertRaises(ConnectionClosed) as closed:
                    while True:
                        await asyncio.wait_for(socket.recv(), 10)
                self.assertEqual((closed.exception.rcvd.code, closed.exception.rcvd.reason), (4000, "draining"))
            self.assertEqual(await asyncio.to_thread(server.wait), 0)

            server.start()
            # Somebody speaks before Ben is back.
            status, _ = await server.http("POST", "/api/rooms/lobby/messages?user=dan", {"content": "message 11"})
            self.assertEqual(status, 201)
            async with server.v1("lobby", "ben", f"&since={epoch}:4") as ben:
                room = {"room_id": "lobby", "epoch": epoch, "head": 11, "resume": "ok"}
                self.assertEqual((await receive(ben))["rooms"], [room])
                seen += [await receive(ben) for _ in range(7)]
                self.assertEqual([message["seq"] for message in seen], list(range(1, 12)))
                self.assertEqual([message["content"] for message in seen], [f"message {n}" for n in range(1, 12)])
                # A send from before the restart, repeated after it.
                async with server.v1("lobby", "ann", f"&since={epoch}:11") as ann:
                    await receive(ann)
                    await send(ann, t="send", id="again", nonce="n-3", content="message 3")
                    ack = await receive(ann)
                    expected = {"t": "ack", "id": "again", "room_id": "lobby", "msg": seen[2]["id"], "seq": 3}
                    self.assertEqual(ack, {**expected, "dup": True})
                    await send(ann, t="send", id=12, content="message 12")
                    self.assertEqual((await receive(ben))["seq"], 12)
            async with server.plain("lobby", "cem", f"&since={epoch}:9") as plain:
                self.assertEqual([(await receive(plain))["seq"] for _ in range(3)], [10, 11, 12])
            self.assertEqual(await asyncio.to_thread(server.terminate), 0)


class PlainClientsOnMongo(OnMongo, PlainClients):
    pass


class HttpApiOnMongo(OnMongo, HttpApi):
    pass


class RestartOnMongo(OnMongo, Restart):
    pass


if __name__ == "__main__":
    unittest.main()
