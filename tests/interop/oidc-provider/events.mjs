// Security event tokens and logout tokens that `jose` signs. Reads one object of JSON from stdin:
//
//   algorithms   to sign with, each with a key of its own
//   examples     what to sign: `typ` of the header, and the claims
//
// Prints one: the key set, and for each example, in their order, a `token` by each algorithm and one that is `forged`:
// signed by another key. Times and identifiers are new, the rest is signed as it is.
import { randomUUID } from "node:crypto";
import { text } from "node:stream/consumers";
import { exportJWK, generateKeyPair, SignJWT } from "jose";

const { algorithms, examples } = JSON.parse(await text(process.stdin));
const now = Math.floor(Date.now() / 1000);
const keys = [];
const signed = examples.map(() => ({ token: {}, forged: {} }));

for (const alg of algorithms) {
  const { privateKey, publicKey } = await generateKeyPair(alg);
  const other = await generateKeyPair(alg);
  keys.push({ ...(await exportJWK(publicKey)), kid: alg, alg, use: "sig" });
  for (const [at, { typ, claims }] of examples.entries()) {
    const current = { ...claims, iat: now, jti: randomUUID(), ...(claims.exp && { exp: now + 120 }) };
    const sign = (key) => new SignJWT(current).setProtectedHeader({ typ, alg, kid: alg }).sign(key);
    signed[at].token[alg] = await sign(privateKey);
    signed[at].forged[alg] = await sign(other.privateKey);
  }
}

console.log(JSON.stringify({ keys: { keys }, signed }));
