"""Answers GET /getconfig with a file. Usage: serve.py [ADDRESS] [PORT] [FILE]"""
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

address, port, file = (sys.argv[1:] + ["0.0.0.0", "80", "/srv/config.json"][len(sys.argv) - 1:])[:3]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = open(file, "rb").read() if self.path == "/getconfig" else b"not here"
        self.send_response(200 if self.path == "/getconfig" else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


print(f"listening on {address}:{port}", flush=True)
ThreadingHTTPServer((address, int(port)), Handler).serve_forever()
