// A client made of `oauth4webapi`: it gets tokens that are bound to a key of its own (DPoP, RFC 9449) from a server and
// asks services for their resources with them. Reads one object of JSON from stdin:
//
//   issuer, client_id, client_secret, scope   where tokens come from
//   resources   which tokens to get: by a name, what they are asked for
//   services    whom to ask: by a name, a URL
//   targets     for what: a method, and what is appended to the URL
//
// Prints one array: for each step what was done, with which statuses the service answered on the way and whether the
// proofs had nonces, and how it ended.
import { text } from "node:stream/consumers";
import { decodeJwt } from "jose";
import * as oauth from "oauth4webapi";

const { issuer, client_id, client_secret, scope, resources, services, targets } = JSON.parse(
  await text(process.stdin),
);
// The server and the services are on loopback.
const insecure = { [oauth.allowInsecureRequests]: true };
const steps = [];

const found = await oauth.discoveryRequest(new URL(issuer), { algorithm: "oauth2", ...insecure });
const server = await oauth.processDiscoveryResponse(new URL(issuer), found);
const client = { client_id };

for (const [kind, resource] of Object.entries(resources)) {
  for (const [service, url] of Object.entries(services)) {
    // The nonces of one service are no other's.
    const dpop = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
    const token = await newToken(dpop, resource);
    const step = async (what, doing) => steps.push({ kind, service, what, ...(await doing()) });

    for (const { method, path } of targets) {
      await step(`${method} ${path}`, () => ask(dpop, token, method, new URL(url + path)));
    }
    const { method, path } = targets[0];
    const target = new URL(url + path);
    const { sent } = await ask(dpop, token, method, target);
    await step("replayed", () => sendAgain(sent, target));
    await step("another token", async () => ask(dpop, await newToken(dpop, resource), method, target));
    const other = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
    await step("another key", () => ask(other, token, method, target));
    await step("bearer", () => ask(undefined, token, method, target));
    await step("no proof", () => sendAgain({ method, headers: { authorization: `DPoP ${token}` } }, target));
    await step("another path", async () => {
      const { sent } = await ask(dpop, token, method, new URL(`${url}/nowhere`));
      return sendAgain(sent, target);
    });
    await step("no token", () => sendAgain({ method, headers: {} }, target));
  }
}

console.log(JSON.stringify(steps.map(({ sent, ...step }) => step)));

async function newToken(dpop, resource) {
  const authentication = oauth.ClientSecretBasic(client_secret);
  const answer = await oauth.clientCredentialsGrantRequest(server, client, authentication, { scope, resource }, {
    DPoP: dpop,
    ...insecure,
  });
  const { access_token, token_type } = await oauth.processClientCredentialsResponse(server, client, answer);
  if (token_type !== "dpop") throw new Error(`a token of the type ${token_type}`);
  return access_token;
}

// As the library's own examples do: once more, if the answer asks for a nonce.
async function ask(dpop, token, method, url) {
  const [statuses, nonces] = [[], []];
  let sent;
  const watched = async (url, options) => {
    sent = options;
    nonces.push("nonce" in (dpop ? decodeJwt(options.headers.dpop) : {}));
    const answer = await fetch(url, options);
    statuses.push(answer.status);
    return answer;
  };
  const body = method === "POST" ? "a body" : undefined;
  const request = () =>
    oauth.protectedResourceRequest(token, method, url, undefined, body, {
      DPoP: dpop,
      [oauth.customFetch]: watched,
      ...insecure,
    });
  try {
    const answer = await request().catch((error) => {
      if (dpop && oauth.isDPoPNonceError(error)) return request();
      throw error;
    });
    return { statuses, nonces, sent, body: answer.ok ? await answer.json() : null };
  } catch (error) {
    if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw error;
    return { statuses, nonces, sent, challenges: error.cause };
  }
}

async function sendAgain({ method, headers }, url) {
  const answer = await fetch(url, { method, headers });
  return { statuses: [answer.status], challenge: answer.headers.get("www-authenticate") };
}
