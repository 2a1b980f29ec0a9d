"""What a machine under test finds of the internet: the repository and its releases on github.com, and the TryVox API.

Usage: internet.py FOLDER CERTIFICATE API: the files of github.com, a PEM with certificate and key, and where the
requests for api.tryvox.io go.
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
            answer = urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            answer = error
        body = answer.read()
        self.send_response(answer.status)
        for name in ("Content-Type", "Date"):
            self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


server = Server(("192.0.2.1", 443), functools.partial(Handler, directory=folder))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("up", flush=True)
server.serve_forever()
