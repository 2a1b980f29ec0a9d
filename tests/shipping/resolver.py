"""Runs `once` where a DNS server responds to names in the search domain with SERVFAIL, as in a pod whose cluster DNS cannot
reach one of its zones.

Usage: resolver.py EXPORTER, as root of its own network and mount namespaces. Prints the metrics, and then the names that the DNS
server was asked for, one per line after "query: ".
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading

EXPORTER = sys.argv[1]
HOST = b"\x03api\x06tryvox\x04test\x00"


def bring_up_loopback():
    SIOCSIFFLAGS, IFF_UP = 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))


def serve_dns(server, queries):
    while True:
        query, client = server.recvfrom(512)
        end = query.index(b"\0", 12) + 1
        name, question = query[12:end], query[12 : end + 4]
        queries.append(name)
        is_address = struct.unpack("!H", question[-4:-2])[0] == 1
        if name == HOST:
            # One record for A: 127.0.0.1. None for AAAA.
            answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + bytes([127, 0, 0, 1]) if is_address else b""
            code = 0
        else:
            answer, code = b"", 2  # SERVFAIL
        header = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, 1 if answer else 0, 0, 0)
        server.sendto(header + question + answer, client)


bring_up_loopback()
with tempfile.NamedTemporaryFile("w") as resolv_conf:
    # As in a pod: names with fewer than five dots are first looked up in the search domain.
    resolv_conf.write("nameserver 127.0.0.1\nsearch svc.cluster.local\noptions ndots:5\n")
    resolv_conf.flush()
    subprocess.run(["mount", "--bind", resolv_conf.name, os.path.realpath("/etc/resolv.conf")], check=True)

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
queries = []
threading.Thread(target=serve_dns, args=(server, queries), daemon=True).start()
simulator = subprocess.Popen(
    [EXPORTER, "simulate", "--numbers=3", "--web.listen-address=127.0.0.1:0"], stderr=subprocess.PIPE, text=True
)
port = next(line for line in simulator.stderr if "address=" in line).split("address=")[1].split()[0].rsplit(":", 1)[1].strip("/")
try:
    environment = {"TRYVOX_API_KEY": "demo-key-not-a-secret"}
    arguments = ["once", "--tryvox.account-id=acc_demo", f"--tryvox.url=http://api.tryvox.test:{port}", "--tryvox.retry-for=1s"]
    once = subprocess.run([EXPORTER, *arguments], env=environment, stdout=subprocess.PIPE, text=True)
finally:
    simulator.kill()
print(once.stdout, end="")
for name in queries:
    labels = []
    while name[0]:
        labels.append(name[1 : 1 + name[0]].decode())
        name = name[1 + name[0] :]
    print("query:", ".".join(labels))
sys.exit(once.returncode)
