"""Where a chat server keeps its messages: each is made fresh for a test and removed after it."""

import os
import shutil
import tempfile
import uuid

import pymongo

from daemons import Mongod


class SqliteFile:
    """A database file."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="chat-server-test-")
        self.argument = f"sqlite:{os.path.join(self.directory, 'chat.db')}"

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class MongoDatabase:
    """A database on a MongoDB server: if none is given, on the one of this process that stands alone."""

    def __init__(self, server=None):
        self.server = server or Mongod.shared()
        self.name = f"chat_server_test_{uuid.uuid4().hex}"
        self.argument = self.server.database(self.name)

    def open(self):
        return pymongo.MongoClient(self.server.uri, tz_aware=True)[self.name]

    def close(self):
        with pymongo.MongoClient(self.server.uri) as client:
            client.drop_database(self.name)


class OnMongo:
    """Makes a test case of SQLite one of MongoDB."""

    new_store = MongoDatabase
