"""Three small services of a bank, in plain HTTP: none of them knows of certificates.

    ledger  keeps the accounts, and answers whoever reaches it
    teller  asks the ledger for a balance, every two seconds
    gossip  asks for the same, and is not meant to get it
"""

import http.server
import json
import os
import sys
import time
import urllib.error
import urllib.request

ACCOUNTS = {"alice": 120, "bob": 80}


class Ledger(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        account = self.path.strip("/")
        known = account == "healthz" or account in ACCOUNTS
        body = json.dumps({"account": account, "balance": ACCOUNTS.get(account)}).encode()
        self.send_response(200 if known else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def ledger():
    address = (os.environ["POD_IP"], 8080)
    print(f"the ledger is open on {address[0]}:{address[1]}, in plain text", flush=True)
    http.server.ThreadingHTTPServer(address, Ledger).serve_forever()


def ask():
    before = None
    while True:
        try:
            with urllib.request.urlopen("http://ledger:8080/alice", timeout=10) as answer:
                said = answer.read().decode()
        except urllib.error.HTTPError as error:
            said = f"{error.code}: {error.read().decode().strip()}"
        except OSError as error:
            said = str(error)
        if said != before:
            print(said, flush=True)
            before = said
        time.sleep(2)


if __name__ == "__main__":
    ledger() if sys.argv[1] == "ledger" else ask()
