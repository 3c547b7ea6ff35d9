// An authorization server made of `oidc-provider`, on a port of loopback the system chooses. Prints one line of JSON to
// stdout once it answers; it ends with its stdin or on SIGTERM.
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { calculateJwkThumbprint, exportJWK, exportPKCS8, generateKeyPair, SignJWT } from "jose";
import Provider, { errors } from "oidc-provider";

// The library's notices go to stdout, where the one line is read.
console.info = console.error;

process.on("SIGTERM", () => process.exit(0));
// Whoever started this holds the other end, so no server outlives a test run that was killed.
process.stdin.on("end", () => process.exit(0)).resume();

const AUDIENCE = "https://api.example.com";
const SCOPES = "read write";

async function newKey(alg) {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  return { privateKey, jwk, publicJwk: { ...jwk, kid, alg, use: "sig" } };
}

const app = {
  client_id: "app",
  client_secret: "app-secret",
  token_endpoint_auth_method: "client_secret_basic",
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
  scope: SCOPES,
};
const dpopApp = { ...app, client_id: "dpop-app", dpop_bound_access_tokens: true };

// These introspect and get no tokens.
const resourceServer = { grant_types: [], redirect_uris: [], response_types: [] };
const basic = {
  ...resourceServer,
  // Read correctly only if the client form-urlencodes both, as RFC 6749, section 2.3.1, asks.
  client_id: "rs:1 +/%&=",
  client_secret: "p:+/%& =~s!",
  token_endpoint_auth_method: "client_secret_basic",
};
const post = {
  ...resourceServer,
  client_id: "rs-post",
  client_secret: "rs-post-secret",
  token_endpoint_auth_method: "client_secret_post",
};
const signing = await Promise.all(
  ["RS256", "ES256"].map(async (alg) => {
    const { privateKey, publicJwk } = await newKey(alg);
    const client = {
      ...resourceServer,
      client_id: `rs-${alg.toLowerCase()}`,
      token_endpoint_auth_method: "private_key_jwt",
      token_endpoint_auth_signing_alg: alg,
      jwks: { keys: [publicJwk] },
    };
    const printed = {
      client_id: client.client_id,
      key_id: publicJwk.kid,
      private_key_pem: await exportPKCS8(privateKey),
    };
    return { client, printed };
  }),
);

// The issuer holds the port, so the port comes before the provider.
const server = createServer().listen(0, "127.0.0.1");
await once(server, "listening");
const issuer = `http://127.0.0.1:${server.address().port}`;

const serverKey = await newKey("RS256");
const provider = new Provider(issuer, {
  clients: [app, dpopApp, basic, post, ...signing.map(({ client }) => client)],
  // Not the built-in key, about which the library warns.
  jwks: { keys: [{ ...(await exportJWK(serverKey.privateKey)), alg: "RS256", use: "sig" }] },
  scopes: SCOPES.split(" "),
  clientAuthMethods: ["client_secret_basic", "client_secret_post", "private_key_jwt"],
  ttl: { ClientCredentials: 600 },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    introspection: {
      enabled: true,
      // The default does the same for confidential clients, and warns that it is one.
      allowedPolicy: () => true,
    },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // A token is for some resource even if its client names none, and so it has an audience.
      defaultResource: () => AUDIENCE,
      getResourceServerInfo: (_ctx, resource) => {
        if (resource !== AUDIENCE) throw new errors.InvalidTarget();
        return { audience: AUDIENCE, scope: SCOPES, accessTokenFormat: "opaque" };
      },
    },
  },
});
provider.on("server_error", (_ctx, error) => console.error(error));
server.on("request", provider.callback());

const metadata = await (await fetch(`${issuer}/.well-known/oauth-authorization-server`)).json();

console.log(
  JSON.stringify({
    issuer: metadata.issuer,
    introspection_endpoint: metadata.introspection_endpoint,
    token_endpoint: metadata.token_endpoint,
    revocation_endpoint: metadata.revocation_endpoint,
    basic: credentials(basic),
    post: credentials(post),
    app: credentials(app),
    private_key_jwt: signing.map(({ printed }) => printed),
    dpop_token: await dpopToken(metadata.token_endpoint),
  }),
);

function credentials({ client_id, client_secret }) {
  return { client_id, client_secret };
}

// An access token bound to a key of its own, RFC 9449.
async function dpopToken(url) {
  const { privateKey, jwk } = await newKey("ES256");
  const proof = await new SignJWT({ htm: "POST", htu: url, jti: randomUUID() })
    .setProtectedHeader({ typ: "dpop+jwt", alg: "ES256", jwk })
    .setIssuedAt()
    .sign(privateKey);
  const response = await fetch(url, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${dpopApp.client_id}:${dpopApp.client_secret}`)}`, dpop: proof },
    body: new URLSearchParams({ grant_type: "client_credentials", scope: SCOPES }),
  });
  if (!response.ok) throw new Error(`no DPoP token: ${response.status} ${await response.text()}`);
  return (await response.json()).access_token;
}
