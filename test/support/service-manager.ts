import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { expect } from 'vitest'

/** Plays the part of systemd: listens to what a service notifies it of. */
export class ServiceManager implements AsyncDisposable {
  /** For NOTIFY_SOCKET. */
  readonly socket: string
  /** What was said, in its order. */
  readonly heard: string[] = []
  readonly #listener: ChildProcessByStdio<null, Readable, null>

  private constructor(socket: string) {
    this.socket = socket
    // One read is one datagram.
    const script = `const { readSync } = require('node:fs'); const bytes = Buffer.alloc(4096)
      for (;;) console.log(JSON.stringify(bytes.toString('utf8', 0, readSync(3, bytes))))`
    this.#listener = spawn('systemd-socket-activate', ['--datagram', '-l', socket, process.execPath, '-e', script], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    let text = ''
    this.#listener.stdout.setEncoding('utf8').on('data', (more: string) => {
      const lines = (text + more).split('\n')
      text = lines.pop() ?? ''
      const said = lines.map((line): string => JSON.parse(line))
      // By that the program systemd-notify waits for who listens.
      this.heard.push(...said.filter((state) => state !== 'BARRIER=1'))
    })
  }

  static async start(directory: string): Promise<ServiceManager> {
    const manager = new ServiceManager(join(directory, 'notify'))
    await once(manager.#listener, 'spawn').catch((cause: unknown) => {
      throw new Error('tests need systemd-notify and systemd-socket-activate: install systemd', { cause })
    })
    await expect.poll(() => existsSync(manager.socket), { timeout: 10_000 }).toBe(true)
    return manager
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exit = once(this.#listener, 'exit')
    this.#listener.kill('SIGKILL')
    await exit
  }
}
