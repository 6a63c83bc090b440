import { availableParallelism } from 'node:os'
import { relative } from 'node:path'
import type { EndpointInput } from '../../options/endpoint.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { runtimeName, version } from '../../runtime/versions.ts'
import { serveDirectly } from '../direct/serve-directly.ts'
import { joinCommand } from '../join/join-command.ts'
import type { OptionSources } from '../options/command-options.ts'
import { type CommandSettings, gather, nodeSettingsOf, settingsFrom } from '../options/settings.ts'
import { CommandError, type Ending, failure } from '../shared/exit-code.ts'
import { notifyServiceManager } from '../shared/service-manager.ts'
import { stopSignal } from '../shared/stop-signals.ts'
import { HttpFront } from './http-front.ts'
import { reloadBySignal } from './reload-by-signal.ts'
import { serveModule } from './serve-module.ts'
import { serveWithWorkerProcesses } from './serve-with-worker-processes.ts'

/** What the command does with a server, with workers or without. */
interface Server {
  readonly ready: Promise<void>
  close(options: { timeout: number }): Promise<void>
  stats(): { messages?: number; workers?: readonly { pid: number; node?: string }[] }
  reload?(): Promise<void>
}

/** `mongrel2-fetch serve`: from the first line to the last, and how it ended. */
export async function serveCommand(flags: OptionSources): Promise<Ending> {
  const gathered = await gather('serve', flags)
  if (gathered.joins !== undefined) return await joinCommand(nodeSettingsOf(gathered.joins, gathered.logger))
  const settings = settingsFrom(gathered)
  const { logger, closeTimeout } = settings
  const app = relative(process.cwd(), settings.app)
  let server: Server | undefined
  const stopped = stopSignal(() => killWorkers(server))
  const failed = failure(logger)
  logger.info?.(`mongrel2-fetch ${version} on ${runtimeName()} starts ${app}, process ${process.pid}`)

  const { http, direct } = settings
  // Credits would go to any of those that pull.
  const front = http === undefined ? undefined : await HttpFront.start(http, !direct, logger)
  const begun: Promise<Server> = begin(settings)
  const reloading = reloadBySignal(begun, logger)
  const first = await Promise.race([begun, stopped, failed])
  if (typeof first !== 'object') return first === 'failed' ? 'failed' : 'ok'
  server = first
  // A link that fails for good has logged why.
  const ready = server.ready.then(
    () => 'ready' as const,
    (error: unknown) => loadFailure(app, error) ?? ('failed' as const),
  )
  let came = await Promise.race([ready, stopped, failed])
  if (came === 'ready') {
    const where = `${[...endpointsOf(settings), ...(front === undefined ? [] : [front.where])].join(' and ')}${workersText(settings)}`
    console.log(`mongrel2-fetch serves ${app} at ${where}`)
    await reloading.announce(`Serves ${app} at ${where}`)
    came = await Promise.race([stopped, failed])
  }
  if (typeof came === 'string' && came !== 'failed')
    logger.info?.(`mongrel2-fetch got ${came}: answers what is open, for ${closeTimeout} ms at most`)
  await notifyServiceManager(logger, 'STOPPING=1', 'STATUS=Answers what is open')
  front?.stop()
  await server.close({ timeout: closeTimeout })
  await front?.close()
  const { messages } = server.stats()
  logger.info?.(`mongrel2-fetch ended ${app}${messages === undefined ? '' : ` after ${messages} messages`}`)
  if (typeof came === 'object') throw came
  return came === 'failed' ? 'failed' : 'ok'
}

async function begin(settings: CommandSettings): Promise<Server> {
  const { workers, direct } = settings
  if (workers === undefined) return await serveModule(settings)
  return direct ? serveDirectly(settings, workers) : serveWithWorkerProcesses(settings, workers)
}

/** The end of a command whose workers cannot load the app; undefined for another error. */
function loadFailure(app: string, error: unknown): CommandError | undefined {
  if (!(error instanceof Mongrel2Error) || error.code !== 'load_failed') return undefined
  return new CommandError('load', `${app} is not served: ${error.message}`)
}

/** Without the one that they work for they would go on for a while. Those on other machines end with their connection. */
function killWorkers(server: Server | undefined): void {
  for (const { pid, node = '' } of server?.stats().workers ?? []) if (node === '') process.kill(pid, 'SIGKILL')
}

function endpointsOf({ options, http }: CommandSettings): string[] {
  const inputs: readonly EndpointInput[] = [options.zeromq].flat()
  return inputs
    .filter((input) => input !== http?.endpoint)
    .map((input) => (typeof input === 'string' ? input : `${input.sendSpec},${input.recvSpec}`))
}

function workersText({ workers, direct }: CommandSettings): string {
  if (workers === undefined) return ''
  const { workers: processes = availableParallelism(), threads = 1, cluster } = workers
  const each = threads === 1 ? '' : ` with ${threads} threads each`
  const how = direct ? `, which ${processes === 1 ? 'pulls' : 'pull'} directly` : each
  const nodes = cluster === undefined ? '' : `, and by nodes that join at ${cluster.listen}`
  return ` by ${processes} worker ${processes === 1 ? 'process' : 'processes'}${how}${nodes}`
}
