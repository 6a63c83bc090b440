import { availableParallelism } from 'node:os'
import { relative } from 'node:path'
import type { AdminServer } from '../../admin/admin.ts'
import { Monitor } from '../../admin/monitor.ts'
import { joinCluster } from '../../cluster/join-cluster.ts'
import { serveWithWorkers } from '../../cluster/serve-with-workers.ts'
import type { ServerState } from '../../operations/server-state.ts'
import { replaceGlobalsFirst } from '../../platform/globals.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { describeError, type Logger } from '../../runtime/log.ts'
import { ownModule } from '../../runtime/process/own-modules.ts'
import { ownVersion, runtimeName } from '../../runtime/process/versions.ts'
import { serveMongrel2 } from '../../serve.ts'
import { serveDirectly } from '../direct/serve-directly.ts'
import { loadHandler } from '../modules/load-handler.ts'
import type { WorkerAppData } from '../modules/worker-app.ts'
import type { OptionSources } from '../options/command-options.ts'
import { type CommandSettings, gather, type NodeSettings, nodeSettingsOf, settingsFrom } from '../options/settings.ts'
import { CommandError, type Ending, stopSignal } from '../shared/exit-code.ts'
import { statusText } from '../shared/status-text.ts'
import type { AdminListener } from './admin-listener.ts'
import type { AppGateway } from './app-gateway.ts'
import { notifyServiceManager, reloadOnDemand } from './service-manager.ts'

/** A server of an app, or a node of a cluster. */
interface Server {
  readonly ready: Promise<void>
  close(options: { timeout: number }): Promise<void>
  stats?(): Pick<ServerState, 'messages' | 'workers'>
  reload?(): Promise<void>
  reopenLog?(): void
  /** Reads the certificate of the gateway anew. */
  renewCertificate?(): Promise<void>
}

type AppServer = Omit<Server, 'stats'> & AdminServer

/** What `serve` runs, and how its lines name that. */
interface Service extends Pick<NodeSettings, 'logger' | 'closeTimeout'> {
  /** The app, or the node. */
  readonly name: string
  /** What begins, such as `starts app.ts`. */
  readonly beginning: string
  /** Why nothing is reloaded where the server cannot reload. */
  readonly fixed: string
  /** Files whose change reloads the app. */
  readonly touchReload: readonly string[]
  /** @param reload Reloads the app, as SIGHUP does; `why` is for the log. */
  begin(reload: (why: string) => Promise<void>): Promise<Server & { monitor?: Monitor }>
  /** What the server does once it is ready, such as `serves app.ts at ADDRESS`. */
  describe(): string
}

/** Runs `mongrel2-fetch serve`; without an app it joins a cluster as a node. */
export async function serveCommand(flags: OptionSources): Promise<Ending> {
  const gathered = await gather('serve', flags)
  const { joins, logger } = gathered
  return await run(
    joins === undefined ? appService(settingsFrom(gathered)) : nodeService(nodeSettingsOf(joins, logger)),
  )
}

function nodeService({ options, logger, closeTimeout }: NodeSettings): Service {
  const where = options.main.replace(/\w+@/, '')
  return {
    logger,
    closeTimeout,
    name: 'the node',
    beginning: `joins ${where}`,
    fixed: 'the main node reloads all workers',
    touchReload: [],
    begin: async () => joinCluster(options),
    describe: () => `serves as a node of ${where}`,
  }
}

function appService(settings: CommandSettings): Service {
  const { logger, closeTimeout, gateway: given, direct } = settings
  const name = relative(process.cwd(), settings.app)
  let gateway: AppGateway | undefined
  return {
    logger,
    closeTimeout,
    name,
    beginning: `starts ${name}`,
    fixed: 'only workers can be replaced, and -p 1 makes one',
    touchReload: settings.touchReload,
    async begin(reload) {
      const admin = await startAdmin(settings)
      if (admin !== undefined) logger.info?.(`mongrel2-fetch shows its state at ${admin.where}`)
      // Without the dispatcher, credits go to any of the processes that pull.
      if (given !== undefined)
        gateway = await (await import('./app-gateway.ts')).startAppGateway(given, !direct, logger)
      const server = await serverOf(settings)
      const monitor = new Monitor(() => server.stats())
      admin?.serve({ ...server, ...(server.reload && { reload: () => reload('got POST /reload') }) }, monitor)
      return {
        ...server,
        monitor,
        ...(gateway && { renewCertificate: gateway.renewCertificate }),
        async close(options) {
          gateway?.stop()
          await server.close(options)
          await gateway?.close()
          await admin?.close()
        },
      }
    },
    describe() {
      const places = [...endpointsOf(settings), ...(gateway?.where ?? [])]
      return `serves ${name} at ${places.join(' and ')}${workersText(settings)}`
    },
  }
}

