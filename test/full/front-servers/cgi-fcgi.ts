import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

/** An HTTP server that runs `cgi-fcgi` as a CGI program for each request; that passes it on to a FastCGI address. */
export async function startCgiFcgi(address: string): Promise<AsyncDisposable & { port: number }> {
  const server = createServer({ requireHostHeader: false }, async (request, response) => {
    const { method = '', url = '', headers } = request
    const fields = Object.entries(request.headersDistinct).map(([name, values]) => [
      `HTTP_${name.toUpperCase().replaceAll('-', '_')}`,
      values?.join(name === 'cookie' ? '; ' : ', '),
    ])
    const env = {
      ...Object.fromEntries(fields),
      REQUEST_METHOD: method,
      REQUEST_URI: url,
      REMOTE_ADDR: '127.0.0.1',
      SERVER_PROTOCOL: `HTTP/${request.httpVersion}`,
      ...(headers['content-type'] === undefined ? {} : { CONTENT_TYPE: headers['content-type'] }),
    }
    const body = await buffer(request).catch(() => undefined)
    if (body === undefined) return // the client has left
    if (headers['content-length'] ?? headers['transfer-encoding'])
      Object.assign(env, { CONTENT_LENGTH: String(body.length) })
    const child = spawn('cgi-fcgi', ['-bind', '-connect', address], { env, stdio: ['pipe', 'pipe', 'inherit'] })
    child.stdin.on('error', () => {}).end(body)
    const [output, [status]] = await Promise.all([buffer(child.stdout), once(child, 'exit')])
    const end = output.indexOf('\r\n\r\n')
    const [first = '', ...lines] = output.toString('latin1', 0, end).split('\r\n')
    const [, code = '502', reason = ''] = /^Status: (\d{3}) (.*)$/.exec(first) ?? []
    response.sendDate = false
    response.writeHead(
      Number(code),
      reason,
      lines.flatMap((line) => line.split(/:\s*(.*)/s, 2)),
    )
    if (status === 0) response.end(output.subarray(end + 4))
    else response.write(output.subarray(end + 4), () => response.destroy())
  })
  server.maxHeadersCount = 0
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}
