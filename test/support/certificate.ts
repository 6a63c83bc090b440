import { execFileSync } from 'node:child_process'

/** A certificate and its private key, as PEM. */
export interface TestCertificate {
  readonly cert: string
  readonly key: string
}

/** Makes a certificate that nobody else has signed, for `localhost` and 127.0.0.1, by the program openssl. */
export function makeCertificate(name = 'localhost'): TestCertificate {
  const args = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout - -out -'.split(' ')
  const names = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const pem = openssl([...args, ...names])
  const [key = ''] = /-----BEGIN PRIVATE KEY-.*?-----END PRIVATE KEY-----\n/s.exec(pem) ?? []
  const [cert = ''] = /-----BEGIN CERTIFICATE-.*?-----END CERTIFICATE-----\n/s.exec(pem) ?? []
  return { cert, key }
}

/** The SHA-1 fingerprint as openssl prints it, without its colons. */
export function sha1Of({ cert }: TestCertificate): string {
  const [, digits = ''] = /=([\dA-F:]+)/.exec(openssl(['x509', '-noout', '-fingerprint', '-sha1'], cert)) ?? []
  return digits.replaceAll(':', '')
}

function openssl(args: readonly string[], input?: string): string {
  return execFileSync('openssl', args, { encoding: 'utf8', input, stdio: ['pipe', 'pipe', 'ignore'] })
}
