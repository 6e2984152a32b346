"""A small notes service: JSON over HTTP, kept in SQLite, nothing but the standard library.

    GET    /api/health          {"status": "up", "notes": 2}
    GET    /api/notes           all notes, newest first (?limit=N, at most 100)
    POST   /api/notes           {"title": "...", "body": "..."} makes one
    GET    /api/notes/ID        one note
    DELETE /api/notes/ID        removes it
"""

import json
import os
import signal
import socket
import sqlite3
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

BODY_BYTES_MAX = 64 * 1024
TITLE_CHARS_MAX = 120
LIST_MAX = 100

SCHEMA = """
create table if not exists notes (
    id integer primary key,
    title text not null check (length(title) between 1 and 120),
    body text not null default '',
    created text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
"""


class Refused(Exception):
    """What the client did wrong, with the status that says so."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Notes:
    """The notes in one database file; every call opens its own connection, so threads may share it."""

    def __init__(self, path):
        self.path = path

    def create(self):
        with closing(self._connect()) as db, db:
            db.execute("pragma journal_mode = wal")
            db.executescript(SCHEMA)

    def count(self):
        with closing(self._connect()) as db:
            return db.execute("select count(*) from notes").fetchone()[0]

    def list(self, limit):
        query = "select id, title, body, created from notes order by id desc limit ?"
        with closing(self._connect()) as db:
            return [dict(row) for row in db.execute(query, (limit,))]

    def get(self, note_id):
        query = "select id, title, body, created from notes where id = ?"
        with closing(self._connect()) as db:
            row = db.execute(query, (note_id,)).fetchone()
        if row is None:
            raise Refused(404, "there is no such note")
        return dict(row)

    def add(self, title, body):
        with closing(self._connect()) as db, db:
            cursor = db.execute("insert into notes (title, body) values (?, ?)", (title, body))
        return self.get(cursor.lastrowid)

    def remove(self, note_id):
        with closing(self._connect()) as db, db:
            if db.execute("delete from notes where id = ?", (note_id,)).rowcount == 0:
                raise Refused(404, "there is no such note")

    def _connect(self):
        db = sqlite3.connect(self.path, timeout=5)
        db.row_factory = sqlite3.Row
        return db


def read_note(raw):
    """The title and body of a note from a request's bytes."""
    try:
        value = json.loads(raw)
    except ValueError:
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(value, dict) or set(value) - {"title", "body"}:
        raise Refused(400, "a note has a title and a body, nothing else")
    title, body = value.get("title"), value.get("body", "")
    if not isinstance(title, str) or not isinstance(body, str):
        raise Refused(400, "title and body are texts")
    title = title.strip()
    if not 1 <= len(title) <= TITLE_CHARS_MAX:
        raise Refused(400, f"a title has 1 to {TITLE_CHARS_MAX} characters")
    return title, body


def read_limit(query):
    """How many notes a list should have."""
    text = parse_qs(query).get("limit", [str(LIST_MAX)])[-1]
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Refused(400, "limit is a whole number")
    return min(int(text), LIST_MAX)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "notes"
    timeout = 30
    # Answers are written in two pieces; waiting for the first one's acknowledgement costs 40 ms.
    disable_nagle_algorithm = True

    def do_GET(self):
        self._answer("GET")

    def do_POST(self):
        self._answer("POST")

    def do_DELETE(self):
        self._answer("DELETE")

    def _answer(self, method):
        try:
            status, value = self._route(method)
        except Refused as refused:
            status, value = refused.status, {"error": str(refused)}
        except sqlite3.Error as error:
            self.log_error("database: %s", error)
            status, value = 503, {"error": "the database cannot be used"}
        self._send(status, value)

    def _route(self, method):
        url = urlsplit(self.path)
        notes = self.server.notes
        parts = url.path.strip("/").split("/")
        # The body is read whatever the path, or it would be taken for the next request.
        body = self._body() if method == "POST" else b""
        if parts == ["api", "health"] and method == "GET":
            return 200, {"status": "up", "notes": notes.count()}
        if parts == ["api", "notes"] and method == "GET":
            return 200, {"notes": notes.list(read_limit(url.query))}
        if parts == ["api", "notes"] and method == "POST":
            return 201, notes.add(*read_note(body))
        if len(parts) == 3 and parts[:2] == ["api", "notes"]:
            return self._one(method, parts[2])
        raise Refused(404, "there is nothing here")

    def _one(self, method, text):
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise Refused(404, "there is no such note")
        if method == "GET":
            return 200, self.server.notes.get(int(text))
        if method == "DELETE":
            self.server.notes.remove(int(text))
            return 200, {"removed": int(text)}
        raise Refused(405, "a note can be read or removed")

    def _body(self):
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            self.close_connection = True
            raise Refused(411, "the length of the body is missing")
        if int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            raise Refused(413, f"a note has at most {BODY_BYTES_MAX} bytes")
        return self.rfile.read(int(length))

    def _send(self, status, value):
        payload = json.dumps(value, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(payload)))
        self.send_header("Cache-Control", "no-store")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(payload)

    def log_request(self, code="-", size="-"):
        # nginx logs requests; a second line for each would only fill the disk.
        pass


class Server(ThreadingHTTPServer):
    allow_reuse_address = True  # a restart must not wait for old connections to be forgotten
    daemon_threads = False  # requests under way are finished before the process ends
    request_queue_size = 128

    def __init__(self, address, notes):
        super().__init__(address, Handler)
        self.notes = notes
        self._open = set()
        self._lock = threading.Lock()

    def process_request(self, request, client_address):
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self):
        """Ends: answers under way are still sent, connections that wait for a request see its end."""
        with self._lock:
            for request in self._open:
                try:
                    request.shutdown(socket.SHUT_RD)
                except OSError:
                    pass  # the other side was faster
        super().server_close()


def main(argv):
    path = os.environ.get("NOTES_DB", "/var/lib/notes/notes.db")
    notes = Notes(path)
    if argv == ["--create"]:
        notes.create()
        return 0
    server = Server(("127.0.0.1", int(os.environ.get("NOTES_PORT", "8000"))), notes)

    def stop(_signal, _frame):
        # shutdown() waits for the loop this handler interrupts, so another thread calls it.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"notes: {path} on port {server.server_port}", file=sys.stderr, flush=True)
    with server:
        server.serve_forever(poll_interval=0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
