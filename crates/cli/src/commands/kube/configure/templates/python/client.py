"""A client that shows its own certificate and accepts only a server of our authority.

The files are read for each call: a renewed certificate is in use at once. With a pool of connections, make a
new one when os.readlink("{{CLIENT}}/..data") changes.
"""

import ssl
import sys
import urllib.request

FOLDER = "{{CLIENT}}"


def settings():
    context = ssl.create_default_context(cafile=f"{FOLDER}/ca.crt")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(f"{FOLDER}/tls.crt", f"{FOLDER}/tls.key")
    return context


with urllib.request.urlopen("https://{{UPSTREAM}}/", context=settings(), timeout=10) as answer:
    print(answer.status)
    sys.stdout.write(answer.read().decode())
