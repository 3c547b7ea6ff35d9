// DPoP proofs, RFC 9449, that `jose` signs. Reads one object of JSON from stdin:
//
//   url, method   of the request that they are for
//
// Prints an array of them: each with a token that is bound to its key, which is `bound-to-` and the thumbprint; `good`,
// or wrong in one respect.
import { createHash, createHmac, createPublicKey, KeyObject, randomUUID } from "node:crypto";
import { text } from "node:stream/consumers";
import { base64url, calculateJwkThumbprint, exportJWK, exportSPKI, generateKeyPair, SignJWT } from "jose";

const { url, method } = JSON.parse(await text(process.stdin));
const proofs = [];

async function newKey(alg, options) {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true, ...options });
  const jwk = await exportJWK(publicKey);
  // Of Node's own kind, which any algorithm of its type may use.
  return { key: KeyObject.from(privateKey), publicKey, jwk, token: `bound-to-${await calculateJwkThumbprint(jwk)}` };
}

function claims(token, changed) {
  const ath = createHash("sha256").update(token).digest("base64url");
  return { jti: randomUUID(), htm: method, htu: url, iat: Math.floor(Date.now() / 1000), ath, ...changed };
}

function sign(key, header, token, changed) {
  return new SignJWT(claims(token, changed)).setProtectedHeader({ typ: "dpop+jwt", ...header }).sign(key);
}

async function add(what, good, token, proof) {
  proofs.push({ what, good, token, proof: await proof });
}

for (const alg of ["ES256", "ES384", "PS256", "RS256", "EdDSA", "Ed25519"]) {
  const { key, jwk, token } = await newKey(alg);
  const header = { alg, jwk };
  await add(alg, true, token, sign(key, header, token));
  const more = { ...jwk, kid: "mine", alg, use: "sig", key_ops: ["verify"], ext: true };
  await add(`${alg} with all that a key may state`, true, token, sign(key, { alg, jwk: more, kid: "mine" }, token));
  await add(`${alg} with other claims`, true, token, sign(key, header, token, { exp: 1, nbf: 9e9, nonce: "x", a: {} }));

  const other = await newKey(alg);
  await add(`${alg} by another key`, false, token, sign(other.key, { alg, jwk: other.jwk }, token));
  await add(`${alg} by another key than it states`, false, token, sign(other.key, header, token));
  await add(`${alg} without a key`, false, token, sign(key, { alg }, token));
  await add(`${alg} with the private key`, false, token, sign(key, { alg, jwk: await exportJWK(key) }, token));
  await add(`${alg} of another type`, false, token, sign(key, { ...header, typ: "JWT" }, token));
  await add(`${alg} for another token`, false, token, sign(key, header, other.token));
  await add(`${alg} for another method`, false, token, sign(key, header, token, { htm: "DELETE" }));
  await add(`${alg} for another URI`, false, token, sign(key, header, token, { htu: `${url}/x` }));
  await add(`${alg} made long ago`, false, token, sign(key, header, token, { iat: claims(token).iat - 600 }));
}

// One key of RSA signs by two algorithms.
const rsa = await newKey("RS256");
for (const alg of ["RS256", "PS256"]) {
  await add(`${alg} by any RSA key`, true, rsa.token, sign(rsa.key, { alg, jwk: rsa.jwk }, rsa.token));
}
const large = await newKey("RS256", { modulusLength: 4096 });
await add("RS256 by 4,096 bits", true, large.token, sign(large.key, { alg: "RS256", jwk: large.jwk }, large.token));
for (const alg of ["RS384", "RS512", "PS384", "PS512"]) {
  await add(alg, false, rsa.token, sign(rsa.key, { alg, jwk: rsa.jwk }, rsa.token));
}
const p521 = await newKey("ES512");
await add("ES512", false, p521.token, sign(p521.key, { alg: "ES512", jwk: p521.jwk }, p521.token));

function unsigned(header) {
  return [{ typ: "dpop+jwt", ...header }, claims(rsa.token)].map((part) => base64url.encode(JSON.stringify(part)));
}

for (const alg of ["none", "None", "NONE", undefined]) {
  await add(`${alg} with a key`, false, rsa.token, `${unsigned({ alg, jwk: rsa.jwk }).join(".")}.`);
}

// With what everybody knows as the secret.
const spki = await exportSPKI(rsa.publicKey);
const secrets = {
  PEM: spki,
  DER: createPublicKey(spki).export({ format: "der", type: "spki" }),
  JWK: JSON.stringify(rsa.jwk),
  nothing: "",
};
for (const [what, secret] of Object.entries(secrets)) {
  for (const jwk of [rsa.jwk, { kty: "oct", k: base64url.encode(secret) }]) {
    const signed = unsigned({ alg: "HS256", jwk }).join(".");
    const mac = createHmac("sha256", secret).update(signed).digest("base64url");
    await add(`HS256 by the public key, ${what}, ${jwk.kty}`, false, rsa.token, `${signed}.${mac}`);
  }
}

console.log(JSON.stringify(proofs));
