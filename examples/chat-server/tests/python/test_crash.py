"""Servers are killed under load and started again on the same data: what was acknowledged is there, once."""

import asyncio
import json
import unittest

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from server import TestCase, receive
from stores import OnMongo

ROOM = "load"
CLIENTS = 8
KILLS = 3
LOAD = 1.5  # seconds before each kill
WINDOW = 32  # sends of one client without an answer
AWAY = (OSError, EOFError, ConnectionClosed, InvalidHandshake, InvalidMessage, TimeoutError)


class Member:
    """A client that sends as fast as it is answered, sees the log, and comes back with its cursor."""

    def __init__(self, server, number):
        self.server = server
        self.name = f"user{number}"
        self.epoch = None
        self.log = []  # (seq, id, user, content)
        self.next = 0
        self.pending = {}  # nonce: not answered yet
        self.acks = {}  # nonce: (seq, id)
        self.repeats = {}  # nonce: answered, and sent once more
        self.confirmed = 0
        self.faults = []
        self.sending = True
        self.ready = asyncio.Event()

    def fault(self, text):
        self.faults.append(f"{self.name}: {text}")

    def head(self):
        return self.log[-1][0] if self.log else 0

    async def run(self):
        while True:
            try:
                query = f"&since={self.epoch}:{self.head()}" if self.epoch else ""
                async with asyncio.timeout(5):
                    socket = await self.server.v1(ROOM, self.name, query)
                async with socket:
                    await self.talk(socket)
            except AWAY:
                await asyncio.sleep(0.05)

    async def talk(self, socket):
        room = (await receive(socket))["rooms"][0]
        if self.epoch is None:
            if room["head"] != 0:
                self.fault("the first connection came too late")
            self.epoch = room["epoch"]
        elif (room["epoch"], room["resume"]) != (self.epoch, "ok"):
            self.fault(f"resumed as {room}")
        self.ready.set()
        # Not answered: sent again. Some that were answered too: there must be no second message of them.
        self.repeats.update(list(self.acks.items())[-3:])
        again = list(self.pending) + list(self.repeats)
        writer = asyncio.create_task(self.write(socket, again))
        try:
            async for text in socket:
                self.take(json.loads(text))
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def write(self, socket, again):
        for nonce in again:
            await self.say(socket, nonce)
        while True:
            if self.sending and len(self.pending) < WINDOW:
                nonce = f"{self.name}-{self.next}"
                self.next += 1
                self.pending[nonce] = True
                await self.say(socket, nonce)
            else:
                await asyncio.sleep(0.002)

    @staticmethod
    async def say(socket, nonce):
        await socket.send(json.dumps({"t": "send", "id": nonce, "nonce": nonce, "content": f"says {nonce}"}))

    def take(self, frame):
        kind = frame.get("t")
        if kind is None:
            if frame["seq"] != self.head() + 1:
                self.fault(f"{frame['seq']} came after {self.head()}")
            self.log.append((frame["seq"], frame["id"], frame["user"]["id"], frame["content"]))
        elif kind == "ack":
            nonce, receipt = frame["id"], (frame["seq"], frame["msg"])
            if self.repeats.pop(nonce, None) is not None:
                self.confirmed += 1
                if not frame["dup"]:
                    self.fault(f"{nonce} was taken for a new message")
            if self.acks.setdefault(nonce, receipt) != receipt:
                self.fault(f"{nonce} was {self.acks[nonce]} and is {receipt}")
            self.pending.pop(nonce, None)
        elif kind == "err" and frame["code"] == "unavailable":
            # Not stored, or not known: again, with the same nonce.
            raise TimeoutError
        elif kind != "bye":
            self.fault(f"got {frame}")


class Crash(TestCase):
    async def until(self, what, condition, seconds=15):
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            self.fail(f"{what} took more than {seconds} s")

    async def test_kill_under_load(self):
        members = await self.under_load(self.kill_chat_server)
        for member in members:
            self.assertGreaterEqual(member.confirmed, KILLS, "acknowledged sends were repeated")

    async def kill_chat_server(self, server):
        self.assertEqual(await asyncio.to_thread(server.kill), -9)
        await asyncio.sleep(0.2)
        await asyncio.to_thread(server.start)

    async def under_load(self, kill):
        with self.new_server("--rate", "off") as server:
            members = [Member(server, number) for number in range(CLIENTS)]
            for member in members:
                member.sending = False
            tasks = [asyncio.create_task(member.run()) for member in members]
            try:
                await self.until("joining", lambda: all(member.ready.is_set() for member in members))
                for member in members:
                    member.sending = True
                for _ in range(KILLS):
                    before = [(len(member.acks), member.head()) for member in members]
                    await asyncio.sleep(LOAD)
                    moved = [
                        len(member.acks) > acks and member.head() > head
                        for member, (acks, head) in zip(members, before)
                    ]
                    self.assertTrue(all(moved), "everybody was at work before the kill")
                    # In the midst of it: something is under way.
                    await self.until("a send", lambda: any(member.pending for member in members))
                    await kill(server)
                await asyncio.sleep(LOAD)
                for member in members:
                    member.sending = False
                await self.until("answering", lambda: not any(member.pending or member.repeats for member in members))
                log = await self.whole_log(server)
                await self.until("catching up", lambda: all(member.head() >= len(log) for member in members))
            finally:
                for task in tasks:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
            self.assertEqual([str(e) for e in results if not isinstance(e, asyncio.CancelledError)], [])

        self.assertEqual([fault for member in members for fault in member.faults], [])
        self.assertEqual([entry[0] for entry in log], list(range(1, len(log) + 1)), "seqs are contiguous")
        self.assertEqual(len({entry[1] for entry in log}), len(log), "ids are unique")
        self.assertEqual(len({entry[3] for entry in log}), len(log), "a nonce makes one message")
        for member in members:
            self.assertEqual(len(member.acks), member.next, "everything was acknowledged at last")
            for nonce, (seq, message) in member.acks.items():
                self.assertEqual(log[seq - 1], (seq, message, member.name, f"says {nonce}"))
            self.assertTrue(member.log == log, f"{member.name} saw another log")
        self.assertEqual(len(log), sum(member.next for member in members))
        print(f"{len(log)} messages over {KILLS} kills")
        return members

    @staticmethod
    async def whole_log(server):
        log, more = [], True
        while more:
            after = log[-1][0] if log else 0
            _, page = await server.http("GET", f"/api/rooms/{ROOM}/messages?after={after}&limit=200")
            log += [(m["seq"], m["id"], m["user"]["id"], m["content"]) for m in page["messages"]]
            more = page["more"]
        return log


class CrashOnMongo(OnMongo, Crash):
    async def test_kill_the_database_under_load(self):
        await self.under_load(self.kill_mongod)

    async def kill_mongod(self, server):
        mongod = server.store.server
        await asyncio.to_thread(mongod.kill)
        # It says so, and goes on as soon as the database is back.
        status, answer = await server.http("GET", "/healthz")
        self.assertEqual((status, answer["error"]), (503, "unavailable"))
        await asyncio.to_thread(mongod.restart)

        async def healthy():
            return (await server.http("GET", "/healthz"))[0] == 200

        async with asyncio.timeout(20):
            while not await healthy():
                await asyncio.sleep(0.1)


if __name__ == "__main__":
    unittest.main()
