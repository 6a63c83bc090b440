import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { isIP } from 'node:net'
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { delimiter, join, relative, resolve } from 'node:path'
import { checkWorkersOptions } from '../../cluster/options.ts'
import { MAX_DELAY } from '../../options/option.ts'
import { type Logger, messageOf } from '../../runtime/log.ts'
import { ownModule } from '../../runtime/process/own-modules.ts'
import { Dispatcher } from '../../workers/dispatcher/dispatcher.ts'
import { localHost, sharedStartOf, workerStart } from '../../workers/dispatcher/worker-child.ts'
import type { OptionSources } from '../options/command-options.ts'
import { type CommandSettings, settingsOf } from '../options/settings.ts'
import { CommandError, type Ending, stopSignal } from '../shared/exit-code.ts'
import type { DevAppData } from './dev-app.ts'
import { ENV_FILES, loadEnvFiles } from './env-files.ts'
import { type DevFront, EmbeddedFront, urlOf } from './front.ts'
import { DevMongrel2 } from './mongrel2.ts'
import { WatchedFiles } from './watched-files.ts'

/** Runs `mongrel2-fetch dev`: a front, and an app behind it that is reloaded after each change. */
export async function devCommand(flags: OptionSources): Promise<Ending> {
  const stopped = stopSignal()
  checkHost(flags)
  const fromFiles = loadEnvFiles()
  // A Handler in the configuration file is for `serve`.
  const front = flags.has('zeromq') ? undefined : findFront()
  const ofFront = (['tls', 'port', 'listen', 'open'] as const).find((key) => flags.has(key))
  if (front === undefined && ofFront !== undefined)
    throw new CommandError('usage', `--${ofFront} cannot be used with --zeromq: that Mongrel2 has settings of its own`)
  try {
    const attached = front === undefined ? flags : attach(flags, front)
    const settings = await settingsOf('dev', attached)
    const { listen, tls } = settings
    using files = watchedFiles(settings)
    const port = await front?.start(settings)
    const url = port === undefined ? undefined : urlOf(tls === undefined ? 'http' : 'https', listen, port)
    // The endpoints of `--zeromq` are strings.
    const endpoints = () => [flags.get('zeromq')?.value].flat().join(' and ')
    const where = front === undefined ? `at ${endpoints()}` : `at ${url} through ${front.name}`
    const ended = Promise.race([stopped, ...(front === undefined ? [] : [front.died])])
    const started = () => {
      if (url === undefined) return
      for (const { address } of listen === '0.0.0.0' ? lanAddresses() : [])
        console.log(`mongrel2-fetch listens at ${url.replace('127.0.0.1', address)} for other machines`)
      if (settings.open) openBrowser(url, settings.logger)
    }
    await serveAndReload({ flags: [...attached], fromFiles }, settings, where, { files, front, ended, started })
    return 'ok'
  } finally {
    await front?.stop()
  }
}

/** Mongrel2 where it is installed, otherwise its stand-in. */
function findFront(): DevFront {
  return ['mongrel2', 'm2sh'].every(isProgram) ? new DevMongrel2() : new EmbeddedFront()
}

function attach(flags: OptionSources, { name, endpoint, chroot }: DevFront): OptionSources {
  return new Map([...flags, ['zeromq', { value: [endpoint], from: name }], ['chroot', { value: chroot, from: name }]])
}

function watchedFiles({ app, watchFiles }: CommandSettings): WatchedFiles {
  const files = new WatchedFiles()
  for (const path of [app, ...ENV_FILES.map((file) => resolve(file))]) files.add(path)
  for (const glob of watchFiles.globs) files.addGlob(glob, watchFiles.from)
  return files
}

interface Serving {
  readonly files: WatchedFiles
  readonly front: DevFront | undefined
  /** Resolves or rejects when `dev` ends. */
  readonly ended: Promise<unknown>
  /** Called once the address is printed. */
  started(): void
}

/** Serves the app by one worker, which is replaced after each change of a file, until `ended` resolves. */
async function serveAndReload(
  data: DevAppData,
  { app, options, logger, closeTimeout }: CommandSettings,
  where: string,
  { files, front, ended, started }: Serving,
): Promise<void> {
  const name = relative(process.cwd(), app)
  // Without the lines about worker processes, and without the number of the only one.
  const quiet: Logger = {}
  for (const level of ['debug', 'warn', 'error'] as const) {
    if (logger[level] !== undefined) quiet[level] = (line) => logger[level]?.(line)
  }
  const settings = checkWorkersOptions({
    app: { module: ownModule('cli/dev/dev-app').href, data },
    options: { ...options, logger: quiet },
    workers: 1,
    replaceTimeout: closeTimeout,
    // A debugger may stop the app for any time.
    workerTimeout: MAX_DELAY,
    startTimeout: MAX_DELAY,
  })
  const config = { ...sharedStartOf(options, 1, 1, quiet), app: settings.app, remote: false, watched: true }
  let served = false
  let change: { readonly since: number; readonly text: string } | undefined
  const dispatcher = new Dispatcher(settings, localHost(workerStart(config, settings.execArgv)), {
    ready(broken) {
      const time = change && Math.round(performance.now() - change.since)
      if (!served) {
        console.log(`mongrel2-fetch ${broken ? 'shows why it cannot serve' : 'serves'} ${name} ${where}`)
        started()
      } else if (!broken)
        console.log(`mongrel2-fetch ${change ? `reloaded in ${time} ms: ${change.text}` : `serves ${name} again`}`)
      served = true
      change = undefined
    },
    loaded: (path) => files.add(path),
    explain: (reason) => `${name} ended by itself and is started again: ${reason}\n`,
  })
  try {
    for (;;) {
      const changed = await Promise.race([files.changed(), ended])
      if (!Array.isArray(changed)) break
      const text = `${changed.map((path) => relative(process.cwd(), path)).join(', ')} changed`
      change = { since: performance.now(), text }
      void front?.renewCertificate(quiet)
      dispatcher.pool.reload().catch(() => {}) // the dispatcher has logged why the app does not load
    }
  } finally {
    await dispatcher.close(closeTimeout)
  }
}

/** Refuses an address for `--host`, which `dev` takes for the name of the site; it would have no effect. */
function checkHost(flags: OptionSources): void {
  const host = String(flags.get('host')?.value ?? '')
  if (isIP(host.replace(/^\[(.*)\]$/, '$1')) !== 0)
    throw new CommandError('usage', `--host is the name of the site in URLs; to listen at an address: --listen ${host}`)
}

/** The addresses of this machine in its networks. */
function lanAddresses(): NetworkInterfaceInfo[] {
  return Object.values(networkInterfaces()).flatMap((all = []) =>
    all.filter(({ family, internal }) => family === 'IPv4' && !internal),
  )
}

function openBrowser(url: string, logger: Logger): void {
  const opener = process.platform === 'darwin' ? 'open' : 'xdg-open'
  const child = spawn(opener, [url], { stdio: 'ignore', detached: true })
  child.on('error', (error) => logger.warn?.(`mongrel2-fetch: --open has no browser: ${messageOf(error)}`)).unref()
}

/** Whether the PATH has a program of this name. */
function isProgram(name: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
