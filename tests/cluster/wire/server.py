"""A server in a namespace: /clientip, /hostname and /redirect over HTTP on 8080, `clientip` and `echo` over UDP on 8081, silence on 8082, resets on 8083,
an answer in two pieces on 8084, DNS on 5353."""

import contextlib
import http.server
import socket
import socketserver
import struct
import threading
import time


class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/hostname")
            self.end_headers()
            return
        host, port = self.client_address[:2]
        host = host.removeprefix("::ffff:")
        body = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode() if self.path == "/clientip" else b"server")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/echo":
            self.send_response(200)
            self.end_headers()
            return
        self.send_response(201)
        self.send_header("X-Given", self.headers.get("X-Given", ""))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True


class Datagrams(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        host, port = self.client_address[:2]
        host = host.removeprefix("::ffff:")
        if data == b"clientip":
            sock.sendto((f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode(), self.client_address)
        elif data.startswith(b"echo "):
            sock.sendto(data.strip().removeprefix(b"echo "), self.client_address)
        elif data == b"hostname":
            sock.sendto(b"server", self.client_address)


class Udp(socketserver.UDPServer):
    address_family = socket.AF_INET6


def listen(port):
    sock = socket.socket(socket.AF_INET6)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("::", port))
    sock.listen(64)
    return sock


def reset(sock):
    while True:
        conn, _ = sock.accept()
        conn.recv(1)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        conn.close()


def in_pieces(sock):
    while True:
        conn, _ = sock.accept()
        conn.sendall(b"one ")
        time.sleep(0.05)
        conn.sendall(b"two\n")
        conn.recv(1)
        conn.close()


def dns_answer(question):
    """The one address 192.0.2.1, with a TTL of 5, whatever is asked."""
    header = question[:2] + struct.pack("!HHHHH", 0x8400, 1, 1, 0, 0)
    return header + question[12:] + struct.pack("!HHHIH4B", 0xC00C, 1, 1, 5, 4, 192, 0, 2, 1)


class Names(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        sock.sendto(dns_answer(data), self.client_address)


def names_over_tcp(sock):
    while True:
        conn, _ = sock.accept()
        answer = dns_answer(conn.recv(4096)[2:])
        conn.sendall(struct.pack("!H", len(answer)) + answer)
        conn.close()


silent = listen(8082)
threading.Thread(target=in_pieces, args=(listen(8084),), daemon=True).start()
threading.Thread(target=names_over_tcp, args=(listen(5353),), daemon=True).start()
threading.Thread(target=Udp(("::", 5353), Names).serve_forever, daemon=True).start()
threading.Thread(target=reset, args=(listen(8083),), daemon=True).start()
threading.Thread(target=Udp(("::", 8081), Datagrams).serve_forever, daemon=True).start()
web = Server(("::", 8080), Web)
print("listening", flush=True)
with contextlib.suppress(KeyboardInterrupt):
    web.serve_forever()
