import { existsSync } from 'node:fs'

/** Files of environment variables in the working directory; an earlier one comes first. */
export const ENV_FILES = ['.env.local', '.env'] as const

/**
 * Sets the variables of the files that are not set, and returns their names.
 *
 * @param stale Variables that the files have set before, which are unset first.
 */
export function loadEnvFiles(stale: readonly string[] = []): string[] {
  for (const name of stale) delete process.env[name]
  const before = new Set(Object.keys(process.env))
  for (const file of ENV_FILES) if (existsSync(file)) process.loadEnvFile(file)
  return Object.keys(process.env).filter((name) => !before.has(name))
}
