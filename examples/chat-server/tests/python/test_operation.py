"""What whoever runs the server meets: bounds of the HTTP side, flags and environment, starting and stopping."""

import asyncio
import json
import os
import signal
import socket
import time
import unittest

from server import Server, TestCase, receive
from test_bad_input import handshake, read_response


async def until(check, timeout=10):
    async with asyncio.timeout(timeout):
        while not (found := await check()):
            await asyncio.sleep(0.05)
        return found


class Rates(TestCase):
    async def test_http_is_counted_for_each_user(self):
        with Server("--rate", "1:5") as server:

            async def count(method, path, body=None, times=30):
                """How often it was allowed; every refusal is looked at."""
                allowed = 0
                for _ in range(times):
                    status, fields, data = await asyncio.to_thread(server._request, method, path, body, {})
                    if status != 429:
                        self.assertLess(status, 300, data)
                        allowed += 1
                        continue
                    self.assertGreaterEqual(int(fields["Retry-After"]), 1)
                    self.assertEqual(json.loads(data)["error"], "rate_limited")
                return allowed

            messages = "/api/rooms/r/messages"
            started = time.monotonic()
            # One bucket for whatever a user asks for, and one for each user.
            self.assertIn(await count("POST", f"{messages}?user=ann", {"content": "word"}), range(5, 9))
            for path in (messages, "/api/rooms/r/search?q=word", "/api/rooms/r/members", "/api/rooms"):
                user = path.replace("/", "-").split("?")[0]
                mark = "&" if "?" in path else "?"
                self.assertIn(await count("GET", f"{path}{mark}user={user}"), range(5, 9), path)
            # Guests have a new name each time, and are counted together.
            self.assertIn(await count("GET", messages), range(5, 9))
            self.assertLess(time.monotonic() - started, 20)
            # Health is for machines.
            self.assertEqual(await count("GET", "/healthz", times=20), 20)


class Connections(TestCase):
    async def open(self, server, request=b"", receive_buffer=None):
        sock = socket.socket()
        self.addCleanup(sock.close)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
        sock.sendall(request)
        return sock

    async def test_idle_connections_give_way_when_files_are_few(self):
        with Server(files=256) as server:
            request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
            for n in range(300):
                # Half of them say nothing at all.
                await self.open(server, request if n % 2 else b"")
            started = time.monotonic()
            self.assertEqual((await server.http("GET", "/healthz"))[0], 200)
            self.assertLess(time.monotonic() - started, 9)
            async with server.v1("lobby", "ann") as ann:
                await receive(ann)
            self.assertEqual(await asyncio.to_thread(server.terminate), 0)

    async def test_too_many_connections_are_told_at_the_start(self):
        server = Server("--max-connections", "1000", files=256)
        self.addCleanup(server.close)
        code, out, said = await asyncio.to_thread(server.fail)
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(said, r"^chat-server: --max-connections 1000 is more .* 256 open files .*\n$")

    async def test_whoever_does_not_read_is_cut_off(self):
        with Server("--rate", "off") as server:
            for _ in range(20):
                await server.http("POST", "/api/rooms/r/messages?user=ann", {"content": "x" * 65_000})
            # More answers, of 1 MB each, than the kernel keeps by itself.
            request = b"GET /api/rooms/r/messages HTTP/1.1\r\nHost: localhost\r\n\r\n"
            sock = await self.open(server, request * 12, receive_buffer=2048)
            await asyncio.sleep(12)
            loop, got = asyncio.get_running_loop(), 0
            async with asyncio.timeout(10):
                try:
                    while piece := await loop.sock_recv(sock, 1 << 16):
                        got += len(piece)
                except ConnectionError:
                    pass
            self.assertLess(got, 10_000_000, "the connection ended before the answers did")


