"""Starts the chat server for a test, stops it by its pid, and speaks HTTP to it.

The environment variable CHAT_SERVER names the program.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import threading
import unittest
import urllib.error
import urllib.request

from websockets.asyncio.client import connect

from stores import SqliteFile

V1 = "chat.v1.json"
LISTENING = re.compile(r"chat-server is listening on http://127\.0\.0\.1:(\d+)\s*$")


class TestCase(unittest.IsolatedAsyncioTestCase):
    new_store = SqliteFile

    def new_server(self, *options):
        return Server(*options, store=self.new_store())

    async def asyncSetUp(self):
        # Debugging is on by default, and is slow.
        asyncio.get_running_loop().set_debug(False)


class Server:
    """A server on a port and a store of its own. Both are the same after a restart."""

    def __init__(self, *options, store=None, files=None, **environment):
        """The store is a file, unless another is given; `files` is the limit of open files; `environment` is of the program alone."""
        program = os.environ.get("CHAT_SERVER")
        if not program:
            raise RuntimeError("CHAT_SERVER must name the chat-server program")
        self.program = os.path.abspath(program)
        self.store = store or SqliteFile()
        self.options = options
        self.files = files
        self.environment = environment
        self.port = 0
        self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        """Starts it and waits until it listens."""
        self.process = self.popen(stdout=subprocess.PIPE)
        # A server that says nothing must not hold the tests up: its end ends the line.
        watchdog = threading.Timer(20, self.process.kill)
        watchdog.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        match = LISTENING.match(line)
        if not match:
            raise RuntimeError(f"the server didn't start; it said {line!r}")
        self.port = int(match[1])

    def popen(self, **how):
        """The program with the test's options, started and not waited for."""
        command = [self.program, *self.options]
        if "--listen" not in self.options:
            command += ["--listen", f"127.0.0.1:{self.port}"]
        if "--store" not in self.options:
            command += ["--store", self.store.argument]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_")}
        if self.files:
            command = ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(self.files), *command]
        return subprocess.Popen(command, text=True, env={**environment, **self.environment}, **how)

    def fail(self):
        """Runs the program, which is expected not to start: its exit code and what it said."""
        process = self.popen(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, said = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return process.returncode, out, said

    def send_signal(self, number):
        os.kill(self.process.pid, number)

    def wait(self, timeout=20):
        """Waits for its end and returns the exit code."""
        process, self.process = self.process, None
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()

    def terminate(self):
        self.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        self.send_signal(signal.SIGKILL)
        return self.wait()

    def close(self):
        if self.process is not None:
            self.kill()
        self.store.close()

    def ws(self, path):
        return f"ws://127.0.0.1:{self.port}{path}"

    def plain(self, room, user, query=""):
        return connect(self.ws(f"/ws/{room}?user={user}{query}"), proxy=None, compression=None)

    def v1(self, room, user, query=""):
        path = f"/ws/{room}" if room else "/ws"
        return connect(self.ws(f"{path}?user={user}{query}"), subprotocols=[V1], proxy=None, compression=None)

    def _request(self, method, path, body, headers):
        url = f"http://127.0.0.1:{self.port}{path}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers = {"Content-Type": "application/json", **headers}
        request = urllib.request.Request(url, body, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=15) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.headers, answer.read()

    async def http(self, method, path, body=None, **headers):
        """Status and JSON (or text, where it isn't JSON) of the answer."""
        status, fields, data = await asyncio.to_thread(self._request, method, path, body, headers)
        if (fields.get("Content-Type") or "").startswith("application/json"):
            return status, json.loads(data)
        return status, data.decode()

    async def metric(self, name):
        """The value of a figure without labels."""
        _, text = await self.http("GET", "/metrics")
        for line in text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        return None


async def receive(socket, timeout=10):
    return json.loads(await asyncio.wait_for(socket.recv(), timeout))


async def receive_until(socket, wanted, timeout=10):
    """Frames up to and including the first one that `wanted` takes."""
    frames = []
    async with asyncio.timeout(timeout):
        while True:
            frames.append(json.loads(await socket.recv()))
            if wanted(frames[-1]):
                return frames


async def send(socket, **frame):
    await socket.send(json.dumps(frame))
