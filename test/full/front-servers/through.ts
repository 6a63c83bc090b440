import { freePorts } from '../../support/free-port.ts'
import { startApache, startLighttpd } from '../../support/front-servers.ts'
import { createNginxDirectory, startNginx } from '../../support/nginx.ts'
import { startCgiFcgi } from './cgi-fcgi.ts'

/** A way from a client to a gateway: the name of its front server and protocol, and the port for clients. */
export interface Way {
  readonly name: string
  readonly port: number
}

const PROTOCOLS = ['uwsgi', 'fastcgi', 'scgi'] as const
/** The names of all ways. */
export const WAYS: readonly string[] = [
  ...['on', 'off'].flatMap((buffering) =>
    ['proxy', ...PROTOCOLS].map((protocol) => `nginx ${protocol}, buffering ${buffering}`),
  ),
  ...['Apache', 'lighttpd'].flatMap((server) => PROTOCOLS.map((protocol) => `${server} ${protocol}`)),
  'cgi-fcgi',
]
/** How Apache calls them in URLs. */
const SCHEMES = { uwsgi: 'uwsgi', fastcgi: 'fcgi', scgi: 'scgi' } as const

/** Running front servers. */
interface FrontServers {
  readonly ways: readonly Way[]
  readonly servers: readonly AsyncDisposable[]
}

/** Starts every front server in front of a gateway; `at` says its address by a protocol. */
export async function startFrontServers(at: At): Promise<FrontServers> {
  const all = [await nginx(at), await apache(at), await lighttpd(at), await cgi(at)]
  return { ways: all.flatMap(({ ways }) => ways), servers: all.flatMap(({ servers }) => servers) }
}

type At = (protocol: string) => string

async function nginx(at: At): Promise<FrontServers> {
  const ways: Way[] = []
  const [ready = 0, ...ports] = await freePorts(9)
  const servers = ['on', 'off'].flatMap((buffering) =>
    ['proxy', ...PROTOCOLS].map((protocol) => {
      const port = ports.pop() ?? 0
      ways.push({ name: `nginx ${protocol}, buffering ${buffering}`, port })
      const own =
        protocol === 'proxy'
          ? `proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection ""; proxy_pass http://${at('http')};`
          : `include /etc/nginx/${protocol}_params; ${protocol}_param HTTP_HOST $http_host; ${protocol}_pass ${at(protocol)};`
      // By SCGI it announces wrong lengths without (https://github.com/nginx/nginx/pull/1118).
      const requests = protocol === 'scgi' ? 'on' : buffering
      return `
  server {
    listen 127.0.0.1:${port};
    client_max_body_size 0;
    location / {
      ${own}
      ${protocol}_buffering ${buffering};
      ${protocol}_request_buffering ${requests};
      ${protocol}_buffer_size 16k;
      ${protocol}_buffers 8 16k;
    }
  }`
    }),
  )
  servers.push(`server { listen 127.0.0.1:${ready}; location / { return 200; } }`)
  return { ways, servers: [await startNginx(await createNginxDirectory(), ready, servers.join('\n'))] }
}

async function apache(at: At): Promise<FrontServers> {
  const ports = await freePorts(PROTOCOLS.length)
  const ways = PROTOCOLS.map((protocol, index) => ({ name: `Apache ${protocol}`, port: ports[index] ?? 0 }))
  const hosts = PROTOCOLS.map(
    (protocol, index) => `Listen 127.0.0.1:${ports[index]}
<VirtualHost 127.0.0.1:${ports[index]}>
  AllowEncodedSlashes NoDecode
  <Location "/">
    CGIPassAuth on
  </Location>
  ProxyPass "/" "${SCHEMES[protocol]}://${at(protocol)}/" flushpackets=on${protocol === 'fastcgi' ? ' enablereuse=on' : ''}
</VirtualHost>`,
  )
  // It is what a client waits whose answer broke off, by FastCGI and SCGI.
  const configuration = ['KeepAliveTimeout 1', ...hosts].join('\n')
  return { ways, servers: [await startApache(configuration, `http://127.0.0.1:${ports[0]}/probe`)] }
}

async function lighttpd(at: At): Promise<FrontServers> {
  const [ready = 0, ...ports] = await freePorts(PROTOCOLS.length + 1)
  const ways = PROTOCOLS.map((protocol, index) => ({ name: `lighttpd ${protocol}`, port: ports[index] ?? 0 }))
  const sockets = PROTOCOLS.map((protocol, index) => {
    const [host, port] = at(protocol).split(':')
    const server = `("/" => (("host" => "${host}", "port" => ${port}, "check-local" => "disable")))`
    const option = protocol === 'fastcgi' ? 'fastcgi.server' : 'scgi.server'
    const uwsgi = protocol === 'uwsgi' ? 'scgi.protocol = "uwsgi"\n  ' : ''
    return `$SERVER["socket"] == "127.0.0.1:${ports[index]}" {\n  ${uwsgi}${option} = ${server}\n}`
  })
  const configuration = [
    'server.modules += ("mod_fastcgi", "mod_scgi")',
    'server.stream-response-body = 2',
    ...sockets,
  ].join('\n')
  return { ways, servers: [await startLighttpd(configuration, ready, `http://127.0.0.1:${ports[0]}/probe`)] }
}

async function cgi(at: At): Promise<FrontServers> {
  const server = await startCgiFcgi(at('fastcgi'))
  return { ways: [{ name: 'cgi-fcgi', port: server.port }], servers: [server] }
}
