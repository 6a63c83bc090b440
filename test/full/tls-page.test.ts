// Does what docs/tls.md says: its commands as they stand, but for the ports.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect, type SecureVersion } from 'node:tls'
import { expect, it } from 'vitest'
import { serveMongrel2 } from '../../src/index.ts'
import { guardChild } from '../../src/runtime/process/orphan-guard.ts'
import { makeCertificate, sha1Of } from '../support/certificate.ts'
import { freePorts } from '../support/free-port.ts'
import { startMongrel2 } from '../support/mongrel2.ts'

/** The ports that the page writes: of browsers, `send_spec` and `recv_spec`. */
const PORTS = ['8443', '9999', '9998']
/** The user and group `nobody` of Linux. */
const NOBODY = 65_534

it('The page leads to a Mongrel2 that speaks TLS 1.2 alone and tells a certificate as openssl does', async () => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'tls-page-')))
  const ports = await freePorts(PORTS.length)
  let page = readFileSync('docs/tls.md', 'utf8')
  for (const [at, port] of PORTS.entries()) page = page.replaceAll(port, `${ports[at]}`)
  const blocks = [...page.matchAll(/^```\w*\n(.*?)^```$/gms)].map(([, code = '']) => code)
  const block = (piece: string) => blocks.find((code) => code.includes(piece)) ?? expect.fail(`no block with ${piece}`)
  const run = (commands: string) =>
    execFileSync('sh', ['-e', '-c', commands], { cwd: directory, encoding: 'utf8', stdio: 'pipe' })

  run(block('openssl req'))
  writeFileSync(join(directory, 'mongrel2/mongrel2.conf'), block('use_ssl=1'))
  const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
  if (user.uid !== undefined) run(`chown -R ${NOBODY}:${NOBODY} .`)
  const env = { ...process.env, LOGNAME: 'test' }
  const shell = spawn('sh', ['-e', '-c', block('m2sh load').replace(/^mongrel2/m, 'exec mongrel2')], {
    cwd: directory,
    env,
    ...user,
    stdio: 'ignore',
  })
  guardChild(shell, 'KILL')
  try {
    await using server = serveMongrel2(
      (request, info) => Response.json([request.url, info.mongrel2.clientCertificate]),
      {
        zeromq: `tcp://127.0.0.1:${ports[1]},tcp://127.0.0.1:${ports[2]}`,
      },
    )
    await server.ready
    const curl = async (more = '') => {
      // Not awaited in one go: the server answers in this process.
      const child = spawn('sh', ['-c', `${block('curl --cacert').trim()} ${more}`], {
        cwd: directory,
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      return JSON.parse(await text(child.stdout))
    }
    const url = `https://localhost:${ports[0]}/`
    expect(await curl()).toEqual([url, null])
    const client = makeCertificate('client')
    writeFileSync(join(directory, 'client.crt'), client.cert)
    writeFileSync(join(directory, 'client.key'), client.key)
    const sha1 = run(block('-fingerprint')).trim().split('=')[1]?.replaceAll(':', '')
    expect(sha1).toBe(sha1Of(client))
    expect(await curl('--cert client.crt --key client.key')).toEqual([url, { sha1 }])

    const port = ports[0] ?? 0
    expect(await accepts(port, 'TLSv1.2')).toBe(true)
    for (const version of ['TLSv1', 'TLSv1.1', 'TLSv1.3'] as const) expect(await accepts(port, version)).toBe(false)
    await using without = await startMongrel2({ certificate: makeCertificate() })
    for (const version of ['TLSv1', 'TLSv1.1', 'TLSv1.2'] as const)
      expect(await accepts(without.port, version)).toBe(true)
  } finally {
    shell.kill()
    await once(shell, 'exit')
    rmSync(directory, { recursive: true, force: true })
  }
})

/** Whether a server speaks this version of TLS. */
function accepts(port: number, version: SecureVersion): Promise<boolean> {
  const versions = { minVersion: version, maxVersion: version, ciphers: 'ALL:@SECLEVEL=0' }
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...versions }, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
