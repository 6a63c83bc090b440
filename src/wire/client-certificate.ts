import type { MessageHeaders } from './headers.ts'

/** A client's certificate. Mongrel2 has checked that the client has its private key; who has signed it only with `ssl.verify_required`. */
export interface ClientCertificate {
  /** The SHA-1 fingerprint of the certificate, as 40 hexadecimal digits in upper case. */
  readonly sha1: string
}

const SHA1_DIGITS = 40

/** The certificate in Mongrel2's own header, which has two more digits: Mongrel2 prints one byte too many, always `00`. */
export function clientCertificateOf(headers: MessageHeaders): ClientCertificate | undefined {
  const digits = headers.own('PEER_CERT_SHA1')
  return digits === undefined ? undefined : { sha1: digits.slice(0, SHA1_DIGITS) }
}
