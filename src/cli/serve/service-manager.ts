import { watchFile } from 'node:fs'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { type Logger, messageOf } from '../../runtime/log.ts'

/**
 * Tells systemd the state of this process (`sd_notify`) if it asks for that by NOTIFY_SOCKET. Node has no datagram sockets of Unix, so the
 * program `systemd-notify` sends it: assignments such as `READY=1` and `STATUS=...`.
 */
export async function notifyServiceManager(logger: Logger, ...state: string[]): Promise<void> {
  if (!process.env.NOTIFY_SOCKET) return
  await new Promise<void>((resolve) => {
    const child = process.getBuiltinModule('node:child_process').spawn('systemd-notify', state, { stdio: 'ignore' })
    const failed = (how: string) => {
      logger.warn?.(`mongrel2-fetch: systemd was not told ${state[0]}: systemd-notify ${how}`)
      resolve()
    }
    child.on('error', (error) => failed(`cannot be run: ${error.message}`))
    child.on('exit', (code, signal) => (code === 0 ? resolve() : failed(`ended with ${signal ?? code}`)))
  })
}

/** Time between two looks at a file, in milliseconds: `fs.watch` misses changes on network file systems and in new directories. */
const LOOK = 1000

interface Reloads {
  /** Reloads the app, reads the certificate and opens the request log anew, also during a reload. @param why Why, for the log, such as `got SIGHUP`. */
  reload(why: string): Promise<void>
  /** Tells the service manager a status and that the server is ready, now and after each reload. */
  announce(status: string): Promise<void>
}

/** Reloads at each SIGHUP, at each change of a file, and when it is asked to. `fixed` says why a server without `reload` has none. */
export function reloadOnDemand(
  begun: Promise<{ reload?(): Promise<void>; reopenLog?(): void; renewCertificate?(): Promise<void> }>,
  logger: Logger,
  fixed: string,
  files: readonly string[],
): Reloads {
  let status: string | undefined
  let last = 0
  const notify = async (...state: string[]) => {
    if (status !== undefined) await notifyServiceManager(logger, ...state)
  }
  const reload = async (why: string) => {
    const server = await begun
    server.reopenLog?.()
    await server.renewCertificate?.()
    if (server.reload === undefined) return logger.warn?.(`mongrel2-fetch ${why} and goes on: ${fixed}`)
    logger.info?.(`mongrel2-fetch ${why}: new workers load the app`)
    const number = ++last
    await notify('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`, 'STATUS=Loads the app anew')
    try {
      await server.reload()
      logger.info?.('mongrel2-fetch has replaced its workers')
    } catch (error) {
      if (!(error instanceof Mongrel2Error && error.code === 'closed')) {
        logger.error?.(`mongrel2-fetch could not load the app anew, and serves on as before: ${messageOf(error)}`)
      }
      throw error
    } finally {
      if (number === last) await notify('READY=1', `STATUS=${status}`)
    }
  }
  const demand = (why: string) => {
    reload(why).catch(() => {}) // it is logged; that the server did not start, the command reports
  }
  process.on('SIGHUP', () => demand('got SIGHUP'))
  for (const file of files) {
    watchFile(file, { interval: LOOK, persistent: false }, (now, before) => {
      const changed = now.mtimeMs !== before.mtimeMs || now.ino !== before.ino
      if (changed && now.nlink > 0) demand(`saw ${file} change`)
    })
  }
  return {
    reload,
    async announce(text) {
      status = text
      await notify('READY=1', `STATUS=${text}`)
    },
  }
}
