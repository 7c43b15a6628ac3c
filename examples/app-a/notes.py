"""Notes: a small HTTP service that keeps each note in a file.

GET /            the names of all notes, as JSON
GET /NAME        one note
PUT /NAME        write a note (201 where it is new, 204 where it was there)
DELETE /NAME     remove it
"""

import json
import os
import re
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
LIMIT = 64 * 1024


class Notes:
    """A directory of text files. Names that could leave it are refused."""

    def __init__(self, directory):
        self.directory = Path(directory)

    def path(self, name):
        if not NAME.fullmatch(name):
            raise ValueError("a name has letters, digits, '.', '_' and '-'")
        return self.directory / f"{name}.txt"

    def names(self):
        return sorted(file.stem for file in self.directory.glob("*.txt"))

    def read(self, name):
        return self.path(name).read_text()

    def write(self, name, text):
        path = self.path(name)
        new = not path.exists()
        path.write_text(text)
        return new

    def remove(self, name):
        self.path(name).unlink()


class Handler(BaseHTTPRequestHandler):
    notes = Notes(os.environ.get("NOTES_DIR", "notes"))

    def answer(self, status, body=b"", kind="text/plain; charset=utf-8"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_note(self, action):
        try:
            action(self.path.lstrip("/"))
        except ValueError as error:
            self.answer(400, f"{error}\n".encode())
        except FileNotFoundError:
            self.answer(404, b"no such note\n")

    def do_GET(self):
        if self.path == "/":
            self.answer(200, json.dumps(self.notes.names()).encode() + b"\n", "application/json")
        else:
            self.handle_note(lambda name: self.answer(200, self.notes.read(name).encode()))

    def do_PUT(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length > LIMIT:
            self.answer(413, b"a note has 64 KiB at most\n")
            return
        text = self.rfile.read(length).decode("utf-8", "replace")
        self.handle_note(lambda name: self.answer(201 if self.notes.write(name, text) else 204))

    def do_DELETE(self):
        def remove(name):
            self.notes.remove(name)
            self.answer(204)

        self.handle_note(remove)

    def log_message(self, format, *args):
        print(self.command, self.path, args[1] if len(args) > 1 else "", flush=True)


if __name__ == "__main__":
    # The first process of a container has no default actions: without this, stopping it would take the grace period.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ.get("PORT", "8080"))
    print(f"notes: listening on port {port}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
