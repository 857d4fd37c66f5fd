"""Servers that the chat server uses, each on a free port of the loopback and ended with the tests.

MONGOD and NATS_SERVER name the programs; otherwise they are the ones on the PATH.
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pymongo


class Daemon:
    """A program that listens on a port."""

    # Kills the program and removes its data once there is nothing more to read: when the tests end, however they do.
    SUPERVISOR = """
folder=$1; shift
"$@" </dev/null >>"$folder/output" 2>&1 & pid=$!
echo "$pid"
exec 2>/dev/null
while read -r line; do eval "$line"; done
if [ -n "$pid" ]; then kill -9 "$pid"; wait "$pid"; fi
rm -rf "$folder"
"""

    def __init__(self, *options):
        variable, name = self.program
        program = os.environ.get(variable) or shutil.which(name)
        if not program:
            raise RuntimeError(f"there is no {name}: `cargo xtask test` fetches one, or set {variable} to its path")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = tempfile.mkdtemp(prefix=f"chat-server-{name}-")
        self.supervisor = subprocess.Popen(
            ["sh", "-c", self.SUPERVISOR, "sh", self.folder, program, *self.arguments(), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        atexit.register(self.close)
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
                    raise RuntimeError(f"{self.program[1]} doesn't start:\n{self.said()}") from None
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
        if self.supervisor.stdin.closed:
            return
        self.supervisor.stdin.close()
        self.supervisor.wait()
        self.supervisor.stdout.close()


class Mongod(Daemon):
    """A MongoDB server that stands alone."""

    program = ("MONGOD", "mongod")
    query = ""

    _shared = None

    @classmethod
    def shared(cls):
        """The one of this process."""
        if cls._shared is None:
            cls._shared = cls()
        return cls._shared

    def arguments(self):
        data = os.path.join(self.folder, "data")
        os.mkdir(data)
        arguments = ["--dbpath", data, "--logpath", os.path.join(self.folder, "log"), "--logappend"]
        arguments += ["--bind_ip", "127.0.0.1", "--port", str(self.port), "--nounixsocket", "--quiet"]
        return arguments + ["--wiredTigerCacheSizeGB", "0.25"]

    @property
    def uri(self):
        return f"mongodb://127.0.0.1:{self.port}"

    def database(self, name):
        """The address of a database, as the chat server takes it."""
        return f"{self.uri}/{name}{self.query}"


class ReplicaSet(Mongod):
    """A MongoDB server that is a replica set of one, and so has change streams."""

    query = "?replicaSet=rs0"

    _shared = None

    def __init__(self):
        super().__init__("--replSet", "rs0")
        members = [{"_id": 0, "host": f"127.0.0.1:{self.port}"}]
        with pymongo.MongoClient(self.uri, directConnection=True) as client:
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
            deadline = time.monotonic() + 60
            while not client.admin.command("hello")["isWritablePrimary"]:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the replica set has no primary:\n{self.said()}")
                time.sleep(0.05)


class NatsServer(Daemon):
    """A NATS server."""

    program = ("NATS_SERVER", "nats-server")

    def arguments(self):
        return ["-a", "127.0.0.1", "-p", str(self.port)]

    @property
    def uri(self):
        return f"nats://127.0.0.1:{self.port}"
