"""An authorization server made of Authlib's Flask integration, on a port of loopback the system chooses. Prints one
line of JSON to stdout once it answers, and its log to stderr; it ends with its stdin or on SIGTERM.

One client gets opaque tokens and another JWTs, whose header names no key. Both kinds can be asked about and revoked."""

import hmac
import json
import os
import signal
import sys
import threading
import time

# Authlib refuses http:// otherwise.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask, jsonify
from joserfc.jwk import ECKey, KeySet
from werkzeug.serving import make_server

AUDIENCE = "https://api.example.com"
AUTH_METHODS = ["client_secret_basic", "client_secret_post"]


class Client(ClientMixin):
    def __init__(self, client_id, client_secret, auth_method, scopes=()):
        self.client_id = client_id
        self.client_secret = client_secret
        self.auth_method = auth_method
        self.scopes = scopes

    def get_client_id(self):
        return self.client_id

    def get_allowed_scope(self, scope):
        # A client that names no scope gets all of its own.
        asked = scope.split() if scope else self.scopes
        return " ".join(s for s in asked if s in self.scopes)

    def check_client_secret(self, client_secret):
        # Bytes, for `compare_digest` takes only ASCII in a string.
        return hmac.compare_digest(self.client_secret.encode(), client_secret.encode())

    def check_endpoint_auth_method(self, method, endpoint):
        return method == self.auth_method

    def check_grant_type(self, grant_type):
        return grant_type == "client_credentials" and bool(self.scopes)

    def credentials(self):
        return {"client_id": self.client_id, "client_secret": self.client_secret}


class Token(TokenMixin):
    def __init__(self, client, issued):
        self.client = client
        self.scope = issued.get("scope", "")
        self.expires_in = issued["expires_in"]
        self.token_type = issued["token_type"]
        self.issued_at = int(time.time())
        self.revoked = False

    def check_client(self, client):
        return self.client is client

    def get_client(self):
        return self.client

    def get_scope(self):
        return self.scope

    def get_expires_in(self):
        return self.expires_in

    def is_expired(self):
        return time.time() >= self.issued_at + self.expires_in

    def is_revoked(self):
        return self.revoked


APP = Client("app", "app-secret", "client_secret_basic", ("read", "write"))
JWT_APP = Client("jwt-app", "jwt-app-secret", "client_secret_basic", ("read", "write"))
# Read correctly only if the client percent-encodes both, in UTF-8, as RFC 6749, section 2.3.1, asks, and a space as %20:
# Authlib decodes with `unquote`, to which the "+" of form-urlencoding is a plus sign.
BASIC = Client("rs:1 +/%&=é", "p:+/%& =~s!ü", "client_secret_basic")
POST = Client("rs-post", "rs-post-secret", "client_secret_post")

clients = {client.client_id: client for client in (APP, JWT_APP, BASIC, POST)}
tokens = {}
key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)


class AppGrant(ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS


class Jwts(JWTBearerTokenGenerator):
    def get_jwks(self):
        return key

    def get_audiences(self, client, user, scope):
        return AUDIENCE


class Introspection(IntrospectionEndpoint):
    CLIENT_AUTH_METHODS = AUTH_METHODS

    def query_token(self, token_string, token_type_hint):
        return tokens.get(token_string)

    def check_permission(self, token, client, request):
        return client in (BASIC, POST)

    def introspect_token(self, token):
        # The members of the example in Authlib's documentation, of which a client's own token has no `username`.
        return {
            "active": True,
            "client_id": token.client.client_id,
            "token_type": token.token_type,
            "scope": token.get_scope(),
            "sub": token.client.client_id,
            "aud": AUDIENCE,
            "iss": issuer,
            "exp": token.issued_at + token.expires_in,
            "iat": token.issued_at,
        }


class Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = AUTH_METHODS

    def query_token(self, token_string, token_type_hint):
        return tokens.get(token_string)

    def revoke_token(self, token, request):
        token.revoked = True


def save_token(issued, request):
    tokens[issued["access_token"]] = Token(request.client, issued)


def generate_token(grant_type, client, **details):
    generator = Jwts(issuer, "ES256") if client is JWT_APP else opaque_tokens
    return generator(grant_type, client, **details)


app = Flask(__name__)
server = AuthorizationServer(app, clients.get, save_token)
opaque_tokens = server.create_bearer_token_generator(app.config)
server.register_token_generator("default", generate_token)
server.register_grant(AppGrant)
server.register_endpoint(Introspection)
server.register_endpoint(Revocation)


@app.post("/oauth/token")
def issue():
    return server.create_token_response()


@app.post("/oauth/introspect")
def introspect():
    return server.create_endpoint_response(Introspection.ENDPOINT_NAME)


@app.post("/oauth/revoke")
def revoke():
    return server.create_endpoint_response(Revocation.ENDPOINT_NAME)


@app.get("/.well-known/oauth-authorization-server")
def well_known():
    return jsonify(metadata)


@app.get("/jwks")
def jwks():
    return jsonify(KeySet([key]).as_dict(private=False))


def exit_with_stdin():
    # Whoever started this holds the other end, so no server outlives a test run that was killed.
    sys.stdin.buffer.read()
    os._exit(0)


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
threading.Thread(target=exit_with_stdin, daemon=True).start()

# It listens from here on; the issuer holds the port.
http = make_server("127.0.0.1", 0, app, threaded=True)
issuer = f"http://127.0.0.1:{http.server_port}"
metadata = AuthorizationServerMetadata(
    issuer=issuer,
    token_endpoint=f"{issuer}/oauth/token",
    introspection_endpoint=f"{issuer}/oauth/introspect",
    revocation_endpoint=f"{issuer}/oauth/revoke",
    jwks_uri=f"{issuer}/jwks",
    grant_types_supported=["client_credentials"],
    response_types_supported=[],
    scopes_supported=list(APP.scopes),
    token_endpoint_auth_methods_supported=AUTH_METHODS,
    introspection_endpoint_auth_methods_supported=AUTH_METHODS,
    revocation_endpoint_auth_methods_supported=AUTH_METHODS,
)
print(
    json.dumps(
        {
            "issuer": issuer,
            "introspection_endpoint": metadata["introspection_endpoint"],
            "token_endpoint": metadata["token_endpoint"],
            "revocation_endpoint": metadata["revocation_endpoint"],
            "basic": BASIC.credentials(),
            "post": POST.credentials(),
            "app": APP.credentials(),
            "jwt_app": JWT_APP.credentials(),
        }
    ),
    flush=True,
)
http.serve_forever()
