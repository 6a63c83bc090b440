import { type CertificateFiles, readCertificate } from '../../gateway/http/certificate.ts'
import { type Logger, messageOf } from '../../runtime/log.ts'
import { CommandError } from './exit-code.ts'

/** A certificate of the command. */
export interface GivenCertificate extends CertificateFiles {
  /** How its files were given, such as `--tls-cert and --tls-key`. */
  readonly from: string
}

/** Checks a certificate; throws CommandError `usage` if TLS cannot use it. */
export async function checkCertificate(files: GivenCertificate): Promise<void> {
  try {
    await readCertificate(files)
  } catch (error) {
    throw new CommandError('usage', namedAsGiven(error, files.from))
  }
}

/** Lets a gateway read its certificate anew; logs how that went. */
export async function renewCertificate(
  gateway: { renewCertificate(): Promise<void> },
  { from }: GivenCertificate,
  logger: Logger,
): Promise<void> {
  try {
    await gateway.renewCertificate()
    logger.info?.('mongrel2-fetch has read its certificate anew, for new connections')
  } catch (error) {
    logger.error?.(
      `mongrel2-fetch keeps its certificate: ${namedAsGiven(error, from)}; correct the files and reload again`,
    )
  }
}

function namedAsGiven(error: unknown, from: string): string {
  return messageOf(error).replace('tlsCert and tlsKey', from)
}