class Origins(TestCase):
    async def status(self, server, **fields):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            writer.write(handshake("/ws/r?user=a", server.port, **fields))
            return (await asyncio.wait_for(read_response(reader), 5))[0]
        finally:
            writer.close()

    async def test_empty_entries_say_nothing(self):
        for value in ("", " , "):
            with Server(CHAT_ORIGIN=value) as server:
                own = f"http://127.0.0.1:{server.port}"
                self.assertEqual(await self.status(server, Origin=own), 101)
                for wrong in ("", "null", "http://evil.example", f"{own}\r\nOrigin: {own}"):
                    self.assertEqual(await self.status(server, Origin=wrong), 403, wrong)

    async def test_a_list_is_separated_by_commas(self):
        with Server("--origin", "https://a.example,https://b.example,") as server:
            for origin, status in [("https://a.example", 101), ("https://b.example", 101), ("https://c.example", 403)]:
                # A proxy passes the name on, and it is known from the list.
                host = origin.removeprefix("https://")
                self.assertEqual(await self.status(server, Origin=origin, Host=host), status, origin)
            self.assertEqual(await self.status(server, Origin=""), 403)
            self.assertEqual(await self.status(server), 101)

    async def test_what_could_never_match_is_refused(self):
        for wrong in ("*", "a.example", "https://a.example/chat"):
            server = Server("--origin", wrong)
            self.addCleanup(server.close)
            code, _, said = await asyncio.to_thread(server.fail)
            self.assertEqual(code, 2)
            self.assertIn("is no origin", said.splitlines()[0])


class Starting(TestCase):
    async def refused(self, *options, **environment):
        server = Server(*options, **environment)
        self.addCleanup(server.close)
        code, out, said = await asyncio.to_thread(server.fail)
        self.assertEqual(out, "")
        self.assertNotEqual(code, 0)
        return said

    async def test_a_host_may_have_a_name(self):
        with Server("--listen", "localhost:0") as server:
            self.assertEqual((await server.http("GET", "/healthz"))[0], 200)

    async def test_wrong_settings_are_one_clear_line(self):
        self.assertIn("HOST:PORT", (await self.refused("--listen", "8082")).splitlines()[0])
        for level in ("verbose", "roomcast_core=loud"):
            said = await self.refused(CHAT_LOG=level)
            self.assertRegex(said, r"^chat-server: CHAT_LOG is .*\n$")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            self.assertRegex(await self.refused("--listen", address), rf"^chat-server: can't listen on {address}: .*\n$")
        self.assertRegex(await self.refused("--store", "sqlite:/nowhere/at/all.db"), r"^chat-server: [^\n]*\n$")

    async def test_a_log_in_a_file_has_no_colours(self):
        server = Server(CHAT_LOG="debug")
        self.addCleanup(server.close)
        log = os.path.join(server.store.directory, "log")
        with open(log, "w") as file:
            process = server.popen(stdout=-1, stderr=file)
        line = await asyncio.to_thread(process.stdout.readline)
        self.assertIn("listening", line)
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.communicate)
        with open(log) as file:
            said = file.read()
        self.assertIn("INFO", said)
        self.assertNotIn("\x1b", said)


class Stopping(TestCase):
    async def lingering(self, server):
        """A client that takes no goodbye: the server waits a moment for it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        self.addCleanup(writer.close)
        writer.write(handshake("/ws/r?user=stays", server.port))
        self.assertEqual((await read_response(reader))[0], 101)
        return reader

    async def test_http_goes_on_while_clients_are_told_goodbye(self):
        with Server() as server:
            await self.lingering(server)
            server.send_signal(signal.SIGTERM)

            async def stopping():
                status, body = await server.http("GET", "/healthz")
                return status == 503 and body

            self.assertEqual((await until(stopping))["error"], "unavailable")
            # It isn't to be killed for that, and gets no new clients.
            self.assertEqual((await server.http("GET", "/livez"))[0], 200)
            status, body = await server.http("GET", "/readyz")
            self.assertEqual((status, body["ready"], body["draining"], body["store"]), (503, False, True, "ok"))
            status, body = await server.http("POST", "/api/rooms/r/messages?user=ann", {"content": "x"})
            self.assertEqual((status, body["error"]), (503, "unavailable"))
            self.assertEqual(await asyncio.to_thread(server.wait), 0)

    async def test_a_second_signal_ends_it_at_once(self):
        with Server() as server:
            await self.lingering(server)
            started = time.monotonic()
            server.send_signal(signal.SIGINT)
            await asyncio.sleep(0.2)
            server.send_signal(signal.SIGTERM)
            self.assertEqual(await asyncio.to_thread(server.wait), 1)
            self.assertLess(time.monotonic() - started, 0.9)

    async def test_nobody_needs_to_read_what_it_says(self):
        server = Server()
        self.addCleanup(server.close)
        server.start()
        process = server.process
        process.stdout.close()
        self.assertEqual((await server.http("GET", "/healthz"))[0], 200)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(await asyncio.to_thread(process.wait, 20), 0)
        server.process = None


if __name__ == "__main__":
    unittest.main()
