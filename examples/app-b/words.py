"""Word counts: POST a text, get back how often each word is in it, as JSON.

POST /           {"words": 9, "distinct": 7, "top": [["the", 3], …]}; ?top=N limits the list (default 10)
GET /            how many texts were counted since the start
"""

import json
import os
import re
import signal
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
LIMIT = 1024 * 1024


def count_words(text, top=10):
    counts = Counter(word.lower() for word in WORD.findall(text))
    # Ties in alphabetical order, so that an answer does not depend on the text's.
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {"words": sum(counts.values()), "distinct": len(counts), "top": [list(item) for item in ranked[:top]]}


class Handler(BaseHTTPRequestHandler):
    counted = 0

    def answer(self, status, value):
        body = json.dumps(value, ensure_ascii=False).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, {"counted": Handler.counted})

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        top = parse_qs(urlsplit(self.path).query).get("top", ["10"])[0]
        if length > LIMIT or not top.isdecimal():
            self.answer(400, {"error": "a text has 1 MiB at most, and top is a number"})
            return
        text = self.rfile.read(length).decode("utf-8", "replace")
        Handler.counted += 1
        self.answer(200, count_words(text, int(top)))

    def log_message(self, format, *args):
        print(self.command, self.path, args[1] if len(args) > 1 else "", flush=True)


if __name__ == "__main__":
    # The first process of a container has no default actions: without this, stopping it would take the grace period.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ.get("PORT", "8080"))
    print(f"words: listening on port {port}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
