"""Messages of an older system, in a collection of its own, are brought into rooms by the command."""

import datetime
import subprocess
import unittest

from bson import ObjectId

from server import TestCase, receive, receive_until, send
from stores import MongoDatabase, OnMongo

START = datetime.datetime(2024, 3, 1, 9, 0, 0, 123000, datetime.UTC)
ROOMS = ("lobby", "games", "office")
EACH = 700


def old(room, number):
    """The number-th message of a room; the older system had a user's name alone, or the user."""
    users = ["ann", {"id": "u-2", "name": "Ben"}]
    return {
        "_id": ObjectId(),
        "room_id": room,
        "content": f"{room} said {number} ☕",
        "created_at": START + datetime.timedelta(seconds=number),
        "user": users[number % 2],
    }


class Import(TestCase):
    def setUp(self):
        self.source = MongoDatabase()
        self.addCleanup(self.source.close)
        self.collection = self.source.open()["old_messages"]
        self.addCleanup(self.collection.database.client.close)
        # Not in their order.
        self.collection.insert_many(old(room, number) for number in reversed(range(EACH)) for room in ROOMS)
        self.server = self.new_server("--rate", "off")
        self.addCleanup(self.server.close)

    def run_import(self, code=0):
        command = [self.server.program, "--store", self.server.store.argument]
        command += ["import", "--from", self.source.argument, "--collection", "old_messages"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    async def history(self, room):
        messages, more = [], True
        while more:
            after = messages[-1]["seq"] if messages else 0
            _, page = await self.server.http("GET", f"/api/rooms/{room}/messages?after={after}&limit=200")
            messages += page["messages"]
            more = page["more"]
        return messages

    async def test_an_old_collection_becomes_rooms(self):
        before = list(self.collection.find().sort("_id"))
        told = self.run_import().stdout
        self.assertEqual(told, f"{3 * EACH} messages imported, 0 were there already, 0 documents not imported\n")
        # Once more: nothing comes twice.
        told = self.run_import().stdout
        self.assertEqual(told, f"0 messages imported, {3 * EACH} were there already, 0 documents not imported\n")
        self.assertEqual(list(self.collection.find().sort("_id")), before, "the collection is only read")

        self.server.start()
        _, rooms = await self.server.http("GET", "/api/rooms")
        self.assertEqual([(room["id"], room["head"]) for room in rooms["rooms"]], [(r, EACH) for r in sorted(ROOMS)])
        for room in ROOMS:
            messages = await self.history(room)
            self.assertEqual([message["seq"] for message in messages], list(range(1, EACH + 1)))
            for number, message in enumerate(messages):
                user = {"id": "u-2", "name": "Ben"} if number % 2 else {"id": "ann", "name": "ann"}
                time = START + datetime.timedelta(seconds=number)
                self.assertEqual(
                    {name: message[name] for name in ("room_id", "content", "user", "created_at")},
                    {
                        "room_id": room,
                        "content": f"{room} said {number} ☕",
                        "user": user,
                        "created_at": time.strftime("%Y-%m-%dT%H:%M:%S.123Z"),
                    },
                )
        _, found = await self.server.http("GET", "/api/rooms/games/search?q=said+77")
        self.assertEqual([message["content"] for message in found["messages"]], ["games said 77 ☕"])

        # The room goes on where it was: what was imported is history like any other, and can be changed by its author.
        async with self.server.v1("lobby", "ann", "&last=2") as ann:
            hello = await receive(ann)
            self.assertEqual(hello["rooms"][0]["head"], EACH)
            last = [await receive(ann) for _ in range(2)]
            self.assertEqual([message["seq"] for message in last], [EACH - 1, EACH])
            await send(ann, t="send", id=1, content="and we go on")
            ack = (await receive_until(ann, lambda frame: frame.get("t") == "ack"))[-1]
            self.assertEqual(ack["seq"], EACH + 1)
            await send(ann, t="edit", id=2, msg=last[0]["id"], content="corrected")
            ack = (await receive_until(ann, lambda frame: frame.get("t") == "ack"))[-1]
            self.assertEqual(ack["seq"], EACH + 2)

        # Later messages of the older system come behind what was said meanwhile.
        self.assertEqual(self.server.terminate(), 0)
        self.collection.insert_one(old("lobby", EACH))
        told = self.run_import().stdout
        self.assertEqual(told, f"1 messages imported, {3 * EACH} were there already, 0 documents not imported\n")
        self.server.start()
        messages = await self.history("lobby")
        self.assertEqual((messages[-1]["seq"], messages[-1]["content"]), (EACH + 3, f"lobby said {EACH} ☕"))
        self.assertEqual(messages[EACH - 2]["content"], "corrected")

    async def test_what_is_no_message_is_named_and_the_rest_comes(self):
        good = old("lobby", EACH)
        broken = [
            {**good, "_id": "no-content", "content": None},
            {**good, "_id": "no-date", "created_at": "soon"},
            {**good, "_id": "bad-room", "room_id": "a/b"},
            {**good, "_id": 17, "user": 5},
            {"_id": "nothing"},
        ]
        self.collection.insert_many([good, *broken])
        done = self.run_import(code=1)
        self.assertEqual(
            done.stdout,
            f"{3 * EACH + 1} messages imported, 0 were there already, {len(broken)} documents not imported\n",
        )
        for document in broken:
            self.assertIn(f"_id {document['_id']}:", done.stderr)
        self.server.start()
        messages = await self.history("lobby")
        self.assertEqual(len(messages), EACH + 1)


class ImportOnMongo(OnMongo, Import):
    pass


if __name__ == "__main__":
    unittest.main()
