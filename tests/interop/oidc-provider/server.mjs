// An authorization server made of `oidc-provider`, on a port of loopback the system chooses. Prints one line of JSON to
// stdout once it answers; it ends with its stdin or on SIGTERM.
//
// Its access tokens are opaque, unless they are asked for the resource `JWT_RESOURCE`. What a JWT is like stands in the
// query of that resource: `alg`, `aud`, `typ`, and `iss` of a server that names another one.
//
// With the URL of a service that takes logout tokens as its argument it has users, who log in by naming themselves in
// `login_hint`, and tells that service when one of them logs out.
//
// It has new keys after `POST /rotate`, as if it had been started again with another configuration. After
// `POST /rotate?keep` the old ones stay in its key set, behind the new ones.
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
const JWT_RESOURCE = "https://jwt.example.com/";
const SCOPES = "read write";
const ID_TOKEN_GRANT = "urn:example:id-token";

async function newKey(alg) {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  return { privateKey, jwk, publicJwk: { ...jwk, kid, alg, use: "sig" } };
}

// What the server signs with. A key is for every algorithm that fits it.
async function newServerKeys() {
  const keys = await Promise.all(["RS256", "ES256", "ES384", "EdDSA"].map(newKey));
  return Promise.all(keys.map(async ({ privateKey }) => ({ ...(await exportJWK(privateKey)), use: "sig" })));
}

const app = {
  client_id: "app",
  client_secret: "app-secret",
  token_endpoint_auth_method: "client_secret_basic",
  grant_types: ["client_credentials", ID_TOKEN_GRANT],
  redirect_uris: [],
  response_types: [],
  scope: SCOPES,
};
// Has its tokens bound to the certificate that it shows, RFC 8705 section 3.
const mtlsApp = { ...app, client_id: "mtls-app", tls_client_certificate_bound_access_tokens: true };
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
// These get the answers of introspection signed if they ask for that (RFC 9701), the last one encrypted, too. Those
// above get them signed by RS256.
const answered = Object.fromEntries(
  ["PS256", "ES256", "EdDSA", "HS256", "encrypted"].map((how) => [
    how,
    { ...post, client_id: `rs-${how}`, introspection_signed_response_alg: how },
  ]),
);
Object.assign(answered.encrypted, {
  introspection_signed_response_alg: "RS256",
  introspection_encrypted_response_alg: "ECDH-ES",
  introspection_encrypted_response_enc: "A128GCM",
  jwks: { keys: [{ ...(await newKey("ECDH-ES")).publicJwk, use: "enc" }] },
});
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

const [backchannel_logout_uri] = process.argv.slice(2);
const loginApp = {
  client_id: "login-app",
  client_secret: "login-app-secret",
  redirect_uris: [`${issuer}/callback`],
  backchannel_logout_uri,
  backchannel_logout_session_required: true,
};
const users = backchannel_logout_uri && {
  pkce: { required: () => false },
  interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
  // Whoever logs in has consented to everything.
  loadExistingGrant: async ({ oidc: { client, session, provider } }) => {
    const known = session.grantIdFor(client.clientId);
    if (known) return provider.Grant.find(known);
    const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope(`openid ${SCOPES}`);
    for (const resource of [AUDIENCE, JWT_RESOURCE]) grant.addResourceScope(resource, SCOPES);
    await grant.save();
    return grant;
  },
  // By default it sends nothing to loopback.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
};

const configuration = {
  ...users,
  clients: [
    ...[app, dpopApp, mtlsApp, basic, post, ...Object.values(answered), ...signing.map(({ client }) => client)],
    ...(users ? [loginApp] : []),
  ],
  scopes: ["openid", ...SCOPES.split(" ")],
  clientAuthMethods: ["client_secret_basic", "client_secret_post", "private_key_jwt"],
  enabledJWA: { introspectionSigningAlgValues: ["RS256", "PS256", "ES256", "EdDSA", "HS256"] },
  ttl: { ClientCredentials: 600, IdToken: 600 },
  features: {
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    encryption: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      // As from a proxy that ends TLS: in PEM, percent-encoded.
      getCertificate: (ctx) => decodeURIComponent(ctx.get("x-ssl-client-cert")),
    },
    introspection: {
      enabled: true,
      // The default does the same for confidential clients, and warns that it is one.
      allowedPolicy: () => true,
    },
    jwtIntrospection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // A token is for some resource even if its client names none, and so it has an audience.
      defaultResource: () => AUDIENCE,
      getResourceServerInfo: (_ctx, resource) => {
        if (resource === AUDIENCE) return { audience: AUDIENCE, scope: SCOPES, accessTokenFormat: "opaque" };
        if (!resource.startsWith(JWT_RESOURCE)) throw new errors.InvalidTarget();
        const { alg = "RS256", aud = AUDIENCE } = query(resource);
        return { audience: aud, scope: SCOPES, accessTokenFormat: "jwt", jwt: { sign: { alg } } };
      },
    },
  },
  formats: {
    customizers: {
      jwt: (_ctx, token, jwt) => {
        const { iss, typ } = query(token.resourceServer.identifier());
        if (iss) jwt.payload.iss = iss;
        if (typ) jwt.header = { typ };
      },
    },
  },
};

