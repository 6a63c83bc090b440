import { type CertificateFiles, readCertificate } from '../../gateway/http/certificate.ts'
import { type Logger, messageOf } from '../../runtime/log.ts'
import { CommandError } from './exit-code.ts'

/** Checks a certificate; throws CommandError `usage` if TLS cannot use it. */
export async function checkCertificate(files: CertificateFiles): Promise<void> {
  try {
    await readCertificate(files)
  } catch (error) {
    throw new CommandError('usage', withFlags(error))
  }
}

/** Lets a gateway read its certificate anew; logs how that went. */
export async function renewCertificate(gateway: { renewCertificate(): Promise<void> }, logger: Logger): Promise<void> {
  try {
    await gateway.renewCertificate()
    logger.info?.('mongrel2-fetch has read its certificate anew, for new connections')
  } catch (error) {
    logger.error?.(`mongrel2-fetch keeps its certificate: ${withFlags(error)}; correct the files and reload again`)
  }
}

function withFlags(error: unknown): string {
  return messageOf(error).replace('tlsCert and tlsKey', '--tls-cert and --tls-key')
}
