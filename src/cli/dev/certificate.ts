import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { messageOf } from '../../runtime/log.ts'
import type { TlsSettings } from '../options/settings.ts'
import { checkCertificate, type GivenCertificate } from '../shared/certificate.ts'
import { CommandError } from '../shared/exit-code.ts'

/** For the names and addresses of this machine; the key is a new one. Both go to stdout. */
const SELF_SIGNED = [
  ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '365'],
  ...['-subj', '/CN=localhost', '-addext', 'basicConstraints=critical,CA:FALSE'],
  ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'],
  ...['-keyout', '-', '-out', '-'],
]

/** Checks the given certificate, or makes one in the directory. Throws CommandError `usage` and `front`. */
export async function certificateIn(directory: string, tls: TlsSettings): Promise<GivenCertificate> {
  if (tls !== 'self-signed') {
    await checkCertificate(tls)
    return tls
  }
  const file = join(directory, 'self-signed.pem')
  await writeFile(file, await makeCertificate(), { mode: 0o600 })
  return { cert: file, key: file, from: '--tls' }
}

async function makeCertificate(): Promise<string> {
  try {
    return (await promisify(execFile)('openssl', SELF_SIGNED)).stdout
  } catch (error) {
    const advice = 'install openssl, or give a certificate by --tls-cert and --tls-key'
    throw new CommandError('front', `openssl could not make a certificate for --tls: ${messageOf(error)}; ${advice}`)
  }
}
