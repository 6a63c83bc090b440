import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'

/** Where and with what was measured. */
export interface Machine {
  readonly date: string
  readonly cpu: string
  readonly cores: number
  readonly memoryMiB: number
  readonly kernel: string
  /** The Node that ran the servers. */
  readonly node: string
  readonly versions: Record<string, string>
}

const PACKAGES = ['hono', '@hono/node-server', 'srvx', 'zeromq']
// biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own placeholder
const VERSION_FORMAT = '${Version}'
const DEBIAN_PACKAGES = ['mongrel2-core', 'nginx', 'wrk', 'nghttp2-client', 'libzmq5']

/** @param node The Node that runs the servers. */
export function describeMachine(node: string): Machine {
  const [cpu] = cpus()
  return {
    date: new Date().toISOString(),
    cpu: cpu?.model ?? 'unknown',
    cores: cpus().length,
    memoryMiB: Math.round(totalmem() / 1024 ** 2),
    kernel: release(),
    node: execFileSync(node, ['-p', 'process.versions.node'], { encoding: 'utf8' }).trim(),
    versions: Object.fromEntries([
      ['mongrel2-fetch', versionIn('package.json')],
      ...PACKAGES.map((name) => [name, versionIn(`node_modules/${name}/package.json`)]),
      ...DEBIAN_PACKAGES.map((name) => [name, debianVersion(name)]),
    ]),
  }
}

function versionIn(path: string): string {
  const { version }: { version: string } = JSON.parse(readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8'))
  return version
}

/** Programs may also come from elsewhere. */
function debianVersion(name: string): string {
  try {
    return execFileSync('dpkg-query', ['-W', '--showformat', VERSION_FORMAT, name], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  } catch {
    return 'unknown'
  }
}