async function startAdmin({ admin, logger }: CommandSettings): Promise<AdminListener | undefined> {
  return admin && (await (await import('./admin-listener.ts')).AdminListener.start(admin, logger))
}

async function run({ logger, closeTimeout, name, ...service }: Service): Promise<Ending> {
  let server: Server | undefined
  const stopped = stopSignal(() => killWorkers(server))
  const failed = failure(logger)
  logger.info?.(`mongrel2-fetch ${ownVersion()} on ${runtimeName()} ${service.beginning}, process ${process.pid}`)
  const begun = service.begin((why) => reload(why))
  const { reload, announce } = reloadOnDemand(begun, logger, service.fixed, service.touchReload)
  logStatusBySignal(begun, logger)
  const first = await Promise.race([begun, stopped, failed])
  if (typeof first !== 'object') return first === 'failed' ? 'failed' : 'ok'
  server = first
  // A link that fails for good has logged why.
  const ready = server.ready.then(
    () => 'ready' as const,
    (error: unknown) => loadFailure(name, error) ?? ('failed' as const),
  )
  let came = await Promise.race([ready, stopped, failed])
  let announced: Promise<void> | undefined
  if (came === 'ready') {
    const text = service.describe()
    console.log(`mongrel2-fetch ${text}`)
    announced = announce(`S${text.slice(1)}`)
    came = await Promise.race([stopped, failed])
  }
  if (typeof came === 'string' && came !== 'failed')
    logger.info?.(`mongrel2-fetch got ${came}: answers what is open, for ${closeTimeout} ms at most`)
  // From the signal on it is not ready, however long the service manager takes.
  const closed = server.close({ timeout: closeTimeout })
  const told = (async () => {
    await announced
    await notifyServiceManager(logger, 'STOPPING=1', 'STATUS=Answers what is open')
  })()
  await Promise.all([closed, told])
  const { messages } = server.stats?.() ?? {}
  const count = messages === 1 ? '1 message' : `${messages} messages`
  logger.info?.(`mongrel2-fetch ended ${name}${messages === undefined ? '' : ` after ${count}`}`)
  if (typeof came === 'object') throw came
  return came === 'failed' ? 'failed' : 'ok'
}

/** Serves an app in this process, by workers, or by processes that pull for themselves. */
async function serverOf(settings: CommandSettings): Promise<AppServer> {
  const { app, exportName, config, options, workers, direct } = settings
  if (workers === undefined) {
    // Before the app is loaded, which may keep the classes that it finds.
    if (options.overrideGlobalObjects === true) replaceGlobalsFirst()
    return serveMongrel2((await loadHandler(app, exportName)).handler, options)
  }
  if (direct) return serveDirectly(settings, workers)
  const here = (path: string) => relative(process.cwd(), path)
  const data: WorkerAppData = { app: here(app), exportName, config: config === undefined ? undefined : here(config) }
  const module = ownModule('cli/modules/worker-app').href
  return serveWithWorkers({ ...workers, app: { module, data }, options })
}

/** Writes the state to the log at each SIGUSR2. (SIGUSR1 starts Node's inspector.) */
function logStatusBySignal(begun: Promise<{ monitor?: Monitor }>, logger: Logger): void {
  const log = ({ monitor }: { monitor?: Monitor }) => {
    // The log has the warnings already.
    const text = monitor ? statusText({ ...monitor.stats(), warnings: [] }) : 'the main node knows the state'
    logger.info?.(`mongrel2-fetch got SIGUSR2: ${text}`)
  }
  // That the server did not start, the command reports.
  process.on('SIGUSR2', () => void begun.then(log, () => {}))
}

/** Resolves after the first error that nothing caught: the app is not reliable any more, but open requests can be answered. */
function failure(logger: Logger): Promise<'failed'> {
  return new Promise((resolve) => {
    process.on('uncaughtException', (error) => {
      logger.error?.(`mongrel2-fetch ends because of an error that nobody caught: ${describeError(error)}`)
      resolve('failed')
    })
  })
}

/** The end of a command whose workers cannot load the app; undefined for another error. */
function loadFailure(app: string, error: unknown): CommandError | undefined {
  if (!(error instanceof Mongrel2Error) || error.code !== 'load_failed') return undefined
  return new CommandError('load', `${app} is not served: ${error.message}`)
}

/** Kills the workers of this machine, which go on for a while without their dispatcher. Those on nodes end with their connection. */
function killWorkers(server: Server | undefined): void {
  for (const { pid, node } of server?.stats?.().workers ?? []) if (node === '') process.kill(pid, 'SIGKILL')
}

function endpointsOf({ options, gateway }: CommandSettings): string[] {
  return [options.zeromq]
    .flat()
    .filter((input) => input !== gateway?.endpoint)
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
