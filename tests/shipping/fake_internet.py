"""Stands in for the internet of a test machine: github.com with this repository and its releases, and the TryVox API.

Usage: fake_internet.py FOLDER CERTIFICATE API, where FOLDER contains the files of github.com, CERTIFICATE is a PEM file
with the certificate and its key, and API is the URL to which requests for api.tryvox.io are forwarded.

Listens on 192.0.2.1:443 and prints "ready" when it accepts connections.
"""

import functools
import http.server
import ssl
import sys
import urllib.error
import urllib.request

folder, certificate, api = sys.argv[1:]


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.headers["Host"] != "api.tryvox.io":
            super().do_GET()
            return
        request = urllib.request.Request(api + self.path, headers={"Authorization": self.headers["Authorization"]})
        try:
            response = urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            response = error
        body = response.read()
        self.send_response(response.status)
        for name in ("Content-Type", "Date"):
            self.send_header(name, response.headers[name])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


server = Server(("192.0.2.1", 443), functools.partial(Handler, directory=folder))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("ready", flush=True)
server.serve_forever()
