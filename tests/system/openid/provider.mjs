// Owns an OpenID provider for tests: oidc-provider, which is certified, with one client, people from standard input, and
// the plainest of pages to sign in on. It says its port once it listens; a line {"people"} or {"rotate"} is answered.

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

const { clientId, clientSecret, redirectUris, method } = JSON.parse(process.argv[2]);
console.info = console.warn = console.error;  // standard output is for answers
let people = {};
let provider;

const key = () => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
  kid: randomUUID(),
  use: 'sig',
});

const page = (ctx, body) => {
  ctx.type = 'html';
  ctx.body = `<!doctype html><html lang="en"><title>Provider</title><link rel="icon" href="data:,"><main>${body}</main></html>`;
};

async function form(ctx) {
  let text = '';
  for await (const part of ctx.req) text += part;
  return new URLSearchParams(text);
}

async function interact(ctx, next) {
  if (!ctx.path.startsWith('/interaction/')) return next();
  if (ctx.method === 'GET') {
    return page(ctx, '<h1>Who are you?</h1><form method="post"><label>Name <input name="login" autofocus></label> '
      + '<button>Enter</button> <button name="no" value="1">Cancel</button></form>');
  }
  const fields = await form(ctx);
  const result = fields.has('no') ? { error: 'access_denied' } : { login: { accountId: fields.get('login') } };
  const where = await provider.interactionResult(ctx.req, ctx.res, result);
  ctx.status = 303;
  ctx.redirect(where);
  return undefined;
}

function make(issuer) {
  const made = new Provider(issuer, {
    clients: [{
      client_id: clientId,
      client_secret: clientSecret,
      redirect_uris: redirectUris,
      token_endpoint_auth_method: method,
    }],
    jwks: { keys: [key()] },
    cookies: { keys: [randomUUID()] },
    conformIdTokenClaims: false,
    claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'], roles: ['tokn_roles', 'tokn_organization'] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_ctx, id) => (people[id] ? { accountId: id, claims: async () => ({ sub: id, ...people[id] }) } : undefined),
    // The client is the deployment's own: nobody is asked whether it may know who he is.
    async loadExistingGrant(ctx) {
      const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope('openid profile email roles');
      await grant.save();
      return grant;
    },
  });
  made.use(interact);
  return made;
}

const server = createServer((request, response) => provider.callback()(request, response));
server.listen(0, 'localhost', () => {
  const issuer = `http://localhost:${server.address().port}`;
  provider = make(issuer);
  console.log(JSON.stringify({ issuer }));
  createInterface({ input: process.stdin }).on('line', (line) => {
    const told = JSON.parse(line);
    if (told.people) people = told.people;
    if (told.rotate) provider = make(issuer);
    console.log('{}');
  });
});
