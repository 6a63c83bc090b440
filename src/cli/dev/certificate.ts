import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { promisify } from 'node:util'
import { messageOf } from '../../runtime/log.ts'
import type { TlsSettings } from '../options/settings.ts'
import { CommandError } from '../shared/exit-code.ts'

/** A certificate, followed by those of its issuers, and its private key, as PEM. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

/** For the names and addresses of this machine; the key is a new one. Both go to stdout. */
const SELF_SIGNED = [
  ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '365'],
  ...['-subj', '/CN=localhost', '-addext', 'basicConstraints=critical,CA:FALSE'],
  ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'],
  ...['-keyout', '-', '-out', '-'],
]

/** Reads the certificate of the files, or makes one. Throws CommandError `usage` and `front`. */
export async function certificateOf(tls: TlsSettings): Promise<Certificate> {
  if (tls === 'self-signed') return makeCertificate()
  try {
    const [cert, key] = await Promise.all([readFile(tls.cert, 'utf8'), readFile(tls.key, 'utf8')])
    createSecureContext({ cert, key })
    return { cert, key }
  } catch (error) {
    const expected = 'a certificate and its private key without a password, as PEM'
    throw new CommandError('usage', `--tls-cert and --tls-key: expected ${expected}, got ${messageOf(error)}`)
  }
}

async function makeCertificate(): Promise<Certificate> {
  try {
    const { stdout } = await promisify(execFile)('openssl', SELF_SIGNED)
    return { cert: stdout, key: stdout }
  } catch (error) {
    const advice = 'install openssl, or give a certificate by --tls-cert and --tls-key'
    throw new CommandError('front', `openssl could not make a certificate for --tls: ${messageOf(error)}; ${advice}`)
  }
}
