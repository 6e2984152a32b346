"""Unit tests of the notes service: `python3 -m unittest` in this directory."""

import http.client
import json
import os
import tempfile
import threading
import time
import unittest

from server import Notes, Refused, Server, read_limit, read_note


class Parsing(unittest.TestCase):
    def test_a_note_has_a_title_and_perhaps_a_body(self):
        self.assertEqual(read_note(b'{"title": " milk "}'), ("milk", ""))
        self.assertEqual(read_note(b'{"title": "a", "body": "b"}'), ("a", "b"))

    def test_anything_else_is_refused(self):
        bad = [b"", b"{", b"[]", b'{"title": 1}', b'{"title": " "}', b'{"title": "a", "x": 1}',
               json.dumps({"title": "a" * 121}).encode()]
        for raw in bad:
            with self.subTest(raw=raw), self.assertRaises(Refused) as caught:
                read_note(raw)
            self.assertEqual(caught.exception.status, 400)

    def test_limits_are_bounded(self):
        self.assertEqual(read_limit("limit=7"), 7)
        self.assertEqual(read_limit(""), 100)
        self.assertEqual(read_limit("limit=100000"), 100)
        for query in ["limit=-1", "limit=x", "limit=%D9%A3"]:
            with self.subTest(query=query), self.assertRaises(Refused):
                read_limit(query)


class Storing(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.notes = Notes(os.path.join(directory.name, "notes.db"))
        self.notes.create()

    def test_notes_are_kept_newest_first(self):
        first, second = self.notes.add("one", ""), self.notes.add("two", "2")
        self.assertEqual([note["title"] for note in self.notes.list(10)], ["two", "one"])
        self.assertEqual(self.notes.get(second["id"])["body"], "2")
        self.notes.remove(first["id"])
        self.assertEqual(self.notes.count(), 1)
        with self.assertRaises(Refused):
            self.notes.get(first["id"])

    def test_creating_twice_keeps_everything(self):
        self.notes.add("one", "")
        self.notes.create()
        self.assertEqual(self.notes.count(), 1)


class Serving(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        notes = Notes(os.path.join(directory.name, "notes.db"))
        notes.create()
        self.server = Server(("127.0.0.1", 0), notes)
        self.addCleanup(self.server.server_close)
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.shutdown)
        self.client = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=10)
        self.addCleanup(self.client.close)

    def ask(self, method, path, body=None):
        self.client.request(method, path, body)
        answer = self.client.getresponse()
        return answer.status, json.loads(answer.read())

    def test_a_note_lives_and_ends_on_one_connection(self):
        self.assertEqual(self.ask("GET", "/api/health"), (200, {"status": "up", "notes": 0}))
        status, note = self.ask("POST", "/api/notes", '{"title": "Grüße"}'.encode())
        self.assertEqual((status, note["title"]), (201, "Grüße"))
        path = f"/api/notes/{note['id']}"
        self.assertEqual(self.ask("GET", path), (200, note))
        self.assertEqual(self.ask("DELETE", path)[0], 200)
        self.assertEqual(self.ask("GET", path)[0], 404)

    def test_mistakes_get_their_status_and_the_connection_goes_on(self):
        for method, path, body, status in [
            ("GET", "/", None, 404),
            ("POST", "/api/elsewhere", b"{}", 404),
            ("POST", "/api/notes", b"{", 400),
            ("GET", "/api/notes?limit=x", None, 400),
            ("POST", "/api/notes/1", b"{}", 405),
            ("GET", "/api/notes/99999999999999999999", None, 404),
        ]:
            with self.subTest(path=path):
                self.assertEqual(self.ask(method, path, body)[0], status)
        self.assertEqual(self.ask("GET", "/api/health")[0], 200)

    def test_an_idle_connection_does_not_delay_the_end(self):
        self.assertEqual(self.ask("GET", "/api/health")[0], 200)
        self.server.shutdown()
        before = time.monotonic()
        self.server.server_close()
        self.assertLess(time.monotonic() - before, 10)

    def test_what_is_too_long_is_not_read(self):
        self.assertEqual(self.ask("POST", "/api/notes", b"x" * 70_000)[0], 413)


if __name__ == "__main__":
    unittest.main()
