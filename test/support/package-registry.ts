import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

/** A registry of npm with this package, packed as it is now. For all others it points to the registry of npm's configuration. */
export class PackageRegistry implements AsyncDisposable {
  readonly url: string
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  }

  /** @param directory Where the package is packed. */
  static async start(directory: string): Promise<PackageRegistry> {
    const others = execFileSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).trim()
    const packing = ['pack', '--json', '--ignore-scripts', '--pack-destination', directory]
    const [packed] = JSON.parse(execFileSync('npm', packing, { encoding: 'utf8', stdio: 'pipe' }))
    const tarball = readFileSync(join(directory, packed.filename))
    const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`
    const { name, version, ...manifest } = JSON.parse(readFileSync('package.json', 'utf8'))
    const server = createServer((request, response) => {
      const origin = `http://${request.headers.host}`
      if (request.url === `/${packed.filename}`) response.end(tarball)
      else if (request.url === `/${name}`) {
        const dist = { tarball: `${origin}/${packed.filename}`, integrity }
        const versions = { [version]: { name, version, ...manifest, dist } }
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify({ name, 'dist-tags': { latest: version }, versions }))
      } else response.writeHead(307, { location: new URL(request.url?.slice(1) ?? '', others).href }).end()
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    return new PackageRegistry(server)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }
}
