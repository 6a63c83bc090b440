import { accessSync, constants } from 'node:fs'
import { delimiter, join, relative } from 'node:path'
import { TemporaryDirectory } from '../../runtime/temporary-directory.ts'
import type { OptionSources } from '../options/command-options.ts'
import { type CommandSettings, settingsOf } from '../options/settings.ts'
import type { Ending } from '../shared/exit-code.ts'
import { stopSignal } from '../shared/stop-signals.ts'
import { AppProcess } from './app-process.ts'
import { EmbeddedFront } from './embedded-front.ts'
import type { DevFront } from './front.ts'
import { DevMongrel2 } from './mongrel2.ts'
import { type Lane, Relay } from './relay.ts'
import { WatchedFiles } from './watched-files.ts'

/** `mongrel2-fetch dev`: a front, and an app behind it that is replaced after each change; how it ended. */
export async function devCommand(flags: OptionSources): Promise<Ending> {
  const stopped = stopSignal()
  // A Handler of the configuration file is for `serve`; one of the command line is wanted.
  const front = flags.has('zeromq') ? undefined : findFront()
  const sockets = new TemporaryDirectory()
  try {
    const attached = front === undefined ? flags : attach(flags, front)
    const settings = await settingsOf('dev', attached)
    const url = await front?.start(settings.port, settings.options.messages)
    const where = front === undefined ? `at ${endpointsOf(flags).join(' and ')}` : `at ${url} through ${front.name}`
    using relay = new Relay(endpointsOf(attached), sockets.path, settings.logger)
    const ended = Promise.race([stopped, ...(front === undefined ? [] : [front.died])])
    await serveAndReload(attached, settings, relay, where, ended)
    return 'ok'
  } finally {
    await front?.stop()
    sockets.remove()
  }
}

/** Mongrel2 where it is installed, otherwise its stand-in. */
function findFront(): DevFront {
  return ['mongrel2', 'm2sh'].every(isProgram) ? new DevMongrel2() : new EmbeddedFront()
}

function attach(flags: OptionSources, { name, endpoint, chroot }: DevFront): OptionSources {
  return new Map([...flags, ['zeromq', { value: [endpoint], from: name }], ['chroot', { value: chroot, from: name }]])
}

/** From flags they are strings. */
function endpointsOf(flags: OptionSources): string[] {
  return [flags.get('zeromq')?.value].flat().map(String)
}

/** Runs the app until it is to stop. After a change the next life is ready before messages go there, and the last answers what it has. */
async function serveAndReload(
  flags: OptionSources,
  { app, logger }: CommandSettings,
  relay: Relay,
  where: string,
  stopped: Promise<unknown>,
): Promise<void> {
  const name = relative(process.cwd(), app)
  using files = new WatchedFiles()
  files.add(app)
  const lives = new Map<AppProcess, Lane>()
  let current: AppProcess | undefined
  const leave = async (life: AppProcess | undefined) => {
    const sent = life === undefined ? undefined : lives.get(life)?.sent
    if (sent !== undefined) await life?.stop(sent)
  }
  const end = stopped.then(() => 'stop')
  try {
    for (;;) {
      const lane = await relay.open()
      const life = new AppProcess(new Map([...flags, ['zeromq', { value: lane.endpoints, from: 'dev' }]]), (path) =>
        files.add(path),
      )
      lives.set(life, lane)
      life.ended.then((how) => {
        relay.end(lane, life.answered)
        // One that was replaced, or stopped, or never began has ended as it should, or its end is told below.
        if (current === life) logger.error?.(`mongrel2-fetch: ${name} ended by itself (${how}) and waits for a change`)
        lives.delete(life)
      })
      const came = await Promise.race([life.ready.then(() => 'ready', String), end])
      if (came === 'stop') return
      if (came === 'ready') {
        relay.switchTo(lane)
        console.log(`mongrel2-fetch serves ${name} ${current === undefined ? where : 'again'}`)
        leave(current)
        current = life
      } else logger.error?.(`mongrel2-fetch: ${name} did not start (${came}) and waits for a change`)
      if ((await Promise.race([files.changed(), end])) === 'stop') return
    }
  } finally {
    current = undefined
    await Promise.all([...lives.keys()].map(leave))
  }
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
