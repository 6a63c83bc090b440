import { freePort } from '../support/free-port.ts'
import { type Nginx, startNginx } from '../support/nginx.ts'

/** How nginx passes requests on, by the protocol that the server behind it speaks. */
const PASS = {
  http: 'proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;',
  uwsgi: 'include /etc/nginx/uwsgi_params; uwsgi_pass app;',
  fastcgi: 'include /etc/nginx/fastcgi_params; fastcgi_pass app; fastcgi_keep_conn on;',
} as const

export type PassedBy = keyof typeof PASS

/**
 * Starts an nginx that passes everything on to a server behind a Unix socket, with one worker, since every other front and server here has one
 * process, and without a log of requests, as Mongrel2 beside it. Connections to both sides are kept; those of uwsgi end with their request.
 *
 * @param directory Where the server behind it listens at `server.sock`; removed with nginx.
 */
export async function startNginxBefore(directory: string, protocol: PassedBy): Promise<Nginx> {
  const port = await freePort()
  const http = `  keepalive_requests 1000000000;
  client_max_body_size 0;
  upstream app {
    server unix:${directory}/server.sock;
    keepalive 128;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port};
    location / { ${PASS[protocol]} }
  }
`
  return await startNginx(directory, port, http)
}
