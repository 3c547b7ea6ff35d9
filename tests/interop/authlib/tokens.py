"""What joserfc signs, and what it says of what others signed. Reads and prints what `oidc-provider/tokens.mjs` does."""

import base64
import hashlib
import hmac
import json
import sys

from joserfc import jwe, jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from joserfc.registry import HeaderParameter

KEYS = {
    "ES256": (ECKey, "P-256"),
    "ES384": (ECKey, "P-384"),
    "PS256": (RSAKey, 2048),
    "RS256": (RSAKey, 2048),
    "EdDSA": (OKPKey, "Ed25519"),
}
UNSUPPORTED = ["RS384", "RS512", "PS384", "PS512", "ES512", "ES256K"]

asked = json.load(sys.stdin)
claims = asked["claims"]
payload = json.dumps(claims).encode()
keys = []
tokens = []

# It signs what it would not read: any algorithm, and any member of a header.
example = {"example": HeaderParameter("An extension", "int")}
anything = jws.JWSRegistry(example, [*KEYS, *UNSUPPORTED, "Ed25519", "none"], strict_check_header=False)


def add(what, good, token):
    tokens.append({"what": what, "good": good, "token": token})


def new_key(kind, size, **published):
    key = kind.generate_key(size)
    if published:
        keys.append({**key.as_dict(private=False), **published})
    return key


def sign(key, header, **changed):
    header = {"typ": "at+jwt", **header}
    return jwt.encode(header, {**claims, **changed}, key, registry=anything, default_type=None)


def encoded(part):
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


for alg, (kind, size) in KEYS.items():
    key = new_key(kind, size, kid=alg, alg=alg, use="sig")
    header = {"alg": alg, "kid": alg}
    add(alg, True, sign(key, header))
    add(f"{alg} without kid", True, sign(key, {"alg": alg}))

    other = new_key(kind, size)
    add(f"{alg} by another key", False, sign(other, header))
    brought = {**header, "jwk": other.as_dict(private=False)}
    add(f"{alg} by a key that it brings along", False, sign(other, brought))
    add(f"{alg} with an unknown kid", False, sign(key, {**header, "kid": "unknown"}))
    add(f"{alg} of another type", False, sign(key, {**header, "typ": "JWT"}))
    add(f"{alg} of no type", False, jws.serialize_compact(header, payload, key, registry=anything))
    add(f"{alg} of another issuer", False, sign(key, header, iss="https://other.example"))
    add(f"{alg} for others", False, sign(key, header, aud="https://other.example"))
    add(f"{alg} that has expired", False, sign(key, header, exp=1))

    add(f"{alg} with crit", False, sign(key, {**header, "crit": ["example"], "example": 1}))
    add(f"{alg} with b64", False, sign(key, {**header, "crit": ["b64"], "b64": True}))
    detached = sign(key, {**header, "crit": ["b64"], "b64": False})
    add(f"{alg} without its payload", False, detached)
    add(f"{alg} with b64 of false", False, detached.replace("..", f".{encoded(payload)}."))

ed25519 = new_key(OKPKey, "Ed25519", kid="Ed25519")
add("Ed25519 by that name", True, sign(ed25519, {"alg": "Ed25519", "kid": "Ed25519"}))

# A key that names no algorithm is for both of RSA, and one that names one is for that.
rsa = new_key(RSAKey, 2048, kid="RSA")
rsa_for_ps256 = new_key(RSAKey, 2048, kid="RSA for PS256", alg="PS256")
add("RS256 by any RSA key", True, sign(rsa, {"alg": "RS256", "kid": "RSA"}))
add("PS256 by any RSA key", True, sign(rsa, {"alg": "PS256", "kid": "RSA"}))
add("RS256 by a key for PS256", False, sign(rsa_for_ps256, {"alg": "RS256", "kid": "RSA for PS256"}))
others = {"ES512": new_key(ECKey, "P-521", kid="ES512"), "ES256K": new_key(ECKey, "secp256k1", kid="ES256K")}
for alg in UNSUPPORTED:
    key = others.get(alg, rsa)
    add(alg, False, sign(key, {"alg": alg, "kid": alg if alg in others else "RSA"}))

add("none", False, sign(None, {"alg": "none", "kid": "RSA"}))

# With what everybody knows as the secret. The library refuses to, so this is done by hand.
for what, secret in {
    "PEM": rsa.as_pem(private=False),
    "DER": rsa.as_der(private=False),
    "JWK": json.dumps(rsa.as_dict(private=False)).encode(),
}.items():
    header = json.dumps({"typ": "at+jwt", "alg": "HS256", "kid": "RSA"}).encode()
    signed = f"{encoded(header)}.{encoded(payload)}"
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    add(f"HS256 by the public key, {what}", False, f"{signed}.{encoded(mac)}")

nested = sign(rsa, {"alg": "RS256", "kid": "RSA"})
for_rsa = {"typ": "at+jwt", "cty": "at+jwt", "alg": "RSA-OAEP", "enc": "A128GCM", "kid": "RSA"}
add("encrypted", False, jwe.encrypt_compact(for_rsa, nested, rsa))


def verify(token):
    try:
        decoded = jwt.decode(token, their_keys, algorithms=list(KEYS))
        required.validate(decoded.claims)
    except (JoseError, ValueError):
        return None
    return decoded.claims if decoded.header.get("typ") == "at+jwt" else None


their_keys = KeySet.import_key_set(asked["keys"])
required = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": asked["issuer"]},
    aud={"essential": True, "value": asked["audience"]},
    exp={"essential": True},
)
verified = [verify(token) for token in asked["tokens"]]

print(json.dumps({"keys": {"keys": keys}, "tokens": tokens, "verified": verified}))
