import { createKeyPair, writeKeyPair } from '../../cluster/key-pair.ts'
import { CommandError } from '../shared/exit-code.ts'

/** Where keys are, unless it is said otherwise. */
export const KEY_FILE = 'mongrel2-fetch.key'

/**
 * Writes new keys into a file and returns the public one.
 *
 * @throws CommandError `usage` when there is such a file, or it cannot be written.
 */
export function keygen(file: string): string {
  const pair = createKeyPair()
  try {
    writeKeyPair(file, pair)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw new CommandError('usage', String(error))
    throw new CommandError('usage', `${file} is there already, and what knows its key would not know a new one`)
  }
  return pair.publicKey
}
