"""Where a chat server keeps its messages: each is made fresh for a test and removed after it."""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid

import pymongo


class SqliteFile:
    """A database file."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="chat-server-test-")
        self.argument = f"sqlite:{os.path.join(self.directory, 'chat.db')}"

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class MongoDatabase:
    """A database on the one MongoDB server of this process."""

    def __init__(self):
        self.server = Mongod.shared()
        self.name = f"chat_server_test_{uuid.uuid4().hex}"
        self.argument = f"{self.server.uri}/{self.name}"

    def open(self):
        return pymongo.MongoClient(self.server.uri, tz_aware=True)[self.name]

    def close(self):
        with pymongo.MongoClient(self.server.uri) as client:
            client.drop_database(self.name)


class Mongod:
    """A MongoDB server on a free port of the loopback. MONGOD names the program; otherwise it is the one on the PATH."""

    _shared = None

    # Kills the server and removes its data once there is nothing more to read: when the tests end, however they do.
    SUPERVISOR = """
folder=$1; shift
"$@" </dev/null >>"$folder/output" 2>&1 & pid=$!
echo "$pid"
exec 2>/dev/null
while read -r line; do eval "$line"; done
if [ -n "$pid" ]; then kill -9 "$pid"; wait "$pid"; fi
rm -rf "$folder"
"""

    @classmethod
    def shared(cls):
        if cls._shared is None:
            cls._shared = cls()
            atexit.register(cls._shared.close)
        return cls._shared

    def __init__(self):
        program = os.environ.get("MONGOD") or shutil.which("mongod")
        if not program:
            raise RuntimeError("there is no MongoDB server: `cargo xtask test` fetches one, or set MONGOD to its path")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"mongodb://127.0.0.1:{self.port}"
        self.folder = tempfile.mkdtemp(prefix="chat-server-mongod-")
        data = os.path.join(self.folder, "data")
        os.mkdir(data)
        command = [program, "--dbpath", data, "--logpath", os.path.join(self.folder, "log"), "--logappend"]
        command += ["--bind_ip", "127.0.0.1", "--port", str(self.port), "--nounixsocket", "--quiet"]
        command += ["--wiredTigerCacheSizeGB", "0.25"]
        self.supervisor = subprocess.Popen(
            ["sh", "-c", self.SUPERVISOR, "sh", self.folder, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = int(self.supervisor.stdout.readline())
        self._wait()

    def _ask(self, line):
        self.supervisor.stdin.write(line + "\n")
        self.supervisor.stdin.flush()
        return self.supervisor.stdout.readline()

    def _wait(self):
        """Waits until it listens."""
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"mongod doesn't start:\n{self.said()}") from None
                time.sleep(0.05)

    def said(self):
        """The end of what it wrote."""
        text = ""
        for name in ("output", "log"):
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    text += "".join(file.readlines()[-20:])
        return text

    def kill(self):
        """Ends it at once, as a power cut would."""
        os.kill(self.pid, signal.SIGKILL)
        self._ask('wait "$pid"; pid=; echo ended')

    def restart(self):
        """Starts it again on the same port and data."""
        self.pid = int(self._ask('"$@" </dev/null >>"$folder/output" 2>&1 & pid=$!; echo "$pid"'))
        self._wait()

    def close(self):
        self.supervisor.stdin.close()
        self.supervisor.wait()
        self.supervisor.stdout.close()


class OnMongo:
    """Makes a test case of SQLite one of MongoDB."""

    new_store = MongoDatabase
