// A real identity provider (oidc-provider, certified): a public client, PKCE, the device flow, and tokens that end soon.
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

const server = createServer();
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'valetkey-cli',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['http://127.0.0.1/callback', 'http://127.0.0.1/console/signed-in'],
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      response_types: ['code'],
    },
  ],
  features: { deviceFlow: { enabled: true }, revocation: { enabled: true } },
  // Each refresh token is good once.
  rotateRefreshToken: true,
  ttl: { IdToken: Number(process.argv[2] ?? 10) },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});
server.on('request', provider.callback());
console.log(issuer);
