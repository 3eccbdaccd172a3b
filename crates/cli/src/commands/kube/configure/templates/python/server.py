"""A server that lets in only clients with a certificate of our authority, and takes renewed files by itself."""

import http.server
import os
import ssl

FOLDER = "{{SERVER}}"


class Server(http.server.ThreadingHTTPServer):
    """Makes the TLS settings anew when kubelet has swapped the Secret's link ..data."""

    known = None

    def settings(self):
        now = os.readlink(f"{FOLDER}/..data")
        if now != self.known:
            try:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.minimum_version = ssl.TLSVersion.TLSv1_2
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_cert_chain(f"{FOLDER}/tls.crt", f"{FOLDER}/tls.key")
                context.load_verify_locations(f"{FOLDER}/ca.crt")
                context.num_tickets = 0  # a ticket would outlive the trust that it was given under
                context.options |= ssl.OP_NO_TICKET
                self.context, self.known = context, now
            except (OSError, ssl.SSLError) as error:
                if self.known is None:
                    raise
                print(f"the renewed certificate is not used: {error}", flush=True)
        return self.context

    def get_request(self):
        connection, address = super().get_request()
        connection.settimeout(60)
        # The handshake waits for the connection's own thread: a slow client holds up nobody else.
        return self.settings().wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        subject = dict(part[0] for part in self.connection.getpeercert()["subject"])
        body = f"hello, {subject.get('commonName')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = Server(("", {{LISTEN}}), Hello)
server.settings()
server.serve_forever()
