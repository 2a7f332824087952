"""An issuer of tokens, by OAuth's grant of client credentials over https.

Run by the Python of the foreign client: issuer.py FOLDER PORT CLIENT SECRET. It writes its public keys to
FOLDER/jwks.json before it answers, and one line a token to its log.
"""

import base64
import http.server
import json
import ssl
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

FOLDER, PORT, CLIENT, SECRET = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
# So short that clients fetch the next one while a test runs.
LIFETIME = 20
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EXPECTED = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value):
    return base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def signed(claims):
    header = {"alg": "RS256", "typ": "JWT", "kid": "tests"}
    text = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    return text + "." + base64url(KEY.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, {})

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers.get("content-length", 0))).decode())
        if self.headers.get("authorization") != EXPECTED:
            return self.answer(401, {"error": "invalid_client", "error_description": "the secret is wrong"})
        if form.get("grant_type") != ["client_credentials"]:
            return self.answer(400, {"error": "unsupported_grant_type"})
        now = int(time.time())
        # A scope that begins otherwise makes a token that the broker does not take.
        scope = form.get("scope", ["kafka"])[0]
        claims = {
            "sub": CLIENT,
            "aud": scope.split()[0],
            "iss": "redline-tests",
            "iat": now,
            "exp": now + LIFETIME,
            "scope": scope,
        }
        print(f"a token for {scope}", flush=True)
        self.answer(200, {"access_token": signed(claims), "token_type": "Bearer", "expires_in": LIFETIME})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass  # who does not like the certificate hangs up


public = KEY.public_key().public_numbers()
jwk = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "tests", "n": number(public.n), "e": number(public.e)}
(FOLDER / "jwks.json").write_text(json.dumps({"keys": [jwk]}))
server = Server(("127.0.0.1", PORT), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(FOLDER / "good.pem", FOLDER / "good.key")
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
