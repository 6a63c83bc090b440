import { Mongrel2Error } from '../../runtime/errors.ts'
import { type Logger, messageOf } from '../../runtime/log.ts'
import { notifyServiceManager } from '../shared/service-manager.ts'

/** What can be loaded anew while it serves. */
interface Reloadable {
  reload?(): Promise<void>
}

/** Follows SIGHUP. */
export interface Reloading {
  /** Tells the service manager that all is ready, now and after each reload. */
  announce(status: string): Promise<void>
}

/** Loads the app anew with each SIGHUP; one that comes meanwhile starts over. */
export function reloadBySignal(begun: Promise<Reloadable>, logger: Logger): Reloading {
  let status: string | undefined
  let last = 0
  const tell = async (...state: string[]) => {
    if (status !== undefined) await notifyServiceManager(logger, ...state)
  }
  const reload = async () => {
    const server = await begun
    if (server.reload === undefined) {
      logger.warn?.('mongrel2-fetch got SIGHUP and goes on: only workers can be replaced, and -p 1 makes one')
      return
    }
    logger.info?.('mongrel2-fetch got SIGHUP: new workers load the app')
    const number = ++last
    await tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`, 'STATUS=Loads the app anew')
    await server.reload().then(
      () => logger.info?.('mongrel2-fetch has replaced its workers'),
      (error: unknown) => complain(error),
    )
    if (number === last) await tell('READY=1', `STATUS=${status}`)
  }
  const complain = (error: unknown) => {
    if (error instanceof Mongrel2Error && error.code === 'closed') return
    const reason = messageOf(error)
    logger.error?.(`mongrel2-fetch could not load the app anew, and serves on as before: ${reason}`)
  }
  process.on('SIGHUP', () => {
    reload().catch(() => {}) // there is no server, which is told elsewhere
  })
  return {
    async announce(text) {
      status = text
      await tell('READY=1', `STATUS=${text}`)
    },
  }
}
