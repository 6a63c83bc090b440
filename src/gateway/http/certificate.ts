import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { messageOf } from '../../runtime/log.ts'

/** The paths of a certificate, followed by those of its issuers, and of its private key, as PEM. One file may have both. */
export interface CertificateFiles {
  readonly cert: string
  readonly key: string
}

/** A certificate and its private key, as PEM. */
export interface Certificate {
  readonly cert: Buffer
  readonly key: Buffer
}

/** Reads a certificate and its key; throws Mongrel2Error `invalid_option` if TLS cannot use them. */
export async function readCertificate(files: CertificateFiles): Promise<Certificate> {
  try {
    const [cert, key] = await Promise.all([readFile(files.cert), readFile(files.key)])
    createSecureContext({ cert, key })
    return { cert, key }
  } catch (error) {
    const expected = 'a certificate and its private key without a password, as PEM'
    throw new Mongrel2Error('invalid_option', `tlsCert and tlsKey: expected ${expected}, got ${messageOf(error)}`)
  }
}
