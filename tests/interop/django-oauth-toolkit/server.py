"""An authorization server made of django-oauth-toolkit, on a port of loopback the system chooses. Prints one line of JSON
to stdout once it answers, and its log to stderr; it ends with its stdin or on SIGTERM."""

import datetime
import json
import os
import signal
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

# The library refuses http:// otherwise.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import include, path
from django.utils import timezone

settings.configure(
    SECRET_KEY="for tests on loopback only",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    # Of the one thread that serves.
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=True,
    # It hashes clients' secrets like passwords, which takes the better part of a second for each question otherwise.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    OAUTH2_PROVIDER={
        "SCOPES": {"read": "Read", "write": "Write", "introspection": "Introspect"},
        "ACCESS_TOKEN_EXPIRE_SECONDS": 600,
    },
)
django.setup()
call_command("migrate", verbosity=0)

from oauth2_provider.models import AccessToken, Application

# At the root, so that a version with metadata (RFC 8414) has them where clients look.
urlpatterns = [path("", include("oauth2_provider.urls", namespace="oauth2_provider"))]


def client(client_id, client_secret):
    Application.objects.create(
        name=client_id,
        client_id=client_id,
        client_secret=client_secret,
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
    )
    return {"client_id": client_id, "client_secret": client_secret}


def token(text, scope, lifetime):
    AccessToken.objects.create(
        token=text,
        application=Application.objects.get(client_id="app"),
        scope=scope,
        expires=timezone.now() + datetime.timedelta(seconds=lifetime),
    )
    return text


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def exit_with_stdin():
    # Whoever started this holds the other end, so no server outlives a test run that was killed.
    sys.stdin.buffer.read()
    os._exit(0)


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
threading.Thread(target=exit_with_stdin, daemon=True).start()

# It listens from here on; the issuer holds the port.
http = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
issuer = f"http://127.0.0.1:{http.server_port}"
print(
    json.dumps(
        {
            "issuer": issuer,
            "introspection_endpoint": f"{issuer}/introspect/",
            "token_endpoint": f"{issuer}/token/",
            "revocation_endpoint": f"{issuer}/revoke_token/",
            "app": client("app", "app-secret"),
            # Read correctly only if the client form-urlencodes both, as RFC 6749, section 2.3.1, asks.
            "basic": client("rs:1 +/%&=", "p:+/%& =~s!"),
            "expired_token": token("expired-token", "read", -1),
            # With the scope that lets its bearer introspect.
            "introspecting_token": token("introspecting-token", "introspection", 600),
        }
    ),
    flush=True,
)
http.serve_forever()
