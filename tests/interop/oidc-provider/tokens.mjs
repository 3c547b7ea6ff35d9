// What `jose` signs, and what it says of what others signed. Reads one object of JSON from stdin:
//
//   claims   of an access token that is to be let in
//   issuer, audience, keys, tokens   access tokens of others, and the key set to verify them by
//
// Prints one: the key set of the tokens that it has signed; the tokens, each of them `good` or wrong in one respect;
// and what those of others state, in their order, `null` where one is refused.
import { createHmac, createPublicKey, KeyObject } from "node:crypto";
import { text } from "node:stream/consumers";
import {
  base64url,
  CompactEncrypt,
  CompactSign,
  createLocalJWKSet,
  exportJWK,
  exportSPKI,
  FlattenedSign,
  generateKeyPair,
  jwtVerify,
  SignJWT,
  UnsecuredJWT,
} from "jose";

const ALGORITHMS = ["ES256", "ES384", "PS256", "RS256", "EdDSA"];
const { claims, issuer, audience, keys: theirKeys, tokens: theirTokens } = JSON.parse(await text(process.stdin));
const payload = new TextEncoder().encode(JSON.stringify(claims));
const keys = [];
const tokens = [];

function add(what, good, token) {
  tokens.push({ what, good, token });
}

async function newKey(alg, published) {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  // Of Node's own kind, which any algorithm of its type may use.
  const key = KeyObject.from(privateKey);
  const jwk = await exportJWK(publicKey);
  if (published) keys.push({ ...jwk, ...published });
  return { key, publicKey, jwk };
}

function sign(key, header, changed) {
  return new SignJWT({ ...claims, ...changed }).setProtectedHeader({ typ: "at+jwt", ...header }).sign(key);
}

for (const alg of ALGORITHMS) {
  const { key } = await newKey(alg, { kid: alg, alg, use: "sig" });
  const header = { alg, kid: alg, typ: "at+jwt" };
  add(alg, true, await sign(key, header));
  add(`${alg} without kid`, true, await sign(key, { alg }));

  const other = await newKey(alg);
  add(`${alg} by another key`, false, await sign(other.key, header));
  add(`${alg} by a key that it brings along`, false, await sign(other.key, { ...header, jwk: other.jwk }));
  add(`${alg} with an unknown kid`, false, await sign(key, { ...header, kid: "unknown" }));
  add(`${alg} of another type`, false, await sign(key, { ...header, typ: "JWT" }));
  add(`${alg} of no type`, false, await sign(key, { ...header, typ: undefined }));
  add(`${alg} of another issuer`, false, await sign(key, header, { iss: "https://other.example" }));
  add(`${alg} for others`, false, await sign(key, header, { aud: "https://other.example" }));
  add(`${alg} that has expired`, false, await sign(key, header, { exp: 1 }));

  const compact = new CompactSign(payload);
  const critical = { ...header, crit: ["example"], example: 1 };
  add(`${alg} with crit`, false, await compact.setProtectedHeader(critical).sign(key, { crit: { example: true } }));
  const encoded = { ...header, crit: ["b64"], b64: true };
  add(`${alg} with b64`, false, await new CompactSign(payload).setProtectedHeader(encoded).sign(key));
  const detached = { ...header, crit: ["b64"], b64: false };
  const flat = await new FlattenedSign(payload).setProtectedHeader(detached).sign(key);
  add(`${alg} without its payload`, false, `${flat.protected}..${flat.signature}`);
  add(`${alg} with b64 of false`, false, `${flat.protected}.${base64url.encode(payload)}.${flat.signature}`);
}

const ed25519 = await newKey("Ed25519", { kid: "Ed25519" });
add("Ed25519 by that name", true, await sign(ed25519.key, { alg: "Ed25519", kid: "Ed25519" }));

// A key that names no algorithm is for both of RSA, and one that names one is for that.
const rsa = await newKey("RS256", { kid: "RSA" });
const rsaForPs256 = await newKey("PS256", { kid: "RSA for PS256", alg: "PS256" });
add("RS256 by any RSA key", true, await sign(rsa.key, { alg: "RS256", kid: "RSA" }));
add("PS256 by any RSA key", true, await sign(rsa.key, { alg: "PS256", kid: "RSA" }));
add("RS256 by a key for PS256", false, await sign(rsaForPs256.key, { alg: "RS256", kid: "RSA for PS256" }));
for (const alg of ["RS384", "RS512", "PS384", "PS512"]) {
  add(alg, false, await sign(rsa.key, { alg, kid: "RSA" }));
}
const p521 = await newKey("ES512", { kid: "ES512", alg: "ES512" });
add("ES512", false, await sign(p521.key, { alg: "ES512", kid: "ES512" }));

add("none", false, new UnsecuredJWT(claims).encode());
for (const alg of ["none", "None", "NONE", "nOnE"]) {
  const header = base64url.encode(JSON.stringify({ typ: "at+jwt", alg, kid: "RSA" }));
  add(`${alg} with a type and a kid`, false, `${header}.${base64url.encode(payload)}.`);
}

// With what everybody knows as the secret.
const spki = await exportSPKI(rsa.publicKey);
const secrets = {
  PEM: spki,
  "PEM without a line end": spki.trim(),
  DER: createPublicKey(spki).export({ format: "der", type: "spki" }),
  "PKCS#1": createPublicKey(spki).export({ format: "pem", type: "pkcs1" }),
  JWK: JSON.stringify(rsa.jwk),
  modulus: base64url.decode(rsa.jwk.n),
  nothing: "",
};
for (const [what, secret] of Object.entries(secrets)) {
  const header = base64url.encode(JSON.stringify({ typ: "at+jwt", alg: "HS256", kid: "RSA" }));
  const signed = `${header}.${base64url.encode(payload)}`;
  const mac = createHmac("sha256", secret).update(signed).digest("base64url");
  add(`HS256 by the public key, ${what}`, false, `${signed}.${mac}`);
}

const forRsa = { typ: "at+jwt", cty: "at+jwt", alg: "RSA-OAEP-256", enc: "A128GCM", kid: "RSA" };
const nested = new TextEncoder().encode(await sign(rsa.key, { alg: "RS256", kid: "RSA" }));
add("encrypted", false, await new CompactEncrypt(nested).setProtectedHeader(forRsa).encrypt(createPublicKey(spki)));

const keySet = createLocalJWKSet(theirKeys);
const verify = (token) => jwtVerify(token, keySet, { issuer, audience, typ: "at+jwt", algorithms: ALGORITHMS });
const verified = await Promise.all(
  theirTokens.map((token) => verify(token).then(({ payload }) => payload).catch(() => null)),
);

console.log(JSON.stringify({ keys: { keys }, tokens, verified }));
