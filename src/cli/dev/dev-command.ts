import { accessSync, constants } from 'node:fs'
import { delimiter, join, relative } from 'node:path'
import { CommandError, type Ending } from '../exit-code.ts'
import type { GivenOptions } from '../given.ts'
import { type CommandSettings, settingsOf } from '../settings.ts'
import { stopSignal } from '../stop-signals.ts'
import { AppProcess } from './app-process.ts'
import { type DevFront, DevMongrel2 } from './mongrel2.ts'
import { WatchedFiles } from './watched-files.ts'

/** `mongrel2-fetch dev`: a front, and an app behind it that is replaced after each change; how it ended. */
export async function devCommand(flags: GivenOptions): Promise<Ending> {
  const stopped = stopSignal()
  // A Handler of the configuration file is for `serve`; one of the command line is wanted.
  const front = flags.has('zeromq') ? undefined : await findFront()
  try {
    const attached = front === undefined ? flags : attach(flags, front)
    const settings = await settingsOf(attached)
    const url = await front?.start(settings.port)
    const where = front === undefined ? 'at --zeromq' : `at ${url} through ${front.name}`
    await serveAndReload(
      attached,
      settings,
      where,
      Promise.race([stopped, ...(front === undefined ? [] : [front.died])]),
    )
    return 'ok'
  } finally {
    await front?.stop()
  }
}

/** The embedded front will be what is left where Mongrel2 is not installed. */
async function findFront(): Promise<DevFront> {
  if (['mongrel2', 'm2sh'].every(isProgram)) return await DevMongrel2.create()
  throw new CommandError(
    'front',
    'Mongrel2 is needed: the programs mongrel2 and m2sh must be on the PATH (Debian, Ubuntu: apt-get install mongrel2-core)',
  )
}

function attach(flags: GivenOptions, { name, endpoint, chroot }: DevFront): GivenOptions {
  return new Map([...flags, ['zeromq', { value: [endpoint], from: name }], ['chroot', { value: chroot, from: name }]])
}

/** Runs the app until it is to stop. A new process serves before the old one stops taking requests, and that one answers what it has. */
async function serveAndReload(
  flags: GivenOptions,
  { app, logger }: CommandSettings,
  where: string,
  stopped: Promise<unknown>,
): Promise<void> {
  const name = relative(process.cwd(), app)
  using files = new WatchedFiles()
  files.add(app)
  const alive = new Set<AppProcess>()
  let current: AppProcess | undefined
  try {
    for (let life = 1; ; life++) {
      const next = new AppProcess(flags, (path) => files.add(path))
      alive.add(next)
      next.ended.then(() => alive.delete(next))
      const came = await Promise.race([next.ready.then(() => 'ready', String), stopped.then(() => 'stopped')])
      if (came === 'stopped') return
      if (came === 'ready') {
        current?.stop()
        current = next
        console.log(life === 1 ? `mongrel2-fetch serves ${name} ${where}` : `mongrel2-fetch serves ${name} again`)
        next.ended.then((how) => {
          if (current === next)
            logger.error?.(`mongrel2-fetch: ${name} ended by itself (${how}): change a file to start it again`)
        })
      } else logger.error?.(`mongrel2-fetch: ${name} did not start (${came}): waits for a change`)
      if ((await Promise.race([files.changed(), stopped])) !== 'changed') return
    }
  } finally {
    current = undefined
    await Promise.all([...alive].map((process) => process.stop()))
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
