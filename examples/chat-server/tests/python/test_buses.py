"""Servers that share a store hear of each other by a bus; one that is away or can't be used is told."""

import asyncio
import socket
import time
import unittest
from contextlib import ExitStack

from daemons import NatsServer, ReplicaSet
from server import Server, TestCase, receive
from stores import MongoDatabase

ROOM = "/api/rooms/r"
SOON = 2  # seconds that news may take; without a bus they take half a minute


class OnNats(TestCase):
    """The store is a MongoDB server that stands alone: it has no change streams."""

    def setUp(self):
        self.open = ExitStack()
        self.addCleanup(self.open.close)
        nats = NatsServer()
        self.open.callback(nats.close)
        self.start(MongoDatabase(), nats.uri)

    def start(self, store, bus):
        self.open.callback(store.close)
        self.servers = [Server("--bus", bus, store=Shared(store)) for _ in range(2)]
        for server in self.servers:
            self.open.enter_context(server)

    async def on_the_bus(self):
        """Waits until all are: what is asked before is only heard when it is asked again."""
        for server in self.servers:
            async with asyncio.timeout(10):
                while (await server.http("GET", "/readyz"))[1]["bus"] != "ok":
                    await asyncio.sleep(0.05)

    async def test_what_one_server_stores_is_seen_on_the_other(self):
        one, other = self.servers
        async with one.v1("r", "ann") as ann, other.v1("r", "ben") as ben:
            await receive(ann)
            await receive(ben)
            await self.on_the_bus()
            for n in range(10):
                content, server = f"message {n}", self.servers[n % 2]
                status, ack = await server.http("POST", f"{ROOM}/messages?user=cem", {"content": content})
                stored = time.monotonic()
                self.assertEqual((status, ack["seq"]), (201, n + 1))
                for member in (ann, ben):
                    seen = await receive(member)
                    self.assertEqual((seen["seq"], seen["content"]), (n + 1, content))
                self.assertLess(time.monotonic() - stored, SOON)

    async def test_who_is_on_the_other_server_is_a_member_here(self):
        one, other = self.servers
        async with one.v1("r", "ann") as ann, other.v1("r", "ben") as ben:
            await receive(ann)
            await receive(ben)
            await self.on_the_bus()
            users = [{"id": name, "name": name} for name in ("ann", "ben")]
            for server in self.servers:
                async with asyncio.timeout(10):
                    while (found := (await server.http("GET", f"{ROOM}/members"))[1])["users"] != users:
                        await asyncio.sleep(0.1)
                self.assertEqual(found, {"online": 2, "users": users, "more": False})


class OnChangeStreams(OnNats):
    def setUp(self):
        self.open = ExitStack()
        self.addCleanup(self.open.close)
        self.start(MongoDatabase(ReplicaSet.shared()), "mongodb")


class Shared:
    """A store of several servers: none of them removes it."""

    def __init__(self, store):
        self.argument = store.argument

    def close(self):
        pass


class Buses(TestCase):
    async def test_a_bus_that_is_away_is_told_and_keeps_nobody_out(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with Server("--bus", f"nats://ann:secret@127.0.0.1:{port}") as server:
            status, body = await server.http("GET", "/readyz")
            self.assertEqual((status, body["ready"], body["store"]), (200, True, "ok"))
            self.assertIn("no connection to NATS", body["bus"])
            self.assertNotIn("secret", body["bus"])
            self.assertEqual((await server.http("GET", "/healthz"))[0], 200)
            async with server.v1("r", "ann") as ann:
                await receive(ann)
                await server.http("POST", "/api/rooms/r/messages?user=bob", {"content": "hi"})
                self.assertEqual((await receive(ann))["content"], "hi")
            server.terminate()

    async def test_without_a_bus_nothing_is_said_of_one(self):
        with Server() as server:
            status, body = await server.http("GET", "/readyz")
            self.assertEqual((status, body), (200, {"ready": True, "draining": False, "store": "ok", "bus": None}))
            self.assertEqual(await server.http("GET", "/livez"), (200, {"status": "ok"}))

    async def test_change_streams_need_a_replica_set(self):
        server = Server("--bus", "mongodb", store=MongoDatabase())
        self.addCleanup(server.close)
        code, out, said = await asyncio.to_thread(server.fail)
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(said, r"^chat-server: change streams need a replica set, .* stands alone: .*--replSet [^\n]*\n$")

    def test_a_bus_that_can_not_be_used_is_refused(self):
        for bus, code, word in (
            ("redis://127.0.0.1", 2, "nats://HOST:PORT"),
            ("nats://127.0.0.1:port", 1, "invalid port"),
            ("mongodb", 1, "needs a store mongodb://"),
        ):
            server = self.new_server("--bus", bus)
            self.addCleanup(server.close)
            found, _, said = server.fail()
            self.assertEqual(found, code, said)
            self.assertIn(word, said)


if __name__ == "__main__":
    unittest.main()
