import type { MessageHandlers } from '../../message-socket/types.ts'
import { CommandError } from '../shared/exit-code.ts'

/** What `dev` puts between browsers and the app. */
export interface DevFront {
  /** How it is called in what the user reads. */
  readonly name: string
  /** What the app serves, as `zeromq` takes it. */
  readonly endpoint: string
  /** What the app takes for its `chroot`. */
  readonly chroot: string
  /**
   * Begins to listen for browsers.
   *
   * @param port 0 is any that is free.
   * @param messages What the app takes of clients that send JSON or XML, which a front may not know.
   * @returns The URL that it answers at.
   * @throws CommandError `front`
   */
  start(port: number, messages: MessageHandlers | undefined): Promise<string>
  /** Rejects with a `CommandError` `front` when it ends by itself. */
  readonly died: Promise<never>
  stop(): Promise<void>
}

/** Where a front listens for browsers. */
export const DEV_ADDRESS = '127.0.0.1'

/** Says why a front could not listen, and what to do. */
export function cannotListen(port: number, error: unknown): CommandError {
  const { code, message } = error as NodeJS.ErrnoException
  const why = code === 'EADDRINUSE' ? 'is taken by another program' : `cannot be had: ${message}`
  return new CommandError('front', `port ${port} of ${DEV_ADDRESS} ${why}; choose another with --port, or 0 for any`)
}
