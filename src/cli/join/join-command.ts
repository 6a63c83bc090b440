import { joinCluster } from '../../cluster/join-cluster.ts'
import { runtimeName, version } from '../../runtime/versions.ts'
import type { NodeSettings } from '../options/settings.ts'
import { type Ending, failure } from '../shared/exit-code.ts'
import { notifyServiceManager } from '../shared/service-manager.ts'
import { stopSignal } from '../shared/stop-signals.ts'

/** `mongrel2-fetch serve --cluster MAIN`, without an app: this machine as a node, from the first line to the last. */
export async function joinCommand({ options, logger, closeTimeout }: NodeSettings): Promise<Ending> {
  const where = options.main.replace(/\w+@/, '')
  const stopped = stopSignal(() => {})
  const failed = failure(logger)
  // A terminal that is gone, or a service manager that reloads: workers are replaced when the main node says so.
  process.on('SIGHUP', () => logger.warn?.('mongrel2-fetch got SIGHUP and goes on: the main node reloads all workers'))
  logger.info?.(`mongrel2-fetch ${version} on ${runtimeName()} joins ${where}, process ${process.pid}`)
  const node = joinCluster(options)
  let came = await Promise.race([node.ready.then(() => 'ready' as const), stopped, failed])
  if (came === 'ready') {
    console.log(`mongrel2-fetch serves as a node of ${where}`)
    await notifyServiceManager(logger, 'READY=1', `STATUS=Serves as a node of ${where}`)
    came = await Promise.race([stopped, failed])
  }
  if (came !== 'failed')
    logger.info?.(`mongrel2-fetch got ${came}: answers what is open, for ${closeTimeout} ms at most`)
  await notifyServiceManager(logger, 'STOPPING=1', 'STATUS=Answers what is open')
  await node.close({ timeout: closeTimeout })
  logger.info?.('mongrel2-fetch ended the node')
  return came === 'failed' ? 'failed' : 'ok'
}