function query(url) {
  return Object.fromEntries(new URL(url).searchParams);
}

let serverKeys = [];
let provider;
let handle;

async function rotate(old) {
  serverKeys = [...(await newServerKeys()), ...old];
  provider = new Provider(issuer, { ...configuration, jwks: { keys: serverKeys } });
  provider.on("server_error", (_ctx, error) => console.error(error));
  provider.registerGrantType(ID_TOKEN_GRANT, async (ctx) => {
    const idToken = new provider.IdToken({ sub: "ann" }, { ctx });
    idToken.scope = "openid";
    const logoutToken = new provider.IdToken({ sub: "ann" }, { ctx });
    logoutToken.scope = "openid";
    logoutToken.set("events", { "http://schemas.openid.net/event/backchannel-logout": {} });
    ctx.body = {
      id_token: await idToken.issue({ use: "idtoken" }),
      logout_token: await logoutToken.issue({ use: "logout" }),
    };
  });
  handle = provider.callback();
}

await rotate([]);
server.on("request", (request, response) => {
  const [path, keep] = request.url.split("?");
  if (path.startsWith("/interaction/")) return login(request, response);
  if (path !== "/rotate") return handle(request, response);
  rotate(keep ? serverKeys : []).then(() => response.end("{}"));
});

async function login(request, response) {
  const { params } = await provider.interactionDetails(request, response);
  await provider.interactionFinished(request, response, { login: { accountId: params.login_hint } });
}

const metadata = await (await fetch(`${issuer}/.well-known/oauth-authorization-server`)).json();

console.log(
  JSON.stringify({
    issuer: metadata.issuer,
    introspection_endpoint: metadata.introspection_endpoint,
    token_endpoint: metadata.token_endpoint,
    revocation_endpoint: metadata.revocation_endpoint,
    authorization_endpoint: metadata.authorization_endpoint,
    end_session_endpoint: metadata.end_session_endpoint,
    rotation: `${issuer}/rotate`,
    jwt_resource: JWT_RESOURCE,
    id_token_grant: ID_TOKEN_GRANT,
    basic: credentials(basic),
    post: credentials(post),
    app: credentials(app),
    dpop_app: credentials(dpopApp),
    mtls_app: credentials(mtlsApp),
    login_app: credentials(loginApp),
    answered: Object.fromEntries(Object.entries(answered).map(([how, client]) => [how, credentials(client)])),
    private_key_jwt: signing.map(({ printed }) => printed),
    dpop_token: await dpopToken(metadata.token_endpoint, AUDIENCE),
    dpop_jwt: await dpopToken(metadata.token_endpoint, JWT_RESOURCE),
  }),
);

function credentials({ client_id, client_secret }) {
  return { client_id, client_secret };
}

// An access token bound to a key of its own, RFC 9449.
async function dpopToken(url, resource) {
  const { privateKey, jwk } = await newKey("ES256");
  const proof = await new SignJWT({ htm: "POST", htu: url, jti: randomUUID() })
    .setProtectedHeader({ typ: "dpop+jwt", alg: "ES256", jwk })
    .setIssuedAt()
    .sign(privateKey);
  const response = await fetch(url, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${dpopApp.client_id}:${dpopApp.client_secret}`)}`, dpop: proof },
    body: new URLSearchParams({ grant_type: "client_credentials", scope: SCOPES, resource }),
  });
  if (!response.ok) throw new Error(`no DPoP token: ${response.status} ${await response.text()}`);
  return (await response.json()).access_token;
}
